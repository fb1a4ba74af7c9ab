"""Signals to Pit: they reach the main thread whoever takes them, and whatever it waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from pit.work.process import launch, signals
from tests.work.process.test_launch import open_files


@pytest.fixture
def deaf() -> Iterator[None]:
    """The main thread takes no SIGTERM, so that the kernel gives it to another."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


class Sleeper:
    """Ways to wait without a limit, each ended by `wake`."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.event = threading.Event()
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.event.wait)

    def wake(self) -> None:
        self.queue.put(None)
        self.event.set()
        if self.lock.locked():
            self.lock.release()

    def locked(self) -> None:
        self.lock.acquire()
        self.lock.acquire()

    def joining(self) -> None:
        self.thread.start()
        self.thread.join()


WAITS: dict[str, Callable[[Sleeper], object]] = {
    "queue": lambda sleeper: sleeper.queue.get(),
    "event": lambda sleeper: sleeper.event.wait(),
    "lock": Sleeper.locked,
    "thread": Sleeper.joining,
}


@pytest.mark.usefixtures("deaf")
@pytest.mark.parametrize("how", WAITS)
def test_a_signal_that_another_thread_has_taken_is_heeded(how: str) -> None:
    sleeper, over = Sleeper(), threading.Event()
    woken: list[str] = []

    def take_it() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        over.wait(0.2)  # let the main thread fall asleep
        os.kill(os.getpid(), signal.SIGTERM)
        if not over.wait(20):
            woken.append("too late")
            sleeper.wake()

    def first() -> None:
        woken.append("signalled")
        sleeper.wake()

    heeded = signals.install_signals(first, lambda: woken.append("twice"))
    thread = threading.Thread(target=take_it)
    thread.start()
    try:
        WAITS[how](sleeper)
    finally:
        over.set()
        thread.join()
        heeded.restore()
    assert woken == ["signalled"]
    assert heeded.exit_code == 143


def test_afterwards_all_is_as_before() -> None:
    def look() -> tuple[object, ...]:
        wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(wakeup)
        handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGURG)]
        return wakeup, handlers, threading.active_count(), open_files()

    before = look()
    for _ in range(3):
        heeded = signals.install_signals(lambda: None, lambda: None)
        signal.raise_signal(signal.SIGTERM)
        heeded.restore()
    assert look() == before


def test_the_first_and_the_second_signal_are_told_apart() -> None:
    heard: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    signals = launch.install_signals(lambda: heard.append("first"), lambda: heard.append("second"))
    try:
        assert signals.exit_code is None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
    finally:
        signals.restore()
    assert heard == ["first", "second"]
    assert signals.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_was_ignored_before_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals = launch.install_signals(lambda: None, lambda: None)
    try:
        signal.raise_signal(signal.SIGHUP)
        assert signals.received is None
    finally:
        signals.restore()
        signal.signal(signal.SIGHUP, before)


def test_a_signal_number_has_a_name() -> None:
    assert launch.signal_name(9) == "SIGKILL"
    assert launch.signal_name(40) == "signal 40"


def test_where_no_thread_can_be_started_nothing_has_changed() -> None:
    """For who is not root, one more than the limit allows."""
    program = """
import os, resource, signal
from pit.errors import SetupError
from pit.work.process.signals import install_signals
if os.getuid() == 0:
    os.setuid(65534)
def state():
    return (os.listdir("/proc/self/fd"), signal.getsignal(signal.SIGURG),
            signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1))
before, state_before = resource.getrlimit(resource.RLIMIT_NPROC), state()
resource.setrlimit(resource.RLIMIT_NPROC, (0, before[1]))
try:
    install_signals(lambda: None, lambda: None)
except SetupError as error:
    print(str(error).partition(":")[0])
print(state() == state_before)
resource.setrlimit(resource.RLIMIT_NPROC, before)
install_signals(lambda: None, lambda: None).restore()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(signals.__file__).parents[3])},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "the thread that hears signals cannot be started\nTrue\n"
