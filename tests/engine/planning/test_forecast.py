"""How long a run would take, and what would stop it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pit.config.workspace import load_workspace_config
from pit.engine.planning.forecast import Forecast, forecast, gaps
from pit.engine.planning.look import Look
from pit.engine.staleness.planner import Action, Decision, Gap
from pit.engine.target.target import resolve
from pit.engine.target.typed import Typed
from pit.model import Dag, Task
from pit.state.store.store import Store
from pit.work.process import launch


def dag(*tasks: Task, name: str = "sales", project: Path = Path("/nowhere")) -> Dag:
    """A DAG of these tasks."""
    return Dag(name=name, project=project, tasks=tasks)


def task(name: str, *depends_on: str, **facts: object) -> Task:
    """A shell task."""
    return Task(name=name, script=f"{name}.sh", depends_on=depends_on, **facts)  # type: ignore[arg-type]


def decision(name: str, seconds: float | None, action: Action = Action.RUN) -> Decision:
    """What a run would do with a task."""
    return Decision(task=name, action=action, seconds=seconds)


DIAMOND = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


def told(*seconds: float | None, slots: int = 4, c: Action = Action.RUN) -> Forecast:
    """The forecast for the diamond, its tasks taking so long."""
    looks = [
        decision(name, s, c if name == "c" else Action.RUN)
        for name, s in zip(DIAMOND, seconds, strict=True)
    ]
    return forecast(DIAMOND, looks, slots)


def test_the_longest_chain_decides() -> None:
    found = told(1.0, 2.0, 5.0, 1.0)
    assert (found.seconds, found.critical) == (7.0, ("a", "c", "d"))


def test_one_at_a_time_takes_the_sum() -> None:
    assert told(1.0, 2.0, 5.0, 1.0, slots=1).seconds == 9.0


def test_what_is_deferred_may_cost_nothing() -> None:
    found = told(1.0, 2.0, 5.0, 1.0, c=Action.DEFER)
    assert (found.at_least, found.seconds) == (4.0, 7.0)


def test_what_never_ran_counts_nothing_and_is_named() -> None:
    found = told(1.0, None, None, None)
    assert (found.seconds, found.unknown) == (1.0, ("b", "c", "d"))


def test_nothing_to_do_takes_no_time() -> None:
    found = forecast(DIAMOND, [decision("a", 1.0, Action.SKIP)], 4)
    assert (found.seconds, found.critical) == (0.0, ())


def test_ten_thousand_tasks_in_a_chain() -> None:
    names = [f"t{n}" for n in range(10_000)]
    chain = {name: names[max(at - 1, 0) : at] for at, name in enumerate(names)}
    found = forecast(chain, [decision(name, 1.0) for name in names], 4)
    assert (found.seconds, len(found.critical)) == (10_000.0, 10_000)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project of a workspace."""
    folder = tmp_path / "projects" / "sales"
    folder.mkdir(parents=True)
    return folder


def found_gaps(dag: Dag, *chosen: str, others: tuple[Dag, ...] = ()) -> tuple[Gap, ...]:
    """The gaps in the plan of some tasks that have never run."""
    root = dag.project.parent.parent
    for task in dag.tasks:
        (dag.project / task.script).touch()
    config = load_workspace_config(root)
    with Store.open(config.metadata_db) as store:
        target = resolve(dag, Typed(dag=dag.name), config, date(2026, 1, 31)).choosing(chosen)
        decisions = Look(target, None, store, launch.capture).decisions()
    lacking = [gap for each in decisions for gap in each.gaps]
    return gaps(lacking, dag.tasks, dag.project, root, lambda: others)


def test_a_missing_input_is_a_gap_unless_the_run_makes_it(project: Path) -> None:
    sales = dag(
        task("make", targets=("out/a.csv",)),
        task("load", inputs=("out/a.csv", "data/*.csv", "in.csv", "{workspace}/x")),
        project=project,
    )
    (project.parent.parent / "x").touch()
    assert found_gaps(sales, "make", "load") == (Gap(task="load", input="in.csv"),)
    assert found_gaps(sales, "load") == (
        Gap(task="load", input="out/a.csv", maker="make"),
        Gap(task="load", input="in.csv"),
    )
    (project / "in.csv").touch()
    assert found_gaps(sales, "make", "load") == ()


def test_the_task_of_another_dag_that_makes_it_is_named(project: Path) -> None:
    raw = dag(task("get", targets=("out/",)), name="raw", project=project.parent / "raw")
    sales = dag(task("load", inputs=("{workspace}/projects/raw/out/a.csv",)), project=project)
    (gap,) = found_gaps(sales, "load", others=(raw,))
    assert gap.maker == "raw/get"
