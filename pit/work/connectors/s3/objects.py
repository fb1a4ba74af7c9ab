"""Objects of a bucket as obstore gives them: listed, downloaded, told.

obstore knows paths where S3 knows keys; what is lost on the way between the two is put right here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pit.errors import ConnectorFailed, SdkError
from pit.work.connectors.landing import Landing

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

AT_ONCE = 4
"""Objects that are downloaded at once."""
_LOOKS = 16
"""Objects that are looked at at once."""


async def listed(store: S3Store, prefix: str, pattern: str) -> AsyncIterator[Any]:
    """The objects below a prefix, as S3 means it: the beginning of a key, whatever follows.

    obstore lists folders, so the last part of a prefix is looked for here. `pattern` is for what
    follows the prefix's last slash; "" takes all.
    """
    inside = folder(prefix)
    async for batch in store.list(inside or None, chunk_size=1000):
        wanted = [
            meta
            for meta in batch
            if meta["path"].startswith(prefix)
            and (not pattern or fnmatchcase(below(inside, meta["path"]), pattern))
        ]
        markers = await _markers(store, [meta["path"] for meta in wanted if meta["size"] == 0])
        for meta in wanted:
            if meta["path"] not in markers:
                yield meta


async def _markers(store: S3Store, keys: list[str]) -> set[str]:
    """Those of the empty objects that stand for a folder: their true key ends with a slash.

    obstore leaves that slash out when it lists, so it takes a look at each to tell them apart.
    """

    async def absent(key: str) -> bool:
        try:
            await store.head_async(key)
        except FileNotFoundError:
            return True
        except Exception as error:  # one may be allowed to list objects, but not to read them
            if type(error).__name__ != "PermissionDeniedError":
                raise
        return False

    found = await together(absent, keys, _LOOKS)
    return {key for key, marks in zip(keys, found, strict=True) if marks}


async def download(store: S3Store, key: str, data: Path, path: Path) -> dict[str, Any]:
    """One object into one file of the data folder, whole or not at all."""
    answer = await store.get_async(key)
    meta = answer.meta
    with Landing(data, path) as landing:
        async for piece in answer.stream(min_chunk_size=1 << 20):
            landing.write(memoryview(piece))
        if landing.size != meta["size"]:
            sizes = f"{meta['size']} bytes, but {landing.size} arrived"
            raise ConnectorFailed(f'"{key}" has {sizes}', retryable=True)
        landing.publish()
        return {**told(meta), "sha256": landing.sha256}


async def together(
    work: Callable[[str], Awaitable[T]], keys: Iterable[str], at_once: int
) -> list[T]:
    """What the work makes of each key, in order; the first failure ends all of it, and those that
    came at the same time are told with it."""
    results: dict[int, T] = {}
    waiting = iter(enumerate(keys))

    async def take_turns() -> None:
        for place, key in waiting:
            results[place] = await work(key)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(take_turns())
    except ExceptionGroup as failures:
        raise _as_one(failures.exceptions) from None
    return [results[place] for place in sorted(results)]


def _as_one(errors: Sequence[Exception]) -> Exception:
    """One error that says what several say."""
    first, *others = errors
    if not others:
        return first
    if not all(isinstance(each, SdkError) for each in errors):
        for each in others:
            first.add_note(f"and at the same time: {type(each).__name__}: {each}")
        return first
    hints = (each.hint for each in errors if isinstance(each, SdkError) and each.hint)
    return ConnectorFailed(
        "; ".join(dict.fromkeys(map(str, errors))),
        next(hints, ""),
        retryable=all(isinstance(each, ConnectorFailed) and each.retryable for each in errors),
    )


def folder(prefix: str) -> str:
    """The folder that a prefix lies in: up to its last slash, without it."""
    return prefix.rpartition("/")[0]


def below(inside: str, key: str) -> str:
    """A key within a folder."""
    return key[len(inside) :].lstrip("/")


def told(meta: Any) -> dict[str, Any]:
    """An object as tasks read it: key, size in bytes, etag, time of change."""
    return {
        "key": meta["path"],
        "size": meta["size"],
        "etag": etag(meta),
        "modified": meta["last_modified"].isoformat(),
    }


def etag(meta: Any) -> str:
    """An etag without its quotation marks."""
    return (meta["e_tag"] or "").strip('"')
