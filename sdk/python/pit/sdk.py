"""What a task says to Pit: `from pit.sdk import get_secret, read_input, write_output, progress`.

Standard library alone, Python 3.8 or later; pyarrow, polars, pandas and duckdb are used where the
task's environment has them. Requests go over the Unix socket that PIT_SOCKET names, one connection
each, so that threads and forks need no care; where hundreds come at once, most wait for their turn.
sdk/PROTOCOL.md says what is spoken there. Files lie in the folder that PIT_DATA_DIR names, which
all tasks of a run share.

PitSDKError (a RuntimeError)
├── OutsideTask      the script was started by hand, and asks for what only Pit has
├── RequestFailed    Pit answered, and says why it could not do it
├── Unreachable      Pit does not answer: the run has ended
├── NotJSON          what was to be sent holds what JSON has not, such as NaN or a set
├── LibraryMissing   no library that reads or writes Parquet is installed
├── InputMissing     no task has written this output
└── BadName          a name leads out of the data folder, or is no name
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

TYPE_CHECKING = False  # that of `typing` would cost each task some milliseconds
if TYPE_CHECKING:
    from typing import Any, Iterator, Mapping, Sequence

__all__ = [
    "BadName", "InputMissing", "LibraryMissing", "NotJSON", "OutsideTask", "PitSDKError",
    "RequestFailed", "Unreachable", "ask", "call", "data_dir", "ftp_delete", "ftp_download",
    "ftp_get", "ftp_list", "ftp_move", "ftp_put", "ftp_upload", "ftp_wait", "get_secret",
    "get_secret_field", "get_value", "http_request", "load_data", "log", "notify", "output_sql",
    "progress", "read_input", "read_sql", "s3_delete", "s3_get", "s3_head", "s3_list",
    "s3_presign", "s3_put", "saved", "send_mail", "set_value", "write_output",
]  # fmt: skip


# ---------------------------------------------------------------- errors


class PitSDKError(RuntimeError):
    """Base of all errors of this module."""


class OutsideTask(PitSDKError):
    """The script was started by hand, and asks for what only Pit has."""


class RequestFailed(PitSDKError):
    """Pit could not do what was asked; the text is its answer."""

    def __init__(self, method: str, answer: str) -> None:
        told = answer.startswith((method, "unknown method"))
        super().__init__(answer if told else f"{method}: {answer}")
        self.method, self.answer = method, answer


class Unreachable(PitSDKError):
    """Nobody answers on the socket, or not in time."""


class NotJSON(PitSDKError):
    """What was to be sent holds what JSON has not; the text says where, and what to do."""


class LibraryMissing(PitSDKError):
    """None of the libraries that could do it is installed."""


class InputMissing(PitSDKError):
    """There is no output of this name in the data folder."""


class BadName(PitSDKError):
    """What was given as the name of an output is none, or leads out of the data folder."""


# ---------------------------------------------------------------- the socket


def call(method: str, /, **params: Any) -> str:
    """Ask Pit for something and return its answer; params that are None are left out.

    The functions below are made of this; sdk/PROTOCOL.md lists the methods.
    """
    return ask(method, {name: value for name, value in params.items() if value is not None})


def ask(method: str, params: Mapping[str, Any]) -> str:
    """The same with the params as they are to be sent."""
    place = os.environ.get("PIT_SOCKET")
    if not place:
        raise OutsideTask(
            f"{method} asks Pit, and this script was started without it (PIT_SOCKET is not set). "
            "Run it as a task: pit run DAG/TASK"
        )
    given = ", ".join(f"{json.dumps(name)}: {_json(method, name, params[name])}" for name in params)
    request = f'{{"method": {json.dumps(method)}, "params": {{{given}}}}}\n'.encode()
    from pit import sdk_turns

    with sdk_turns.quick if method in _PATIENCE else sdk_turns.long:
        answer = _admitted(method, place, request)
    if answer.get("error"):
        raise RequestFailed(method, answer["error"])
    return answer["result"]


def _admitted(method: str, place: str, request: bytes) -> dict[str, str]:
    """The answer to a request, once there is room for it among those of the task's other processes.

    Nothing of it was read where there was none. Room comes, for each request has an end; and how
    long all may take, the task's time-out says.
    """
    pause = 0.02
    while True:
        answer = _answer(method, place, request)
        if not answer.get("error", "").startswith(_BUSY):
            return answer
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)


def _answer(method: str, place: str, request: bytes) -> dict[str, str]:
    try:
        answer: dict[str, str] = json.loads(_exchanged(place, request, _PATIENCE.get(method)))
    except socket.timeout:
        raise Unreachable(f"{method}: Pit did not answer in time") from None
    except (OSError, ValueError) as error:
        why = f"{method}: Pit does not answer ({error}); has the run ended?"
        raise Unreachable(why) from None
    return answer


def _exchanged(place: str, request: bytes, patience: float | None) -> bytes:
    """One line there, one line back. `patience`: seconds, None for as long as it takes.

    Pit's own limits and the task's time-out end what takes too long; the end of Pit is noticed
    at once.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(place)
        connection.settimeout(patience)
        with suppress(BrokenPipeError):  # refused before it was read: the answer says why
            connection.sendall(request)
        pieces: list[bytes] = []
        while not pieces or not pieces[-1].endswith(b"\n"):
            piece = connection.recv(65536)
            if not piece:
                raise OSError("it hung up")
            pieces.append(piece)
    return b"".join(pieces)


_BUSY = "too many connections"
_LONGEST_PAUSE = 0.25
_PATIENCE = dict.fromkeys(
    ("get_secret", "get_secret_field", "set_value", "get_value", "saved", "progress", "log"), 60.0
)
"""Seconds for an answer to what takes no time; other methods know limits of their own."""


# ---------------------------------------------------------------- JSON


def _json(who: str, name: str, value: Any) -> str:
    """A value as JSON; NotJSON says what in it cannot be."""
    try:
        text = json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        from pit import sdk_json

        why = sdk_json.objection(name, value) or f"{name}: {error}"
        raise NotJSON(f"{who}: {why}") from None
    return text


def _plain(value: Any) -> Any:
    """What JSON knows for paths, dates, times, and for the numbers and arrays of numpy."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__name__ != "NaTType":  # that of pandas has an isoformat, which is none
        for name in ("isoformat", "tolist"):
            if hasattr(value, name):
                return getattr(value, name)()
    raise TypeError(f"{type(value).__name__} is not JSON")


# ---------------------------------------------------------------- secrets


def get_secret(key: str) -> str:
    """A secret's value; the fields of a structured one as a JSON object."""
    return call("get_secret", key=key)


def get_secret_field(secret: str, field: str) -> str:
    """One field of a structured secret."""
    return call("get_secret_field", secret=secret, field=field)


# ---------------------------------------------------------------- small facts


_UNSET: Any = object()


def set_value(name: str, value: Any) -> None:
    """Keep a small fact (JSON of up to 64 kB) for the tasks downstream and for `pit status`.

    By hand it is shown, and kept nowhere.
    """
    if _by_hand():
        _say(f"[value] {name} = {_json('set_value', 'value', value)}")
    else:
        ask("set_value", {"name": name, "value": value})


def get_value(name: str, task: str | None = None, default: Any = _UNSET) -> Any:
    """A fact that `task` has set; without `task`, any one that this task depends on.

    One that nobody has set is an error, unless there is a default.
    """
    asked = {"name": name} if task is None else {"name": name, "task": task}
    if default is _UNSET:
        return json.loads(ask("get_value", asked))
    return default if _by_hand() else json.loads(ask("get_value", {**asked, "default": default}))


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Show how far this task is, such as `progress(3, 10, "march.csv")`; by hand, do nothing."""
    if not _by_hand():
        call("progress", done=done, total=total, message=message)


def log(level: str, message: str, **fields: Any) -> None:
    """Write a line to the task's log that programs can read too: `pit run --json` has its fields.

    Levels are debug, info, warning and error. By hand the line goes to standard error.
    """
    message, plain = _text(message), _loggable(fields)
    if _by_hand():
        told = "".join(f"  {name}={value}" for name, value in plain.items())
        _say(f"[{level}] {message}{told}")
        return
    call("log", level=level, message=message, fields=plain)


def _loggable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON has them; what it has not becomes text, for logging must not end a task."""
    try:
        made = json.dumps(fields, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        told = {name: str(value) for name, value in fields.items()}
        made = json.dumps(told, ensure_ascii=False)
    plain: dict[str, Any] = json.loads(_text(made), parse_constant=str)
    return plain


def _text(value: Any) -> str:
    return str(value).encode(errors="replace").decode()


def _by_hand() -> bool:
    return not os.environ.get("PIT_SOCKET")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- files that tasks share


def data_dir() -> Path:
    """The folder for files of this run, which all its tasks share."""
    folder = os.environ.get("PIT_DATA_DIR")
    if not folder:
        script = os.path.relpath(sys.argv[0]) if sys.argv[0] else "SCRIPT"
        raise OutsideTask(
            "no data folder: PIT_DATA_DIR is not set. Run this script as a task: "
            f"pit run DAG/TASK; or by hand with a folder: PIT_DATA_DIR=data python {script}"
        )
    return Path(folder)


def write_output(name: str, data: Any) -> Path:
    """Write a table to `<name>.parquet` in the data folder, whole or not at all.

    `data`: a table, batch or reader of Arrow, a frame of pandas or polars, a relation of DuckDB, or
    rows as a list of dicts. Types are kept as the library has them, decimals included.
    """
    from pit import sdk_tables

    target = _place(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(target) as temporary:
        sdk_tables.write(data, temporary)
    saved(target)
    return target


def saved(file: str | os.PathLike[str]) -> None:
    """Say that a file of the data folder is for other tasks: it is there for them even when this
    task is skipped. What `write_output` and `output_sql` write is so already; by hand, do nothing.
    """
    if not _by_hand():
        call("saved", file=file)


def read_input(name: str, *, return_type: str | None = None) -> Any:
    """Read a table that a task has written with `write_output`.

    `return_type`: "arrow", "polars", "pandas", "duckdb", or "rows" for a list of dicts; if absent
    the first of these libraries that is installed.
    """
    from pit import sdk_tables

    source = _place(name)
    if not source.is_file():
        there = sorted(path.stem for path in data_dir().glob("[!.]*.parquet"))
        raise InputMissing(
            f'there is no output "{name}" in {data_dir()}; has the task that writes it run? '
            f"There is: {', '.join(there) or 'nothing'}"
        )
    return sdk_tables.read(source, return_type)


def load_data(
    name: str,
    table: str,
    connection: str,
    *,
    schema: str | None = None,
    mode: str = "append",
    key: Sequence[str] | None = None,
) -> str:
    """Load an output into a table of a database, all of it or nothing; says how many rows.

    `connection` is the name of a secret. `mode` is append, truncate_and_load, create_or_replace,
    or upsert by the columns of `key`.
    """
    file = name if name.endswith(_LOADABLE) else name + ".parquet"
    given = {"file": file, "table": table, "connection": connection, "mode": mode}
    return call("load_data", **given, schema=schema, key=list(key) if key else None)


def read_sql(conn: str, query: str, *, return_type: str | None = None) -> Any:
    """The result of a query on a connection; `return_type` as for `read_input`.

    Pit runs the query, so that neither drivers nor the password are needed here. `conn` is the name
    of a secret.
    """
    from pit import sdk_tables

    sdk_tables.check(return_type)
    file = data_dir() / f".pit-query-{os.urandom(6).hex()}.parquet"
    _save_query(conn, query, file.name)
    try:
        return sdk_tables.read(file, return_type)
    finally:
        if return_type != "duckdb":  # a relation reads when it is asked
            file.unlink()


def output_sql(conn: str, query: str, name: str) -> Path:
    """Write the result of a query to `<name>.parquet` in the data folder, without reading it."""
    target = _place(name)
    _save_query(conn, query, str(target.relative_to(data_dir())))
    saved(target)
    return target


def _save_query(conn: str, query: str, file: str) -> None:
    if "://" in conn:
        raise BadName("a connection is the name of a secret, not a URL")
    call("save_query", connection=conn, query=query, file=file)


_LOADABLE = (".parquet", ".csv", ".csv.gz", ".json", ".jsonl", ".ndjson")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def _place(name: str) -> Path:
    """Where the output of this name lies, below the data folder whatever links say."""
    stem = name[: -len(".parquet")] if name.endswith(".parquet") else name
    if not _NAME.fullmatch(stem):
        raise BadName(
            f'"{name}" is not a valid name for an output: write only letters, digits and _ . -'
        )
    folder = data_dir()
    path = folder / (stem + ".parquet")
    if folder.resolve() not in path.resolve().parents:
        raise BadName(f'"{name}" leads out of the data folder')
    return path


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A temporary file that takes the target's place when the block ends well."""
    temporary = target.with_name(f".pit-{os.urandom(6).hex()}.parquet")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        if temporary.exists():
            temporary.unlink()


# ---------------------------------------------------------------- connectors
# Pit talks to the other side, with credentials that this process never sees: `secret` is always
# the name of a secret, files are those of the data folder, and None leaves the choice to Pit.


def http_request(
    url: str,
    method: str = "GET",
    *,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, Any] | None = None,
    json: Any = None,
    body: str | None = None,
    file: str | os.PathLike[str] | None = None,
    form: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    save_to: str | None = None,
    secret: str | None = None,
    auth: str | None = None,
    timeout: float | str | None = None,
    max_time: float | str | None = None,
    retries: int | None = None,
    retry_delay: float | str | None = None,
    retry_max_delay: float | str | None = None,
    retry_unsafe: bool | None = None,
    follow_redirects: bool | None = None,
    expect: int | Sequence[int] | str | None = None,
    ca: str | None = None,
    verify: bool | None = None,
) -> dict[str, Any]:
    """Send a request: `status`, `headers`, and `json`, `body`, `base64` or `file` of the answer.

    What is sent is one of `json`, `body` (text), `file`, `form` and `files`; `save_to` names the
    file that the answer is written to.
    """
    answer: dict[str, Any] = _decoded("http_request", locals())
    if "file" in answer:
        answer["file"] = data_dir() / answer["file"]
    return answer


def s3_list(
    secret: str,
    prefix: str | None = None,
    pattern: str | None = None,
    *,
    limit: int | None = None,
    bucket: str | None = None,
    timeout: float | str | None = None,
    max_time: float | str | None = None,
    retries: int | None = None,
) -> list[dict[str, Any]]:
    """The objects below a prefix, each with its key, size, etag and time of change."""
    objects: list[dict[str, Any]] = _decoded("s3_list", locals())
    return objects


def s3_head(
    secret: str,
    key: str,
    *,
    missing_ok: bool | None = None,
    bucket: str | None = None,
    timeout: float | str | None = None,
    max_time: float | str | None = None,
    retries: int | None = None,
) -> dict[str, Any] | None:
    """Key, size, etag and time of change of an object; with `missing_ok` None if it is absent."""
    answer = call("s3_head", **locals())
    return json.loads(answer) if answer else None


def s3_get(
    secret: str,
    key: str | None = None,
    file: str | None = None,
    *,
    prefix: str | None = None,
    pattern: str | None = None,
    folder: str | None = None,
    bucket: str | None = None,
    timeout: float | str | None = None,
    max_time: float | str | None = None,
    retries: int | None = None,
) -> Any:
    """Fetch an object into the data folder, or all below a prefix: a Path, or a list of them."""
    got = _decoded("s3_get", locals())
    if isinstance(got, dict):
        return data_dir() / got["file"]
    return [data_dir() / each["file"] for each in got]


def s3_put(
    secret: str,
    file: str | os.PathLike[str],
    key: str | None = None,
    *,
    content_type: str | None = None,
    metadata: Mapping[str, str] | None = None,
    bucket: str | None = None,
    timeout: float | str | None = None,
    max_time: float | str | None = None,
    retries: int | None = None,
) -> dict[str, Any]:
    """Send a file of the data folder to an object: its `bucket`, `key`, `size` and `etag`."""
    sent: dict[str, Any] = _decoded("s3_put", locals())
    return sent


def s3_delete(
    secret: str,
    key: str,
    *,
    bucket: str | None = None,
    timeout: float | str | None = None,
    max_time: float | str | None = None,
    retries: int | None = None,
) -> None:
    """Delete an object; it is no error if there is none."""
    call("s3_delete", **locals())


def s3_presign(
    secret: str,
    key: str,
    *,
    method: str | None = None,
    expires: float | str | None = None,
    bucket: str | None = None,
    timeout: float | str | None = None,
    max_time: float | str | None = None,
    retries: int | None = None,
) -> str:
    """A URL with which anybody may get (or put, by `method`) the object for a while."""
    return call("s3_presign", **locals())


def send_mail(
    secret: str,
    to: str | Sequence[str],
    subject: str,
    text: str | None = None,
    *,
    html: str | None = None,
    cc: str | Sequence[str] | None = None,
    bcc: str | Sequence[str] | None = None,
    reply_to: str | Sequence[str] | None = None,
    attachments: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    sender: str | None = None,
    retries: int | None = None,
) -> dict[str, Any]:
    """Send a mail: its `message_id`, the addresses `accepted`, and those `refused`, with why."""
    params = locals()
    params["from"] = params.pop("sender")
    mail: dict[str, Any] = _decoded("send_mail", params)
    return mail


def notify(
    secret: str,
    body: str,
    title: str | None = None,
    *,
    format: str | None = None,
    severity: str | None = None,
    attachments: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
) -> dict[str, Any]:
    """Tell people by chat or push: the services that have `sent` it, and that `failed`.

    `format` is text, markdown or html, `severity` info, success, warning or failure.
    """
    told: dict[str, Any] = _decoded("notify", locals())
    return told


def ftp_list(
    secret: str,
    directory: str | None = None,
    pattern: str = "*",
    *,
    details: bool | None = None,
    retries: int | None = None,
) -> list[Any]:
    """The names of files in a folder; with `details` a dict of name, path, size, modified."""
    files: list[Any] = _decoded("ftp_list", locals())
    return files


def ftp_wait(
    secret: str,
    directory: str | None = None,
    pattern: str = "*",
    *,
    stable: float | str | None = None,
    timeout: float | str | None = None,
    at_least: int | None = None,
    details: bool | None = None,
) -> list[Any]:
    """Wait until so many files are there and have not changed for as long as `stable`."""
    files: list[Any] = _decoded("ftp_wait", locals())
    return files


def ftp_get(
    secret: str,
    path: str | None = None,
    *,
    directory: str | None = None,
    pattern: str | None = None,
    to: str | None = None,
    retries: int | None = None,
) -> list[Path]:
    """Fetch a file, or those of a folder that match, into the data folder (or `to` in it)."""
    return [Path(file) for file in _decoded("ftp_get", locals())]


def ftp_put(
    secret: str,
    file: str | os.PathLike[str],
    path: str,
    *,
    parents: bool | None = None,
    direct: bool | None = None,
    retries: int | None = None,
) -> dict[str, Any]:
    """Send a file of the data folder: its `path` on the server and its `size`."""
    sent: dict[str, Any] = _decoded("ftp_put", locals())
    return sent


def ftp_move(secret: str, src: str, dst: str, *, retries: int | None = None) -> None:
    """Rename a file on the server."""
    call("ftp_move", **locals())


def ftp_delete(secret: str, path: str, *, retries: int | None = None) -> None:
    """Delete a file on the server."""
    call("ftp_delete", **locals())


def ftp_download(secret: str, remote_path: str, *, pattern: str | None = None) -> list[str]:
    """As `ftp_get`, as older scripts call it: with a pattern `remote_path` is the folder."""
    if pattern is None:
        return [str(path) for path in ftp_get(secret, remote_path)]
    return [str(path) for path in ftp_get(secret, directory=remote_path, pattern=pattern)]


def ftp_upload(secret: str, local_name: str, remote_path: str) -> None:
    """As `ftp_put`, as older scripts call it."""
    ftp_put(secret, local_name, remote_path)


def _decoded(method: str, params: Mapping[str, Any]) -> Any:
    """The answer of a method that answers in JSON; params that are None are left out."""
    return json.loads(call(method, **params))
