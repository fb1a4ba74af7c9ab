"""What was typed is given its meaning once: parameters, instances, the chosen tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import pytest

from pit.config.workspace import discover, load_workspace_config
from pit.engine.planning.look import Look
from pit.engine.target.target import Target, resolve, without_params
from pit.engine.target.typed import Typed
from pit.errors import BadParameter, UnknownTask
from pit.fs.reads import Reads
from pit.model import Dag
from pit.state.store.store import Store
from pit.work.process import launch

DAY = date(2026, 1, 31)

SALES = """
[dag.params]
date = { type = "date", default = "yesterday" }
region = { default = "north" }

[[tasks]]
name = "extract"
script = "a.sh"
inputs = []
targets = ["raw/{date}.csv"]
params = ["date"]

[[tasks]]
name = "clean"
script = "a.sh"
inputs = ["raw/{date}.csv"]
targets = ["out/{shop}-{date}.csv"]
params = ["date"]
matrix = { shop = { file = "shops.txt" } }

[[tasks]]
name = "report"
script = "a.sh"
depends_on = ["clean"]

[[tasks]]
name = "other"
script = "a.sh"
"""
INSTANCES = ("clean:a", "clean:b")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with the project `sales`."""
    folder = tmp_path / "projects" / "sales"
    folder.mkdir(parents=True)
    (folder / "pit.toml").write_text(SALES)
    (folder / "a.sh").touch()
    (folder / "shops.txt").write_text("a\nb\n")
    return tmp_path


def declared(root: Path, name: str = "sales") -> Dag:
    """The DAG as its pit.toml has it."""
    return discover(load_workspace_config(root)).dag(name)


def resolved(root: Path, day: date = DAY, reads: Reads | None = None, **typed: object) -> Target:
    """What is meant by what was typed about `sales`."""
    words = Typed(dag="sales", **typed)  # type: ignore[arg-type]
    return resolve(declared(root), words, load_workspace_config(root), day, reads=reads)


def test_days_are_counted_from_the_one_that_is_given(root: Path) -> None:
    assert resolved(root).params["date"] == "2026-01-30"
    leap = resolved(root, date(2024, 3, 1))
    assert leap.params == {"date": "2024-02-29", "region": "north"}
    assert leap.dag.tasks["extract"].targets == ("raw/2024-02-29.csv",)


def test_instances_are_made_and_need_what_makes_their_inputs(root: Path) -> None:
    found = resolved(root)
    assert found.dag.order == ("extract", *INSTANCES, "report", "other")
    assert found.dag.tasks["clean:b"].targets == ("out/b-2026-01-30.csv",)
    assert found.dag.tasks["clean:b"].depends_on == ()
    assert found.dag.needs["clean:b"] == ("extract",)
    assert found.dag.declared == declared(root)


@pytest.mark.parametrize(
    ("selection", "undone", "chosen"),
    [
        ("", None, ("extract", *INSTANCES, "report", "other")),
        ("clean", None, INSTANCES),
        ("+clean:a", None, ("extract", "clean:a")),
        ("+report,other", None, ("extract", *INSTANCES, "report", "other")),
        ("extract+", None, ("extract", *INSTANCES, "report")),
        ("raw/2026-01-30.csv", None, ("extract",)),
        ("", ("clean:b", "gone"), ("clean:b", "report")),
        ("clean", ("clean:b",), ("clean:b",)),
        ("", (), ()),
    ],
)
def test_the_chosen_tasks_are_those_of_the_selection_that_were_left_undone(
    root: Path, selection: str, undone: tuple[str, ...] | None, chosen: tuple[str, ...]
) -> None:
    found = resolved(root, selection=selection, undone=undone)
    assert tuple(task.name for task in found.tasks) == chosen
    assert found.whole is (len(chosen) == 5)


def test_what_means_nothing_is_refused(root: Path) -> None:
    with pytest.raises(UnknownTask):
        resolved(root, selection="extract,reprt")
    with pytest.raises(BadParameter):
        resolved(root, params={"date": "soon"})


def test_records_are_kept_apart_by_what_a_task_gets(root: Path) -> None:
    found = resolved(root, params={"region": "south"})
    assert found.key(found.dag.tasks["extract"]) == '{"date": "2026-01-30"}'
    assert found.key(found.dag.tasks["other"]) == '{"date": "2026-01-30", "region": "south"}'


def test_other_tasks_of_the_same_target(root: Path) -> None:
    found = resolved(root, selection="other")
    wider = found.choosing({"extract", "other"})
    assert [task.name for task in wider.tasks] == ["extract", "other"]
    assert wider.dag is found.dag
    assert wider.typed is found.typed


def test_what_matrices_read_is_written_down(root: Path) -> None:
    reads = Reads()
    resolved(root, reads=reads)
    assert str(root / "projects/sales/shops.txt") in dict(reads.seen())


def test_a_dag_whose_parameters_are_not_known_is_shown_with_their_names(root: Path) -> None:
    shown = without_params(declared(root))
    assert shown.order == ("extract", *INSTANCES, "report", "other")
    assert shown.tasks["clean:a"].targets == ("out/a-{date}.csv",)


# ---------------------------------------------------------------- what it costs


class Counted(Mapping[str, tuple[str, ...]]):
    """What each task needs, and how often that was asked."""

    def __init__(self, needs: Mapping[str, tuple[str, ...]]) -> None:
        self.needs, self.asked = needs, 0

    def __getitem__(self, name: str) -> tuple[str, ...]:
        self.asked += 1
        return self.needs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.needs)

    def __len__(self) -> int:
        return len(self.needs)


@pytest.mark.parametrize("target", ["out/{}", "out/{}.csv"])
def test_a_look_at_a_long_chain_goes_up_no_more_than_a_step_a_task(
    tmp_path: Path, target: str
) -> None:
    """A target without an ending may be a folder with code in it, which others are shown."""
    length = 200
    folder = tmp_path / "projects" / "chain"
    folder.mkdir(parents=True)
    (folder / "a.sh").touch()
    (folder / "pit.toml").write_text(
        "".join(
            f'[[tasks]]\nname = "t{n}"\nscript = "a.sh"\ntargets = ["{target.format(n)}"]\n'
            + (f'inputs = ["{target.format(n - 1)}"]\n' if n else "inputs = []\n")
            for n in range(length)
        )
    )
    config = load_workspace_config(tmp_path)
    found = resolve(declared(tmp_path, "chain"), Typed(dag="chain"), config, DAY)
    needs = Counted(found.dag.needs)
    vars(found.dag)["needs"] = needs
    assert found.dag.needs is needs
    with Store.open(config.metadata_db) as store:
        decisions = Look(found, None, store, launch.capture).decisions()
    assert len(decisions) == length
    assert not any(each.gaps for each in decisions)
    assert needs.asked < 15 * length
