"""One change to the text of a secrets file, which leaves every other byte of it alone.

Comments, order, quoting and line ends stay as they are (tomlkit). Whatever the library makes of
the text is read again by another parser and compared with what should have come out: a text that
cannot be changed without damage is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pit.errors import SecretNotFound, SecretsInvalid
from pit.state.secrets import secretfile
from pit.state.secrets.secretfile import ACL, GLOBAL, Secret

if TYPE_CHECKING:
    from tomlkit.items import Table

_BOM = b"\xef\xbb\xbf"

Change = Callable[[Any], None]
"""Changes a document in place: plain dicts, and tomlkit's tables, which behave like them."""


class Edit:
    """What can be done to one secrets file's text; `path` is for errors."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, plain: bytes, scope: str, key: str, value: Secret) -> bytes:
        """The text with an entry added or replaced; a structured one has at least one field.

        It keeps the fields that stay where they are, with their comments.
        """

        def change(document: Any) -> None:
            table = _table(document, scope)
            old = table.get(key)
            if isinstance(value, dict) and isinstance(old, dict):
                for name, content in value.items():
                    if old.get(name) != content:
                        _set(old, name, content)
                for name in [name for name in old if name not in value]:
                    del old[name]
            elif old != value:
                _set(table, key, value)

        return self._made(plain, change)

    def put_fields(self, plain: bytes, scope: str, key: str, fields: dict[str, str]) -> bytes:
        """The text with some fields of a structured entry set, the others kept."""
        old = self.entries(plain, scope).get(key)
        if isinstance(old, str):
            raise SecretsInvalid(
                f'{self._path}: "{key}" in [{scope}] is a plain value, it has no fields',
                f"Remove it first: pit secrets remove {scope} {key}",
            )
        return self.put(plain, scope, key, {**(old or {}), **fields})

    def remove(self, plain: bytes, scope: str, key: str, fields: Sequence[str] = ()) -> bytes:
        """The text without an entry, or without some of its fields; SecretNotFound if not there.

        With its last field goes the entry, and with an entry of [global] what [acl] says of it.
        """
        old = self.entries(plain, scope).get(key)
        if old is None:
            raise SecretNotFound(key, scope)
        for name in fields:
            if not isinstance(old, dict) or name not in old:
                raise SecretNotFound(key, scope, name)

        goes = not fields or set(fields) >= set(old)

        def change(document: Any) -> None:
            for name in () if goes else dict.fromkeys(fields):
                del document[scope][key][name]
            if goes:
                _drop(document[scope], key)
                if scope == GLOBAL and key in document.get(ACL, {}):
                    del document[ACL][key]

        return self._made(plain, change)

    def restrict(self, plain: bytes, key: str, dags: Sequence[str] | None) -> bytes:
        """The text in which only these DAGs may have an entry of [global]; None: every DAG."""

        def change(document: Any) -> None:
            if dags is not None:
                _set(_table(document, ACL), key, list(dags))
            elif key in document.get(ACL, {}):
                del document[ACL][key]

        return self._made(plain, change)

    def entries(self, plain: bytes, scope: str) -> dict[str, Secret]:
        """The entries of one table, which must be well-formed like the whole text."""
        document = secretfile.parse(self._path, plain)
        return secretfile.structure(self._path, document).scopes.get(scope, {})

    def _made(self, plain: bytes, change: Change) -> bytes:
        wanted = copy.deepcopy(secretfile.parse(self._path, plain))
        change(wanted)
        mark, text = (_BOM, plain[3:]) if plain.startswith(_BOM) else (b"", plain)
        made = _changed(text.decode("utf-8"), change)
        if made is not None:
            try:
                if _filled(secretfile.parse(self._path, made.encode())) == _filled(wanted):
                    return mark + made.encode()
            except SecretsInvalid:
                pass
        raise SecretsInvalid(
            f"{self._path} is written in a way that cannot be changed without damage",
            "Change it by hand: pit secrets edit",
        )


def _filled(document: dict[str, Any]) -> dict[str, Any]:
    """Tables that hold nothing do not count: the last entry's section takes them along."""
    return {scope: entries for scope, entries in document.items() if entries != {}}


def _changed(text: str, change: Change) -> str | None:
    """The text after a change, as tomlkit makes it; None where that fails."""
    import tomlkit

    ended = text if not text or text.endswith("\n") else f"{text}\n"
    try:
        document = tomlkit.parse(ended)
        change(document)
        made = tomlkit.dumps(document)
    except Exception:  # whatever it is, it may quote the text: nothing of it may leave here
        return None
    if made.endswith("\n\n") and not ended.endswith(("\n\n", "\n\r\n")):
        made = made[:-1]
    is_windows = "\r\n" in text and "\n" not in text.replace("\r\n", "")
    return made.replace("\r\n", "\n").replace("\n", "\r\n") if is_windows else made


def _table(document: Any, scope: str) -> Any:
    if scope not in document:
        if type(document) is dict:
            document[scope] = {}
        else:
            _begin_table(document, scope)
    return document[scope]


def _begin_table(document: Any, scope: str) -> None:
    import tomlkit

    table = tomlkit.table()
    if document.body and not document.as_string().endswith("\n\n"):
        document.add(tomlkit.nl())
    document[scope] = table


def _set(table: Any, key: str, value: Secret | list[str]) -> None:
    if type(table) is dict:
        table[key] = value
        return
    from tomlkit.items import Table

    made = _item(value)
    if isinstance(table.get(key), Table):
        _drop(table, key)  # a value cannot stand where a section stood
    if isinstance(table, Table) and key not in table:
        _append(table, key, made)
    else:
        table[key] = made


def _drop(table: Any, key: str) -> None:
    """Removes a key; what stands behind the last line of a section is about what comes next."""
    if type(table) is dict:
        del table[key]
        return
    from tomlkit.items import Table, Whitespace

    old = table[key]
    behind, body = "", []
    if isinstance(table, Table) and isinstance(old, Table) and not old.is_super_table():
        behind = "".join(item.as_string() for _, item in old.value.body[_end(old) :])
        body = table.value.body
    at = next((at for at, (name, _) in enumerate(body) if name is not None and name == key), None)
    del table[key]
    if behind.strip() and at is not None:
        body[at] = (None, Whitespace(behind))


def _end(table: Table) -> int:
    """Where the keys of a table end, and comments and blank lines are all that follows."""
    body = table.value.body
    return next((at + 1 for at in reversed(range(len(body))) if body[at][0] is not None), 0)


def _item(value: Secret | list[str]) -> Any:
    import tomlkit

    if not isinstance(value, dict):
        return tomlkit.item(value)
    made = tomlkit.inline_table()
    made.update(value)
    return made


def _append(table: Table, key: str, item: Any) -> None:
    """Adds a key right below the last one: what follows a blank line is about what comes next."""
    body = table.value.body
    end = _end(table)
    after = next((at for at in range(end, len(body)) if not body[at][1].as_string().strip()), end)
    rest = body[after:]
    del body[after:]
    table[key] = item
    body.extend(rest)
