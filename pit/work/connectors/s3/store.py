"""Storage that speaks S3: which one a secret means, and a client for a bucket of it.

| field | meaning |
|---|---|
| `endpoint` | the URL of the storage; without it, Amazon's for the region |
| `region` | default `us-east-1` |
| `access_key`, `secret_key` | also `access_key_id`, `secret_access_key`; without: unsigned |
| `session_token` | of temporary credentials |
| `bucket` | for requests that name none |
| `path_style` | "true": the bucket stands in the path; the default with an `endpoint` |
| `ca` | certificates to trust besides the system's: PEM text, or the path of a file |
| `verify` | "false": certificates are not checked |

Whatever the environment of Pit says about Amazon's services is overruled: a request goes where the
secret says, with the keys that the secret holds.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pit.errors import MissingExtra, Refused
from pit.model import Record
from pit.work.connectors.fields import Fields
from pit.work.masking import Masks
from pit.work.socket.call import Call

if TYPE_CHECKING:
    from obstore.store import S3Store

_FORM = 'Give it fields: endpoint = "https://…", access_key = "…", secret_key = "…"'
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0
"""Seconds before a request is tried again."""
_ENDPOINT = re.compile(r"https?://[^\s/@?#\\]+(/[^\s@?#\\]*)?")


class Patience(Record):
    """How long to wait and how often to try: `timeout` is the longest silence, in seconds."""

    timeout: float
    retries: int


class Storage(Record):
    """A bucket, how to reach it and how to sign; `key` is the name of the secret."""

    key: str
    bucket: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str
    session_token: str
    path_style: bool
    ca: str
    verify: bool

    def __repr__(self) -> str:
        return f"Storage({self.key!r}, {self.bucket!r})"

    @property
    def where(self) -> str:
        """The storage for people."""
        return self.endpoint or f"Amazon S3 in {self.region}"

    @property
    def url(self) -> str:
        """Where its requests go; the bucket is a part of the host's name or comes behind it."""
        url = self.endpoint or f"https://s3.{self.region}.amazonaws.com"
        if self.path_style:
            return url
        scheme, _, place = url.partition("://")
        return f"{scheme}://{self.bucket}.{place}"

    def hide(self, text: str) -> str:
        """The text without what is confidential."""
        masks = Masks()
        for value in (self.secret_key, self.session_token):
            masks.add(value)
        return masks.hide(text)

    def open(self, patience: Patience) -> S3Store:
        """The client, kept for the next request; MissingExtra without its library."""
        return _store(self, patience)


def storage(call: Call, key: str, bucket: str | None) -> Storage:
    """The storage that a secret means; Refused where the secret or the bucket's name is wrong."""
    fields = Fields(key, call.secret(key), _FORM)
    named = bucket or fields.text("bucket")
    if not named:
        raise Refused("no bucket is named", f'Name one, or give the secret "{key}" a field bucket')
    # The name becomes a part of a path or of a host name, which it must not leave.
    if not _BUCKET.fullmatch(named) or ".." in named:
        raise Refused("bucket is not the name of a bucket")
    endpoint = fields.text("endpoint").strip().rstrip("/")
    if endpoint and not _ENDPOINT.fullmatch(endpoint):
        fields.wrong("endpoint", "it is not a URL such as https://storage.example.com:9000")
    access = fields.text("access_key") or fields.text("access_key_id")
    secret = fields.text("secret_key") or fields.text("secret_access_key")
    if bool(access) != bool(secret):
        fields.need("secret_key" if access else "access_key")
    return Storage(
        key=key,
        bucket=named,
        endpoint=endpoint,
        region=fields.text("region", "us-east-1"),
        access_key=access,
        secret_key=secret,
        session_token=fields.text("session_token"),
        path_style=fields.flag("path_style", bool(endpoint)),
        ca=_certificates(fields),
        verify=fields.flag("verify", True),
    )


def _certificates(fields: Fields) -> str:
    ca = fields.text("ca")
    if not ca or "-----BEGIN" in ca:
        return ca
    try:
        with open(os.path.expanduser(ca), encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError):
        fields.wrong("ca", "it is neither a certificate in PEM nor the path of a file with one")


@lru_cache(maxsize=16)
def _store(storage: Storage, patience: Patience) -> S3Store:
    try:
        from obstore.store import S3Store
    except ImportError:
        raise MissingExtra("S3", "s3") from None

    # Keys come from a function, for those given as values are mixed with the environment's.
    keys = {
        "access_key_id": storage.access_key,
        "secret_access_key": storage.secret_key,
        "token": storage.session_token or None,
        "expires_at": None,
    }
    options: dict[str, Any] = {
        "region": storage.region,
        "virtual_hosted_style_request": not storage.path_style,
        "skip_signature": not storage.access_key,
        "credential_provider": lambda: keys,
        "client_options": _client(storage, patience),
        "retry_config": _retries(patience),
        **_endpoint(storage),
    }
    return S3Store(storage.bucket, **options)


def _retries(patience: Patience) -> dict[str, Any]:
    return {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(minutes=3),
        "backoff": {
            "init_backoff": timedelta(seconds=FIRST_PAUSE),
            "max_backoff": timedelta(seconds=LONGEST_PAUSE),
            "base": 2,
        },
    }


def _endpoint(storage: Storage) -> dict[str, Any]:
    """Where requests go, said in both ways that the environment could say it, too."""
    return {"endpoint": storage.url, "aws_endpoint_url_s3": storage.url}


def _client(storage: Storage, patience: Patience) -> dict[str, Any]:
    options: dict[str, Any] = {
        "allow_http": storage.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(patience.timeout, 10.0)),
        "read_timeout": timedelta(seconds=patience.timeout),
        # Of a whole request; how long all of them may take, max_time says.
        "timeout": timedelta(days=1),
    }
    if storage.ca:
        options["root_certificate"] = storage.ca
    if not storage.verify:
        options["allow_invalid_certificates"] = True
    return options
