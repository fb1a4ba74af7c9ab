"""The secrets of a run: one file, plain or encrypted, read whole, its values never shown.

The file is TOML with one table per DAG and `[global]`. A value is a string, or a table of strings
(structured: the fields of a connection). A DAG's own table is looked at first, then `[global]`,
whose entries `[acl]` may narrow to named DAGs. No error, warning or representation has a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

from pit.errors import SecretNotFound, SecretRefused, SecretsInvalid
from pit.model import WorkspaceConfig
from pit.state.secrets import secretfile
from pit.state.secrets.identities import Ask, Source
from pit.state.secrets.secretfile import ACL, GLOBAL, Secret

_FILE_DATABASES = frozenset({"duckdb", "sqlite"})
_URL_FIELDS = frozenset(
    {"url", "driver", "host", "port", "user", "password", "database", "path", "schema"}
)


class Secrets:
    """What one secrets file holds, and `warnings` about the file and the key that opened it."""

    __slots__ = ("_acl", "_scopes", "path", "warnings")

    def __init__(
        self,
        path: Path,
        scopes: Mapping[str, dict[str, Secret]],
        acl: Mapping[str, tuple[str, ...]] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self.warnings = warnings
        self._scopes = scopes
        self._acl = acl or {}

    def __repr__(self) -> str:
        return f"Secrets({str(self.path)!r})"

    @classmethod
    def load(cls, path: Path, identity: Source | None = None) -> Secrets:
        """Reads a secrets file; SecretsError says what is wrong with it, or with the key to it."""
        content = secretfile.read(path, identity or Source())
        found = secretfile.structure(path, secretfile.parse(path, content.plain))
        return cls(path, found.scopes, found.acl, content.warnings)

    @classmethod
    def of(cls, config: WorkspaceConfig, ask: Ask | None = None) -> Secrets | None:
        """Those of a workspace, or of the command line; None where no file is named.

        `ask` is asked for a passphrase if one is needed; without it that is an error.
        """
        if config.secrets_file is None:
            return None
        return cls.load(config.secrets_file, Source.of(config, ask))

    @property
    def scopes(self) -> tuple[str, ...]:
        """`global` and the DAGs that have a table of their own, in the order of the file."""
        return tuple(self._scopes)

    @property
    def acl(self) -> Mapping[str, tuple[str, ...]]:
        """The [global] entries that only named DAGs may have."""
        return self._acl

    def entries(self, scope: str) -> Mapping[str, Secret]:
        """All that one table holds, values included, in the order of the file."""
        return self._scopes.get(scope, {})

    def names(self, dag: str) -> tuple[str, ...]:
        """The names of the secrets that a DAG can read."""
        shared = (key for key in self._scopes.get(GLOBAL, {}) if self._may(dag, key))
        return tuple(sorted({*self._scopes.get(dag, {}), *shared}))

    def _may(self, dag: str, key: str) -> bool:
        return key not in self._acl or dag in self._acl[key]

    def resolve(self, dag: str, key: str) -> Secret:
        """The value of a secret for a DAG: its own before the global one.

        SecretNotFound if there is none; SecretRefused if [acl] keeps the global one from this DAG.
        """
        for scope in (dag, GLOBAL):
            value = self._scopes.get(scope, {}).get(key)
            if value is None:
                continue
            if scope == GLOBAL and not self._may(dag, key):
                raise SecretRefused(
                    key,
                    f'secret "{key}" is not for DAG "{dag}": [{ACL}] names others',
                    f'Add "{dag}" to {key} under [{ACL}] in the secrets file, if it should have it',
                )
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


# ------------------------------------------------------------------------------- connection URLs


_ALSO = {
    "server": "host",
    "hostname": "host",
    "uid": "user",
    "username": "user",
    "pwd": "password",
    "dbname": "database",
}
"""What fields are called elsewhere, where they mean the same."""


def _url(fields: dict[str, str], secret: str) -> str:
    fields = {_known(name, fields): value for name, value in fields.items()}
    driver = fields.get("driver", "").removesuffix("://")
    if not driver:
        raise SecretsInvalid(
            f'{secret} is not a connection: it has neither "url" nor "driver"',
            'Add url = "…", or driver, host, port, user, password and database',
        )
    if driver in _FILE_DATABASES:
        return f"{driver}://{_database_file(fields, secret)}{_options(fields)}"
    if not fields.get("host") and driver != "odbc":  # whose driver may need none
        raise SecretsInvalid(f'{secret} is not a connection: it has no "host"')
    return f"{driver}://{_authority(fields)}{_database(fields)}{_options(fields)}"


def _known(name: str, fields: dict[str, str]) -> str:
    """The name of a field as Pit knows it, unless that is another field."""
    own = _ALSO.get(name.lower(), name)
    return name if own in fields else own


def _database_file(fields: dict[str, str], secret: str) -> str:
    file = fields.get("path") or fields.get("database")
    if not file:
        raise SecretsInvalid(f'{secret} is not a connection: it has no "path"')
    return quote(file, safe="/:~")


def _authority(fields: dict[str, str]) -> str:
    host = fields.get("host", "")
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
