"""`pit.work.process.launch`: real programs, and that nothing of them is left."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pit.model import Reason
from pit.work.process import launch, procfs, supervisor
from pit.work.process.launch import Cancel, Exit
from pit.work.process.orphans import orphans
from tests.work.process import daemons

ENV = {"PATH": os.environ["PATH"], "HOME": "/tmp"}
KB, MB = 1 << 10, 1 << 20


@pytest.fixture(autouse=True, scope="module")
def _subreaper() -> Iterator[None]:
    """As Pit begins: no child is there whose orphans could be mistaken for a task's.

    The process of the suite may have some, a server of other tests; they leave no orphans.
    """
    launch.become_subreaper()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orphans, "_strict", False)
        yield


@pytest.fixture
def cancel() -> Iterator[Cancel]:
    request = Cancel()
    yield request
    request.close()


class Ran:
    """What became of a program."""

    def __init__(self, folder: Path, exited: Exit, output: bytes) -> None:
        self.folder, self.exit, self.output = folder, exited, output

    def pids(self) -> list[int]:
        """The processes that wrote their id into `pids`."""
        return [int(line) for line in (self.folder / "pids").read_text().split()]


Runner = Callable[..., Ran]


@pytest.fixture
def sh(tmp_path: Path) -> Runner:
    """Runs a piece of shell in `tmp_path`; options as `launch.run` has them."""

    def run(script: str, *, output: Callable[[memoryview], None] | None = None, **options: object):  # type: ignore[no-untyped-def]
        kept = bytearray()
        exited = launch.run(
            ["bash", "-c", textwrap.dedent(script)],
            cwd=tmp_path,
            env=ENV,
            output=output or kept.extend,
            **options,  # type: ignore[arg-type]
        )
        return Ran(tmp_path, exited, bytes(kept))

    return run


def alive(pid: int) -> bool:
    found = procfs.stat(pid)
    return found is not None and found.alive


def until(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Wait for something that another process does."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True


def after(seconds: float, call: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, call)
    timer.start()
    return timer


# ---------------------------------------------------------------- how a program ends


def test_success_tells_times_cpu_and_no_ending(sh: Runner) -> None:
    before = time.time()
    ran = sh("echo out; echo err >&2; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    assert ran.exit.exit_code == 0
    assert ran.exit.signal is None
    assert ran.exit.ending is None
    assert ran.exit.error == ""
    assert ran.output == b"out\nerr\n"
    assert before <= ran.exit.started_at <= ran.exit.ended_at <= time.time()
    assert ran.exit.cpu_seconds is not None
    assert 0 < ran.exit.cpu_seconds <= 10


def test_an_exit_code_is_told(sh: Runner) -> None:
    assert sh("exit 3").exit.exit_code == 3


def test_a_signal_is_told_apart_from_an_exit_code(sh: Runner) -> None:
    exited = sh("kill -SEGV $$").exit
    assert (exited.exit_code, exited.signal, exited.ending) == (None, signal.SIGSEGV, None)


def test_stdin_is_empty_and_session_is_its_own(sh: Runner) -> None:
    ran = sh("cat; ps -o sid= -p $$; echo $$")
    session, pid = map(int, ran.output.split())
    assert session == pid


def test_the_marker_is_added_to_the_given_environment(sh: Runner) -> None:
    ran = sh("env", marker="m-17")
    names = {line.split(b"=")[0] for line in ran.output.splitlines()}
    assert b"PIT_MARKER=m-17" in ran.output.splitlines()
    assert names <= {b"PATH", b"HOME", b"PIT_MARKER", b"PWD", b"SHLVL", b"_", b"OLDPWD"}


def test_no_file_descriptor_of_ours_reaches_the_program(sh: Runner, tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w") as handle:
        os.set_inheritable(handle.fileno(), True)
        ran = sh("ls /proc/$$/fd; true")
    assert set(map(int, ran.output.split())) <= {0, 1, 2, 255}


# ---------------------------------------------------------------- what cannot be started


@pytest.mark.parametrize(
    ("name", "content", "mode", "words"),
    [
        ("nodee", None, 0, 'command "nodee" not found'),
        ("./absent.sh", None, 0, "./absent.sh not found"),
        ("./norun", "#!/bin/sh\n", 0o644, "execute bit"),
        ("./noshebang", "echo hi\n", 0o755, "first line is not #!"),
        ("./crlf", "#!/bin/sh\r\necho hi\r\n", 0o755, "Windows line endings"),
        ("./lost", "#!/opt/none/python -u\n", 0o755, "interpreter of ./lost not found: /opt/none"),
        ("./folder", "", 0, "may not be executed"),
    ],
)
def test_why_a_program_could_not_be_started(
    tmp_path: Path, name: str, content: str | None, mode: int, words: str
) -> None:
    if content == "":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content.encode())
        (tmp_path / name).chmod(mode)
    exited = launch.run([name], cwd=tmp_path, env=ENV, output=lambda _: None)
    assert exited.ending is Reason.NOT_FOUND
    assert (exited.exit_code, exited.signal) == (None, None)
    assert words in exited.error


def test_a_missing_working_directory_is_named(tmp_path: Path) -> None:
    exited = launch.run(["true"], cwd=tmp_path / "gone", env=ENV, output=lambda _: None)
    assert exited.ending is Reason.SETUP
    assert str(tmp_path / "gone") in exited.error


def test_a_null_byte_in_an_argument_is_refused_in_words(tmp_path: Path) -> None:
    exited = launch.run(["true", "a\0b"], cwd=tmp_path, env=ENV, output=lambda _: None)
    assert exited.ending is Reason.SETUP
    assert "null byte" in exited.error


def test_arguments_that_are_too_long_are_refused_in_words(tmp_path: Path) -> None:
    exited = launch.run(["true", "x" * MB], cwd=tmp_path, env=ENV, output=lambda _: None)
    assert exited.ending is Reason.SETUP
    assert "too long" in exited.error


def test_a_script_still_open_for_writing_is_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 7\n")
    script.chmod(0o755)
    writer = script.open("a")
    closing = after(0.03, writer.close)
    exited = launch.run([str(script)], cwd=tmp_path, env=ENV, output=lambda _: None)
    closing.join()
    assert exited.exit_code == 7


# ---------------------------------------------------------------- output


def test_output_comes_while_the_program_runs(tmp_path: Path, sh: Runner) -> None:
    heard: list[bytes] = []

    def output(piece: memoryview) -> None:
        heard.append(bytes(piece))
        (tmp_path / "go").touch()

    ran = sh("echo first; while [ ! -e go ]; do sleep 0.01; done; echo second", output=output)
    assert ran.exit.exit_code == 0
    assert b"".join(heard) == b"first\nsecond\n"


def test_a_line_of_10_mb_and_binary_bytes_arrive_unchanged(tmp_path: Path, sh: Runner) -> None:
    noise = os.urandom(MB) + b"\n" + b"x" * (10 * MB)
    (tmp_path / "noise").write_bytes(noise)
    assert sh("cat noise").output == noise


def test_200_mb_of_output_neither_grow_memory_nor_take_long(sh: Runner) -> None:
    count = 0

    def output(piece: memoryview) -> None:
        nonlocal count
        count += len(piece)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ran = sh("head -c 200M /dev/zero", output=output)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert count == 200 * MB
    assert grown * KB < 8 * MB
    assert ran.exit.exit_code == 0


def test_a_program_that_closes_its_output_is_waited_for(sh: Runner) -> None:
    ran = sh("echo x; exec >&- 2>&-; sleep 0.2; exit 5")
    assert ran.exit.exit_code == 5
    assert ran.exit.seconds >= 0.2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_whole_tree(sh: Runner, number: int) -> None:
    def output(_: memoryview) -> None:
        raise OSError(number, os.strerror(number))

    ran = sh("sleep 60 & echo $! $$ > pids; yes", output=output)
    assert ran.exit.ending is Reason.DISK_FULL
    assert os.strerror(number) in ran.exit.error
    assert not any(map(alive, ran.pids()))


def test_any_other_failure_of_the_receiver_is_raised_when_all_is_ended(
    sh: Runner, tmp_path: Path
) -> None:
    def output(_: memoryview) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sh("sleep 60 & echo $! $$ > pids; echo x; wait", output=output)
    assert not any(map(alive, Ran(tmp_path, None, b"").pids()))  # type: ignore[arg-type]


# ---------------------------------------------------------------- time-out and cancel


def test_a_time_out_terminates(sh: Runner) -> None:
    ran = sh("trap 'echo bye; exit 0' TERM; sleep 3600 & wait", timeout=1.0, grace=3600)
    assert ran.exit.ending is Reason.TIMEOUT
    assert ran.output == b"bye\n"
    assert ran.exit.exit_code == 0


def test_what_ignores_terminate_is_killed_after_the_grace(sh: Runner) -> None:
    ran = sh("trap '' TERM; echo $$ > pids; sleep 60; sleep 60", timeout=1.0, grace=0.3)
    assert ran.exit.ending is Reason.TIMEOUT
    assert ran.exit.signal == signal.SIGKILL
    assert ran.exit.seconds >= 1.3
    assert not any(map(alive, ran.pids()))


def test_a_clean_up_may_start_processes_during_the_grace(sh: Runner) -> None:
    ran = sh("trap 'sleep 0.2; echo clean; exit 1' TERM; sleep 60 & wait", timeout=1.0, grace=10)
    assert ran.output == b"clean\n"
    assert ran.exit.exit_code == 1


def test_stopped_processes_are_ended_too(sh: Runner) -> None:
    script = "sleep 3600 & echo $! $$ > pids; kill -STOP $!; kill -STOP $$"
    ran = sh(script, timeout=1.0, grace=3600)
    assert ran.exit.ending is Reason.TIMEOUT
    assert ran.exit.signal == signal.SIGTERM
    assert not any(map(alive, ran.pids()))


def test_cancel_ends_gracefully_and_says_why(sh: Runner, cancel: Cancel) -> None:
    timer = after(0.2, lambda: cancel.request(1, Reason.INTERRUPTED))
    ran = sh("trap 'echo bye; exit 0' TERM; sleep 60 & wait", cancel=cancel, grace=10)
    timer.join()
    assert ran.exit.ending is Reason.INTERRUPTED
    assert ran.output == b"bye\n"


def test_the_second_cancel_cuts_the_grace_short(sh: Runner, cancel: Cancel) -> None:
    timers = [after(0.1, lambda: cancel.request(1)), after(0.4, lambda: cancel.request(2))]
    ran = sh("trap '' TERM; while :; do sleep 1; done", cancel=cancel, grace=3600)
    for timer in timers:
        timer.join()
    assert ran.exit.ending is Reason.CANCELLED
    assert ran.exit.signal == signal.SIGKILL


def test_nothing_is_started_after_a_cancel(sh: Runner, cancel: Cancel, tmp_path: Path) -> None:
    cancel.request(1)
    ran = sh("touch started", cancel=cancel)
    assert ran.exit.ending is Reason.CANCELLED
    assert not (tmp_path / "started").exists()


# ---------------------------------------------------------------- what it leaves behind

STRAYS = {
    "background": "sleep 60 & echo $! >> pids",
    "holding the pipe alone": "(trap '' HUP; exec sleep 60) & echo $! >> pids; exec >&- 2>&-",
    "own session": "setsid sleep 60 & echo $! >> pids",
    "setsid -f": "setsid -f bash -c 'echo $$ >> pids; exec sleep 60 > /dev/null 2>&1'",
    "double fork": "(setsid bash -c '(echo $BASHPID >> pids; exec sleep 60) &') > /dev/null 2>&1",
    "no environment": "env -i setsid -f bash -c 'echo $$ >> pids; exec sleep 60' > /dev/null 2>&1",
    "nohup": "nohup setsid sleep 60 > /dev/null 2>&1 & echo $! >> pids",
    "ignores all": 'setsid -f bash -c \'trap "" TERM HUP INT; echo $$ >> pids; while :; do '
    "sleep 1; done' > /dev/null 2>&1",
    "deep": "bash -c 'bash -c \"setsid sleep 60 & echo \\$! >> pids; wait\" & wait' > /dev/null &",
    "stopped": "setsid -f bash -c 'echo $$ >> pids; kill -STOP $$' > /dev/null 2>&1",
}


@pytest.mark.parametrize("kind", STRAYS)
def test_what_is_left_in_the_background_ends_with_a_success(sh: Runner, kind: str) -> None:
    ran = sh(
        f"touch pids; {STRAYS[kind]}\nuntil [ -s pids ]; do sleep 0.01; done; exit 0", grace=0.5
    )
    assert ran.exit.exit_code == 0
    assert ran.exit.ending is None
    assert ran.pids()
    assert not any(map(alive, ran.pids()))


@pytest.mark.parametrize("kind", STRAYS)
def test_what_is_left_in_the_background_ends_with_a_time_out(sh: Runner, kind: str) -> None:
    ran = sh(f"touch pids; {STRAYS[kind]}\nsleep 60", timeout=1.0, grace=0.3)
    assert ran.exit.ending is Reason.TIMEOUT
    assert ran.pids()
    assert not any(map(alive, ran.pids()))


def test_the_last_words_of_what_is_left_are_kept(sh: Runner) -> None:
    ran = sh("(trap 'echo late; exit' TERM; echo ready > r; while :; do sleep 0.05; done) & "
             "until [ -e r ]; do sleep 0.01; done")  # fmt: skip
    assert ran.output.endswith(b"late\n")


def test_fifty_children_that_wander_off_are_all_ended(sh: Runner) -> None:
    ran = sh("""
        for i in $(seq 50); do
            setsid bash -c 'trap "" TERM; echo $$ >> pids; sleep 60 & wait' > /dev/null 2>&1 &
        done
        until [ $(wc -l < pids) -ge 50 ]; do sleep 0.02; done
    """, grace=0.2)  # fmt: skip
    assert len(ran.pids()) == 50
    assert not any(map(alive, ran.pids()))


def test_a_tree_that_keeps_forking_is_ended(sh: Runner, tmp_path: Path) -> None:
    """Each process starts its successor in a new session and dies, as fast as it can."""
    (tmp_path / "hop").write_text(
        "#!/bin/bash\ntrap '' TERM\necho $$ > now\n[ -e stop ] || setsid -f ./hop\n"
    )
    (tmp_path / "hop").chmod(0o755)
    ran = sh("for i in 1 2 3; do ./hop & done; sleep 0.3", grace=0.1)
    assert ran.exit.exit_code == 0
    last = (tmp_path / "now").read_text()
    time.sleep(0.1)
    assert (tmp_path / "now").read_text() == last


@pytest.mark.parametrize("kind", daemons.DAEMONS)
def test_a_daemon_ends_with_its_task_and_not_with_another(tmp_path: Path, kind: str) -> None:
    """Each of two tasks leaves one that has cut every tie; the other task goes on."""
    ready, done = threading.Event(), threading.Event()

    def other() -> None:
        script = f"{daemons.left(kind, 'other')}\necho; until [ -e stop ]; do sleep 0.01; done"
        launch.run(
            ["bash", "-c", script], cwd=tmp_path, env=ENV, output=lambda _: ready.set(), grace=0.2
        )
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert ready.wait(60)
    launch.run(
        ["bash", "-c", daemons.left(kind)], cwd=tmp_path, env=ENV, output=lambda _: None, grace=0.2
    )
    ours, others = daemons.pids(tmp_path) + daemons.pids(tmp_path, name="other")
    lived = [alive(ours), alive(others), not done.is_set()]
    (tmp_path / "stop").touch()
    thread.join()
    assert lived == [False, True, True]
    assert not alive(others)


def test_end_all_ends_what_nobody_could_be_blamed_for(tmp_path: Path) -> None:
    """Without marks: what a task has left while another one ran."""
    program = f"""
import os, threading
from pit.work.process import launch
launch.become_subreaper()
def task(script):
    launch.run(["bash", "-c", script], cwd=".", env=os.environ, output=lambda _: ready.set())
ready = threading.Event()
thread = threading.Thread(target=task, args=("echo; until [ -e stop ]; do sleep 0.01; done",))
thread.start()
ready.wait()
task({daemons.left("double fork")!r})
alive = os.path.exists("/proc/" + open("pids").read().strip())
before = launch.nothing_left()
open("stop", "w").close()
thread.join()
launch.end_all(grace=1)
print(alive, before, launch.nothing_left())
"""
    ended = launch.capture(
        ["bash", "-c", f'{daemons.WITHOUT_MARKS}exec "$0" -c "$1"', sys.executable, program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(launch.__file__).parents[3])},
    )
    (pid,) = daemons.pids(tmp_path)
    assert ended == (0, b"True False True\n")
    assert not alive(pid)


def test_a_sibling_and_its_strays_are_left_alone(tmp_path: Path) -> None:
    """Healthy work of other tasks survives the end of one."""
    ready = threading.Event()
    results: list[Exit] = []

    def other() -> None:
        script = (
            "setsid -f bash -c 'echo $$ > stray; exec sleep 60' > /dev/null 2>&1; "
            "until [ -s stray ]; do sleep 0.01; done; echo; "
            "until [ -e stop ]; do sleep 0.01; done; kill -0 $(cat stray)"
        )
        results.append(
            launch.run(["bash", "-c", script], cwd=tmp_path, env=ENV, output=lambda _: ready.set())
        )

    thread = threading.Thread(target=other)
    thread.start()
    assert ready.wait(60)
    stray = int((tmp_path / "stray").read_text())
    for _ in range(5):
        launch.run(["bash", "-c", "sleep 60 &"], cwd=tmp_path, env=ENV, output=lambda _: None)
    assert alive(stray)
    (tmp_path / "stop").touch()
    thread.join()
    assert results[0].exit_code == 0
    assert not alive(stray)


# ---------------------------------------------------------------- many


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def zombies() -> Callable[[], list[int]]:
    """Says which children have ended unheard since the test began.

    Orphans of what other tests have killed are ours too, for this process is a sub-reaper.
    """
    before = set(procfs.children(os.getpid()))

    def found() -> list[int]:
        children = set(procfs.children(os.getpid()))
        return [pid for pid in children - before if not alive(pid)]

    return found


def test_500_in_sequence_leave_no_zombie_and_no_file_open(
    tmp_path: Path, zombies: Callable[[], list[int]]
) -> None:
    launch.run(["true"], cwd=tmp_path, env=ENV, output=lambda _: None)
    before = open_files()
    for _ in range(500):
        exited = launch.run(["true"], cwd=tmp_path, env=ENV, output=lambda _: None)
        assert exited.exit_code == 0
    assert open_files() == before
    assert zombies() == []


def test_four_threads_at_once_each_get_their_own(
    tmp_path: Path, zombies: Callable[[], list[int]]
) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(40):
            kept = bytearray()
            stray = "sleep 60 & " if turn % 8 == 0 else ""
            exited = launch.run(
                ["bash", "-c", f"{stray}echo {number}-{turn}; exit {turn}"],
                cwd=tmp_path,
                env=ENV,
                output=kept.extend,
            )
            if (exited.exit_code, kept) != (turn, f"{number}-{turn}\n".encode()):
                wrong.append((number, turn, exited, kept))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert zombies() == []


# ---------------------------------------------------------------- memory


def test_peak_memory_is_that_of_the_tree(sh: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_LAST_LOOK", 0.05)
    monkeypatch.setattr(supervisor, "_IDLENESS", 0)  # however slow the machine is just now
    eat = (
        f"{sys.executable} -c 'x = bytearray(40_000_000); import glob, os, time; "
        'open(f"ate-{os.getpid()}", "w")\nwhile len(glob.glob("ate-*")) < 2: time.sleep(0.01)\n'
        "time.sleep(0.5)'"
    )
    ran = sh(f"{eat} & {eat} & wait")
    assert ran.exit.peak_memory is not None
    assert 80_000_000 < ran.exit.peak_memory < 400_000_000


def test_a_short_peak_above_our_own_is_seen_without_a_sample(sh: Runner) -> None:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KB
    ran = sh(f"{sys.executable} -c 'x = bytearray({own + 50 * MB})'")
    assert ran.exit.peak_memory is not None
    assert ran.exit.peak_memory > own + 50 * MB


def test_even_the_shortest_program_has_a_peak(tmp_path: Path) -> None:
    for _ in range(50):
        exited = launch.run(["true"], cwd=tmp_path, env=ENV, output=lambda _: None)
        assert exited.peak_memory is not None
        assert 100 * KB < exited.peak_memory < 20 * MB


# ---------------------------------------------------------------- capture


def test_capture_returns_code_and_output(tmp_path: Path) -> None:
    code, output = launch.capture(
        ["bash", "-c", "echo a; echo b >&2; exit 4"], cwd=tmp_path, env=ENV
    )
    assert (code, output) == (4, b"a\nb\n")


def test_capture_keeps_the_last_megabyte(tmp_path: Path) -> None:
    code, output = launch.capture(
        ["bash", "-c", "head -c 5M /dev/zero; echo the end"], cwd=tmp_path, env=ENV
    )
    assert code == 0
    assert len(output) == MB
    assert output.endswith(b"the end\n")


@pytest.mark.parametrize(
    ("argv", "options", "code"),
    [
        (["nodee"], {}, 127),
        (["bash", "-c", "kill -9 $$"], {}, 137),
        (["sleep", "60"], {"timeout": 0.1}, 124),
    ],
)
def test_capture_speaks_in_the_codes_of_a_shell(
    tmp_path: Path, argv: list[str], options: dict[str, float], code: int
) -> None:
    assert launch.capture(argv, cwd=tmp_path, env=ENV, **options)[0] == code  # type: ignore[arg-type]


# ---------------------------------------------------------------- a child to talk to


def test_a_child_answers_and_is_ended_with_its_tree(tmp_path: Path) -> None:
    script = "setsid sleep 60 & echo $! $$ > pids; echo words >&2; exec cat"
    child = launch.spawn_session(
        ["bash", "-c", script], cwd=tmp_path, env=ENV, stderr=tmp_path / "err"
    )
    child.send(b"hello\n")
    assert child.receive() == b"hello\n"
    assert child.returncode is None
    assert child.end(5) == -signal.SIGTERM
    assert child.receive() == b""
    child.close()
    assert (tmp_path / "err").read_text() == "words\n"
    assert not any(map(alive, map(int, (tmp_path / "pids").read_text().split())))


def test_the_death_of_a_child_is_seen_by_its_reader(tmp_path: Path) -> None:
    child = launch.spawn_session(
        ["bash", "-c", "read line; kill -9 $$"], cwd=tmp_path, env=ENV, stderr=2
    )
    child.send(b"x\n")
    assert child.receive() == b""
    assert child.wait(60)
    assert child.returncode == -signal.SIGKILL
    assert child.end(1) == -signal.SIGKILL
    child.close()


def test_a_child_may_be_ended_by_several_threads_at_once(tmp_path: Path) -> None:
    child = launch.spawn_session(["sleep", "60"], cwd=tmp_path, env=ENV, stderr=2)
    codes: list[int | None] = []
    threads = [threading.Thread(target=lambda: codes.append(child.end(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child.close()
    assert codes == [-signal.SIGTERM] * 4


def test_a_child_that_cannot_be_started_raises_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_files()
    with pytest.raises(FileNotFoundError):
        launch.spawn_session(["nodee"], cwd=tmp_path, env=ENV, stderr=tmp_path / "err")
    assert open_files() == before


def test_identity_names_this_process() -> None:
    own = procfs.stat(os.getpid())
    assert own is not None
    assert launch.identity() == {
        "pid": os.getpid(),
        "pid_started": float(own.start),
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }
