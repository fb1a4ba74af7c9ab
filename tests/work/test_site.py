"""What an order means on the machine that performs it: places, programs, variables, connections."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pit.errors import SecretNotFound
from pit.model import Load, Reason
from pit.order import Order
from pit.project.python.environment import Environment
from pit.sql import protocol
from pit.sql.connection.urls import parse
from pit.work import attempts, bundled
from pit.work.process import launch
from pit.work.site import Invocation, Site
from pit.work.sql.orders import request_of
from pit.work.sql.sessions import Sessions

PYTHON = Environment(python="/there/python", prefix="/there", digest="", hashes={})


def order(runner: str, script: str = "", **facts: Any) -> Order:
    """The second attempt of the task `t`."""
    return Order(
        run="r", dag="d", task="t", attempt=2, attempts=3, marker="m", log="t.log", runner=runner,
        script=script, **facts,
    )  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A run's folders, and the Python of its project."""
    run = tmp_path / "runs" / "r"
    for part in ("project", "data", "logs"):
        (run / part).mkdir(parents=True)
    return Site(
        "r",
        "d",
        workspace=tmp_path,
        live=tmp_path / "projects" / "p",
        project=run / "project",
        data=run / "data",
        logs=run / "logs",
        python=PYTHON,
    )


def program(site: Site, sent: Order) -> Invocation:
    """The program of an order that is none for a database."""
    found = site.invocation(sent)
    assert found is not None
    return found


def test_a_script_is_started_by_the_program_that_its_runner_is_here(site: Site) -> None:
    script = f"{site.project}/tasks/a"
    assert program(site, order("python", "tasks/a")).argv == ("/there/python", script)
    bash = shutil.which("bash") or "bash"
    assert program(site, order("bash", "tasks/a")).argv == (bash, script)
    assert program(site, order("$ node --trace", "tasks/a")).argv == ("node", "--trace", script)
    assert program(site, order("bash", "tasks/a")).cwd == str(site.project)
    assert site.invocation(order("sql", "a.sql")) is None


def test_variables_tell_of_the_run_the_task_and_this_machine(site: Site) -> None:
    env = program(site, order("bash", "a.sh", env={"REGION": "x", "PIT_PARAM_DAY": "1"})).env
    wanted = {
        "PIT_RUN_ID": "r",
        "PIT_DAG_NAME": "d",
        "PIT_TASK_NAME": "t",
        "PIT_ATTEMPT": "2",
        "PIT_DATA_DIR": str(site.data),
        "PIT_PROJECT_DIR": str(site.project),
        "PIT_WORKSPACE": str(site.workspace),
        "REGION": "x",
        "PIT_PARAM_DAY": "1",
        "VIRTUAL_ENV": "/there",
    }
    assert {name: env.get(name) for name in wanted} == wanted
    assert env["PATH"].startswith("/there/bin:")


def test_a_path_into_the_live_project_means_its_copy(site: Site) -> None:
    own = {"PYTHONPATH": os.pathsep.join(("lib", f"{site.live}/more", "/else"))}
    env = program(site, order("bash", "a.sh", env=own)).env
    copy = [f"{site.project}/{name}" for name in ("src", "lib", "more")]
    assert env["PYTHONPATH"].split(os.pathsep) == [bundled.PYTHON, *copy, "/else"]


def test_the_workspace_in_an_order_is_the_one_that_is_here(site: Site) -> None:
    sent = order("bash", targets=("a", "{workspace}/b", "/c"))
    assert site.targets(sent) == ("a", f"{site.workspace}/b", "/c")
    load = order("sql", work=Load(source="{workspace}/in/*.csv", table="t"))
    request = request_of(load, site, parse(":memory:", site.workspace), 0.0)
    assert isinstance(request, protocol.Load)
    assert request.work.source == f"{site.workspace}/in/*.csv"
    assert request.aside == f"{site.data}/t.rejects.parquet"


@pytest.mark.parametrize("runner", ["sql", "bash"])
def test_a_connection_that_cannot_be_had_ends_the_attempt(site: Site, runner: str) -> None:
    (site.project / "a").write_text("touch done")

    def connection(sent: Order) -> str:
        raise SecretNotFound(sent.connection, sent.dag)

    def spawn(*_: object, **__: object) -> Any:
        raise AssertionError

    folder = site.workspace
    with Sessions(spawn=spawn, cwd=folder, env={}, stderr=folder / "e", workspace=folder) as made:
        tools = attempts.Tools(
            site=site, cancel=launch.Cancel(), connection=connection, sessions=lambda: made
        )
        outcome = attempts.perform(order(runner, "a", connection="lake"), tools)
        tools.cancel.close()
    assert (outcome.reason, outcome.retryable) == (Reason.MISSING_CONNECTION, False)
    assert outcome.error == 'secret "lake" not found for DAG "d"'
    assert not (site.project / "done").exists()
