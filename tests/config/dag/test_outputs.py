"""Who makes what [[outputs]] declares, as far as pit.toml tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from pit.config.dag.outputs import makers
from pit.model import Dag, Load, Output, Save, Task

ROOT = Path("/w")
DAG = Dag(
    name="d",
    project=ROOT / "projects" / "folder",
    connection="warehouse",
    tasks=(
        Task(name="one", targets=("out/one.csv", "{workspace}/shared/one.csv")),
        Task(name="many", targets=("parts/{k}.csv",), matrix=(("k", ("a", "b")),)),
        Task(name="all", targets=("tree/",)),
        Task(name="some", targets=("found/*.json",)),
        Task(name="far", targets=("/far/x",)),
        Task(name="orders", tables=("staging.orders",)),
        Task(name="raw", load=Load(source="r.csv", table="raw", schema="land")),
        Task(name="bare", load=Load(source="b.csv", table="bare")),
        Task(name="saved", save=Save(output="saved.parquet")),
    ),
)


@pytest.mark.parametrize(
    ("location", "names"),
    [
        ("out/one.csv", ("one",)),
        ("./out/one.csv", ("one",)),
        ("projects/folder/out/one.csv", ("one",)),
        ("{workspace}/projects/folder/out/one.csv", ("one",)),
        ("/w/projects/folder/out/one.csv", ("one",)),
        ("{workspace}/shared/one.csv", ("one",)),
        ("shared/one.csv", ("one",)),
        ("out/", ("one",)),
        ("parts/a.csv", ("many",)),
        ("parts/{k}.csv", ("many",)),
        ("tree", ("all",)),
        ("tree/leaf", ("all",)),
        ("found/*.json", ("some",)),
        ("found/x.json", ("some",)),
        ("/far/x", ("far",)),
        ("staging.orders", ("orders",)),
        ("warehouse.staging.ORDERS", ("orders",)),
        ("other.staging.orders", ("orders",)),
        ("land.raw", ("raw",)),
        ("warehouse.bare", ("bare",)),
        ("saved.parquet", ("saved",)),
        # Nothing says that these are the same.
        ("", ()),
        ("one.csv", ()),
        ("elsewhere/out/one.csv", ()),
        ("out/one.csv.gz", ()),
        ("found/deep/x.json", ()),
        ("warehouse.orders", ()),
        ("mystaging.orders", ()),
        ("warehouse.other.bare", ()),
        ("warehouse.marts.facts", ()),
    ],
)
def test_a_location_names_the_target_of_a_task(location: str, names: tuple[str, ...]) -> None:
    assert makers(DAG, Output(name="o", location=location), ROOT) == names


def test_a_task_that_is_named_is_the_one() -> None:
    output = Output(name="o", location="out/one.csv", task="orders")
    assert makers(DAG, output, ROOT) == ("orders",)
