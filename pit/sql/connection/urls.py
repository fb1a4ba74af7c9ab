"""Connection URLs: text in, the `Database` that it names out; nothing is opened here.

A URL may hold a password. It goes into `password`, `options` and `secrets` at most, never into
`display`, a repr or an error.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec
from msgspec import field

from pit.errors import InvalidConnection, nearest
from pit.fs.identity import file_identity
from pit.model import Record
from pit.sql.connection import odbc_string
from pit.sql.connection.address import Address, parse_address, parse_options
from pit.sql.plain_options import PLAIN_OPTIONS, plain_name

MEMORY = ":memory:"
_KINDS = {
    "duckdb": "duckdb",
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
    "postgres": "postgres",
    "postgresql": "postgres",
    "sqlserver": "sqlserver",
    "mssql": "sqlserver",
    "odbc": "odbc",
}
_SUFFIXES = {
    ".duckdb": "duckdb",
    ".ddb": "duckdb",
    ".db": "duckdb",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}
_FORMS = (
    "Write duckdb:///absolute/file.duckdb, sqlite:///absolute/file.sqlite, "
    "postgres://user:password@host/database, sqlserver://user:password@host/database, "
    "odbc://Driver=…;Server=…, a path that ends in .duckdb, .db or .sqlite, or :memory:"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_PORTS = {"postgres": "5432", "sqlserver": "1433"}
_SECRET_OPTION = re.compile(r"secret|passw|pwd|token|key|credential|\bsas\b", re.IGNORECASE)
_TOLD = re.compile(
    r"(?P<name>\b(?:password|passwd|pwd)\s*=\s*)(?:\{(?:[^}]|\}\})*\}|'[^']*'|\"[^\"]*\"|[^;\s'\"]+)"
    r"|(?P<scheme>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+(?=@)",
    re.IGNORECASE,
)
"""A password as drivers repeat it: in a connection string, or in a URL."""
_WORD = 4
"""Secrets shorter than this are hidden where they stand alone; else no text could be read."""


class Database(Record, frozen=True):
    """One database as a driver needs it.

    `path` is a file's, absolute, or `:memory:`; the address is that of a server. `options` go to
    the driver; an ODBC connection string is all options. `display` is what people may see; two
    URLs with the same `key` may share one process and its connections.
    """

    kind: str
    display: str
    key: str
    path: str = ""
    host: str = ""
    port: str = ""
    user: str = ""
    password: str = ""
    database: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def in_memory(self) -> bool:
        """Whether every script gets an empty database of its own that dies with it."""
        return self.path == MEMORY

    @property
    def only_reads(self) -> bool:
        """Whether a DuckDB file is opened so that other processes may read it too."""
        return self.options.get("access_mode", "").lower() == "read_only"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password and option values that no log and no error may show."""
        named = (v for name, v in self.options.items() if v and _is_secret(name))
        return tuple(dict.fromkeys(filter(None, (self.password, *named))))

    def hide(self, text: str) -> str:
        """`text` without this database's secrets, nor what looks like a password."""
        for secret in self.secrets:
            for form in sorted(_forms_of(secret), key=len, reverse=True):
                if len(form) >= _WORD:
                    text = text.replace(form, "***")
                else:
                    text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "***", text)
        return _TOLD.sub(_hidden, text)

    def __repr__(self) -> str:
        return f"Database({self.kind}, {self.display})"


def _is_secret(option: str) -> bool:
    """By its name; `foreign_keys` and `sslkey` only sound as if they were."""
    return plain_name(option) not in PLAIN_OPTIONS and bool(_SECRET_OPTION.search(option))


def _forms_of(secret: str) -> set[str]:
    """How a driver may write a secret."""
    braced = odbc_string.braced(secret)
    return {secret, quote(secret, safe=""), quote(secret), braced, secret.replace("'", "\\'")}


def _hidden(match: re.Match[str]) -> str:
    return f"{match['name'] or match['scheme']}***"


def parse(url: str, workspace: Path) -> Database:
    """The database that `url` names; relative paths are relative to the workspace.

    Raises InvalidConnection.
    """
    text = url.strip()
    if not text:
        raise InvalidConnection("the connection is empty", _FORMS)
    if text == MEMORY:
        return _file("duckdb", MEMORY, {}, workspace)
    match = _SCHEME.fullmatch(text)
    if match is None:
        return _by_suffix(text, workspace)
    scheme = match[1].lower().split("+")[0]
    kind = _KINDS.get(scheme)
    if kind is None:
        raise _unknown(scheme)
    if kind in ("duckdb", "sqlite"):
        return _file_url(kind, match[2], workspace)
    _usable(text)
    return _by_odbc(match[2]) if kind == "odbc" else _server(kind, parse_address(match[2]))


_BY_ODBC = frozenset(
    ("mysql", "mariadb", "oracle", "db2", "snowflake", "redshift", "teradata", "hana", "databricks")
)


def _unknown(scheme: str) -> InvalidConnection:
    if scheme in _BY_ODBC:
        hint = "Pit reaches it by its ODBC driver: odbc://Driver={…};Server=…;UID=…;PWD=…"
        return InvalidConnection(f'connection with the unknown scheme "{scheme}://"', hint)
    near = nearest(scheme, _KINDS)
    hint = f'Did you mean "{near}://"?' if near else _FORMS
    return InvalidConnection(f'connection with the unknown scheme "{scheme}://"', hint)


# ---------------------------------------------------------------- files


def _by_suffix(text: str, workspace: Path) -> Database:
    kind = _SUFFIXES.get(os.path.splitext(text)[1].lower())
    if kind is None:
        raise InvalidConnection("the connection names no database that Pit knows", _FORMS)
    return _file(kind, text, {}, workspace)


def _file_url(kind: str, rest: str, workspace: Path) -> Database:
    location, _, query = rest.partition("?")
    path = unquote(location)
    options = parse_options(query)
    if path.lstrip("/") == MEMORY:
        return _file(kind, MEMORY, options, workspace)
    if not path.strip("/"):
        raise InvalidConnection(f"the {kind}:// connection names no file", _FORMS)
    return _file(kind, path, options, workspace)


def _file(kind: str, text: str, options: dict[str, str], workspace: Path) -> Database:
    path = text
    if text != MEMORY:
        path = os.path.realpath(workspace / os.path.expanduser(_usable(text)))
    return _keyed(Database(kind=kind, path=path, display=path, key="", options=options))


def _usable(path: str) -> str:
    """`path`, if a driver can be told it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidConnection("the connection's path is not valid UTF-8") from None
    if "\0" in path:
        raise InvalidConnection("the connection's path contains a NUL character")
    return path


# ---------------------------------------------------------------- servers


def _server(kind: str, address: Address) -> Database:
    """What stands in the options (`?password=…`, as libpq allows) goes to its own field."""
    options = dict(address.options)

    def taken(given: str, *names: str) -> str:
        found = [options.pop(name) for name in names if name in options]
        return next(iter(found), given)

    path = address.path.strip("/") if kind == "sqlserver" else address.path
    host = taken(address.host, "host", "server")
    database = taken(path, "dbname", "database")
    if kind == "sqlserver":
        if path and path != database and "\\" not in host:
            # As Go's driver has it: sqlserver://host/instance?database=name.
            host = f"{host}\\{path}"
        if not host:
            raise InvalidConnection("the sqlserver:// connection names no host", _FORMS)
    return _keyed(
        Database(
            kind=kind,
            display="",
            key="",
            host=host,
            port=taken(address.port, "port"),
            user=taken(address.user, "user", "user id", "uid"),
            password=taken(address.password, "password", "pwd"),
            database=database,
            options=options,
        )
    )


def _by_odbc(rest: str) -> Database:
    keywords = _odbc_keywords(rest)
    if not any(keywords.get(name) for name in ("driver", "dsn", "filedsn")):
        raise InvalidConnection(
            "the odbc:// connection names neither a driver nor a data source",
            "Write odbc://Driver={PostgreSQL Unicode};Server=…;Database=…;UID=…;PWD=…, or DSN=…",
        )
    return _keyed(Database(kind="odbc", display="", key="", options=keywords))


def _odbc_keywords(rest: str) -> dict[str, str]:
    """A connection string as it is or percent-encoded, or the form of a URL that secrets make."""
    head = rest.partition("=")[0]
    if "=" not in rest:
        return odbc_string.split(unquote(rest))
    if not any(sign in head for sign in "/?@"):
        return odbc_string.split(rest)
    address = parse_address(rest)
    if "odbc_connect" in address.options:
        return odbc_string.split(address.options["odbc_connect"])
    given = {
        "server": address.host,
        "port": address.port,
        "uid": address.user,
        "pwd": address.password,
        "database": address.path,
    }
    options = dict(address.options)
    driver = options.pop("odbc_driver", options.pop("driver", ""))
    keywords = {"driver": driver} | given | options
    return {name: value for name, value in keywords.items() if value}


# ---------------------------------------------------------------- what tells them apart

_SHOWN_KEYWORDS = ("driver", "dsn", "filedsn", "server", "servername", "port", "database", "dbq")


def _keyed(database: Database) -> Database:
    key = hashlib.blake2b(
        msgspec.json.encode(database), digest_size=16, key=_SALT, usedforsecurity=True
    )
    return msgspec.structs.replace(
        database,
        display=database.display or _shown(database),
        key=f"{database.kind}:{key.hexdigest()}",
    )


_SALT = os.urandom(32)
"""Makes keys that say nothing about a password to whoever may see one."""


def _shown(database: Database) -> str:
    if database.kind == "odbc":
        return f"odbc {_shown_keywords(database)}"
    user = f"{database.user}@" if database.user else ""
    hosts, ports = database.host.split(","), database.port.split(",")
    if len(ports) == 1:
        ports *= len(hosts)  # one port is that of all
    places = ",".join(
        f"{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
        for host, port in itertools.zip_longest(hosts, ports, fillvalue="")
    )
    return f"{database.kind}://{user}{places}/{database.database}"


def _shown_keywords(database: Database) -> str:
    shown = ((name, database.options.get(name)) for name in _SHOWN_KEYWORDS)
    return ";".join(f"{name}={value}" for name, value in shown if value)


def identity(database: Database) -> str:
    """Which database it is, for telling one from another: never its options, never a password.

    A file is known by its path, device, inode and time of birth, so that one that was made anew is
    another; a database on a server by host, port, name and user.
    """
    if database.kind == "odbc":
        user = database.options.get("uid", "")
        return f"odbc {_shown_keywords(database)}{';uid=' + user if user else ''}"
    if not database.path:
        port = database.port or _PORTS[database.kind]
        host = database.host.lower()
        return f"{database.kind} {host}:{port}/{database.database} {database.user}".rstrip()
    if database.in_memory:
        return f"{database.kind} {MEMORY}"
    try:
        device, inode, birth = file_identity(database.path)
    except OSError:
        return f"{database.kind} {database.path} (absent)"
    return f"{database.kind} {database.path} {device}:{inode}{f':{birth}' if birth else ''}"


def same_identity(one: str, other: str) -> bool:
    """Whether two identities are of one database, as far as both tell.

    A file's has no time of birth where its file system knows none, nor from an earlier release.
    """
    if one == other:
        return True
    first, second = _FILE.fullmatch(one), _FILE.fullmatch(other)
    if first is None or second is None or first["file"] != second["file"]:
        return False
    return not first["birth"] or not second["birth"]


_FILE = re.compile(r"(?P<file>(?:duckdb|sqlite) .* \d+:\d+)(?::(?P<birth>\d+))?", re.DOTALL)
