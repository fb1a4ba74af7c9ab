"""Requests over a task's socket, against a bare echo server in Python on the same kind of socket.

Both are asked by the same client: one after the other on one connection, by one client and by
eight at once, each a process of its own. Pit's answers are secrets, each request in the audit.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import PIT, folder, medians, project, report, run

REQUESTS = 20_000
ROUNDS = 3
LEAST_RATE = 5_000
SLOWEST = 0.002

# Ask `count` times over one connection, when told to; print each request's seconds.
CLIENT = """
import json, socket, sys, time
address, count = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_UNIX)
sock.connect(address)
line = b'{"method": "get_secret", "params": {"key": "token"}}\\n'
took = []
for number in range(count + 10):
    if number == 10:
        print("ready", flush=True)
        sys.stdin.readline()
    began = time.perf_counter()
    sock.sendall(line)
    answer = sock.recv(65536)
    while not answer.endswith(b"\\n"):
        answer += sock.recv(65536)
    took.append(time.perf_counter() - began)
print(json.dumps(took[10:]))
"""

# Run so many clients at once: requests a second, and the 99th percentile of their seconds.
CROWD = """
import json, subprocess, sys, time
client, address, clients, requests = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
argv = [sys.executable, client, address, str(requests // clients)]
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
started = [subprocess.Popen(argv, **pipes) for _ in range(clients)]
for one in started:
    one.stdout.readline()
began = time.perf_counter()
for one in started:
    one.stdin.write(b"go\\n")
    one.stdin.flush()
each = [json.loads(one.stdout.readline()) for one in started]
rate = clients * len(each[0]) / (time.perf_counter() - began)
took = sorted(t for times in each for t in times)
print(json.dumps([rate, took[len(took) * 99 // 100]]))
"""


def echo(address: str) -> None:
    """Serve for ever: one thread, one selector, every piece sent back as it came."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                ready.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(65536)
            if data:
                key.fileobj.send(data)
            else:
                ready.unregister(key.fileobj)
                key.fileobj.close()


@contextmanager
def echoing(place: Path) -> Iterator[str]:
    """An echo server in a process of its own; its address."""
    address = str(place / "echo")
    argv = [sys.executable, __file__, "--echo", address]
    server = subprocess.Popen(argv)
    try:
        while not os.path.exists(address):
            assert server.poll() is None, "the echo server has died"
        yield address
    finally:
        server.kill()
        server.wait()


def asked_pit(workspace: Path, clients: int) -> tuple[float, float]:
    """Requests a second and the 99th percentile in seconds, of a task in a real run."""
    argv = [*PIT, "--project-dir", str(workspace), "--secrets", str(workspace / "secrets.toml")]
    run([*argv, "run", "asking", "-p", f"clients={clients}"], workspace)
    rate, slowest = json.loads((workspace / "found").read_text())
    return rate, slowest


def asked(address: str, place: Path, clients: int) -> tuple[float, float]:
    """The same of any other server."""
    argv = [sys.executable, f"{place}/crowd.py", f"{place}/client.py", address, str(clients)]
    done = subprocess.run([*argv, str(REQUESTS)], capture_output=True, check=True)
    rate, slowest = json.loads(done.stdout)
    return rate, slowest


def prepared(workspace: Path) -> None:
    """The clients, and a project with a task that lets them ask."""
    (workspace / "client.py").write_text(CLIENT)
    (workspace / "crowd.py").write_text(CROWD)
    (workspace / "secrets.toml").write_text(
        '[global]\ntoken = "a-token-of-thirty-two-characters"\n'
    )
    (workspace / "secrets.toml").chmod(0o600)
    crowd = f"{sys.executable} {workspace}/crowd.py {workspace}/client.py"
    script = f"{crowd} $PIT_SOCKET $PIT_PARAM_CLIENTS {REQUESTS} > {workspace}/found\n"
    toml = '[dag.params]\nclients = { type = "int" }\n'
    toml += '[[tasks]]\nname = "ask"\nscript = "tasks/ask.sh"\n'
    project(workspace, "asking", toml, {"ask": script})


def main() -> None:
    """Measure and report."""
    with folder() as workspace, tempfile.TemporaryDirectory(prefix="pit-") as short:
        prepared(workspace)
        with echoing(Path(short)) as address:
            for clients in (1, 8):
                measured(workspace, address, clients)


def measured(workspace: Path, address: str, clients: int) -> None:
    """One number of clients, both servers in turn."""
    seen: dict[str, list[float]] = {"pit": [], "echo": []}

    def keep(name: str, found: Callable[[], tuple[float, float]]) -> Callable[[], float]:
        def work() -> float:
            rate, slowest = found()
            seen[name].append(slowest)
            return rate

        return work

    peers = {
        "pit": keep("pit", lambda: asked_pit(workspace, clients)),
        "echo": keep("echo", lambda: asked(address, workspace, clients)),
    }
    rates = medians(peers, ROUNDS)
    p99 = {name: sorted(values)[len(values) // 2] for name, values in seen.items()}
    who = f"{clients} client{'s' if clients > 1 else ''}"
    report(
        f"requests a second, {who}",
        LEAST_RATE,
        rates["pit"],
        f"pit {rates['pit']:,.0f}/s, a bare echo {rates['echo']:,.0f}/s",
    )
    report(
        f"99 of 100 requests, {who}",
        p99["pit"],
        SLOWEST,
        f"pit {1000 * p99['pit']:.2f} ms, a bare echo {1000 * p99['echo']:.2f} ms",
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--echo"]:
        echo(sys.argv[2])
    else:
        main()
