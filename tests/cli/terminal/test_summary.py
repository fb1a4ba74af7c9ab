"""The end of a run at a glance."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pit.cli.terminal.console import Console
from pit.cli.terminal.summary import Summary, tail
from pit.events import Event, RunEnded, RunStarted
from pit.model import Reason, RunState, TaskState
from pit.views.run import RunView
from tests.cli.terminal.test_progress import AT, RUN, began, ended


def summary(tmp_path: Path, *events: Event, end: RunEnded | None, tasks: tuple[str, ...]) -> str:
    """What the summary of a run writes."""
    out = io.StringIO()
    view = RunView()
    folder = tmp_path / RUN
    begin = RunStarted(
        run=RUN,
        at=AT,
        dag="sales",
        run_dir=str(folder),
        project="",
        tasks=tasks,
        params={},
        selection=None,
    )
    for event in (begin, *events, *([end] if end else [])):
        view.apply(event)
    Summary(Console(out, io.StringIO(), {}), view).write()
    return out.getvalue()


def over(state: RunState, **facts: object) -> RunEnded:
    """The run ends after four seconds."""
    return RunEnded(run=RUN, at=AT, state=state, seconds=4.0, **facts)  # type: ignore[arg-type]


def test_a_failure_ends_with_its_log_and_the_command_to_type(tmp_path: Path) -> None:
    logs = tmp_path / RUN / "logs"
    logs.mkdir(parents=True)
    lines = [f"line {n}" for n in range(30)]
    (logs / "load.log").write_text("\n".join([*lines, "\x1b[31mValueError\x1b[0m: bäd"]))
    text = summary(
        tmp_path,
        began("extract"),
        ended("extract"),
        began("load", 2, 3),
        ended("load", TaskState.FAILED, Reason.EXIT, "exit code 3", 2),
        ended("mart", TaskState.UPSTREAM_FAILED, Reason.UPSTREAM_FAILED, "after load", 0),
        end=over(RunState.FAILED, reason=Reason.EXIT),
        tasks=("extract", "load", "mart"),
    )
    assert text.splitlines() == [
        "",
        f"sales  failed  4.0s  {RUN}",
        "",
        "  success          extract  2.0s",
        "  failed           load     2.0s  exit code 3  attempt 2 of 3",
        "  upstream_failed  mart        -  after load",
        "",
        "load: the end of its log",
        *(f"  | line {n}" for n in range(21, 30)),
        "  | ValueError: bäd",
        "",
        "Next: pit logs sales/load, and when it is fixed pit retry sales --code new",
    ]


def test_a_success_needs_no_next_step(tmp_path: Path) -> None:
    text = summary(tmp_path, began("a"), ended("a"), end=over(RunState.SUCCESS), tasks=("a",))
    assert text == f"\nsales  success  4.0s  {RUN}\n\n  success  a  2.0s\n"


def test_a_stub_run_says_so_in_plain_sight(tmp_path: Path) -> None:
    skipped = ended("a", TaskState.SKIPPED, Reason.NO_SECRETS, attempts=0)
    text = summary(tmp_path, skipped, end=over(RunState.SUCCESS, stub=True), tasks=("a",))
    assert "success (stub)" in text
    assert "  skipped  a  -  no_secrets" in text
    assert "--secrets FILE" in text


def test_of_a_single_task_the_others_are_one_line(tmp_path: Path) -> None:
    others = [ended(f"t{n}", TaskState.SKIPPED, Reason.SINGLE_TASK, attempts=0) for n in range(100)]
    text = summary(
        tmp_path,
        *others,
        began("a"),
        ended("a"),
        end=over(RunState.SUCCESS),
        tasks=("a", *(f"t{n}" for n in range(100))),
    )
    assert len(text.splitlines()) == 5
    assert text.endswith("100 other tasks not selected\n")


def test_of_many_tasks_only_the_unsuccessful_are_listed_and_all_counted(tmp_path: Path) -> None:
    names = tuple(f"t{n}" for n in range(1000))
    events = [ended(name) for name in names[:-2]]
    events.append(ended(names[-2], TaskState.FAILED, Reason.TIMEOUT, "ended after 5 s"))
    events.append(ended(names[-1], TaskState.SKIPPED, Reason.UPSTREAM_SKIPPED, attempts=0))
    text = summary(tmp_path, *events, end=over(RunState.FAILED), tasks=names)
    assert "timeout: ended after 5 s" in text
    assert "1,000 tasks: 1 failed, 1 skipped, 998 success" in text
    assert len(text.splitlines()) < 15


def test_a_run_that_could_not_be_set_up_tells_why(tmp_path: Path) -> None:
    end = over(RunState.FAILED, reason=Reason.SETUP, error="cannot copy secret.key")
    text = summary(tmp_path, end=end, tasks=("a",))
    assert "setup: cannot copy secret.key" in text
    assert text.endswith("setup: cannot copy secret.key\n")  # the error has the next step


def test_a_run_without_an_end_has_no_summary(tmp_path: Path) -> None:
    assert summary(tmp_path, end=None, tasks=("a",)) == ""


def test_the_tail_of_a_huge_line_or_of_no_file_is_short(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(b"x" * 10_000_000)
    assert tail(tmp_path / "x.log") == ["x" * 199 + "…"]
    assert tail(tmp_path / "none.log") == []
    (tmp_path / "blank.log").write_text("\n\n")
    assert tail(tmp_path / "blank.log") == []


def test_a_cancelled_run_blames_no_task_and_can_be_started_again(tmp_path: Path) -> None:
    text = summary(
        tmp_path,
        began("a"),
        ended("a", TaskState.CANCELLED, Reason.CANCELLED, "ended because the run was ending"),
        ended("b", TaskState.SKIPPED, Reason.CANCELLED, attempts=0),
        end=over(RunState.CANCELLED, reason=Reason.CANCELLED),
        tasks=("a", "b"),
    )
    assert text.splitlines()[1:3] == [f"sales  cancelled  4.0s  {RUN}", ""]
    assert "the end of its log" not in text
    assert "  cancelled  a  " in text
    assert "ms  ended because the run was ending" in text or "s  ended because" in text
    assert text.endswith("Next: pit run sales\n")


def test_what_was_cancelled_is_counted_apart_from_what_failed(tmp_path: Path) -> None:
    text = summary(
        tmp_path,
        began("a"),
        ended("a", TaskState.FAILED, Reason.EXIT, "exit code 3"),
        *(ended(name, TaskState.CANCELLED, Reason.CANCELLED, "ended") for name in "bcd"),
        *(ended(name, TaskState.SKIPPED, Reason.CANCELLED, attempts=0) for name in "ef"),
        end=over(RunState.CANCELLED, reason=Reason.CANCELLED),
        tasks=tuple("abcdef"),
    )
    assert "6 tasks: 1 failed, 3 cancelled, 2 skipped" in text


def test_what_failed_is_not_told_twice(tmp_path: Path) -> None:
    failed = ended("a", TaskState.FAILED, Reason.EXIT, "exit code 3")
    end = over(RunState.FAILED, error="failed: a")
    assert "failed: a" not in summary(tmp_path, failed, end=end, tasks=("a",))
    late = over(RunState.FAILED, reason=Reason.TIMEOUT, error="the run exceeded dag.timeout")
    assert "the run exceeded dag.timeout" in summary(tmp_path, failed, end=late, tasks=("a",))


def test_of_a_full_disk_it_says_how_to_make_room(tmp_path: Path) -> None:
    failed = ended("a", TaskState.FAILED, Reason.DISK_FULL, "No space left on device")
    end = over(RunState.FAILED, reason=Reason.DISK_FULL, error="failed: a")
    text = summary(tmp_path, failed, end=end, tasks=("a",))
    said = "Next: make room (pit prune, or pit prune --all-finished), then pit run sales\n"
    assert text.endswith(said)


def test_what_stopped_the_set_up_says_itself_what_to_do(tmp_path: Path) -> None:
    skipped = ended("a", TaskState.SKIPPED, Reason.REQUIREMENT, attempts=0)
    end = over(RunState.FAILED, reason=Reason.REQUIREMENT, error="sales requires other")
    assert "Next:" not in summary(tmp_path, skipped, end=end, tasks=("a",))


def test_a_log_without_a_word_is_not_advised(tmp_path: Path) -> None:
    logs = tmp_path / RUN / "logs"
    logs.mkdir(parents=True)
    (logs / "load.log").write_text("[pit] missing_target: did not make x.csv\n")
    for failed, told in {
        ended("load", TaskState.FAILED, Reason.MISSING_TARGET, "did not make x.csv"): [
            "load",
            "  missing_target: did not make x.csv",
            "  It wrote nothing to its log.",
        ],
        ended("load", TaskState.FAILED, Reason.MISSING_CONNECTION, 'no secret "w"', 0): [
            "load",
            '  missing_connection: no secret "w"',
        ],
    }.items():
        text = summary(tmp_path, failed, end=over(RunState.FAILED), tasks=("load",))
        step = "Next: fix it, then pit retry sales --code new"
        assert text.splitlines()[5:] == [*told, "", step]


def test_instances_of_which_the_same_is_to_be_said_share_a_line(tmp_path: Path) -> None:
    names = tuple(f"report:{n}" for n in range(120))
    events = [ended(name, why="first run") for name in names[:-1]]
    events.append(ended(names[-1], TaskState.FAILED, Reason.EXIT, "exit code 3"))
    text = summary(tmp_path, *events, end=over(RunState.FAILED), tasks=names)
    assert text.splitlines()[3:7] == [
        "  success  report ×119  3m58s in all  first run",
        "  failed   report:119           2.0s  exit code 3",
        "",
        "  120 tasks: 1 failed, 119 success",
    ]


def failing(tmp_path: Path, project: Path, **logs: str) -> str:
    """The summary of a run of a project in which tasks failed, with these logs."""
    folder = tmp_path / RUN / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in logs.items():
        (folder / f"{name}.log").write_text(text)
    out = io.StringIO()
    view = RunView()
    begin = RunStarted(
        run=RUN,
        at=AT,
        dag="sales",
        run_dir=str(tmp_path / RUN),
        project=str(project),
        tasks=tuple(logs),
        params={},
    )
    fails = [ended(name, TaskState.FAILED, Reason.EXIT, "exit code 1", 1) for name in logs]
    for event in (begin, *fails, over(RunState.FAILED, reason=Reason.EXIT)):
        view.apply(event)
    Summary(Console(out, io.StringIO(), {}), view).write()
    return out.getvalue()


def test_logs_that_end_alike_are_shown_once(tmp_path: Path) -> None:
    logs = dict.fromkeys(("a", "b", "c", "d"), "boom\n") | {"e": "bang\n", "f": "bong\n"}
    text = failing(tmp_path, tmp_path, **logs)
    assert text.count("| boom") == 1
    assert "a: the end of its log\n  | boom\n  The same in 3 more: b, c, d\n" in text
    assert "  | bang" in text
    assert "  | bong" in text


def test_a_log_that_was_shown_whole_need_not_be_looked_at(tmp_path: Path) -> None:
    again = "pit retry sales --code new"
    whole = failing(tmp_path, tmp_path, a="".join(f"{n}\n" for n in range(10)))
    assert whole.endswith(f"Next: fix it, then {again}\n")
    long = failing(tmp_path, tmp_path, a="".join(f"{n}\n" for n in range(11)))
    assert long.endswith(f"Next: pit logs sales/a, and when it is fixed {again}\n")


@pytest.mark.parametrize(
    ("module", "files", "told"),
    [
        ("polars", (), "uv init --bare {project} && uv add --project {project} polars"),
        ("sklearn.svm", (), "uv add --project {project} scikit-learn"),
        (
            "polars",
            ("requirements.txt",),
            "uv add --project {project} -r {project}/requirements.txt",
        ),
        (
            "polars",
            ("pyproject.toml", "requirements.txt"),
            "environment: uv add --project {project} ",
        ),
        ("lib", ("lib/__init__.py",), '"lib" lies in the project'),
        ("tools", ("code/tools.py",), '"tools" lies in the project'),
    ],
)
def test_a_missing_module_is_told_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, files: tuple[str, ...], told: str
) -> None:
    project = tmp_path / "projects" / "shop"
    for name in files:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    project.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    log = f"Traceback\nModuleNotFoundError: No module named '{module}'\n"
    text = failing(tmp_path, project, a=log)
    assert told.format(project="projects/shop") in text
    assert ("uv init" in text) == ("pyproject.toml" not in files and "lies in" not in told)
