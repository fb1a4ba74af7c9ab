"""The secrets file: TOML with one table per DAG and `[global]`, read whole, values never shown.

A value is a string, or a table of strings (structured: the fields of a connection). A DAG's own
table is looked at first, then `[global]`. No error, warning or representation contains a value.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pit.errors import SecretNotFound, SecretsInvalid, SecretsUnreadable

GLOBAL = "global"
Secret = str | dict[str, str]

_LATER = ("acl",)
_FILE_DATABASES = frozenset({"duckdb", "sqlite"})
_URL_FIELDS = frozenset(
    {"url", "driver", "host", "port", "user", "password", "database", "path", "schema"}
)
_POSITION = re.compile(r"at line (\d+), column (\d+)")


class Secrets:
    """What one secrets file holds, and `warnings` about the file itself."""

    __slots__ = ("_scopes", "path", "warnings")

    def __init__(
        self, path: Path, scopes: dict[str, dict[str, Secret]], warnings: tuple[str, ...] = ()
    ) -> None:
        self.path = path
        self.warnings = warnings
        self._scopes = scopes

    def __repr__(self) -> str:
        return f"Secrets({str(self.path)!r})"

    @classmethod
    def load(cls, path: Path) -> Secrets:
        """Reads a secrets file; SecretsUnreadable or SecretsInvalid says what is wrong with it."""
        if path.suffix == ".age":
            raise SecretsUnreadable(
                f"{path}: encrypted files are not yet supported by this version of Pit",
                "Decrypt it to a plain TOML file that only you can read",
            )
        content, mode = _read(path)
        return cls(path, _scopes(path, _parse(path, content)), _warnings(path, mode))

    def names(self, dag: str) -> tuple[str, ...]:
        """The names of the secrets that a DAG can read."""
        return tuple(sorted({*self._scopes.get(dag, {}), *self._scopes.get(GLOBAL, {})}))

    def resolve(self, dag: str, key: str) -> Secret:
        """The value of a secret for a DAG: its own before the global one, else SecretNotFound."""
        for scope in (dag, GLOBAL):
            value = self._scopes.get(scope, {}).get(key)
            if value is not None:
                return value if isinstance(value, str) else dict(value)
        raise SecretNotFound(key, dag)

    def connection_url(self, dag: str, key: str) -> str:
        """The database URL that a secret holds, or that its fields make."""
        value = self.resolve(dag, key)
        if isinstance(value, str):
            return value
        if value.get("url"):
            return value["url"]
        return _url(value, f'secret "{key}" for DAG "{dag}"')


# ------------------------------------------------------------------------------ reading the file


def _read(path: Path) -> tuple[bytes, int]:
    try:
        mode = os.stat(path).st_mode
        # Opening a FIFO could wait for ever, but for the shell's own `--secrets <(command)`.
        if not stat.S_ISREG(mode) and not (stat.S_ISFIFO(mode) and path.is_relative_to("/dev/fd")):
            raise SecretsUnreadable(f"the secrets file {path} is not a regular file")
        return path.read_bytes(), mode
    except FileNotFoundError:
        raise SecretsUnreadable(
            f"the secrets file {path} does not exist",
            "Give another with --secrets, or set secrets_dir in pit_config.toml",
        ) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SecretsUnreadable(
            f"the secrets file {path} cannot be read: {reason}", "Check its owner and permissions"
        ) from None


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    import tomllib

    # `from None` throughout: the parser's own error carries the text of the file.
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SecretsInvalid(f"{path}:{line}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        found = _POSITION.search(str(error))
        # Without a position it is the end of the file that came too early.
        place = f"{found[1]}:{found[2]}" if found else content.rstrip().count(b"\n") + 1
        raise SecretsInvalid(
            f"{path}:{place}: this is not valid TOML",
            'Secrets look like: [global], then lines such as api_key = "…"',
        ) from None


def _scopes(path: Path, document: Mapping[str, Any]) -> dict[str, dict[str, Secret]]:
    for scope, entries in document.items():
        if scope in _LATER:
            raise SecretsInvalid(f"{path}: [{scope}] is not yet supported by this version of Pit")
        if not isinstance(entries, dict):
            raise SecretsInvalid(
                f'{path}: "{scope}" stands outside of any section',
                'Put it under ["<DAG name>"] or [global]',
            )
        for key, value in entries.items():
            _check_value(path, scope, key, value)
    return {scope: dict(entries) for scope, entries in document.items()}


def _check_value(path: Path, scope: str, key: str, value: object) -> None:
    where = f'{path}: "{key}" in [{scope}]'
    if isinstance(value, str):
        return
    if not isinstance(value, dict):
        raise SecretsInvalid(
            f"{where} must be a string or a table of strings, not {_kind(value)}",
            "Write the value in quotes",
        )
    for field, content in value.items():
        if not isinstance(content, str):
            raise SecretsInvalid(
                f'{where}: field "{field}" must be a string, not {_kind(content)}',
                "Write the value in quotes",
            )


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", list: "an array"}
    return names.get(type(value), "a table" if isinstance(value, dict) else "a date or time")


def _warnings(path: Path, mode: int) -> tuple[str, ...]:
    if not stat.S_ISREG(mode) or not mode & 0o077:
        return ()
    return (
        f"{path} is open to other users (mode {stat.S_IMODE(mode):04o}); "
        f"close it with: chmod 600 {path}",
    )


# ------------------------------------------------------------------------------- connection URLs


def _url(fields: dict[str, str], secret: str) -> str:
    driver = fields.get("driver", "").removesuffix("://")
    if not driver:
        raise SecretsInvalid(
            f'{secret} is no connection: it has neither "url" nor "driver"',
            'Add url = "…", or driver, host, port, user, password and database',
        )
    if driver in _FILE_DATABASES:
        return f"{driver}://{_database_file(fields, secret)}{_options(fields)}"
    if not fields.get("host"):
        raise SecretsInvalid(f'{secret} is no connection: it has no "host"')
    return f"{driver}://{_authority(fields)}{_database(fields)}{_options(fields)}"


def _database_file(fields: dict[str, str], secret: str) -> str:
    file = fields.get("path") or fields.get("database")
    if not file:
        raise SecretsInvalid(f'{secret} is no connection: it has no "path"')
    return quote(file, safe="/:~")


def _authority(fields: dict[str, str]) -> str:
    host = fields["host"]
    place = f"[{host}]" if ":" in host and not host.startswith("[") else quote(host, safe="\\[]:")
    if fields.get("port"):
        place += f":{quote(fields['port'], safe='')}"
    if "user" not in fields:
        return place
    user = quote(fields["user"], safe="")
    password = f":{quote(fields['password'], safe='')}" if "password" in fields else ""
    return f"{user}{password}@{place}"


def _database(fields: dict[str, str]) -> str:
    database = fields.get("database", "")
    return f"/{quote(database, safe='')}" if database else ""


def _options(fields: dict[str, str]) -> str:
    """Fields that Pit does not know (sslmode, encrypt, …) are options of the driver."""
    others = {name: value for name, value in fields.items() if name not in _URL_FIELDS}
    return f"?{urlencode(others, quote_via=quote)}" if others else ""
