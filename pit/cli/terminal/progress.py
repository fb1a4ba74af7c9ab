"""How a run shows itself while it goes: sinks that turn events into lines on the terminal.

PlainView   one line per event, for pipes, cron mails and CI
LiveView    a block at the foot of the terminal, drawn anew ten times a second
JsonView    one event per line, for programs

Each has `emit(event)`, `output(task, data)` for `--verbose`, and `close()`. They may be called
from any thread. A reader that goes away makes a view silent and never disturbs the run.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from pit.cli.terminal.console import (
    STATE_STYLES,
    Console,
    cells,
    count,
    duration,
    erased,
    fit,
    harmless,
    rows,
)
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
from pit.model import Reason, TaskState
from pit.text.control import printable
from pit.views import reasons

_FRAME_SECONDS = 0.1
_PROGRESS_SECONDS = 10.0
_LIVE_ROWS = 12
_LIVE_FAILURES = 5
_PIECE = 65536
_NAME_ROOM = 28


class View(Protocol):
    """What the run command needs of a view."""

    def emit(self, event: Event) -> None:
        """Show an event."""

    def output(self, task: str, data: bytes | memoryview) -> None:
        """Show what a task wrote."""

    def close(self) -> None:
        """Show what is still held back, and give the terminal back."""


def view_for(console: Console, *, as_json: bool, verbose: bool) -> View:
    """The view that fits where standard output goes."""
    if as_json:
        return JsonView(console, verbose=verbose)
    if console.is_terminal:
        return LiveView(console, verbose=verbose)
    return PlainView(console, verbose=verbose)


# ---------------------------------------------------------------- the output of tasks


class Lines:
    """Task output as whole lines that begin with the task's name, pieces of a bounded size.

    A line is held back until its end is known, or until it is 64 kB long: then what there is
    of it goes out as a line of its own.
    """

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}

    def feed(self, task: str, data: bytes | memoryview) -> bytes:
        """The lines that are complete now."""
        held = self._held.pop(task, b"") + bytes(data)
        whole, newline, rest = held.rpartition(b"\n")
        lines = whole.split(b"\n") if newline else []
        while len(rest) > _PIECE:
            lines.append(rest[:_PIECE])
            rest = rest[_PIECE:]
        if rest:
            self._held[task] = rest
        return _prefixed(task, lines)

    def rest(self, task: str) -> bytes:
        """The last line, if it came without an end."""
        held = self._held.pop(task, b"")
        return _prefixed(task, [held]) if held else b""

    def close(self) -> bytes:
        """The last lines of every task that still has one."""
        return b"".join(self.rest(task) for task in list(self._held))


def _prefixed(task: str, lines: list[bytes]) -> bytes:
    if not lines:
        return b""
    prefix = f"[{task}] ".encode()
    return prefix + (b"\n" + prefix).join(lines) + b"\n"


# ---------------------------------------------------------------- one line per event


class _Quiet:
    """A way to the console that falls silent when the reader has gone, and never raises."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.lock = threading.RLock()
        self._gone = False

    def __call__(self, write: Callable[[], None]) -> None:
        if self._gone:
            return
        try:
            write()
        except (OSError, ValueError):  # EPIPE, EIO, ENOSPC; ValueError: the stream was closed
            self._gone = True


class PlainView:
    """One line per event, with the time of day: what a log file or a cron mail shall hold."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._quietly = _Quiet(console)
        self._lines = Lines()
        self._clock = (0, "")
        self._room = 0
        self._due: dict[str, float] = {}

    def emit(self, event: Event) -> None:
        """Write the event's line; a task's last unfinished line of output comes before it."""
        if isinstance(event, RunStarted):
            self._room = min(max(map(len, event.tasks), default=0), _NAME_ROOM)
        if not self._is_due(event):
            return
        text = sentence(event, self._room)
        with self._quietly.lock:
            if isinstance(event, AttemptEnded):
                self._write(self._lines.rest(event.task))
            if text:
                line = f"{self._time(event.at)}  {text}"
                self._quietly(lambda: self._console.out(line))

    def _is_due(self, event: Event) -> bool:
        """Whether to write it: of progress some, of what tasks log what is not in their output."""
        match event:
            case AttemptStarted():
                self._due[event.task] = event.at + _PROGRESS_SECONDS
            case Progressed():
                if event.at < self._due.get(event.task, 0.0):
                    return False
                self._due[event.task] = event.at + _PROGRESS_SECONDS
            case Logged():
                return not self._verbose
        return True

    def output(self, task: str, data: bytes | memoryview) -> None:
        """Write what a task wrote, whole lines with its name before them."""
        if self._verbose:
            with self._quietly.lock:
                self._write(self._lines.feed(task, data))

    def close(self) -> None:
        """Write the unfinished last lines."""
        with self._quietly.lock:
            self._write(self._lines.close())

    def _write(self, data: bytes) -> None:
        if data:
            self._quietly(lambda: self._console.raw(data))

    def _time(self, at: float) -> str:
        second = int(at)
        if self._clock[0] != second:
            self._clock = (second, time.strftime("%H:%M:%S", time.localtime(at)))
        return self._clock[1]


def sentence(event: Event, room: int = 0) -> str:
    """An event in one line, task names padded to `room`; empty for what only programs need."""
    match event:
        case AttemptStarted():
            return f"{event.task:<{room}}  started{_which(event.attempt, event.attempts)}"
        case AttemptEnded(retry_in=float() as delay):
            why = reasons.sentence(event.outcome.reason, event.outcome.error)
            what = f"attempt {event.attempt} failed: {why}; next in {duration(delay)}"
            return f"{event.task:<{room}}  {what}"
        case TaskEnded(reason=Reason.SINGLE_TASK | Reason.CURRENT):
            return ""  # the summary has them; a thousand lines about nothing hide the one
        case TaskEnded():
            return f"{event.task:<{room}}  {ending(event)}"
        case Progressed():
            return f"{event.task:<{room}}  {standing(event)}"
        case Logged(level="warning" | "error"):
            return f"{event.task:<{room}}  {event.level}: {_first_line(event)}"
        case Waits():
            return f"{event.task:<{room}}  waiting: {printable(event.why)}"
        case SetupStep():
            return f"{event.step}: {printable(event.message)}"
        case Warned():
            return f"warning: {warning(event)}"
        case RunStarted():
            stub = f" as a stub: {NO_SQL}" if event.stub else ""
            return f"run {event.run} started{stub}: {_extent(event)}"
        case RunEnded():
            why = "" if event.reason is Reason.EXIT else reasons.sentence(event.reason, event.error)
            why = why.removeprefix(event.state).removeprefix(": ")
            return f"run {event.run} {event.state}{f': {why}' if why else ''}"
    return ""


def warning(event: Warned) -> str:
    """A warning in one line: what is so, and what to do about it."""
    hint = event.hint[:1].lower() + event.hint[1:]
    return printable("; ".join(filter(None, (event.message, hint))))


def standing(event: Progressed) -> str:
    """How far a task is: `40%  4 of 10  april.csv`."""
    done, total = _number(event.done), event.total
    parts = [done]
    if total:
        parts = [f"{min(max(event.done / total, 0.0), 1.0):.0%}", f"{done} of {_number(total)}"]
    return "  ".join(filter(None, (*parts, printable(event.message.partition("\n")[0]))))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _first_line(event: Logged) -> str:
    from pit.work.socket.answers.task_values import (
        told as logged,  # no small module, and few runs log
    )

    return printable(logged(event.message, event.fields).partition("\n")[0])


def ending(event: TaskEnded) -> str:
    """How a task ended: its state, its duration if it ran, why."""
    parts: list[str] = [event.state]
    if event.attempts:
        parts.append(duration(event.seconds))
    return "  ".join(filter(None, (*parts, reasons.of_task(event.reason, event.error, event.why))))


def _which(attempt: int, attempts: int) -> str:
    return f" (attempt {attempt} of {attempts})" if attempt > 1 else ""


NO_SQL = "SQL is not executed, because there is no secrets file"
"""What a run says first and last that only shows its SQL."""


def _extent(event: RunStarted) -> str:
    tasks = count(len(event.tasks), "task")
    chosen = f"{event.selection} of {tasks}" if event.selection else tasks
    return f"{chosen}, {event.concurrency} at a time"


# ---------------------------------------------------------------- one event per line


class JsonView:
    """Each event as a JSON object on a line; with `--verbose` the output of tasks as well."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._quietly = _Quiet(console)
        self._encoder = msgspec.json.Encoder()

    def emit(self, event: Event) -> None:
        """Write the event."""
        self._line(self._encoder.encode(event))

    def output(self, task: str, data: bytes | memoryview) -> None:
        """Write a piece of output as `{"event": "output", "task": …, "text": …}`."""
        if self._verbose:
            text = bytes(data).decode("utf-8", "replace")
            self._line(self._encoder.encode({"event": "output", "task": task, "text": text}))

    def close(self) -> None:
        """Nothing is held back."""

    def _line(self, data: bytes) -> None:
        with self._quietly.lock:
            self._quietly(lambda: self._console.raw(data + b"\n"))


# ---------------------------------------------------------------- a block on the terminal


class LiveView:
    """What runs now, at the foot of the terminal; warnings and output scroll by above it.

    A thread draws it, started by the first event: events only change the picture, so that ten
    thousand short tasks cost ten frames a second and no more.
    """

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._quietly = _Quiet(console)
        self._lines = Lines()
        self._picture = Picture()
        self._above: list[str] = []
        self._drawn: list[int] = []
        self._ended = threading.Event()
        self._painter: threading.Thread | None = None

    def emit(self, event: Event) -> None:
        """Take the event into the picture."""
        with self._quietly.lock:
            self._picture.take(event, time.monotonic())
            if isinstance(event, AttemptEnded):
                self._scroll(self._lines.rest(event.task))
            if isinstance(event, RunStarted) and event.stub:
                self._above.append(self._console.paint(f"Stub run: {NO_SQL}.", "yellow"))
            if isinstance(event, Warned):
                label = self._console.paint("warning:", "yellow")
                self._above.append(self._console.broken(f"{label} {warning(event)}", " " * 9))
            if isinstance(event, Logged) and event.level in _NOTABLE and not self._verbose:
                label = self._console.paint(f"{event.level}:", _NOTABLE[event.level])
                self._above.append(f"{event.task}  {label} {_first_line(event)}")
            if self._painter is None:
                self._painter = threading.Thread(target=self._paint, name="view", daemon=True)
                self._painter.start()

    def output(self, task: str, data: bytes | memoryview) -> None:
        """Let what a task wrote scroll by above the block."""
        if self._verbose:
            with self._quietly.lock:
                self._scroll(self._lines.feed(task, data))
                if len(self._above) > 1000:
                    self._draw(self._block())

    def close(self) -> None:
        """Remove the block, and let the last lines out."""
        self._ended.set()
        if self._painter is not None:
            self._painter.join()
        with self._quietly.lock:
            self._scroll(self._lines.close())
            self._draw([])

    def _scroll(self, data: bytes) -> None:
        for line in data.decode("utf-8", "replace").split("\n")[:-1]:
            self._above.append(harmless(_settled(line)))

    def _paint(self) -> None:
        while not self._ended.wait(_FRAME_SECONDS):
            with self._quietly.lock:
                self._draw(self._block())

    def _block(self) -> list[Pieces]:
        width = (self._console.width or 80) - 1
        most = max(min(_LIVE_ROWS, self._console.height - _LIVE_FAILURES - 4), 1)
        return [_cut(line, width) for line in self._picture.lines(time.monotonic(), most)]

    def _draw(self, block: list[Pieces]) -> None:
        """Replace the block on the terminal, in one write: erase, lines above, block."""
        standing = rows(self._drawn, self._console.width or 80)
        text = erased(standing) if self._drawn else ""
        text += "".join(line + "\n" for line in self._above)
        for line in block:
            text += "".join(self._console.paint(piece, style) for piece, style in line) + "\n"
        self._above.clear()
        self._drawn = [sum(cells(piece) for piece, _ in line) for line in block]
        if text:
            self._quietly(lambda: self._console.write(text))


_NOTABLE = {"warning": "yellow", "error": "red"}
"""What tasks log that is shown at once, and its colour."""

Pieces = list[tuple[str, str]]
"""A line as (text, style) pieces, so that it can be cut before it is painted."""


class Picture:
    """The state of a run as the live block shows it: no terminal, no clock of its own."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[float, str]] = {}
        self._standing: dict[str, str] = {}
        self._retrying: dict[str, tuple[float, str]] = {}
        self._barred: dict[str, tuple[float, str]] = {}
        self._failed: deque[TaskEnded] = deque(maxlen=_LIVE_FAILURES)
        self._last: TaskEnded | None = None
        self._counts: dict[TaskState, int] = {}
        self._total = 0
        self._run = ""
        self._started: float | None = None
        self._step = ""
        self._word = "running"

    def take(self, event: Event, now: float) -> None:
        """Change the picture by one event, seen at `now` on the monotonic clock."""
        match event:
            case RunStarted():
                self._started, self._total = now, len(event.tasks)
                self._run = f"{event.dag}  run {event.run}: "
            case SetupStep():
                self._step = f"{event.step}: {printable(event.message)}"
                if event.step == "ending":
                    self._word = event.step
            case Waits():
                self._step = ""
                self._retrying.pop(event.task, None)
                since = self._barred.get(event.task, (now, ""))[0]
                self._barred[event.task] = (since, printable(event.why))
            case AttemptStarted():
                self._step = ""
                self._retrying.pop(event.task, None)
                self._barred.pop(event.task, None)
                self._running[event.task] = (now, _which(event.attempt, event.attempts).strip())
            case Progressed() if event.task in self._running:
                self._standing[event.task] = standing(event)
            case AttemptEnded():
                self._running.pop(event.task, None)
                self._standing.pop(event.task, None)
                if event.retry_in is not None:
                    why = reasons.sentence(event.outcome.reason, event.outcome.error)
                    self._retrying[event.task] = (now + event.retry_in, why)
            case TaskEnded():
                self._end(event)

    def _end(self, event: TaskEnded) -> None:
        self._running.pop(event.task, None)
        self._retrying.pop(event.task, None)
        self._barred.pop(event.task, None)
        if event.reason is Reason.SINGLE_TASK:
            self._total -= 1
            return
        self._counts[event.state] = self._counts.get(event.state, 0) + 1
        if event.state is TaskState.FAILED:
            self._failed.append(event)
        elif event.attempts:
            self._last = event

    def lines(self, now: float, rows: int) -> list[Pieces]:
        """The block: failures, what finished last, what waits and runs, and the counts."""
        ended = [*self._failed, *([self._last] if self._last else [])]
        block = [
            _line(
                task.state,
                STATE_STYLES[task.state],
                duration(task.seconds) if task.attempts else "-",
                task.task,
                reasons.of_task(task.reason, task.error, task.why),
            )
            for task in ended
        ]
        active = self._active(now)
        block += active[:rows]
        if len(active) > rows:
            block.append([(f"  … and {len(active) - rows} more", "dim")])
        if self._step:
            block.append([(f"  {self._step}", "dim")])
        block.append([(f"  {self._tally(now)}", "bold")])
        return block

    def _active(self, now: float) -> list[Pieces]:
        lines = [
            _line(self._word, "cyan", _elapsed(now - since), task, self._note(task, note))
            for task, (since, note) in self._running.items()
        ]
        for task, (since, why) in self._barred.items():
            lines.append(_line("waiting", "yellow", _elapsed(now - since), task, why))
        for task, (due, why) in self._retrying.items():
            left = _elapsed(max(due - now, 0.0) + 0.99)
            lines.append(_line("waiting", "yellow", left, task, f"to try again; {why}"))
        return lines

    def _note(self, task: str, note: str) -> str:
        return "  ".join(filter(None, (note, self._standing.get(task, ""))))

    def _tally(self, now: float) -> str:
        parts = [f"{sum(self._counts.values()):,} of {self._total:,} done"]
        for state, number in self._counts.items():
            if state is not TaskState.SUCCESS:
                parts.append(f"{number:,} {state}")
        if self._started is not None:
            parts.append(_elapsed(now - self._started))
        return self._run + ", ".join(parts)


def _line(word: str, style: str, time: str, task: str, text: str = "") -> Pieces:
    return [(f"  {word:<8}", style), (f"{time:>7}  ", ""), (task, "bold"), (f"  {text}", "")]


def _elapsed(seconds: float) -> str:
    """A running clock: whole seconds, so that the eye is not drawn to it."""
    return f"{int(seconds)}s" if seconds < 60 else duration(seconds)


def _cut(line: Pieces, width: int) -> Pieces:
    """The pieces of a line that fit into so many cells."""
    kept: Pieces = []
    for text, style in line:
        if width <= 0:
            break
        piece = fit(text, width)
        kept.append((piece, style))
        width -= cells(piece)
    return kept


def _settled(line: str) -> str:
    """A `[task] line` as the terminal would show it at last, without what a \\r overwrote."""
    task, bracket, text = line.partition("] ")
    return task + bracket + text.rstrip("\r").rpartition("\r")[2]
