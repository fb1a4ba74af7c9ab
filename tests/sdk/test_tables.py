"""write_output and read_input: each library writes what each other reads, decimals included."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow
import pytest

from pit import sdk

ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "name": "Ærø",
        "price": Decimal("12.50"),
        "day": dt.date(1677, 1, 2),
        "at": dt.datetime(2026, 1, 31, 6, 30, 0, 123456),
        "tags": ["a", "b"],
        "ok": True,
    },
    {"id": 2, "name": None, "price": None, "day": None, "at": None, "tags": None, "ok": False},
]

LIBRARIES = ("pyarrow", "polars", "pandas", "duckdb")


def arrow() -> pyarrow.Table:
    return pyarrow.Table.from_pylist(ROWS)


def reader() -> Any:
    return arrow().to_reader()


def frame() -> Any:
    table = arrow()
    return table.to_pandas(types_mapper=pandas.ArrowDtype)


SOURCES: dict[str, Callable[[], Any]] = {
    "rows": lambda: ROWS,
    "arrow": arrow,
    "a reader of Arrow": reader,
    "a batch of Arrow": lambda: arrow().to_batches()[0],
    "polars": lambda: polars.DataFrame(ROWS),
    "a lazy polars": lambda: polars.DataFrame(ROWS).lazy(),
    "pandas": frame,
    "duckdb": lambda: duckdb.from_arrow(arrow()),
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, as one who runs a script by hand has it."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("PIT_DATA_DIR", str(folder))
    monkeypatch.delenv("PIT_SOCKET", raising=False)
    return folder


def without(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    """An environment that lacks some libraries."""
    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("library", ["pyarrow", "polars", "duckdb"])
def test_what_one_library_writes_the_others_read(
    source: str, library: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = sdk.write_output("things", SOURCES[source]())
    assert written == data / "things.parquet"
    without(monkeypatch, *(other for other in LIBRARIES if other != library))
    assert sdk.read_input("things", return_type="rows") == ROWS


def test_rows_may_lack_columns(data: Path) -> None:
    sdk.write_output("things", [{"a": 1}, {"b": "x"}])
    assert sdk.read_input("things", return_type="rows") == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
    ]


@pytest.mark.parametrize("library", ["polars", "duckdb"])
def test_rows_are_written_by_whatever_is_there(
    library: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        without(patched, *(other for other in LIBRARIES if other != library))
        sdk.write_output("things", ROWS)
    assert sdk.read_input("things", return_type="rows") == ROWS


def test_each_type_that_can_be_asked_for(data: Path) -> None:
    sdk.write_output("things", ROWS)
    assert isinstance(sdk.read_input("things"), pyarrow.Table)
    assert isinstance(sdk.read_input("things", return_type="arrow"), pyarrow.Table)
    assert isinstance(sdk.read_input("things", return_type="polars"), polars.DataFrame)
    assert isinstance(sdk.read_input("things", return_type="pandas"), pandas.DataFrame)
    assert isinstance(sdk.read_input("things", return_type="duckdb"), duckdb.DuckDBPyRelation)
    with pytest.raises(ValueError, match='"numpy" is not one of arrow, polars'):
        sdk.read_input("things", return_type="numpy")


def test_without_a_library_the_error_says_what_to_add(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdk.write_output("things", ROWS)
    without(monkeypatch, *LIBRARIES)
    with pytest.raises(sdk.LibraryMissing, match="uv add pyarrow"):
        sdk.read_input("things")
    with pytest.raises(sdk.LibraryMissing, match="needs pyarrow or polars or duckdb"):
        sdk.write_output("things", ROWS)
    with pytest.raises(sdk.LibraryMissing, match="uv add polars"):
        sdk.read_input("things", return_type="polars")


def test_an_index_that_a_filter_left_is_no_column_but_a_named_one_is(data: Path) -> None:
    full = pandas.DataFrame({"a": [1, 2, 3]})
    sdk.write_output("filtered", full[full["a"] > 1])
    assert sdk.read_input("filtered", return_type="rows") == [{"a": 2}, {"a": 3}]
    sdk.write_output("named", full.set_index(pandas.Index(["x", "y", "z"], name="key")))
    assert sdk.read_input("named").column_names == ["a", "key"]


def test_a_failed_write_leaves_the_old_output_and_nothing_else(data: Path) -> None:
    sdk.write_output("things", ROWS)
    with pytest.raises(pyarrow.ArrowInvalid):
        sdk.write_output("things", [{"a": 1}, {"a": "x"}])
    with pytest.raises(TypeError, match="not set"):
        sdk.write_output("things", {"a"})
    assert sdk.read_input("things", return_type="rows") == ROWS
    assert [path.name for path in data.iterdir()] == ["things.parquet"]


@pytest.mark.parametrize("name", ["", "../x", "a/../b", "/etc/x", "a//b", ".hidden", "a b", "a\n"])
def test_a_name_stays_in_the_data_folder(name: str, data: Path) -> None:
    with pytest.raises(sdk.BadName):
        sdk.write_output(name, ROWS)
    with pytest.raises(sdk.BadName):
        sdk.read_input(name)


def test_a_link_does_not_lead_out_either(data: Path, tmp_path: Path) -> None:
    (data / "away").symlink_to(tmp_path)
    (data / "it.parquet").symlink_to(tmp_path / "secret.parquet")
    for name in ("away/things", "it"):
        with pytest.raises(sdk.BadName, match="leads out"):
            sdk.write_output(name, ROWS)


def test_names_may_have_folders_and_the_suffix(data: Path) -> None:
    assert sdk.write_output("by_day/2026-01-31.parquet", ROWS) == (
        data / "by_day" / "2026-01-31.parquet"
    )
    assert sdk.read_input("by_day/2026-01-31", return_type="rows") == ROWS


def test_an_output_that_is_not_there_is_told_with_those_that_are(data: Path) -> None:
    sdk.write_output("things", ROWS)
    with pytest.raises(sdk.InputMissing, match=r'no output "thongs" .* There is: things'):
        sdk.read_input("thongs")


def test_by_hand_without_a_data_folder_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PIT_DATA_DIR")
    with pytest.raises(sdk.OutsideTask, match="PIT_DATA_DIR=data python"):
        sdk.write_output("things", ROWS)
