"""Connection URLs: text in, the `Database` that it names out; nothing is opened here.

A URL may hold a password. It goes into `Database.options` and `Database.secrets` at most, never
into `display`, a repr or an error.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from msgspec import field

from pit.errors import InvalidConnection, nearest
from pit.model import Record

MEMORY = ":memory:"
_DUCKDB_FILES = (".duckdb", ".ddb", ".db")
_LATER = {
    "sqlserver": "SQL Server",
    "mssql": "SQL Server",
    "postgres": "Postgres",
    "postgresql": "Postgres",
    "sqlite": "SQLite",
    "odbc": "ODBC",
}
_FORMS = (
    "Write duckdb:///absolute/file.duckdb, duckdb://relative/file.duckdb, "
    "a path that ends in .duckdb or .db, or :memory:"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SECRET_OPTION = re.compile(r"secret|password|token|key", re.IGNORECASE)


class Database(Record, frozen=True):
    """One database as a driver needs it.

    `path` is absolute, or `:memory:`; `options` go to the driver as they are; `display` is what
    people may see; two URLs with the same `key` may share one process and one open file.
    """

    kind: str
    path: str
    display: str
    key: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def in_memory(self) -> bool:
        """Whether every script gets an empty database of its own that dies with it."""
        return self.path == MEMORY

    @property
    def secrets(self) -> tuple[str, ...]:
        """Option values that no log and no error may show."""
        return tuple(v for name, v in self.options.items() if v and _SECRET_OPTION.search(name))

    def hide(self, text: str) -> str:
        """`text` without this database's secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def __repr__(self) -> str:
        return f"Database({self.kind}, {self.display})"


def parse(url: str, workspace: Path) -> Database:
    """The database that `url` names; relative paths are relative to the workspace.

    Raises InvalidConnection.
    """
    text = url.strip()
    if not text:
        raise InvalidConnection("the connection is empty", _FORMS)
    if text == MEMORY:
        return _memory({})
    match = _SCHEME.fullmatch(text)
    if match is None:
        return _by_suffix(text, workspace)
    scheme = match[1].lower().split("+")[0]
    if scheme != "duckdb":
        raise _refused(scheme)
    return _by_url(match[2], workspace)


def _by_suffix(text: str, workspace: Path) -> Database:
    suffix = os.path.splitext(text)[1].lower()
    if suffix in (".sqlite", ".sqlite3"):
        raise _refused("sqlite")
    if suffix not in _DUCKDB_FILES:
        raise InvalidConnection("the connection names no database that Pit knows", _FORMS)
    return _file(text, {}, workspace)


def _by_url(rest: str, workspace: Path) -> Database:
    location, _, query = rest.partition("?")
    path = unquote(location)
    options = {name.lower(): v for name, v in parse_qsl(query, keep_blank_values=True)}
    if path.lstrip("/") == MEMORY:
        return _memory(options)
    if not path.strip("/"):
        raise InvalidConnection("the duckdb:// connection names no file", _FORMS)
    return _file(path, options, workspace)


def _refused(scheme: str) -> InvalidConnection:
    if scheme in _LATER:
        return InvalidConnection(
            f"{_LATER[scheme]} connections ({scheme}) are not yet supported by this version of Pit",
            "DuckDB is: duckdb:///absolute/file.duckdb",
        )
    near = nearest(scheme, ("duckdb", *_LATER))
    hint = f'Did you mean "{near}://"?' if near else _FORMS
    return InvalidConnection(f'connection with the unknown scheme "{scheme}://"', hint)


def _memory(options: dict[str, str]) -> Database:
    return Database(
        kind="duckdb",
        path=MEMORY,
        display=MEMORY,
        key=_key(MEMORY, options),
        options=options,
    )


def _file(text: str, options: dict[str, str], workspace: Path) -> Database:
    path = os.path.realpath(workspace / os.path.expanduser(_usable(text)))
    return Database(
        kind="duckdb", path=path, display=path, key=_key(path, options), options=options
    )


def _usable(path: str) -> str:
    """`path`, if a driver can be told it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidConnection("the connection's path is not valid UTF-8") from None
    if "\0" in path:
        raise InvalidConnection("the connection's path contains a NUL character")
    return path


def _key(path: str, options: dict[str, str]) -> str:
    settings = "".join(f"|{name}={value}" for name, value in sorted(options.items()))
    return f"duckdb:{path}{settings}"


def identity(database: Database) -> str:
    """Which database it is, for telling one from another: never its options, never a password.

    A file is known by its path, device and inode, so that one that was made anew is another.
    """
    if database.in_memory:
        return f"{database.kind} {MEMORY}"
    try:
        info = os.stat(database.path)
    except OSError:
        return f"{database.kind} {database.path} (absent)"
    return f"{database.kind} {database.path} {info.st_dev}:{info.st_ino}"
