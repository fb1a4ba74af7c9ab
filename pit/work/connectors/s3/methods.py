"""`s3_*`: objects of S3-compatible storage, in and out of the data folder, for tasks.

obstore does the work, in threads of its own; a request is a coroutine here, which ends in mid-air
when its attempt does. `store` reads secrets, `listing` lists, `objects` chooses and downloads,
`errors` says what went wrong.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec.structs import asdict

from pit.errors import ConnectorFailed, PitError, Refused
from pit.model import Record
from pit.work.connectors.fields import positive
from pit.work.connectors.landing import destination
from pit.work.connectors.s3 import objects
from pit.work.connectors.s3.errors import failed, names_no_bucket
from pit.work.connectors.s3.listing import Found, Listing
from pit.work.connectors.s3.store import Patience, Storage, storage
from pit.work.socket.call import Call, Method
from pit.work.socket.files import reading

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

_PIECE = 5 << 20
"""Bytes of one part of an upload: as small as S3 allows."""
_PARTS = 9_000
"""Parts of one upload; S3 allows 10,000."""
_PARTS_AT_ONCE = 4
_MOST = 100_000
"""Objects that a list without `limit` may have."""
_WEEK = 7 * 86400.0
_METHODS = ("GET", "PUT", "HEAD", "DELETE")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SIGNATURE = 64
"""Letters of the signature in a URL, by which it is as good as a key."""


class S3Request(Record):
    """The params that all requests share."""

    secret: str
    bucket: str | None = None
    timeout: float | str = "60s"
    max_time: float | str = "1h"
    retries: int = 5


class S3List(S3Request):
    """The params of `s3_list`."""

    prefix: str = ""
    pattern: str = ""
    limit: int | None = None


class S3Head(S3Request, kw_only=True):
    """The params of `s3_head`."""

    key: str
    missing_ok: bool = False


class S3Delete(S3Request, kw_only=True):
    """The params of `s3_delete`."""

    key: str


class S3Get(S3Request):
    """The params of `s3_get`: one `key`, or all below a `prefix`."""

    key: str | None = None
    file: str | None = None
    prefix: str | None = None
    pattern: str = ""
    folder: str = ""


class S3Put(S3Request, kw_only=True):
    """The params of `s3_put`."""

    file: str
    key: str | None = None
    content_type: str | None = None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)


class S3Presign(S3Request, kw_only=True):
    """The params of `s3_presign`."""

    key: str
    expires: float | str = "15m"
    method: str = "GET"


class _Operation:
    """One request at work: its storage, its client, and its end."""

    def __init__(self, call: Call, params: S3Request, doing: str) -> None:
        self.call = call
        self.storage: Storage = storage(call, params.secret, params.bucket)
        self.doing = f"{doing} {self.storage.bucket}"
        self._until = monotonic() + positive(params.max_time, "max_time")
        self._patience = Patience(
            timeout=positive(params.timeout, "timeout"), retries=max(0, params.retries)
        )
        self.store: S3Store = self.storage.open(self._patience)

    def listed(self, prefix: str, pattern: str) -> Iterator[Found]:
        """The objects with a prefix and a pattern, as the storage has them."""
        listing = Listing(
            call=self.call,
            storage=self.storage,
            patience=self._patience,
            until=self._until,
            doing=self.doing,
        )
        return objects.matching(listing.objects(prefix), prefix, pattern)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]], key: str = "") -> T:
        """What the work returns; ConnectorFailed says what went wrong, or what ended it."""
        try:
            with self.failures(key):
                return asyncio.run(self._bounded(work))
        except TimeoutError:
            raise ConnectorFailed(
                f"{self.doing}: it took longer than max_time allows", retryable=True
            ) from None
        except asyncio.CancelledError:
            raise ConnectorFailed(f"{self.doing}: the attempt is over") from None

    @contextmanager
    def failures(self, key: str = "") -> Iterator[None]:
        """Tells what goes wrong in the block, with `key`, by its meaning."""
        try:
            yield
        except (PitError, TimeoutError):
            raise
        except Exception as error:
            # obstore's errors have no base of their own: some are FileNotFoundError or ValueError.
            raise failed(error, self.doing, self.storage, key) from None

    async def _bounded(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def stop() -> None:
            with suppress(RuntimeError):  # it has ended by itself just now
                loop.call_soon_threadsafe(task.cancel)

        with self.call.ending(stop):
            async with asyncio.timeout(max(0.0, self._until - monotonic())):
                return await work()


# -------------------------------------------------------------------------------------- requests


def s3_list(call: Call, params: S3List) -> list[dict[str, Any]]:
    """The objects whose keys begin with `prefix`: key, size in bytes, etag, time of change."""
    operation = _Operation(call, params, "s3_list")
    found: list[dict[str, Any]] = []
    for each in operation.listed(params.prefix, params.pattern):
        if params.limit is not None and len(found) >= params.limit:
            break
        if len(found) >= _MOST:
            raise ConnectorFailed(
                f"{operation.doing}: more than {_MOST:,} objects",
                "Narrow the prefix, or set limit",
            )
        found.append(asdict(each))
    return found


def s3_head(call: Call, params: S3Head) -> dict[str, Any] | None:
    """Key, size, etag and time of change of one object; None with `missing_ok` if it is absent."""
    operation = _Operation(call, params, "s3_head")
    key = _key(params.key)

    async def work() -> dict[str, Any] | None:
        try:
            return objects.told(await operation.store.head_async(key))
        except FileNotFoundError:
            # An answer to HEAD has no body that could say what is missing: the bucket or the key.
            return await _looked_at(operation, key, params.missing_ok)

    return operation.run(work, key)


async def _looked_at(operation: _Operation, key: str, missing_ok: bool) -> dict[str, Any] | None:
    """An object as GET tells it; None if it is absent and may be, and its bucket is there."""
    try:
        return objects.told((await operation.store.get_async(key)).meta)
    except FileNotFoundError as error:
        if missing_ok and not names_no_bucket(error):
            return None
        raise


def s3_get(call: Call, params: S3Get) -> dict[str, Any] | list[dict[str, Any]]:
    """Downloads an object into the data folder, or all that have a prefix."""
    if (params.key is None) == (params.prefix is None):
        raise Refused("s3_get needs either key or prefix")
    operation = _Operation(call, params, "s3_get")
    if params.prefix is not None:
        keys = _keys(operation, params.prefix, params.pattern)
        return operation.run(lambda: _download_all(operation, params, keys))
    key = _key(params.key or "")
    name = params.file or key.rpartition("/")[2]
    path = destination(call, name)

    return operation.run(lambda: _download(operation, key, name, path), key)


async def _download(operation: _Operation, key: str, name: str, path: Path) -> dict[str, Any]:
    caller = operation.call.caller
    told = await objects.download(operation.store, key, caller.data, path)
    operation.call.facts.saved(caller, path)
    return {**told, "file": name}


def _keys(operation: _Operation, prefix: str, pattern: str) -> list[str]:
    """The keys of objects that are to be fetched; one that cannot be is named before any is."""
    keys = [found.key for found in operation.listed(prefix, pattern)]
    odd = [key for key in keys if not objects.is_key(key)]
    if odd:
        more = f" and {len(odd) - 1:,} more" if len(odd) > 1 else ""
        raise ConnectorFailed(
            f"{operation.doing}: {odd[0]!a}{more} cannot be fetched",
            f"{_PARTS_OF_KEYS}. Leave it out: narrow the prefix, or set pattern",
        )
    return keys


async def _download_all(
    operation: _Operation, params: S3Get, keys: list[str]
) -> list[dict[str, Any]]:
    """All of these objects, a few at a time; the first failure ends the others."""
    inside = objects.folder(params.prefix or "")

    async def one(key: str) -> dict[str, Any]:
        rest = objects.below(inside, key)
        name = f"{params.folder}/{rest}" if params.folder else rest
        path = destination(operation.call, name)
        with operation.failures(key):
            return await _download(operation, key, name, path)

    return await objects.together(one, keys, objects.AT_ONCE)


def s3_put(call: Call, params: S3Put) -> dict[str, Any]:
    """Uploads a file of the data folder, in parts if it is large."""
    path = call.path(params.file, exists=True)
    key = params.key or path.name
    key = _key(f"{key}{path.name}" if key.endswith("/") else key)
    attributes = _attributes(params, path.name)
    operation = _Operation(call, params, "s3_put")

    async def work() -> dict[str, Any]:
        with reading(call.caller.data, path) as source:
            size = os.fstat(source.fileno()).st_size
            made = await operation.store.put_async(
                key,
                source,
                attributes=attributes,
                chunk_size=max(_PIECE, -(-size // _PARTS)),
                use_multipart=size > _PIECE,
                max_concurrency=_PARTS_AT_ONCE,
            )
        return {
            "bucket": operation.storage.bucket,
            "key": key,
            "size": size,
            "etag": objects.etag(made),
        }

    return operation.run(work, key)


def s3_delete(call: Call, params: S3Delete) -> str:
    """Deletes an object; it is no error if there is none, as S3 has it."""
    operation = _Operation(call, params, "s3_delete")
    key = _key(params.key)

    async def work() -> str:
        await operation.store.delete_async(key)
        return ""

    return operation.run(work, key)


def s3_presign(call: Call, params: S3Presign) -> str:
    """A URL with which anybody may get or put one object for a while; nothing is sent."""
    method = params.method.upper()
    if method not in _METHODS:
        raise Refused(f"method must be one of {', '.join(_METHODS)}")
    expires = positive(params.expires, "expires")
    if not 1 <= expires <= _WEEK:
        raise Refused("expires must be between a second and seven days")
    operation = _Operation(call, params, "s3_presign")
    key = _key(params.key)
    if not operation.storage.access_key:
        raise Refused(f'secret "{params.secret}" has no access_key to sign with')

    async def work() -> str:
        import obstore

        lifetime = timedelta(seconds=int(expires))
        return str(await obstore.sign_async(operation.store, method, key, lifetime))  # type: ignore[call-overload]

    url = operation.run(work, key)
    for _, value in parse_qsl(urlsplit(url).query):
        if len(value) >= _SIGNATURE:
            call.conceal(value)
    return url


# ----------------------------------------------------------------------------------------- params


def _key(key: str) -> str:
    """The key of one object; Refused for those that obstore cannot express."""
    if not objects.is_key(key):
        raise Refused(f"{key!a} is not the key of an object", _PARTS_OF_KEYS)
    return key


_PARTS_OF_KEYS = "The parts of a key between slashes may be neither empty nor . or .."


def _attributes(params: S3Put, name: str) -> dict[str, str]:
    kind = params.content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
    attributes = {"Content-Type": kind, **params.metadata}
    for header, value in attributes.items():
        if _CONTROL.search(header) or _CONTROL.search(value) or not header.isascii():
            raise Refused("content_type or metadata holds a line break or a control character")
    return attributes


METHODS = {
    "s3_list": Method(params=S3List, serve=s3_list, doc="The objects below a prefix."),
    "s3_head": Method(params=S3Head, serve=s3_head, doc="Size, etag and time of an object."),
    "s3_get": Method(params=S3Get, serve=s3_get, doc="Fetch objects into the data folder."),
    "s3_put": Method(params=S3Put, serve=s3_put, doc="Send a file of the data folder."),
    "s3_delete": Method(params=S3Delete, serve=s3_delete, doc="Delete an object."),
    "s3_presign": Method(params=S3Presign, serve=s3_presign, doc="A URL for one object."),
}
