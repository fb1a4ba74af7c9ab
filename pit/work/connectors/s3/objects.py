"""Objects of a bucket: chosen from a list, downloaded, told.

obstore knows paths where S3 knows keys. What has no path can be listed (see `listing`), and that
is all.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pit.errors import ConnectorFailed, SdkError
from pit.work.connectors.landing import Landing
from pit.work.connectors.s3.listing import Found

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

AT_ONCE = 4
"""Objects that are downloaded at once."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def matching(found: Iterable[Found], prefix: str, pattern: str) -> Iterator[Found]:
    """Those whose keys go on, after the prefix's last slash, as the pattern says; "" takes all."""
    inside = folder(prefix)
    for each in found:
        if not pattern or fnmatchcase(below(inside, each.key), pattern):
            yield each


def is_key(key: str) -> bool:
    """Whether obstore has a path for a key, which is the same as a file's."""
    parts = key.split("/")
    return not _CONTROL.search(key) and all(part not in ("", ".", "..") for part in parts)


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
