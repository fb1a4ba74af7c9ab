"""Everything that a task can ask for, by name; a method's module is imported when it is called.

So a run in which nobody asks for anything imports none of this, and one that only reads secrets
no connector. Params are JSON, converted leniently ("3" for 3, as `pit sdk` and old clients send
them); what a method does not know or lacks is named.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import msgspec
from msgspec.structs import FieldInfo, fields

from pit.errors import Refused, nearest
from pit.model import Record
from pit.work.socket.call import Call, Method

_CONNECTORS = "pit.work.connectors"

MODULES: Mapping[str, str] = {
    "get_secret": "pit.work.socket.answers.secrets",
    "get_secret_field": "pit.work.socket.answers.secrets",
    "set_value": "pit.work.socket.answers.task_values",
    "get_value": "pit.work.socket.answers.task_values",
    "saved": "pit.work.socket.answers.task_values",
    "progress": "pit.work.socket.answers.task_values",
    "log": "pit.work.socket.answers.task_values",
    "http_request": f"{_CONNECTORS}.http.methods",
    "s3_list": f"{_CONNECTORS}.s3.methods",
    "s3_head": f"{_CONNECTORS}.s3.methods",
    "s3_get": f"{_CONNECTORS}.s3.methods",
    "s3_put": f"{_CONNECTORS}.s3.methods",
    "s3_delete": f"{_CONNECTORS}.s3.methods",
    "s3_presign": f"{_CONNECTORS}.s3.methods",
    "send_mail": f"{_CONNECTORS}.mail.methods",
    "notify": f"{_CONNECTORS}.notify",
    "ftp_list": f"{_CONNECTORS}.ftp.methods",
    "ftp_wait": f"{_CONNECTORS}.ftp.methods",
    "ftp_get": f"{_CONNECTORS}.ftp.methods",
    "ftp_put": f"{_CONNECTORS}.ftp.methods",
    "ftp_move": f"{_CONNECTORS}.ftp.methods",
    "ftp_delete": f"{_CONNECTORS}.ftp.methods",
    "ftp_download": f"{_CONNECTORS}.ftp.methods",
    "ftp_upload": f"{_CONNECTORS}.ftp.methods",
    "load_data": "pit.work.socket.answers.sql",
    "save_query": "pit.work.socket.answers.sql",
}
"""Where each method is at home."""

_BRIEF = ("pit.work.socket.answers.secrets", "pit.work.socket.answers.task_values")


class Param(Record):
    """One param of a method, for people: its type in words, its default as JSON text."""

    name: str
    type: str
    required: bool
    default: str = ""


class Description(Record):
    """One method for people."""

    name: str
    params: tuple[Param, ...]
    doc: str


def find(name: str) -> Method:
    """The method called `name`; Refused, with the nearest name, if there is none."""
    known = _found.get(name)
    if known is not None:
        return known
    module = MODULES.get(name)
    if module is None:
        near = nearest(name[:60], MODULES)
        raise Refused(
            f'unknown method "{name[:60]}"',
            f'Did you mean "{near}"?' if near else "pit sdk --list shows the methods",
        )
    try:
        with _finding:
            return _found.setdefault(name, _ready(import_module(module).METHODS[name]))
    except (ModuleNotFoundError, KeyError) as error:
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("pit."):
            raise
        raise Refused(f'method "{name}" is not yet supported by this version of Pit') from None


_found: dict[str, Method] = {}
"""The methods that have been asked for. Not `sys.modules`: it has half-imported ones as well."""

_finding = threading.Lock()
"""One thread at a time: many first requests come at once, and each would import and convert."""


def _ready(method: Method) -> Method:
    """A method whose params can be converted by any thread; what that takes is made here."""
    msgspec.json.Decoder(method.params)
    return method


def quick(name: str) -> bool:
    """Whether a method is served without a change of threads; it has been asked for by then."""
    method = _found.get(name)
    return method is not None and method.quick


def brief(name: str) -> bool:
    """Whether a method waits for the store at most, and so for nobody who talks to others."""
    return MODULES.get(name) in _BRIEF


def serve(call: Call, name: str, params: msgspec.Raw) -> Any:
    """Serve a request; PitError says what the caller should read."""
    method = find(name)
    return method.serve(call, converted(name, method.params, params))


def converted(name: str, wanted: type[Record], raw: msgspec.Raw) -> Record:
    """A request's params as the method wants them; Refused names what is unknown or missing."""
    try:
        given = msgspec.json.decode(raw) or {}
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise Refused(f"{name}: params: {str(error)[:200]}") from None
    if not isinstance(given, dict):
        raise Refused(f"{name}: params must be an object, not {type(given).__name__}")
    _check_names(name, fields(wanted), given)
    try:
        return msgspec.convert(given, wanted, strict=False)
    except (msgspec.ValidationError, UnicodeError, ValueError, OverflowError) as error:
        raise Refused(f"{name}: {str(error).replace('$.', '')[:200]}") from None


def _check_names(name: str, wanted: tuple[FieldInfo, ...], given: dict[str, Any]) -> None:
    known = [field.encode_name for field in wanted]
    for key in given:
        if key not in known:
            near = nearest(key[:60], known)
            hint = f'Did you mean "{near}"?' if near else f"It takes: {', '.join(known) or 'none'}"
            raise Refused(f'{name}: unknown parameter "{key[:60]}"', hint)
    missing = [field.encode_name for field in wanted if field.required]
    for key in missing:
        if key not in given:
            raise Refused(f"{name}: missing required parameter: {key}")


# ---------------------------------------------------------------- for people


def described() -> Iterator[Description]:
    """Every method that this installation can serve, in the order of the table."""
    for name in MODULES:
        with suppress(Refused):
            yield describe(name)


def describe(name: str) -> Description:
    """One method; Refused if there is none of this name."""
    method = find(name)
    return Description(
        name=name,
        params=tuple(_param(field) for field in fields(method.params)),
        doc=method.doc or (method.serve.__doc__ or "").strip().split("\n")[0],
    )


def _param(field: FieldInfo) -> Param:
    default = ""
    if not field.required:
        made = field.default_factory is not msgspec.NODEFAULT
        value = field.default_factory() if made else field.default
        if value is not msgspec.UNSET:
            default = msgspec.json.encode(value).decode()
    kind = getattr(field.type, "__name__", None)
    words = kind if kind and not hasattr(field.type, "__args__") else str(field.type)
    return Param(name=field.encode_name, type=words, required=field.required, default=default)
