"""What a run shows while it goes, event by event."""

from __future__ import annotations

import io
import json
import threading
import time

import pytest

from pit.cli.terminal.console import Console, rows
from pit.cli.terminal.progress import JsonView, Lines, LiveView, Picture, PlainView, View, view_for
from pit.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    Logged,
    Progressed,
    RunEnded,
    RunStarted,
    SetupStep,
    TaskEnded,
    Waits,
    Warned,
)
from pit.model import Reason, RunState, TaskState
from pit.order import Outcome
from tests.cli.conftest import Terminal

RUN = "20260131_060000.000_sales"
NOW = f"sales  run {RUN}: "
AT = time.mktime((2026, 1, 31, 6, 0, 0, 0, 0, -1))


def started(*tasks: str) -> RunStarted:
    """A run of these tasks begins."""
    return RunStarted(
        run=RUN, at=AT, dag="sales", run_dir="", project="", tasks=tasks, params={}, concurrency=4
    )


def began(task: str, attempt: int = 1, attempts: int = 1) -> AttemptStarted:
    """An attempt begins."""
    return AttemptStarted(run=RUN, at=AT, task=task, attempt=attempt, attempts=attempts)


def tried(task: str, error: str = "", retry_in: float | None = None) -> AttemptEnded:
    """An attempt ends, with an error or well."""
    reason = Reason.EXIT if error else None
    outcome = Outcome(started_at=AT, ended_at=AT + 1, seconds=1.0, reason=reason, error=error)
    return AttemptEnded(run=RUN, at=AT, task=task, attempt=1, outcome=outcome, retry_in=retry_in)


def ended(
    task: str,
    state: TaskState = TaskState.SUCCESS,
    reason: Reason | None = None,
    error: str = "",
    attempts: int = 1,
    why: str = "",
) -> TaskEnded:
    """A task ends after two seconds."""
    return TaskEnded(
        run=RUN,
        at=AT,
        task=task,
        state=state,
        reason=reason,
        error=error,
        attempts=attempts,
        seconds=2.0,
        why=why,
    )


def piped() -> tuple[Console, io.BytesIO]:
    """A console whose output is a pipe."""
    binary = io.BytesIO()
    return Console(io.TextIOWrapper(binary, encoding="utf-8"), io.StringIO(), {}), binary


STORY: list[Event] = [
    started("extract", "load_all", "mart"),
    SetupStep(run=RUN, at=AT, step="snapshot", message="120 files, 3.4 MB"),
    Warned(run=RUN, at=AT, message="big", hint="use .pitignore"),
    began("extract", 1, 2),
    tried("extract", "exit code 3", 30.0),
    began("extract", 2, 2),
    tried("extract"),
    ended("extract", attempts=2),
    ended("load_all", TaskState.FAILED, Reason.TIMEOUT, "ended after 5 s"),
    ended("mart", TaskState.UPSTREAM_FAILED, Reason.UPSTREAM_FAILED, "after load_all", 0),
    RunEnded(run=RUN, at=AT, state=RunState.FAILED, reason=Reason.EXIT, seconds=9.0),
]


def test_the_plain_view_writes_a_line_per_event() -> None:
    console, out = piped()
    view = PlainView(console)
    for event in STORY:
        view.emit(event)
    view.close()
    assert out.getvalue().decode().splitlines() == [
        f"06:00:00  run {RUN} started: 3 tasks, 4 at a time",
        "06:00:00  snapshot: 120 files, 3.4 MB",
        "06:00:00  warning: big; use .pitignore",
        "06:00:00  extract   started",
        "06:00:00  extract   attempt 1 failed: exit code 3; next in 30.0s",
        "06:00:00  extract   started (attempt 2 of 2)",
        "06:00:00  extract   success  2.0s",
        "06:00:00  load_all  failed  2.0s  timeout: ended after 5 s",
        "06:00:00  mart      upstream_failed  after load_all",
        f"06:00:00  run {RUN} failed",
    ]


def test_tasks_that_were_not_selected_are_not_worth_a_line() -> None:
    console, out = piped()
    view = PlainView(console)
    view.emit(ended("other", TaskState.SKIPPED, Reason.SINGLE_TASK, attempts=0))
    assert out.getvalue() == b""


def test_output_is_shown_only_when_asked_for() -> None:
    console, out = piped()
    PlainView(console).output("extract", b"text\n")
    assert out.getvalue() == b""


def test_a_last_line_without_an_end_comes_before_the_end_of_the_attempt() -> None:
    console, out = piped()
    view = PlainView(console, verbose=True)
    view.output("extract", b"one\ntw")
    view.output("load", b"half")
    view.output("extract", b"o")
    view.emit(tried("extract"))
    view.emit(ended("extract"))
    view.close()
    assert out.getvalue().splitlines() == [
        b"[extract] one",
        b"[extract] two",
        b"06:00:00  extract  success  2.0s",
        b"[load] half",
    ]


def test_lines_of_many_threads_never_mix() -> None:
    console, out = piped()
    view = PlainView(console, verbose=True)

    def write(task: str) -> None:
        for _ in range(200):
            view.output(task, b"x" * 30)
            view.output(task, b"y\n")

    threads = [threading.Thread(target=write, args=(f"task{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 800
    assert {line.partition(b"] ")[2] for line in lines} == {b"x" * 30 + b"y"}


def test_a_line_of_ten_megabytes_comes_in_bounded_pieces() -> None:
    lines = Lines()
    pieces = [lines.feed("t", b"x" * 262144) for _ in range(40)]
    pieces.append(lines.feed("t", b"\nend"))
    pieces.append(lines.close())
    assert max(map(len, pieces)) < 400_000
    written = b"".join(pieces).splitlines()
    assert sum(len(line) - len(b"[t] ") for line in written) == 40 * 262144 + 3
    assert written[-1] == b"[t] end"
    assert max(map(len, written)) <= 65536 + len(b"[t] ")


def test_a_memoryview_is_taken_as_it_is_at_the_time() -> None:
    lines, buffer = Lines(), bytearray(b"abc")
    lines.feed("t", memoryview(buffer))
    buffer[:] = b"xyz"
    assert lines.close() == b"[t] abc\n"


def progressed(seconds: float, done: float, total: float | None, message: str = "") -> Progressed:
    """The task `load` says how far it is, so many seconds after the start."""
    return Progressed(
        run=RUN, at=AT + seconds, task="load", done=done, total=total, message=message
    )


def test_in_a_pipe_progress_is_a_line_every_ten_seconds() -> None:
    console, binary = piped()
    view = PlainView(console)
    for event in (
        began("load"),
        progressed(1, 1, 1000),
        progressed(11, 400, 1000, "april.csv"),
        progressed(12, 410, 1000),
        progressed(22, 12345.5, None),
        tried("load"),
    ):
        view.emit(event)
    view.close()
    assert binary.getvalue().decode().splitlines() == [
        "06:00:00  load  started",
        "06:00:11  load  40%  400 of 1,000  april.csv",
        "06:00:22  load  12,345.5",
    ]


def test_what_tasks_log_is_shown_where_it_matters_and_is_not_in_their_output() -> None:
    late = Logged(run=RUN, at=AT, task="load", level="warning", message="late", fields={"n": 2})
    told = Logged(run=RUN, at=AT, task="load", level="info", message="begun")
    for verbose, lines in ((False, ["06:00:00  load  warning: late  n=2"]), (True, [])):
        console, binary = piped()
        view = PlainView(console, verbose=verbose)
        view.emit(late)
        view.emit(told)
        assert binary.getvalue().decode().splitlines() == lines


def test_the_picture_shows_how_far_a_running_task_is() -> None:
    picture = Picture()
    for event in (started("load"), began("load"), progressed(1, 4, 10, "april.csv")):
        picture.take(event, 100.0)
    assert "  running     12s  load  40%  4 of 10  april.csv" in shown(picture, 112.0)
    picture.take(tried("load"), 113.0)
    picture.take(progressed(2, 5, 10), 113.0)
    picture.take(began("load", 2, 3), 114.0)
    assert "  running      1s  load  (attempt 2 of 3)" in shown(picture, 115.0)


def test_the_live_view_lets_warnings_of_tasks_scroll_by() -> None:
    terminal = Terminal()
    view = LiveView(Console(terminal, Terminal(), {"NO_COLOR": "1"}))  # type: ignore[arg-type]
    view.emit(Logged(run=RUN, at=AT, task="load", level="error", message="gone", fields={}))
    view.close()
    assert "load  error: gone" in terminal.text


def test_the_json_view_writes_an_object_per_event() -> None:
    console, out = piped()
    view = JsonView(console, verbose=True)
    view.emit(STORY[0])
    view.output("extract", b"\xff text")
    view.emit(STORY[-1])
    view.close()
    first, text, last = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["event"], first["tasks"]) == ("run_started", ["extract", "load_all", "mart"])
    assert text == {"event": "output", "task": "extract", "text": "\ufffd text"}
    assert (last["event"], last["state"]) == ("run_ended", "failed")


class Gone(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize("kind", [PlainView, JsonView, LiveView])
def test_a_reader_that_goes_away_never_disturbs_the_run(kind: type[PlainView]) -> None:
    view = kind(Console(Gone(), io.StringIO(), {}), verbose=True)
    for event in STORY:
        view.emit(event)
    view.output("extract", b"text\n")
    view.close()


def test_the_view_fits_where_the_output_goes() -> None:
    terminal = Console(Terminal(), Terminal(), {})  # type: ignore[arg-type]
    pipe, _ = piped()

    def kind(console: Console, as_json: bool = False) -> type[View]:
        return type(view_for(console, as_json=as_json, verbose=False))

    assert kind(pipe) is PlainView
    assert kind(terminal) is LiveView
    assert kind(terminal, as_json=True) is JsonView
    dumb = Console(Terminal(), Terminal(), {"TERM": "dumb"})  # type: ignore[arg-type]
    assert kind(dumb) is PlainView


# ---------------------------------------------------------------- the live picture


def shown(picture: Picture, now: float, rows: int = 12) -> list[str]:
    """The block as plain text."""
    return ["".join(text for text, _ in line).rstrip() for line in picture.lines(now, rows)]


def test_the_picture_has_failures_the_last_success_what_waits_and_the_counts() -> None:
    picture = Picture()
    picture.take(started("a", "b", "c", "d", "e"), 0.0)
    picture.take(SetupStep(run=RUN, at=AT, step="environment", message="building"), 0.0)
    assert shown(picture, 2.0) == ["  environment: building", f"  {NOW}0 of 5 done, 2s"]
    for event in (began("a"), began("b"), began("c", 1, 2), began("d")):
        picture.take(event, 2.0)
    picture.take(ended("a"), 4.0)
    picture.take(ended("b", TaskState.FAILED, Reason.EXIT, "exit code 3"), 4.0)
    picture.take(tried("c", "exit code 1", 30.0), 4.0)
    assert shown(picture, 5.0) == [
        "  failed     2.0s  b  exit code 3",
        "  success    2.0s  a",
        "  running      3s  d",
        "  waiting     29s  c  to try again; exit code 1",
        f"  {NOW}2 of 5 done, 1 failed, 5s",
    ]
    picture.take(began("c", 2, 2), 34.0)
    assert "  running      1s  c  (attempt 2 of 2)" in shown(picture, 35.0)


def test_the_picture_has_what_waits_for_another_run() -> None:
    picture = Picture()
    picture.take(started("a", "b"), 0.0)
    picture.take(SetupStep(run=RUN, at=AT, step="snapshot", message="copying"), 0.0)
    for at, run in ((1.0, "2"), (4.0, "3")):
        picture.take(Waits(run=RUN, at=AT, task="a", why=f"run {run} is doing it"), at)
    waiting = ["  waiting      9s  a  run 3 is doing it", f"  {NOW}0 of 2 done, 10s"]
    assert shown(picture, 10.0) == waiting
    picture.take(ended("a", TaskState.SKIPPED, Reason.CURRENT, attempts=0), 11.0)
    assert shown(picture, 11.0) == [f"  {NOW}1 of 2 done, 1 skipped, 11s"]


def test_the_picture_says_that_a_run_is_ending() -> None:
    picture = Picture()
    said = SetupStep(run=RUN, at=AT, step="ending", message="a has 10 s to end")
    for event in (started("a"), began("a"), said):
        picture.take(event, 0.0)
    assert shown(picture, 2.0) == [
        "  ending       2s  a",
        "  ending: a has 10 s to end",
        f"  {NOW}0 of 1 done, 2s",
    ]


def test_the_picture_fits_the_window_and_leaves_out_what_was_not_selected() -> None:
    picture = Picture()
    picture.take(started(*(f"t{n}" for n in range(20))), 0.0)
    for n in range(15):
        picture.take(began(f"t{n}"), 0.0)
    picture.take(ended("t19", TaskState.SKIPPED, Reason.SINGLE_TASK, attempts=0), 0.0)
    block = shown(picture, 1.0, rows=3)
    assert len(block) == 5
    assert block[3:] == ["  … and 12 more", f"  {NOW}0 of 19 done, 1s"]


def test_the_live_view_scrolls_lines_above_its_block_and_leaves_nothing_behind() -> None:
    terminal = Terminal()
    view = LiveView(Console(terminal, Terminal(), {"NO_COLOR": "1"}), verbose=True)  # type: ignore[arg-type]
    view.emit(started("extract"))
    view.emit(began("extract"))
    deadline = time.monotonic() + 60
    while "running" not in terminal.text and time.monotonic() < deadline:
        time.sleep(0.02)
    view.emit(Warned(run=RUN, at=AT, message="big"))
    view.output("extract", b"10%\r50%\r100%\nlast")
    view.emit(tried("extract"))
    view.emit(ended("extract"))
    view.close()
    assert "\x1b[A\x1b[2K" * 2 in terminal.text
    assert "\x1b[J" not in terminal.text  # tmux would keep each frame in its history
    final = terminal.text.rpartition("\x1b[2K")[2]
    assert final in ("", "warning: big\n[extract] 100%\n[extract] last\n")
    assert "warning: big\n[extract] 100%\n[extract] last\n" in terminal.text


def test_a_window_that_became_narrower_leaves_no_ghost_of_the_block() -> None:
    """Lines of the block that no longer fit have been broken in two by the terminal."""
    assert rows([79, 40, 0], 80) == 3
    assert rows([79, 40, 0], 39) == 3 + 2 + 1
    terminal = Terminal()
    console = Resized(terminal, Terminal(), {"NO_COLOR": "1"})  # type: ignore[arg-type]
    view = LiveView(console)
    view.emit(started("extract"))
    deadline = time.monotonic() + 60
    while "0 of 1 done" not in terminal.text and time.monotonic() < deadline:
        time.sleep(0.02)
    console.columns = 30
    view.close()
    drawn = len(f"  {NOW}0 of 1 done, 0s")
    assert terminal.text.count("\x1b[A\x1b[2K") >= -(-drawn // 30)


class Resized(Console):
    """A console on a window of any width."""

    columns = 80

    @property
    def width(self) -> int:
        return self.columns
