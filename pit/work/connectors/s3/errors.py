"""What a storage or the way to it refused, told by what it means."""

from __future__ import annotations

import re

from pit.errors import ConnectorFailed
from pit.work.connectors.fields import clean
from pit.work.connectors.s3.store import Storage

_CODE = re.compile(r"<Code>([A-Za-z0-9.]+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_REGION = re.compile(r"<Region>([a-z0-9-]+)</Region>|expecting '([a-z0-9-]+)'")
_STATUS = re.compile(r"status code: ([0-9]{3})")
_KIND = re.compile(r"\bkind: ([A-Z][A-Za-z]+)")
_DEBUG = "\n\nDebug source:"

_PASSING = ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "TooManyRequests")
_MISPLACED = (
    *("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"),
    *("IncorrectEndpoint", "TemporaryRedirect"),
)
_KEYS = {
    "InvalidAccessKeyId": "does not know its access_key",
    "SignatureDoesNotMatch": "finds that its secret_key does not fit its access_key",
    "ExpiredToken": "finds that its session_token has expired",
    "InvalidToken": "does not accept its session_token",
}


def failed(error: BaseException, doing: str, storage: Storage, key: str = "") -> ConnectorFailed:
    """The error for a failed request; `doing` names what was tried, `key` the object."""
    text, _, debug = str(error).partition(_DEBUG)
    code = _first(_CODE, text)
    status = _first(_STATUS, text)
    sentence, hint, retryable = _meaning(error, text, debug, code, status, storage, key)
    return ConnectorFailed(
        storage.hide(f"{doing}: {sentence}"), storage.hide(hint), retryable=retryable
    )


def _meaning(
    error: BaseException,
    text: str,
    debug: str,
    code: str,
    status: str,
    storage: Storage,
    key: str,
) -> tuple[str, str, bool]:
    """A sentence, a hint, and whether another try may help."""
    bucket, secret = f'bucket "{storage.bucket}"', f'secret "{storage.key}"'
    if "object with invalid path" in text:
        hint = "Narrow the prefix: parts between slashes may be neither empty nor . or .."
        return "a key with this prefix cannot be expressed", hint, False
    if code == "NoSuchBucket":
        return f"{bucket} does not exist at {storage.where}", "", False
    if code == "NoSuchKey" or (key and isinstance(error, FileNotFoundError)):
        return f'"{key}" is not in {bucket}', "", False
    if code in _KEYS:
        return f"{storage.where} {_KEYS[code]}", f"Correct the {secret}", False
    if code == "RequestTimeTooSkewed":
        hint = "Set this machine's clock; S3 accepts no more than 15 minutes of difference"
        return "this machine's clock is wrong", hint, False
    if code in _MISPLACED or status in ("301", "307") or "Received redirect" in text:
        region = _first(_REGION, text)
        hint = f'Set region = "{region}" in the {secret}' if region else f"Check its {secret}"
        return f"{bucket} is not in region {storage.region}", hint, False
    if code in _PASSING or status[:1] == "5" or status == "429":
        return f"the storage answers {code or status}", "", True
    if code == "AccessDenied" or status in ("401", "403"):
        return f"access is denied to the key of {secret}", "", False
    if code or status:
        said = clean(_first(_MESSAGE, text))
        return f"the storage answers {code or status}" + (f": {said}" if said else ""), "", False
    return _way(text, debug, storage)


def _way(text: str, debug: str, storage: Storage) -> tuple[str, str, bool]:
    """What is wrong with the way to a storage that has not answered."""
    hint = f'Check the endpoint in the secret "{storage.key}"'
    if "certificate" in debug or "certificate" in text:
        return f"the certificate of {storage.where} is not to be trusted", hint, False
    if "dns error" in debug:
        return f"the host of {storage.where} is not known", hint, True
    kind = _first(_KIND, debug)
    if kind == "Connect":
        return f"{storage.where} cannot be reached", hint, True
    if kind == "Timeout":
        return f"{storage.where} does not answer in time", "", True
    if kind:
        return f"the connection to {storage.where} broke", "", True
    return clean(text), "", False


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return next((group for group in found.groups() if group), "") if found else ""
