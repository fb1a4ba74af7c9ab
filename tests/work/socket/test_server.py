"""The socket of a task: what it answers, in which order things happen, and what is left of it."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pit.errors import ConnectorFailed, StoreUnavailable
from pit.model import Record
from pit.project.python import environment
from pit.work import attempts
from pit.work.process import launch
from pit.work.site import Site
from pit.work.socket import methods, socket_folder
from pit.work.socket.call import Call, Method
from pit.work.socket.connection import Connection
from tests.work.socket.live import SECRETS, LiveServer


@pytest.fixture(autouse=True, scope="module")
def _subreaper() -> None:
    launch.become_subreaper()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path)
    yield made
    made.server.end()


# ---------------------------------------------------------------- what is answered


def test_a_task_is_given_its_secrets(live: LiveServer) -> None:
    asked = '[ask("get_secret", key="token"), ask("get_secret_field", secret="db", field="user")]'
    assert live.asked(asked) == [{"result": "a-token-that-nobody-knows"}, {"result": "me"}]
    assert live.audit == [("ask", "token", "granted"), ("ask", "db", "granted")]


def test_a_structured_secret_is_a_json_object_with_sorted_fields(live: LiveServer) -> None:
    answer = live.asked('ask("get_secret", key="db")')
    assert list(json.loads(answer["result"])) == ["host", "password", "user"]


def test_what_is_granted_is_masked_and_audited_before_it_leaves(live: LiveServer) -> None:
    live.asked('[ask("get_secret", key="token") for _ in range(3)]')
    assert live.masks.hide("x a-token-that-nobody-knows x") == "x *** x"
    first, second, *repeats = live.told
    assert (first.key, first.verdict, first.count) == ("token", "granted", 1)
    assert second == "barrier"
    assert sum(event.count for event in repeats) == 2


def test_a_secret_stays_when_the_audit_cannot_be_written(live: LiveServer) -> None:
    live.failure = StoreUnavailable("the disk is gone")
    assert live.asked('ask("get_secret", key="token")') == {
        "result": "",
        "error": "the disk is gone",
    }


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ('"get_secret", key="nope"', 'secret "nope" not found for DAG "shop"'),
        ('"get_secret", key="tokn"', 'Did you mean "token"?'),
        ('"get_secret", key="narrow"', 'secret "narrow" is not for DAG "shop"'),
        ('"get_secret"', "get_secret: missing required parameter: key"),
        ('"get_secret", kee="token"', 'unknown parameter "kee" (Did you mean "key"?)'),
        ('"get_secret", key=[1]', "get_secret: Expected `str`, got `array` - at `key`"),
        ('"get_sekret", key="token"', 'unknown method "get_sekret" (Did you mean "get_secret"?)'),
        ('"get_secret_field", secret="db", field="pasword"', 'Did you mean "password"?'),
        ('"get_secret_field", secret="token", field="x"', "is a plain value"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(live: LiveServer, asked: str, error: str) -> None:
    answer = live.asked(f"ask({asked})")
    assert answer["result"] == ""
    assert error in answer["error"]
    assert "\n" not in answer["error"]


def test_every_refusal_is_audited(live: LiveServer) -> None:
    live.asked('[ask("get_secret", key=key) for key in ("nope", "narrow")]')
    assert live.audit == [("ask", "nope", "unknown"), ("ask", "narrow", "refused")]


@pytest.mark.parametrize(("narrowed", "verdict"), [(None, "unknown"), (("token",), "refused")])
def test_a_value_in_place_of_a_name_does_not_get_into_the_audit(
    live: LiveServer, narrowed: tuple[str, ...] | None, verdict: str
) -> None:
    script = '[ask("get_secret", key=ask("get_secret", key="token")["result"])]'
    (answer,) = live.asked(script, secrets=narrowed)
    assert live.audit == [("ask", "token", "granted"), ("ask", "***", verdict)]
    assert "a-token" not in answer["error"]


def test_a_task_reads_only_the_secrets_that_it_names(live: LiveServer) -> None:
    script = '[ask("get_secret", key=key) for key in ("db", "token", "nope")]'
    given, other, absent = live.asked(script, secrets=("db",))
    assert given["result"]
    for answer in (other, absent):
        assert "may not read secret" in answer["error"]
    assert [verdict for *_, verdict in live.audit] == ["granted", "refused", "refused"]


def test_without_a_secrets_file_the_caller_is_told(tmp_path: Path) -> None:
    live = LiveServer(tmp_path, secrets=None)
    answer = live.asked('ask("get_secret", key="token")')
    assert "there is no secrets file (Give one with --secrets" in answer["error"]
    assert live.audit == [("ask", "token", "unknown")]
    live.server.end()


def test_clients_may_close_or_send_on(live: LiveServer) -> None:
    once = """
sock = connect(); sock.sendall(b" " + request("get_secret", key="token").strip())
sock.shutdown(1)
print(read(sock).count(b"a-token-that-nobody-knows"))
sock = connect(); sock.sendall(b"\\n \\r\\n" + 500 * request("get_secret", key="token") + b"{}")
sock.shutdown(1); answers = read(sock).splitlines()
print(answers.count(b'{"result":"a-token-that-nobody-knows"}'), len(answers))
"""
    assert live.run(once).split() == ["1", "500", "501"]


def test_a_request_in_pieces_is_one_request(live: LiveServer) -> None:
    script = """
sock = connect()
for byte in request("get_secret", key="token"):
    sock.sendall(bytes((byte,)))
print(line(sock))
"""
    assert "a-token-that-nobody-knows" in live.run(script)


def test_who_connects_before_pit_knows_the_process_is_served_then(live: LiveServer) -> None:
    with live.listener() as listener:
        output: list[bytes] = []
        late: list[tuple[int, int]] = []
        thread = threading.Thread(
            target=lambda: launch.run(
                [
                    sys.executable,
                    "-c",
                    'from client import *\nprint(ask("get_secret", key="db"))',
                ],
                cwd=live.root,
                env=live.env(listener),
                output=lambda piece: output.append(bytes(piece)),
                started=lambda pid, start: late.append((pid, start)),
            )
        )
        thread.start()
        until = time.monotonic() + 60
        while not live.server._unidentified and time.monotonic() < until:
            time.sleep(0.005)
        assert not output
        live.server.started(listener, *late[0])
        thread.join()
    assert b"correct horse" in b"".join(output)


# ---------------------------------------------------------------- what takes time


class _Nothing(Record):
    """No params."""


class _Size(Record):
    """How many bytes."""

    size: int


class Slow:
    """Methods that take their time, and what they have seen."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()
        self.stopped = threading.Event()
        self.go = threading.Event()

    def wait(self, call: Call, _: _Nothing) -> str:
        """Wait until told to stop."""
        with call.ending(self.stopped.set):
            self.began.set()
            while call.wait(60):
                pass
        self.ended.set()
        return "waited"

    def hold(self, call: Call, _: _Nothing) -> str:
        """Wait without listening."""
        self.began.set()
        self.go.wait(60)
        call.log("too late")
        return "held"

    def big(self, _: Call, params: _Size) -> str:
        """A large result."""
        return "x" * params.size

    def echo(self, call: Call, _: _Nothing) -> str:
        """What a server says that repeats what it was told."""
        raise ConnectorFailed(f"no such user: {call.secret('token')}", "Is a-token-that-x right?")

    def defect(self, call: Call, _: _Nothing) -> str:
        """A defect that has a secret in its mouth."""
        raise RuntimeError(f"cannot log in with {call.secret('token')}")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    made = Slow()
    table = {
        "wait": Method(params=_Nothing, serve=made.wait),
        "hold": Method(params=_Nothing, serve=made.hold),
        "big": Method(params=_Size, serve=made.big),
        "defect": Method(params=_Nothing, serve=made.defect),
        "echo": Method(params=_Nothing, serve=made.echo),
    }
    find = methods.find
    monkeypatch.setattr(methods, "find", lambda name: table.get(name) or find(name))
    return made


def test_what_takes_time_stops_nobody_else(live: LiveServer, slow: Slow) -> None:
    def during(_: object) -> None:
        assert slow.began.wait(60)

    script = """
sock = connect(); sock.sendall(request("wait"))
print(ask("get_secret", key="token"), flush=True)
"""
    assert "a-token" in live.run(script, during=during)


def test_no_answer_is_forgotten(
    live: LiveServer, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pit.work.socket.server._TICK", 1000.0)
    script = """
def many():
    sock = connect(seconds=50)
    for _ in range(500): sock.sendall(request("big", size=1)); line(sock)
threads = [threading.Thread(target=many) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    live.run(script)


_UNTIL = """
def until(name):
    while not os.path.exists(name): time.sleep(0.01)"""


def test_who_hangs_up_stops_what_is_done_for_him(live: LiveServer, slow: Slow) -> None:
    def during(_: object) -> None:
        slow.began.wait(60)
        (live.root / "began").touch()
        slow.ended.wait(60)
        (live.root / "ended").touch()

    script = f"""{_UNTIL}
sock = connect(); sock.sendall(request("wait") + request("get_secret", key="token"))
until("began"); sock.close()
while ask("get_secret", key="db")["result"] == "": pass
until("ended")
"""
    thread = threading.Thread(target=lambda: live.run(script, during=during))
    thread.start()
    assert slow.ended.wait(60)
    assert slow.stopped.is_set()
    thread.join()
    assert ("ask", "token", "granted") not in live.audit


def test_the_end_of_the_attempt_stops_what_is_done_for_it(live: LiveServer, slow: Slow) -> None:
    def during(_: object) -> None:
        slow.began.wait(60)
        (live.root / "began").touch()

    script = f'{_UNTIL}\nsock = connect(); sock.sendall(request("wait")); until("began")'
    live.run(script, during=during)
    assert slow.ended.wait(60)
    assert slow.stopped.is_set()


def test_what_does_not_listen_is_not_waited_for(live: LiveServer, slow: Slow) -> None:
    def during(_: object) -> None:
        slow.began.wait(60)
        (live.root / "began").touch()

    script = f'{_UNTIL}\nsock = connect(); sock.sendall(request("hold")); until("began")'
    live.run(script, during=during)
    live.server.end()
    assert not slow.go.is_set()
    slow.go.set()
    assert live.lines == []


def test_a_big_result_reaches_a_slow_reader_whole(live: LiveServer, slow: Slow) -> None:
    script = """
sock = connect(); sock.sendall(request("big", size="30000000"))
time.sleep(0.2); print(ask("get_secret", key="db")["result"] != "")
print(len(line(sock)))
"""
    assert live.run(script).split() == ["True", str(30_000_000 + len('{"result":""}\n'))]


def test_a_defect_is_told_without_the_secret(live: LiveServer, slow: Slow) -> None:
    answer = live.asked('ask("defect")')
    assert answer["error"] == "defect: RuntimeError: cannot log in with ***"


def test_who_waits_for_others_gets_secrets_all_the_same(live: LiveServer, slow: Slow) -> None:
    script = """
waiting = [connect() for _ in range(40)]
for sock in waiting:
    sock.sendall(request("hold"))
print(ask("get_secret", key="token")["result"])
"""
    assert live.run(script).strip() == "a-token-that-nobody-knows"
    slow.go.set()


def test_what_the_other_side_says_again_is_told_without_the_secret(
    live: LiveServer, slow: Slow
) -> None:
    answer = live.asked('ask("echo")')
    assert answer["error"] == "no such user: *** (Is a-token-that-x right?)"


def test_what_is_read_after_the_attempt_is_not_done(live: LiveServer) -> None:
    here, there = socket.socketpair()
    with live.listener() as listener, here, there:
        connection = Connection(here, listener, live.server._requests.ask, live.server)
        listener.seal()
        line = b'{"method": "progress", "params": {"done": 1}}'
        assert b"the attempt that asked is over" in (connection._ask(connection, line) or b"")
        assert connection.over


def test_many_slow_requests_take_their_turn(live: LiveServer, slow: Slow) -> None:
    script = """
socks = [connect() for _ in range(40)]
for sock in socks: sock.sendall(request("big", size=10))
print(sum(len(line(sock)) for sock in socks))
"""
    assert live.run(script).split() == [str(40 * len('{"result":"xxxxxxxxxx"}\n'))]
    assert live.server._requests.long.threads <= 16


# ---------------------------------------------------------------- what is left of it


def test_the_socket_stands_in_a_folder_of_its_own(live: LiveServer) -> None:
    with live.listener() as listener:
        folder = Path(listener.address).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert len(listener.address) <= socket_folder.LONGEST_PATH
    assert not Path(listener.address).exists()
    live.server.end()
    assert not folder.exists()


def test_what_a_killed_run_left_is_swept_away(live: LiveServer) -> None:
    left = socket_folder.new()
    os.close(left._handle)
    kept = socket_folder.new()
    with live.listener():
        assert not Path(left.path).exists()
        assert Path(kept.path).exists()
    kept.close()


def test_folders_made_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    def make() -> None:
        for _ in range(50):
            folder = socket_folder.new()
            made.append(os.path.isdir(folder.path))
            folder.close()

    made: list[bool] = []
    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [True] * 200


def test_a_folder_that_somebody_else_has_made_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = f"/tmp/t{os.getpid()}"
    os.mkdir(base)
    monkeypatch.setattr(socket_folder, "_bases", lambda: iter([base]))
    os.mkdir(f"{base}/pit-{os.geteuid()}", 0o777)
    os.chmod(f"{base}/pit-{os.geteuid()}", 0o777)
    folder = socket_folder.new()
    assert f"pit-{os.geteuid()}/" not in folder.path
    assert stat.S_IMODE(os.stat(os.path.dirname(folder.path)).st_mode) == 0o700
    folder.close()
    assert os.listdir(base) == [f"pit-{os.geteuid()}"]
    os.rmdir(f"{base}/pit-{os.geteuid()}")
    os.rmdir(base)


def test_where_others_can_swap_folders_is_the_last_place_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "s"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run")  # short enough, and root's alone
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    monkeypatch.setattr(socket_folder, "LONGEST_PATH", 500)
    assert list(socket_folder._bases())[-2:] == ["/run", str(shared)]
    shared.chmod(0o1777)
    assert list(socket_folder._bases())[-2:] == [str(shared), "/run"]


def test_without_a_socket_nothing_that_is_told_is_lost_in_silence(
    live: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_folder, "_bases", lambda: iter(()))
    (tmp_path / "ask.py").write_text("from pit import sdk\nsdk.set_value('rows', 1)")
    site = Site(
        "r1",
        "shop",
        workspace=tmp_path,
        live=tmp_path,
        project=tmp_path,
        data=live.data,
        logs=tmp_path,
        python=environment.standing_environment(tmp_path, tmp_path, launch.capture),
    )
    order = live.order("ask", 1, script="ask.py")
    tools = attempts.Tools(site=site, cancel=launch.Cancel(), server=lambda: live.server)
    outcome = attempts.perform(order, tools)
    log = (tmp_path / "log").read_text()
    assert outcome.exit_code == 1
    assert log.startswith("[pit] no socket, so nothing can be asked of Pit: no folder")
    assert "Unreachable: set_value: Pit does not answer" in log


def test_a_server_that_nobody_needs_is_nothing(tmp_path: Path) -> None:
    threads = threading.active_count()
    live = LiveServer(tmp_path, SECRETS)
    live.server.end()
    assert threading.active_count() == threads
    assert live.server._folder is None
