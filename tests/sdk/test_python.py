"""The Python SDK at its edges: by hand, and with a server that misbehaves."""

from __future__ import annotations

import ast
import datetime as dt
import inspect
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pandas
import pytest

from pit import sdk
from pit.work import bundled
from pit.work.socket import methods

Answers = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """A socket that gives these answers, one a connection; returns the requests that it gets."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    monkeypatch.setenv("PIT_SOCKET", str(tmp_path / "s"))
    threads: list[threading.Thread] = []

    def answers(*lines: bytes) -> list[dict[str, Any]]:
        got: list[dict[str, Any]] = []

        def serve() -> None:
            for line in lines:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as file:
                    got.append(json.loads(file.readline()))
                    connection.sendall(line)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return got

    yield answers
    for thread in threads:
        thread.join(30)
    listener.close()


def done(result: str) -> bytes:
    return json.dumps({"result": result}).encode() + b"\n"


def failed(error: str) -> bytes:
    return json.dumps({"result": "", "error": error}).encode() + b"\n"


# ---------------------------------------------------------------- what is said


def test_params_that_are_none_are_left_out_and_plain_things_become_json(answers: Answers) -> None:
    got = answers(done("[]"), done(""))
    assert sdk.ftp_list("server", "in") == []
    value = {"n": numpy.int64(3), "day": dt.date(2026, 1, 31), "file": Path("a")}
    sdk.set_value("facts", value)
    assert got == [
        {"method": "ftp_list", "params": {"secret": "server", "directory": "in", "pattern": "*"}},
        {
            "method": "set_value",
            "params": {"name": "facts", "value": {"n": 3, "day": "2026-01-31", "file": "a"}},
        },
    ]


def test_null_is_a_value(answers: Answers) -> None:
    got = answers(done(""), done("null"))
    sdk.set_value("nothing", None)
    assert sdk.get_value("nothing", default=3) is None
    assert got[0]["params"] == {"name": "nothing", "value": None}
    assert got[1]["params"] == {"name": "nothing", "default": 3}


_ITSELF: list[Any] = []
_ITSELF.append(_ITSELF)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({1}, "value is a set, which JSON has not; write sorted"),
        (float("nan"), "value is nan, which JSON has not; write None"),
        ({"a": [1.0, {"b": numpy.float64("inf")}]}, r"value\['a'\]\[1\]\['b'\] is inf"),
        (numpy.array([1.0, float("nan")]), r"value\[1\] is nan"),
        (Decimal("1.50"), "value is a Decimal, which JSON has not; write str"),
        (dt.timedelta(1), "value is a timedelta, which JSON has not; write x.total_seconds"),
        (pandas.NaT, "value is a NaTType, which JSON has not; write None"),
        (pandas.DataFrame({"a": [1]}), "value is a DataFrame, .*; write write_output"),
        ({"by": {numpy.int64(1): 2}}, r"a key of value\['by'\] is a int64; write str\(key\)"),
        (b"hunter22", "value is a bytes"),
        ("caf\udce9", "value is not valid text"),
        (_ITSELF, "or holds itself"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("socket", ["/nowhere", ""])
def test_what_is_no_json_is_refused_before_it_is_sent(
    value: Any, told: str, socket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIT_SOCKET", socket)
    with pytest.raises(sdk.NotJSON, match=f"^set_value: .*{told}") as error:
        sdk.set_value("x", value)
    assert "hunter22" not in str(error.value)


def test_arrays_and_series_are_lists(answers: Answers) -> None:
    got = answers(done(""))
    one, day = numpy.arange(1), numpy.datetime64("2026-01-31")
    sdk.set_value("x", [one, pandas.Series([1, 2]), day, pandas.Timestamp("2026-01-31")])
    wanted = [[0], [1, 2], "2026-01-31", "2026-01-31T00:00:00"]
    assert got[0]["params"]["value"] == wanted


def test_logging_never_ends_a_task(answers: Answers) -> None:
    got = answers(done(""), done(""))
    sdk.log("info", 5, rate=float("nan"), bad="caf\udce9", when=dt.date(2026, 1, 31))  # type: ignore[arg-type]
    sdk.log("info", "again", itself=_ITSELF, keys={numpy.int64(1): 2})
    fields = {"rate": "NaN", "bad": "caf?", "when": "2026-01-31"}
    assert got[0]["params"] == {"level": "info", "message": "5", "fields": fields}
    assert got[1]["params"]["fields"] == {"itself": "[[...]]", "keys": str({numpy.int64(1): 2})}


# ---------------------------------------------------------------- what goes wrong


def test_an_answer_that_says_no_is_an_error_with_its_text(answers: Answers) -> None:
    answers(failed('secret "x" not found for DAG "sales"'))
    with pytest.raises(sdk.RequestFailed, match='get_secret: secret "x" not found') as told:
        sdk.get_secret("x")
    assert told.value.method == "get_secret"
    assert isinstance(told.value, RuntimeError)


@pytest.mark.parametrize("line", [b"", b"{", b'{"result": "x"', b"\xff\n"])
def test_half_an_answer_is_none(answers: Answers, line: bytes) -> None:
    answers(line)
    with pytest.raises(sdk.Unreachable, match="has the run ended"):
        sdk.get_secret("x")


def test_a_crowd_waits_for_its_turn(answers: Answers) -> None:
    busy = failed("too many connections at once: a task may have 64")
    got = answers(busy, busy, done("secret"))
    assert sdk.get_secret("x") == "secret"
    assert len(got) == 3


def test_a_server_that_says_nothing_is_given_up(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(tmp_path / "silent"))
    silent.listen()
    monkeypatch.setenv("PIT_SOCKET", str(tmp_path / "silent"))
    monkeypatch.setitem(sdk._PATIENCE, "get_secret", 0.05)
    with silent, pytest.raises(sdk.Unreachable, match="did not answer in time"):
        sdk.get_secret("x")


def test_a_run_that_is_over_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIT_SOCKET", str(tmp_path / "gone"))
    with pytest.raises(sdk.Unreachable, match="has the run ended"):
        sdk.progress(1, 2)


# ---------------------------------------------------------------- by hand


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIT_SOCKET", raising=False)
    monkeypatch.delenv("PIT_DATA_DIR", raising=False)


@pytest.mark.usefixtures("by_hand")
def test_by_hand_a_script_goes_on_where_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    sdk.progress(1, 2, "half")
    sdk.log("warning", "late", count=2, day=dt.date(2026, 1, 31))
    sdk.set_value("rows", 3)
    assert sdk.get_value("rows", default=0) == 0
    assert capsys.readouterr().err == "[warning] late  count=2  day=2026-01-31\n[value] rows = 3\n"


@pytest.mark.usefixtures("by_hand")
def test_by_hand_what_only_pit_has_is_an_error_that_says_how() -> None:
    for ask in (
        lambda: sdk.get_secret("x"),
        lambda: sdk.get_value("x"),
        lambda: sdk.http_request("http://127.0.0.1/"),
        lambda: sdk.notify("team", "hello"),
    ):
        with pytest.raises(sdk.OutsideTask, match=r"PIT_SOCKET is not set\). Run it as a task: "):
            ask()


def test_a_url_is_no_connection_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIT_DATA_DIR", str(tmp_path))
    with pytest.raises(sdk.BadName) as told:
        sdk.output_sql("postgres://u:hunter2@h/db", "select 1", "x")
    assert "hunter2" not in str(told.value)


# ---------------------------------------------------------------- its form


def parameters(function: Callable[..., object]) -> dict[str, bool]:
    """The parameters of a function, and whether each is required."""
    found = inspect.signature(function).parameters.values()
    return {p.name: p.default is inspect.Parameter.empty for p in found}


CONNECTORS = [name for name in methods.MODULES if name.startswith(("http", "s3", "ftp", "send"))]


@pytest.mark.parametrize("name", [*CONNECTORS, "notify", "progress", "log", "set_value"])
def test_each_function_takes_what_its_method_takes(name: str) -> None:
    method = methods.find(name)
    wanted = {field.encode_name for field in msgspec.structs.fields(method.params)}
    own = parameters(getattr(sdk, name))
    renamed = {"sender": "from"} if name == "send_mail" else {}
    taken = {renamed.get(parameter, parameter) for parameter in own}
    if name == "ftp_download":
        wanted -= {"directory"}  # as it was called before: remote_path is the folder
    assert taken == wanted


def test_every_method_has_a_function() -> None:
    assert set(methods.MODULES) - set(sdk.__all__) <= {"save_query"}  # read_sql, output_sql


def test_all_is_what_is_public() -> None:
    public = {
        name
        for name, value in vars(sdk).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == "pit.sdk"
    }
    assert set(sdk.__all__) == public


SOURCES = sorted((bundled.SDK / "python").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_it_is_plain_python_3_8_on_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    imported = {
        alias.name.partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
    }
    assert imported <= {*sys.stdlib_module_names, "pit"}


def test_importing_it_loads_no_library_and_no_typing() -> None:
    code = "import sys, pit.sdk; print(*sorted(sys.modules))"
    argv = [sys.executable, "-S", "-c", code]
    env = {"PYTHONPATH": bundled.PYTHON}
    loaded = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
    assert not {"pyarrow", "pandas", "polars", "duckdb", "msgspec", "asyncio"} & {*loaded.split()}


def test_the_one_line() -> None:
    line = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'
    assert (bundled.SDK / "python" / "pit" / "__init__.py").read_text() == line


def test_older_names_are_there() -> None:
    code = """
import pit.sdk as sdk, pit_sdk, pit_sdk.data, pit_sdk.db, pit_sdk.ftp, pit_sdk.secret
assert pit_sdk.get_secret is pit_sdk.secret.get_secret is sdk.get_secret
assert pit_sdk.db.read_sql is sdk.read_sql
assert pit_sdk.data.load_data is sdk.load_data
assert pit_sdk.ftp.ftp_download is sdk.ftp_download
"""
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": bundled.PYTHON}, check=True)
