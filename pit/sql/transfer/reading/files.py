"""Which files a load reads, in a stable order, and as what.

A name is looked for in the data folder first, then in the project; a pattern likewise, in the first
of them where it matches anything.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence

from pit.sql.driver import Failure, SqlFailure

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".json.gz": "json",
    ".tsv.gz": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".jsonl.gz": "json",
    ".ndjson.gz": "json",
}
"""What a file is by the end of its name."""


_TWICE = re.compile(r"(?<![^/])(?:\*\*/){2,}")
"""Folders of any depth, in folders of any depth: `glob` would look at each again and again."""

_PACKED = (".zst", ".bz2", ".xz", ".zip", ".7z", ".lz4")


def find(source: str, roots: Sequence[str]) -> list[str]:
    """The files that a source names, absolute and sorted; raises SqlFailure if there is none."""
    for root in dict.fromkeys(roots if not os.path.isabs(source) else ("/",)):
        path = os.path.join(root, _TWICE.sub("**/", source))
        if os.path.isfile(path):
            return [path]
        if os.path.isdir(path):
            raise refused(f"{source} is a folder; name its files, such as {source}/*.parquet")
        found = [one for one in glob.glob(path, recursive=True) if _is_data(one)]
        if found:
            return sorted(found, key=_by_parts)
    if glob.has_magic(source):
        raise refused(f"no file matches {source}, neither in the data folder nor in the project")
    raise refused(f"there is no file {source}, neither in the data folder nor in the project")


def _is_data(path: str) -> bool:
    return os.path.isfile(path) and not os.path.basename(path).startswith(".pit-")


def _by_parts(path: str) -> list[str]:
    return path.split(os.sep)


def format_of(path: str, asked: str) -> str:
    """parquet, csv or json; raises SqlFailure for a suffix that says nothing."""
    packed = os.path.splitext(path)[1].lower()
    if packed in _PACKED:
        sentence = f"{packed} files are not read; unpack it, or pack it with gzip"
        raise refused(f"{os.path.basename(path)}: {sentence}")
    name = f".{asked.removeprefix('.')}" if asked else os.path.basename(path).lower()
    for suffix, found in FORMATS.items():
        if name.endswith(suffix):
            return found
    raise refused(
        f'the suffix of {os.path.basename(path)} says nothing about its format; set format = "…"'
    )


def listed(paths: Sequence[str]) -> str:
    """A list of files as DuckDB's reading functions take it, wildcards in names meaning nothing."""
    return f"[{', '.join(_quoted(path) for path in paths)}]"


def _quoted(path: str) -> str:
    plain = "".join(_plain(path))
    return "'" + plain.replace("'", "''") + "'"


def _plain(path: str) -> Iterator[str]:
    for char in path:
        yield f"[{char}]" if char in "*?[" else char


def refused(sentence: str) -> SqlFailure:
    """A load that cannot be what it says, however often it is tried."""
    return SqlFailure(Failure(message=sentence, kind="load", retryable=False))
