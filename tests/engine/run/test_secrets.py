"""Secrets in real runs: who gets them, and where they are looked for afterwards in vain."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from pit.state.store.store import Store
from pit.views.run import RunView
from tests.builder import Pit
from tests.work.socket.live import CLIENT

SENTINEL = "s3ntinel/sw0rd+fish-4711"
FORMS = (
    SENTINEL,
    quote(SENTINEL, safe=""),
    base64.b64encode(SENTINEL.encode()).decode().rstrip("="),
    base64.b64encode(f"u:{SENTINEL}".encode()).decode()[4:-4],
)
PYTHON = f"$ {sys.executable}"


@pytest.fixture
def shop(pit: Pit) -> Pit:
    """A workspace with secrets, and a client for tasks to import."""
    pit.file("secrets.toml", f'[global]\ntoken = "{SENTINEL}"\n', mode=0o600)
    pit.file("pit_config.toml", 'secrets_dir = "secrets.toml"\n')
    return pit


def project(pit: Pit, name: str, tasks: dict[str, str], **keys: str) -> Pit:
    """A project of Python tasks that have the client's functions; `keys` are TOML per task."""
    toml = "[dag]\nconcurrency = 8\n"
    pit.project(name).file("tasks/client.py", CLIENT)
    for task, script in tasks.items():
        toml += f'[[tasks]]\nname = "{task}"\nscript = "tasks/{task}.py"\n'
        toml += f"runner = '{PYTHON}'\n{keys.get(task, '')}\n"
        pit.file(f"tasks/{task}.py", f"from client import *\n{script}\n")
    return pit.toml(toml)


def requests(pit: Pit) -> list[tuple[str, str, int, str, str, int]]:
    """The audit: DAG, task, attempt, key, verdict, count."""
    with contextlib.closing(sqlite3.connect(pit.root / "pit_metadata.db")) as store:
        return store.execute(
            'SELECT dag, asked.task, asked.attempt, "key", verdict, count FROM secret_requests '
            "AS asked JOIN runs ON runs.seq = asked.run ORDER BY at"
        ).fetchall()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Until it holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


# ---------------------------------------------------------------- nowhere

_TELLS_ALL = """
import base64
from urllib.parse import quote
token = ask("get_secret", key="token")["result"]
assert token.startswith("s3ntinel")
print(token, json.dumps(token), quote(token, safe=""), base64.b64encode(b"u:" + token.encode()))
for place in range(len(token)):
    os.write(1, token[:place].encode()); os.write(1, token[place:].encode() + b"\\n")
os.write(2, 70000 * b"x" + token.encode())
print(ask("log", level="error", message="it is " + token, note=token))
print(ask("progress", done=1, total=2, message=token))
print(ask("set_value", name="leak", value=token))
open("../../../asked", "w").close()
while not os.path.exists("../../../scanned"): time.sleep(0.01)
raise KeyError(token)
"""


@pytest.mark.parametrize("how", [(), ("--json",), ("--verbose",)])
def test_a_secret_that_a_task_tells_is_nowhere(shop: Pit, how: tuple[str, ...]) -> None:
    project(shop, "leaky", {"tell": _TELLS_ALL, "other": "print('x')"}, tell="retries = 1")
    command = ["--verbose", "run", "leaky"] if how == ("--verbose",) else ["run", "leaky", *how]
    running = shop.start(*command)
    wait_for(lambda: (shop.root / "asked").exists() or running.poll() is not None)
    assert list(_processes_that_show(FORMS)) == []
    (shop.root / "scanned").touch()
    told, _ = running.communicate(timeout=60)
    assert running.returncode == 1
    assert b"***" in shop.log("tell").encode()
    assert "which a value must not" in shop.log("tell")
    _assert_nowhere(told)
    later = [["status", "leaky"], ["logs", "leaky/tell"], ["runs", "--json"], ["retry", "leaky"]]
    for command in later if not how else []:
        done = shop.run(*command)
        _assert_nowhere((done.out + done.err).encode())
    _assert_not_in_files(shop.root, spared={"secrets.toml"})


def _processes_that_show(forms: tuple[str, ...]) -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("environ", "cmdline"):
            with contextlib.suppress(OSError):
                data = (folder / name).read_bytes()
                yield from (f"{folder}/{name}" for form in forms if form.encode() in data)


def _assert_nowhere(data: bytes) -> None:
    for form in FORMS:
        assert form.encode() not in data, data.decode(errors="replace")[-3000:]


def _assert_not_in_files(root: Path, spared: set[str]) -> None:
    for path in root.rglob("*"):
        if path.is_file() and path.name not in spared:
            data = path.read_bytes()
            assert not [form for form in FORMS if form.encode() in data], path


def test_the_log_of_another_task_of_the_run_is_masked_as_well(shop: Pit) -> None:
    tell = 'print(ask("get_secret", key="token")); open(os.environ["PIT_DATA_DIR"] + "/x", "w")'
    guess = f"""
while not os.path.exists(os.environ["PIT_DATA_DIR"] + "/x"): time.sleep(0.01)
print("it is", "{SENTINEL[:5]}" + "{SENTINEL[5:]}")
"""
    project(shop, "two", {"tell": tell, "guess": guess})
    shop.run("run", "two").ok()
    assert shop.log("guess") == "it is ***\n"


def test_a_crash_of_a_task_leaves_no_core(shop: Pit) -> None:
    crash = """
import resource
token = ask("get_secret", key="token")
print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)
os.abort()
"""
    project(shop, "crash", {"crash": crash})
    unlimited = 'ulimit -c unlimited 2>/dev/null; exec "$@"'
    argv = ["bash", "-c", unlimited, "-", *shop.argv("run", "crash")]
    done = subprocess.run(argv, env=shop.env, capture_output=True, cwd=shop.root, check=False)
    assert done.returncode == 1
    assert shop.log("crash").startswith("0\n")
    _assert_not_in_files(shop.root, spared={"secrets.toml"})


def test_a_run_that_has_a_key_keeps_it_to_itself_without_a_secrets_file(pit: Pit) -> None:
    project(pit, "bare", {"look": "import resource; print(resource.getrlimit(4)[0])"})
    env = {**pit.env, "PIT_AGE_KEY": "AGE-SECRET-KEY-1"}
    argv = ["bash", "-c", 'ulimit -c unlimited; exec "$@"', "-", *pit.argv("run", "bare")]
    subprocess.run(argv, env=env, cwd=pit.root, check=True, capture_output=True)
    assert pit.log("look") == "0\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_holds_secrets_shows_nothing_to_the_same_user() -> None:
    code = """
import ctypes, os, sys
sys.path.insert(0, sys.argv[1])
from pit.state.secrets.memory import keep_to_itself
os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # setuid has made it private already
asked, answered = os.pipe(), os.pipe()
if os.fork() == 0:
    while os.read(asked[0], 1) == b"?":
        for name in "environ", "mem", "maps":
            try:
                os.close(os.open(f"/proc/{os.getppid()}/{name}", os.O_RDONLY))
                print("open", end=" ")
            except PermissionError:
                print("closed", end=" ")
        sys.stdout.flush()
        os.write(answered[1], b".")
    os._exit(0)
for step in (lambda: None, keep_to_itself):
    step()
    os.write(asked[1], b"?")
    os.read(answered[0], 1)
os.write(asked[1], b".")
os.wait()
"""
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code, root], capture_output=True, text=True, cwd="/"
    )
    assert done.stdout.split() == ["open"] * 3 + ["closed"] * 3, done.stdout + done.stderr


# ---------------------------------------------------------------- who is given what


def test_two_dags_at_once_never_hear_each_other(shop: Pit) -> None:
    shop.folder = shop.root
    text = "".join(f'[{dag}]\nname = "of {dag}"\n' for dag in ("one", "two"))
    shop.file("secrets.toml", text, mode=0o600)
    script = """
open(f"../../../here-{os.environ['PIT_DAG_NAME']}", "w").close()
while len([n for n in os.listdir("../../..") if n.startswith("here-")]) < 2: time.sleep(0.01)
answers = {ask("get_secret", key="name")["result"] for _ in range(200)}
open(f"../../../got-{os.environ['PIT_DAG_NAME']}", "w").write(str(answers))
"""
    for dag in ("one", "two"):
        project(shop, dag, {"ask": script})
    both = [shop.start("run", dag) for dag in ("one", "two")]
    assert [running.wait(60) for running in both] == [0, 0]
    for running in both:
        running.stdout.close()  # type: ignore[union-attr]
    for dag in ("one", "two"):
        assert (shop.root / f"got-{dag}").read_text() == f"{{'of {dag}'}}"


def test_a_stranger_with_path_and_marker_is_refused_and_audited(shop: Pit) -> None:
    script = """
open("../../../me.part", "w").write(f"{os.getpid()} {os.environ['PIT_SOCKET']}")
os.rename("../../../me.part", "../../../me")
while not os.path.exists("../../../done"): time.sleep(0.01)
"""
    project(shop, "victim", {"wait": script})
    running = shop.start("run", "victim")
    try:
        wait_for((shop.root / "me").exists)
        pid, address = (shop.root / "me").read_text().split()
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        stolen = dict(line.decode().split("=", 1) for line in environ if line.startswith(b"PIT_"))
        assert stolen["PIT_SOCKET"] == address
        code = CLIENT + '\nprint(ask("get_secret", key="token")["error"])'
        done = subprocess.run(
            [sys.executable, "-c", code], env=stolen, capture_output=True, text=True, check=True
        )
    finally:
        (shop.root / "done").touch()
        running.communicate(timeout=60)
    assert done.stdout.startswith('refused: this socket is for task "wait" of DAG "victim"')
    assert requests(shop) == [("victim", "wait", 1, "token", "refused", 1)]


def test_a_task_may_have_what_it_names(shop: Pit) -> None:
    ask = 'print(ask("get_secret", key="token").get("error", "given"))'
    project(shop, "narrow", {"a": ask, "b": ask}, a='secrets = ["token"]', b="secrets = []")
    shop.run("run", "narrow").ok()
    assert shop.log("a") == "given\n"
    assert 'task "b" may not read secret "token"' in shop.log("b")


def test_each_attempt_has_a_socket_of_its_own(shop: Pit) -> None:
    script = """
ask("get_secret", key="token")
open("../../../sockets", "a").write(os.environ["PIT_SOCKET"] + "\\n")
sys.exit(os.environ["PIT_ATTEMPT"] != "3")
"""
    project(shop, "again", {"ask": script}, ask="retries = 2")
    shop.run("run", "again").ok()
    sockets = (shop.root / "sockets").read_text().split()
    assert len(set(sockets)) == 3
    assert not [one for one in sockets if os.path.exists(one)]
    assert [row[2] for row in requests(shop)] == [1, 2, 3]


def test_without_secrets_a_task_is_told_and_the_run_goes_on(pit: Pit) -> None:
    project(pit, "bare", {"ask": 'print(ask("get_secret", key="token")["error"])'})
    pit.run("run", "bare").ok()
    assert "there is no secrets file" in pit.log("ask")
    assert requests(pit) == [("bare", "ask", 1, "token", "unknown", 1)]


def test_the_socket_of_an_outer_run_is_not_inherited(shop: Pit) -> None:
    inner = f"""
env = {{**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}}
argv = [sys.executable, "-m", "pit", "--project-dir", {str(shop.root)!r}, "run", "inner"]
done = subprocess.run(argv, env=env, capture_output=True, text=True)
print(done.returncode, done.stdout, done.stderr)
print(os.environ["PIT_SOCKET"])
"""
    project(shop, "outer", {"nest": inner})
    asks = 'print(ask("get_secret", key="token")["result"] != "", os.environ["PIT_SOCKET"])'
    project(shop, "inner", {"ask": asks})
    shop.run("run", "outer", PIT_SOCKET="/nowhere").ok()
    outer, within = (run for run in shop.runs())
    assert "0 " in (outer / "logs/nest.log").read_text()
    told, address = (within / "logs/ask.log").read_text().split()
    assert told == "True"
    assert address not in (outer / "logs/nest.log").read_text()
    assert [(dag, verdict) for dag, _, _, _, verdict, _ in requests(shop)] == [("inner", "granted")]


def test_learning_and_asking_go_together(shop: Pit) -> None:
    project(shop, "learn", {"ask": 'print(ask("get_secret", key="token"))'})
    shop.run("run", "learn", "--learn").ok()
    assert '{"result":"***"}' in shop.log("ask").replace("'", '"').replace(": ", ":")


def test_a_connection_of_a_sql_task_is_audited_and_masked(shop: Pit) -> None:
    shop.folder = shop.root
    shop.file("secrets.toml", '[global]\nlake = "duckdb://lake-4711.duckdb"\n', mode=0o600)
    shop.project("marts").toml(
        '[dag.sql]\nconnection = "lake"\n[[tasks]]\nname = "q"\nscript = "tasks/q.sql"\n'
    ).file("tasks/q.sql", "SELECT 'duckdb://lake-4711.duckdb' AS url;\n")
    shop.run("run", "marts").ok()
    assert requests(shop) == [("marts", "q", 1, "lake", "granted", 1)]
    assert "lake-4711" not in shop.log("q")


def lake(shop: Pit, toml: str, **scripts: str) -> Pit:
    """A project with a connection `lake`, and its secrets file."""
    shop.folder = shop.root
    shop.file("secrets.toml", '[global]\nlake = "duckdb://lake-4711.duckdb"\n', mode=0o600)
    shop.project("marts").toml(toml)
    for name, text in scripts.items():
        shop.file(f"{name}.sql", text)
    return shop


def test_a_connection_is_asked_for_when_an_attempt_begins(shop: Pit) -> None:
    lake(
        shop,
        '[[tasks]]\nname = "bad"\nscript = "bad.sql"\nconnection = "lake"\n'
        'retries = 1\nretry_on = "any"\n'
        '[[tasks]]\nname = "good"\nscript = "good.sql"\nconnection = "lake"\ninputs = []\n'
        '[[tasks]]\nname = "never"\nscript = "good.sql"\nconnection = "lake"\n'
        'depends_on = ["bad"]\n',
        bad="SELECT error('no')",
        good="SELECT 1",
    )
    shop.run("run", "marts").fails(1)
    asked = sorted((task, attempt) for _, task, attempt, *_ in requests(shop))
    assert asked == [("bad", 1), ("bad", 2), ("good", 1)]
    shop.run("run", "marts/good").ok()
    assert len(requests(shop)) == 3, "a task that is skipped asks for nothing"


def test_a_missing_connection_fails_its_task_alone_and_at_once(shop: Pit) -> None:
    lake(
        shop,
        '[[tasks]]\nname = "bad"\nscript = "q.sql"\nconnection = "no_such"\ninputs = []\n'
        'retries = 2\nretry_on = "any"\n'
        '[[tasks]]\nname = "good"\nscript = "q.sql"\nconnection = "lake"\n',
        q="SELECT 1",
    )
    shop.run("run", "marts").fails(1, "missing_connection")
    rows = [(task, attempt, key, verdict) for _, task, attempt, key, verdict, _ in requests(shop)]
    assert sorted(rows) == [("bad", 1, "no_such", "unknown"), ("good", 1, "lake", "granted")]
    states = {row["task"]: row for row in shop.run("status", "marts", "--json").json["tasks"]}
    assert (states["bad"]["state"], states["bad"]["attempts"]) == ("failed", 0)
    assert states["good"]["state"] == "success"


def test_a_secret_that_is_not_there_is_told_before_the_first_task(shop: Pit) -> None:
    project(
        shop,
        "meters",
        {"first": "print(1)", "last": "print(2)", "other": "print(3)"},
        last='depends_on = ["first"]\nsecrets = ["tokne"]\nretries = 3',
    )
    said = 'secret "tokne" not found for DAG "meters"; did you mean "token"?'
    planned = shop.run("plan", "meters", "--json").fails(1, f"last cannot run: {said}")
    assert planned.json["unmet"] == [{"tasks": ["last"], "sentence": said}]
    events = shop.run("run", "meters", "--json").fails(1).events
    kinds = [event["event"] for event in events]
    told = events[kinds.index("warning")]
    assert told["message"] == f"last cannot run: {said}"
    assert kinds.index("warning") < kinds.index("attempt_started")
    ended = {event["task"]: event for event in events if event["event"] == "task_ended"}
    assert (ended["last"]["reason"], ended["last"]["attempts"]) == ("missing_secret", 0)
    assert ended["last"]["error"] == said
    assert {ended["first"]["state"], ended["other"]["state"]} == {"success"}
    shop.run("plan", "meters/first").ok()
    shop.folder = shop.root
    shop.file("pit_config.toml", "")
    (shop.root / "secrets.toml").unlink()
    shop.run("run", "meters").ok()  # without a secrets file a task gets along as it can


def test_a_misspelt_connection_is_told_with_the_one_that_was_meant(shop: Pit) -> None:
    lake(shop, '[[tasks]]\nname = "a"\nscript = "q.sql"\nconnection = "lkae"\n', q="SELECT 1")
    said = 'secret "lkae" not found for DAG "marts"; did you mean "lake"?'
    shop.run("plan", "marts").fails(1, f"a cannot run: {said}")
    shop.run("plan").ok()
    assert f"cannot run: {said}" in shop.run("plan").out
    shop.run("run", "marts").fails(1, f"missing_connection: {said}")


def test_the_connection_of_a_task_is_not_its_own_to_read(shop: Pit) -> None:
    lake(shop, "")
    ask = 'print(ask("get_secret", key="lake").get("error", "given"))'
    project(shop, "narrow", {"a": ask}, a='connection = "lake"\nsecrets = []')
    shop.run("run", "narrow").ok()
    assert "may not read secret" in shop.log("a")


# ---------------------------------------------------------------- the end


def test_a_silent_client_in_the_background_delays_no_end(shop: Pit) -> None:
    script = """
subprocess.Popen([sys.executable, "-c", '''
from client import *
kept = connect(); kept.sendall(b"{"); time.sleep(3600)'''], start_new_session=True,
    env={**os.environ, "PYTHONPATH": "tasks"})
time.sleep(0.3)
"""
    project(shop, "silent", {"leave": script})
    shop.run("--project-dir", str(shop.root), "run", "silent", "--grace", "1s").ok()


def test_what_a_killed_run_leaves_is_swept_by_the_next(shop: Pit) -> None:
    script = 'open("../../../me", "w").write(os.environ["PIT_SOCKET"])\ntime.sleep(60)'
    project(shop, "killed", {"wait": script})
    running = shop.start("run", "killed")
    wait_for(lambda: (shop.root / "me").exists() and (shop.root / "me").read_text())
    folder = Path((shop.root / "me").read_text()).parent
    assert folder.exists()
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)  # from now on any run of this user may sweep it
    project(shop, "next", {"say": "pass"})
    shop.run("run", "next").ok()
    assert not folder.exists()


def test_a_task_that_is_timed_out_ends_though_it_asks(shop: Pit) -> None:
    script = """
def forever():
    while True: ask("get_secret", key="token")
for _ in range(8): threading.Thread(target=forever).start()
"""
    project(shop, "busy", {"ask": script}, ask='timeout = "1s"')
    shop.run("run", "busy", "--grace", "1s").fails(1, "time-out")


@pytest.mark.parametrize("linked", [False, True])
def test_a_secrets_file_in_a_project_is_not_copied_into_the_run(pit: Pit, linked: bool) -> None:
    pit.project("shop").file("secrets.toml", f'[global]\ntoken = "{SENTINEL}"\n', mode=0o600)
    pit.file("key.txt", "no key").file("tasks/a.sh", "! test -e secrets.toml\n")
    pit.toml('[[tasks]]\nname = "a"\nscript = "tasks/a.sh"\n')
    place = "projects/shop/secrets.toml"
    if linked:
        (pit.root / "there").symlink_to(pit.root / "projects/shop")
        place = "there/secrets.toml"
    (pit.root / "pit_config.toml").write_text(
        f'secrets_dir = "{place}"\nage_identity = "projects/shop/key.txt"\n'
    )
    pit.run("run", "shop").ok()
    assert "lies in the project of shop, whose tasks can read it" in pit.run("validate").out
    copies = {path.name for path in (pit.root / "runs").rglob("*")}
    assert "pit.toml" in copies
    assert not copies & {"secrets.toml", "key.txt"}


@pytest.mark.parametrize("way", ["file", "folder", "hard"])
def test_a_link_to_the_secrets_file_does_not_bring_it_into_the_run(pit: Pit, way: str) -> None:
    conf = pit.root / "conf"
    conf.mkdir()
    (conf / "secrets.toml").write_text(f'[global]\ntoken = "{SENTINEL}"\n')
    (conf / "secrets.toml").chmod(0o600)
    (conf / "key.txt").write_text(f"# {SENTINEL}\n")
    (conf / "settings.toml").write_text("tax = 19\n")
    pit.project("shop").file("tasks/a.sh", "exit 0\n")
    if way == "folder":
        (pit.folder / "linked").symlink_to(conf)
    else:
        make = os.link if way == "hard" else os.symlink
        for name in ("secrets", "key"):
            make(next(conf.glob(f"{name}.*")), pit.folder / f"linked-{name}")
    pit.toml('[[tasks]]\nname = "a"\nscript = "tasks/a.sh"\n')
    (pit.root / "pit_config.toml").write_text('secrets_dir = "conf/secrets.toml"\n')
    pit.run("run", "shop", PIT_AGE_KEY_FILE=str(conf / "key.txt")).ok()
    copied = [path for path in (pit.root / "runs").rglob("*") if path.is_file()]
    assert not [path for path in copied if SENTINEL in path.read_text("utf-8", "replace")]
    assert (way == "folder") == any(path.name == "settings.toml" for path in copied)


def test_what_a_run_keeps_of_warnings_and_progress_is_masked_as_it_is_shown(shop: Pit) -> None:
    """The file that the task reads has the secret for its name, so that a warning names it."""
    told = """
token = ask("get_secret", key="token")["result"]
ask("progress", done=1, total=2, message="at " + token)
open(token).read()
"""
    project(shop, "leaky", {"tell": told}, tell='inputs = ["other.csv"]')
    shop.file(SENTINEL, "x").file("other.csv", "x")
    shown = shop.run("run", "leaky", "--learn", "--json").ok().events
    with Store.open_readonly(shop.root / "pit_metadata.db") as store:
        (run,) = store.runs.latest()
        kept = RunView.of(store, run.id)
    said = [event for event in shown if event["event"] in ("warning", "progress")]
    assert {event["message"] for event in said} == {
        kept.progress["tell"].message,
        *(warning.message for warning in kept.warnings),
    }
    assert kept.progress["tell"].message == "at ***"
    assert any("***" in warning.message for warning in kept.warnings)
    for command in (["status", "leaky"], ["status", "leaky", "--json"]):
        _assert_nowhere(shop.run(*command).ok().out.encode())
