"""Hundreds of requests at once: every SDK has them wait for their turn, and none fails."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pit.sdk_turns import LONG, QUICK, Turns
from pit.work.socket import server
from tests.builder import Pit
from tests.servers import http as web
from tests.servers.http import Origin
from tests.work.socket.live import LiveServer

THREADS = """
import asyncio, os, threading
from concurrent.futures import ThreadPoolExecutor
from pit.sdk import get_secret, http_request

URL = os.environ["URL"]

def ask(number):
    if number % 4: return get_secret("token")
    return str(http_request(URL)["status"])

def all_at_once(count):
    moment, answers = threading.Barrier(count), []
    def one(number):
        moment.wait()
        answers.append(ask(number))
    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return answers

async def by_asyncio(count):
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(count))
    return await asyncio.gather(*(asyncio.to_thread(ask, number) for number in range(count)))
"""

PYTHON = (
    THREADS
    + """
told = all_at_once(300) + asyncio.run(by_asyncio(300))
print({answer: told.count(answer) for answer in sorted(set(told))})
"""
)

FORKS = (
    THREADS
    + """
import sys
asking = threading.Thread(target=all_at_once, args=(40,))
asking.start()
children = []
for _ in range(4):  # while others of this process ask, and more than a task may have together
    child = os.fork()
    if not child: os._exit(0 if sorted(set(all_at_once(40))) == ["200", "t0ken-for-all"] else 1)
    children.append(child)
asking.join()
print([os.waitpid(child, 0)[1] for child in children])
"""
)

NODE = """
const pit = require("pit-sdk");
const ask = async (n) =>
  n % 4 ? pit.getSecret("token") : String((await pit.httpRequest(process.env.URL)).status);
Promise.all([...Array(300).keys()].map(ask)).then((told) => {
  if (told.some((answer, n) => answer !== (n % 4 ? "t0ken-for-all" : "200"))) throw told;
  console.log([...new Set(told)].length, told.length);
});
"""


@pytest.fixture
def origin() -> Iterator[Origin]:
    with web.serving() as running:
        yield running


def test_hundreds_of_requests_at_once_are_all_answered(pit: Pit, origin: Origin) -> None:
    pit.file("secrets.toml", '[p]\ntoken = "t0ken-for-all"\n', mode=0o600)
    node = shutil.which("node") is not None
    tasks = '[[tasks]]\nname = "a"\nscript = "a.py"\n[[tasks]]\nname = "b"\nscript = "b.py"\n'
    if node:
        tasks += '[[tasks]]\nname = "c"\nscript = "c.js"\nrunner = "$ node"\n'
    toml = f'[dag]\nname = "p"\n[dag.env]\nURL = "{origin.url}/text"\n{tasks}'
    pit.project("p").toml(toml)
    pit.file("a.py", PYTHON).file("b.py", FORKS).file("c.js", NODE)
    pit.run("run", "p", "--secrets", "secrets.toml").ok()
    assert pit.log("a") == "{'200': 150, '***': 450}\n"
    assert pit.log("b") == "[0, 0, 0, 0]\n"
    assert not node or pit.log("c") == "2 300\n"


# ---------------------------------------------------------------- whose turn it is


def test_turns_come_in_order_and_never_too_many_at_once() -> None:
    turns, inside, order = Turns(3), threading.Semaphore(0), []
    gates = [threading.Event() for _ in range(40)]

    def one(number: int) -> None:
        with turns:
            order.append(number)
            inside.release()
            gates[number].wait(60)

    threads = []
    for number in range(40):
        threads.append(threading.Thread(target=one, args=(number,)))
        threads[-1].start()
        while len(turns._waiting) + len(order) <= number:
            pass  # so that they come one after the other
    for _ in range(3):
        assert inside.acquire(timeout=60)
    for number in range(37):
        assert len(order) == number + 3
        gates[number].set()
        assert inside.acquire(timeout=60)
    for gate in gates:
        gate.set()
    for thread in threads:
        thread.join()
    assert order == [*range(40)]
    assert len(turns._free) == 3


def test_who_is_interrupted_while_waiting_gives_the_place_back() -> None:
    """By a signal whose handler raises, as that of Ctrl-C does."""
    turns, main = Turns(1), threading.get_ident()
    raised = threading.Event()

    def interrupt() -> None:
        while not turns._waiting:
            pass
        while (
            not raised.is_set()
        ):  # one that comes just before the wait begins is heard at the next
            signal.pthread_kill(main, signal.SIGUSR1)
            raised.wait(0.1)

    def handler(*_: object) -> None:
        if not raised.is_set():
            raised.set()
            raise InterruptedError

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with turns:
            thread = threading.Thread(target=interrupt)
            thread.start()
            with pytest.raises(InterruptedError):
                turns.__enter__()
            thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not turns._waiting
    assert len(turns._free) == 1


def test_an_sdk_asks_for_less_than_a_task_may_have() -> None:
    assert QUICK + LONG == 32 < server.MOST_OF_A_TASK


# ---------------------------------------------------------------- others than the SDKs


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path)
    yield made
    made.server.end()


CROWD = """
socks = [connect() for _ in range(300)]
import select
select.select(socks, [], [])  # somebody was told already, before he said anything
for sock in socks[::-1]: sock.sendall(request("get_secret", key="token"))
print(json.dumps([json.loads(line(sock)) for sock in socks]))
"""


def test_a_client_that_asks_for_too_much_is_told_so(live: LiveServer) -> None:
    """And not that its connection broke: it may write its request, and reads why it was none."""
    answers: list[Any] = json.loads(live.run(CROWD))
    served = [answer for answer in answers if answer["result"] == "a-token-that-nobody-knows"]
    refused = {answer["error"] for answer in answers if "error" in answer}
    assert len(served) >= server.MOST_OF_A_TASK
    assert refused == {
        "too many connections at once: a task may have 64 (Wait for an answer, then ask again)"
    }
    assert live.asked('ask("get_secret", key="token")')["result"]


def test_the_bound_of_the_run_is_not_called_that_of_the_task(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_OF_A_RUN", 3)
    script = "socks = [connect() for _ in range(4)]\nprint(json.loads(line(socks[-1]))['error'])"
    assert live.run(script).strip().startswith("too many connections at once: a run may have 3")
