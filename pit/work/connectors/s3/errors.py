"""What a storage or the way to it refused, told by what it means."""

from __future__ import annotations

import re

from pit.errors import ConnectorFailed
from pit.work.connectors.fields import clean
from pit.work.connectors.http.client import Broken, Trouble
from pit.work.connectors.s3.store import Storage

_CODE = re.compile(r"<Code>([A-Za-z0-9.]+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_REGION = re.compile(r"<Region>([a-z0-9-]+)</Region>|expecting '([a-z0-9-]+)'")
_STATUS = re.compile(r"status code: ([0-9]{3})")
_KIND = re.compile(r"\bkind: ([A-Z][A-Za-z]+)")
_DEBUG = "\n\nDebug source:"

_NO_BUCKET, _NO_KEY = "NoSuchBucket", "NoSuchKey"
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
    if not code and key and isinstance(error, FileNotFoundError):
        code = _NO_KEY
    status = _first(_STATUS, text)
    return _told(_meaning(text, debug, code, status, storage, key), doing, storage)


def answered(status: int, body: str, doing: str, storage: Storage) -> ConnectorFailed:
    """The error for an answer that is none to a request of Pit's own."""
    return _told(_meaning(body, "", _first(_CODE, body), str(status), storage, ""), doing, storage)


def unreached(error: Broken, doing: str, storage: Storage) -> ConnectorFailed:
    """The error for a request of Pit's own that has not been answered."""
    if error.trouble is Trouble.OTHER:
        return _told((str(error), error.hint, error.retryable), doing, storage)
    return _told(_no_answer(error.trouble, storage), doing, storage)


def names_no_bucket(error: BaseException) -> bool:
    """Whether it is the bucket that is not there, and not only the key."""
    return _first(_CODE, str(error)) == _NO_BUCKET


def _told(meaning: tuple[str, str, bool], doing: str, storage: Storage) -> ConnectorFailed:
    sentence, hint, retryable = meaning
    return ConnectorFailed(
        storage.hide(f"{doing}: {sentence}"), storage.hide(hint), retryable=retryable
    )


def _meaning(
    text: str, debug: str, code: str, status: str, storage: Storage, key: str
) -> tuple[str, str, bool]:
    """A sentence, a hint, and whether another try may help."""
    bucket, secret = f'bucket "{storage.bucket}"', f'secret "{storage.key}"'
    if code == _NO_BUCKET:
        return f"{bucket} does not exist at {storage.where}", "", False
    if code == _NO_KEY:
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
    """What is wrong with the way to a storage that has not answered, in obstore's words."""
    if "certificate" in debug or "certificate" in text:
        return _no_answer(Trouble.CERTIFICATE, storage)
    if "dns error" in debug:
        return _no_answer(Trouble.HOST, storage)
    kind = _first(_KIND, debug)
    if kind:
        known = {"Connect": Trouble.CONNECTION, "Timeout": Trouble.SILENCE}
        return _no_answer(known.get(kind, Trouble.BREAK), storage)
    return clean(text), "", False


def _no_answer(trouble: Trouble, storage: Storage) -> tuple[str, str, bool]:
    where, hint = storage.where, f'Check the endpoint in the secret "{storage.key}"'
    if trouble is Trouble.CERTIFICATE:
        return f"the certificate of {where} is not to be trusted", hint, False
    if trouble is Trouble.HOST:
        return f"the host of {where} is not known", hint, True
    if trouble is Trouble.CONNECTION:
        return f"{where} cannot be reached", hint, True
    if trouble is Trouble.SILENCE:
        return f"{where} does not answer in time", "", True
    return f"the connection to {where} broke", "", True


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return next((group for group in found.groups() if group), "") if found else ""
