"""What a curious, careless or hostile process can do to a task's socket: nothing."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pit.work.process import launch
from pit.work.socket import connection, peers, server, wire
from pit.work.socket.listener import Listener
from tests.work.socket.live import LiveServer


@pytest.fixture(autouse=True, scope="module")
def _subreaper() -> None:
    launch.become_subreaper()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path)
    yield made
    made.server.end()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


# ---------------------------------------------------------------- who may ask


_CHILDREN = {
    "a child": "print(subprocess.check_output([sys.executable, '-c', ask], text=True))",
    "a child of another session": (
        "print(subprocess.check_output([sys.executable, '-c', ask], text=True,"
        " start_new_session=True))"
    ),
    "a child without variables": (
        "print(subprocess.check_output([sys.executable, '-c', ask, address], text=True,"
        " start_new_session=True, env={'PYTHONPATH': os.environ['PYTHONPATH']}))"
    ),
}

_ASK = """
ask = '''from client import *
address = sys.argv[1] if len(sys.argv) > 1 else None
print(ask("get_secret", address, key="token"), flush=True)'''
address = os.environ["PIT_SOCKET"]
"""


@pytest.mark.parametrize("kind", list(_CHILDREN))
def test_what_a_task_starts_may_ask_as_the_task(live: LiveServer, kind: str) -> None:
    assert "a-token-that-nobody-knows" in live.run(_ASK + _CHILDREN[kind])


def test_an_orphan_that_carries_the_marker_may_ask(live: LiveServer) -> None:
    script = """
code = '''from client import *
while os.getppid() == int(sys.argv[1]): time.sleep(0.01)
open(sys.argv[2], "w").write(str(ask("get_secret", key="token")))'''
if os.fork() == 0:
    os.setsid()
    argv = [sys.executable, "-c", code, str(os.getpid()), "found.part"]
    subprocess.Popen(argv, start_new_session=True)
    os._exit(0)
os.wait()
until = time.monotonic() + 60
while not (os.path.exists("found.part") and open("found.part").read()) and time.monotonic() < until:
    time.sleep(0.01)
print(open("found.part").read())
"""
    assert "a-token-that-nobody-knows" in live.run(script)


def test_another_task_of_the_run_is_refused(live: LiveServer) -> None:
    with live.listener("victim") as victim:
        live.server.started(victim, os.getpid() + 1_000_000, 1)
        script = f'ask("get_secret", {victim.address!r}, key="token")'
        answer = live.asked(script, task="thief")
    assert answer["error"].startswith('refused: this socket is for task "victim" of DAG "shop"')
    assert "is not part of it" in answer["error"]
    assert live.audit == [("victim", "token", "refused")]


def test_another_task_that_copies_the_marker_is_refused(live: LiveServer) -> None:
    with live.listener("victim") as victim:
        live.server.started(victim, os.getpid() + 1_000_000, 1)
        copied = {"PIT_MARKER": "m-victim-1", "PYTHONPATH": str(live.root)}
        script = f"""
code = 'from client import *; print(json.dumps(ask("get_secret", sys.argv[1], key="token")))'
argv = [sys.executable, "-c", code, {victim.address!r}]
print(subprocess.check_output(argv, env={copied!r}, start_new_session=True, text=True))
"""
        answer = json.loads(live.run(script, task="thief"))
    assert "is not part of it" in answer["error"]


def test_a_process_that_no_task_has_started_is_refused(live: LiveServer) -> None:
    def during(listener: Listener) -> None:
        try:
            found.append(_asked_from_outside(live, listener))
        finally:
            (live.root / "done").touch()

    found: list[str] = []
    live.run("while not os.path.exists('done'): time.sleep(0.01)", during=during)
    assert "is not part of it" in found[0]
    assert live.audit == [("ask", "token", "refused")]


def _asked_from_outside(live: LiveServer, listener: Listener) -> str:
    code = 'from client import *\nprint(ask("get_secret", sys.argv[1], key="token"))'
    done = subprocess.run(
        [sys.executable, "-c", code, listener.address],
        env=live.env(),
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


@needs_root
def test_another_user_cannot_even_connect(live: LiveServer) -> None:
    def during(listener: Listener) -> None:
        found.append(_as_nobody(listener.address))
        os.chmod(Path(listener.address).parent.parent, 0o755)
        os.chmod(Path(listener.address).parent, 0o755)
        os.chmod(listener.address, 0o777)
        try:
            found.append(_as_nobody(listener.address))
        finally:
            os.chmod(Path(listener.address).parent.parent, 0o700)
            (live.root / "done").touch()

    found: list[str] = []
    live.run("while not os.path.exists('done'): time.sleep(0.01)", during=during)
    assert "Permission denied" in found[0]
    assert "runs as another user (65534)" in found[1]
    assert live.audit == [("ask", "token", "refused")]


def _as_nobody(address: str) -> str:
    """What another user's process is told; started far from Pit's files, which it may not read."""
    code = f"""
import os, socket
os.setgid(65534); os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
try:
    sock.connect({address!r})
    sock.sendall(b'{{"method":"get_secret","params":{{"key":"token"}}}}\\n')
    print(sock.recv(1000).decode())
except OSError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd="/"
    )
    return done.stdout + done.stderr


def test_a_stranger_who_says_nothing_is_shown_out(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STRANGERS", 0.1)
    with live.listener("victim") as victim:
        live.server.started(victim, os.getpid() + 1_000_000, 1)
        answer = live.run(f"print(read(connect({victim.address!r})))", task="thief")
    assert "refused: this socket is for task" in answer
    assert live.audit == [("victim", "(none)", "refused")]


def test_a_reused_process_id_is_noticed(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has died since it connected cannot be told from its successor."""
    listener = socket.socket(socket.AF_UNIX)
    address = str(live.root / "s")
    listener.bind(address)
    listener.listen()
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({address!r})"
    caller = subprocess.Popen([sys.executable, "-c", code])
    accepted, _ = listener.accept()
    pid = caller.pid
    caller.wait()
    monkeypatch.setattr(peers, "_belongs", lambda *_: True)
    root = peers.Root(pid, 1, b"PIT_MARKER=x")
    assert peers.objection(accepted, root, set) == f"process {pid} has ended"
    monkeypatch.setattr(peers, "_handle", lambda _: -1)
    assert peers.objection(accepted, root, set) == f"process {pid} has ended"
    accepted.close()
    listener.close()


# ---------------------------------------------------------------- what may be asked


_GARBAGE = [
    b"garbage",
    b"GET / HTTP/1.1",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b"{",
    b"\x00",
    b'{"method": "get_secret", "params": {"key": "a\x00b"}}',
    b'{"method": "get_secret", "params": {"key": "a\\u0000b"}}',
    b'{"method": "\xff\xfe"}',
    b'{"method": "get_secret", "params": {"key": "\xc3\x28"}}',
    b'{"method": "get_secret", "params": {"key": "\\ud800"}}',
    b'{"method": 1, "params": {}}',
    b'{"method": "get_secret", "params": []}',
    b'{"method": "get_secret", "params": [1]}',
    b'{"method": "get_secret", "params": "x"}',
    b'{"method": "get_secret", "params": 7}',
    b'{"method": "get_secret", "params": {"key": null}}',
    b'{"method": "get_secret", "params": {"key": 1e999999}}',
    b'{"method": "get_secret", "params": {"key": ' + b"9" * 5000 + b"}}",
    b'{"method": "get_secret", "params": {"key": "x", "\\u0000": 1}}',
    b'{"method": "' + b"m" * 5000 + b'"}',
    b'{"method": "get_secret", "params": {"key": "x"}} trailing',
    b"[" * 100_000,
    b'{"method": "get_secret", "params": {"key": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
]


def test_whatever_is_sent_gets_one_line_and_harms_nothing(live: LiveServer) -> None:
    (live.root / "garbage").write_bytes(b"\n".join(_GARBAGE))
    script = """
sock = connect()
for garbage in open("garbage", "rb").read().split(b"\\n"):
    sock.sendall(garbage + b"\\n")
    answer = json.loads(line(sock))
    assert answer["result"] == "" and answer["error"], (garbage[:60], answer)
    assert len(answer["error"]) < 1000, len(answer["error"])
sock.sendall(request("get_secret", key="token"))
print(line(sock))
"""
    assert "a-token-that-nobody-knows" in live.run(script)


def test_no_error_repeats_what_was_sent_at_length(live: LiveServer) -> None:
    answer = live.asked('ask("x" * 100000)')
    assert len(answer["error"]) < 200


def test_a_request_that_is_too_long_ends_the_connection(live: LiveServer) -> None:
    script = f"""
sock = connect()
head = b'{{"method": "get_secret", "params": {{"key": "'
sock.sendall(head + b"x" * ({wire.LONGEST} - len(head) - 3) + b'"}}}}\\n')
print(json.loads(line(sock))["error"][:13])
more = b"\\n" + request("get_secret", key="token")
for data in b"x" * ({wire.LONGEST} + 1), b"x" * (3 * {wire.LONGEST}) + more:
    print(raw(data))
"""
    first, *others = live.run(script).splitlines()
    assert first == 'secret "xxxxx'
    for told in others:
        assert "token-that" not in told
        assert told == "b''" or "longer than 1,048,576 bytes" in told


def test_half_a_request_is_given_up(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WHOLE_WITHIN", 1.0)
    script = """
sock = connect(); sock.sendall(b'{"method": "get_sec'); print(read(sock))
sock = connect()
try:
    for byte in 200 * b" " + b'{"method"': sock.sendall(bytes((byte,))); time.sleep(0.02)
    print("served")
except OSError:
    print("given up")
sock = connect(); sock.sendall(b'{"method": "get_sec'); sock.shutdown(1); print(read(sock))
"""
    half, slow, closed = live.run(script).splitlines()
    assert "it was cut off" in half
    assert slow == "given up"
    assert "invalid request" in closed


def test_silent_clients_are_closed_in_the_end(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "IDLE", 0.1)
    assert live.run("print(read(connect()))").strip() == "b''"


def test_thousands_of_connections_leave_room_for_others(live: LiveServer) -> None:
    script = f"""
kept, told = [], 0
for _ in range(2000):
    sock = connect(); kept.append(sock)
    if len(kept) > {server.MOST_OF_A_TASK}:
        told += b"too many connections" in line(sock)
        sock.close()
print(told)
for sock in kept: sock.close()
until = time.monotonic() + 60
while time.monotonic() < until:
    try:
        answer = ask("get_secret", key="token")
    except (OSError, ValueError):
        continue
    if answer["result"]:
        print(answer)
        break
"""
    with live.listener("other") as other:
        told, mine = live.run(script).splitlines()
        assert int(told) == 2000 - server.MOST_OF_A_TASK
        assert "a-token-that-nobody-knows" in mine
        assert other.connections == 0


def test_silence_delays_no_end(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WHOLE_WITHIN", 3600.0)
    script = """
kept = [connect() for _ in range(50)]
for sock in kept[:20]: sock.sendall(b"{")
for sock in kept[20:40]: sock.sendall(request("get_secret", key="token"))
time.sleep(0.1)
"""
    live.run(script)
    live.server.end()
    assert not [thread for thread in threading.enumerate() if thread.name == "sdk"]


def test_who_never_reads_his_answers_is_let_go(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WHOLE_WITHIN", 0.2)
    script = """
sock = connect(seconds=5)
try:
    while True: sock.sendall(100 * request("get_secret", key="token"))
except OSError as error:
    print(type(error).__name__)
print(ask("get_secret", key="token"))
"""
    ended, answer = live.run(script).splitlines()
    assert ended in ("BrokenPipeError", "ConnectionResetError")
    assert "a-token-that-nobody-knows" in answer


def test_one_who_sends_without_end_leaves_others_their_turn(live: LiveServer) -> None:
    script = """
def flood():
    sock = connect()
    threading.Thread(target=lambda: read(sock), daemon=True).start()
    try:
        while True: sock.sendall(1000 * b"x\\n")
    except OSError: pass
for _ in range(4): threading.Thread(target=flood, daemon=True).start()
print(sum(ask("get_secret", key="token")["result"] != "" for _ in range(20)), flush=True)
os._exit(0)
"""
    assert live.run(script).strip() == "20"


def test_without_file_handles_the_socket_waits_and_comes_back(live: LiveServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def during(_: Listener) -> None:
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 3, hard))
        (live.root / "scarce").touch()
        time.sleep(0.5)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    script = """
while not os.path.exists("scarce"): time.sleep(0.01)
kept = [connect() for _ in range(30)]
for sock in kept: sock.sendall(request("get_secret", key="token"))
print(sum(b"a-token" in line(sock) for sock in kept))
"""
    try:
        assert live.run(script, during=during).strip() == "30"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_is_granted_is_listed_whatever_others_have_guessed(live: LiveServer) -> None:
    script = """
for number in range(1100):
    ask("get_secret", key=str(number))
ask("get_secret", key="token")
"""
    live.run(script)
    assert ("ask", "token", "granted") in live.audit


def test_guessing_names_does_not_fill_the_disk(live: LiveServer) -> None:
    live.run(
        "sock = connect()\n"
        "for n in range(1500): sock.sendall(request('get_secret', key=f'k{n}')); line(sock)"
    )
    assert len({key for _, key, _ in live.audit}) == 1001
