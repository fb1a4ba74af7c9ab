"""Orders that travel: they hold no secret and no path, and another process performs them alike."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pit.order import Order
from tests.builder import Pit

TOKEN = "s3ntinel-sw0rd-4711"
LAKE = "duckdb://lake-0815.duckdb"
SECRETS = f'[global]\ntoken = "{TOKEN}"\nlake = "{LAKE}"\n'

TOML = """
[dag]
concurrency = 1
[dag.env]
REGION = "south"
[dag.params]
day = { type = "date", default = "2026-01-31" }
[dag.sql]
connection = "lake"

[[tasks]]
name = "count"
script = "tasks/count.py"
targets = ["out/count.txt"]
retries = 1
[[tasks]]
name = "tell"
script = "tasks/tell.py"
depends_on = ["count"]
[[tasks]]
name = "shell"
script = "tasks/shell.sh"
depends_on = ["tell"]
env = { OWN = "x", PYTHONPATH = "lib" }
[[tasks]]
name = "make"
script = "tasks/make.sql.j2"
depends_on = ["shell"]
[[tasks]]
name = "load"
type = "load"
source = "in.csv"
table = "sales"
depends_on = ["make"]
[[tasks]]
name = "save"
type = "save"
query = "SELECT * FROM sales ORDER BY amount"
output = "sales.csv"
depends_on = ["load"]
[[tasks]]
name = "alone"
script = "tasks/alone.py"
connection = "lake"
depends_on = ["save"]
[[tasks]]
name = "check"
type = "check"
query = "SELECT * FROM sales WHERE amount > 2"
depends_on = ["alone"]
[[tasks]]
name = "wrong"
script = "tasks/wrong.sql"
depends_on = ["alone"]
"""

FILES = {
    "tasks/count.py": """
import os
from pit import sdk
print(os.environ["PIT_PARAM_DAY"], os.environ["REGION"], os.environ["PIT_ATTEMPT"])
sdk.set_value("rows", 3)
with open("out/count.txt", "w") as file:
    file.write("3")
raise SystemExit(os.environ["PIT_ATTEMPT"] == "1")
""",
    "tasks/tell.py": 'from pit import sdk\nprint("it is", sdk.get_secret("token"))\n',
    "tasks/shell.sh": """
echo "$PIT_TASK_NAME of $PIT_DAG_NAME: $REGION $OWN in ${PWD##*/}"
test "$PWD" = "$PIT_PROJECT_DIR" && cat out/count.txt
test "${PYTHONPATH##*:}" = "$PWD/lib" && echo written > "$PIT_DATA_DIR/note"
exit 0
""",
    "tasks/make.sql.j2": "CREATE TABLE made AS SELECT {{ params.day | sqlstr }}::DATE AS day,\n"
    "{{ env.REGION | sqlstr }} AS region, getvariable('pit_task_name') AS task;\nFROM made;\n",
    "tasks/alone.py": "import os\n"
    'file = os.path.join(os.environ["PIT_WORKSPACE"], "lake-0815.duckdb")\n'
    'print(open(file, "rb").read()[8:12])\n',
    "tasks/wrong.sql": "SELECT 1;\nSELECT *\nFROM nowhere;\n",
    "in.csv": "id,amount\n1,1.5\n2,2.5\n",
}

RECORDER = """
import pickle, sys
from pit.cli.main import main
from pit.work import attempts

def recorded(order, tools):
    outcome = perform(order, tools)
    with open(place, "ab") as file:
        pickle.dump((order, outcome), file)
    return outcome

place, perform = sys.argv.pop(1), attempts.perform
attempts.perform = recorded
sys.exit(main())
"""
"""`pit`, with all that a run sends to whoever performs its orders, and what comes back."""

WORKER = """
import json, pickle, sys
from pathlib import Path

from pit.project.python import environment
from pit.state.secrets.secrets import Secrets
from pit.work import attempts
from pit.work.masking import Masks
from pit.work.process import launch
from pit.work.site import Site
from pit.work.socket.access import Access
from pit.work.socket.call import Caller
from pit.work.socket.server import Server
from pit.work.sql.sessions import Sessions


class Facts:
    def __init__(self):
        self.values = {}

    def set_value(self, caller, name, value):
        self.values[caller.task, name] = [caller.task, caller.attempt, name, value]

    def settle(self, task):
        pass


def connection(order):
    caller = Caller(
        run=order.run, dag=order.dag, task=order.task, attempt=order.attempt, data=site.data
    )
    return access.connection(caller, order.connection)


launch.become_subreaper()
here, orders = Path.cwd(), pickle.load(sys.stdin.buffer)
folder = here / "runs" / orders[0].run
site = Site(
    orders[0].run,
    orders[0].dag,
    workspace=here,
    live=folder / "project",
    project=folder / "project",
    data=folder / "data",
    logs=folder / "logs",
    python=environment.standing_environment(folder / "project", here, launch.capture),
)
masks, facts, audit = Masks(), Facts(), []
access = Access(Secrets.load(Path(sys.argv[1])), audit.append, lambda: None, masks)
server, cancel = Server(access, facts, masks), launch.Cancel()
with Sessions(
    spawn=launch.spawn_session,
    cwd=site.project,
    env=site.variables,
    stderr=site.logs / ".sql.log",
    workspace=site.workspace,
) as sessions:
    tools = attempts.Tools(
        site=site,
        cancel=cancel,
        connection=connection,
        sessions=lambda: sessions,
        server=lambda: server,
        masks=masks,
    )
    outcomes = [attempts.perform(order, tools) for order in orders]
server.end()
asked = [[each.task, each.attempt, each.key, each.verdict] for each in audit]
modules = sorted(name for name in sys.modules if name.partition(".")[0] == "pit")
json.dump(
    {
        "outcomes": [[each.reason, each.error, each.warning, each.exit_code, each.retryable]
                     for each in outcomes],
        "values": list(facts.values.values()),
        "asked": asked,
        "modules": modules,
    },
    sys.stdout,
)
"""
"""Somebody with a run's files, its data folder and its services, and nothing else of it."""

BELOW = ("work", "project", "config", "state", "sql", "fs", "text", "errors", "events", "order",
         "model")  # fmt: skip
"""The floor that performs orders, and those below it."""


class Run:
    """A run whose orders were recorded, as they were sent."""

    def __init__(self, root: Path) -> None:
        home = root / "home"
        home.mkdir()
        self.pit = Pit(root / "workspace", HOME=str(home))
        self.pit.root.mkdir()
        self.pit.file("secrets.toml", SECRETS, mode=0o600)
        self.pit.project("shop").toml(TOML)
        for path, text in FILES.items():
            self.pit.file(path, text)
        self.sent = root / "sent"
        recorder = root / "recorder.py"
        recorder.write_text(RECORDER)
        argv = [sys.executable, str(recorder), str(self.sent), *self.pit.argv("run", "shop")[3:]]
        done = subprocess.run(argv, env=self.pit.env, capture_output=True, text=True)
        self.told = done.stdout + done.stderr
        (self.folder,) = self.pit.runs()
        self.orders: list[Order] = []
        self.outcomes: list[list[Any]] = []
        with self.sent.open("rb") as file, contextlib.suppress(EOFError):
            while True:
                order, how = pickle.load(file)
                self.orders.append(order)
                self.outcomes.append(
                    [how.reason, how.error, how.warning, how.exit_code, how.retryable]
                )

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """While the block lasts, the workspace is not where the run was."""
        aside = self.pit.root.rename(self.pit.root.with_name("away"))
        try:
            yield
        finally:
            aside.rename(self.pit.root)

    def rows(self, query: str) -> list[list[Any]]:
        """Rows of the run's store."""
        with contextlib.closing(sqlite3.connect(self.pit.root / "pit_metadata.db")) as store:
            return [list(row) for row in store.execute(query).fetchall()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of every kind of task."""
    return Run(tmp_path_factory.mktemp("travel"))


def test_the_run_itself_did_what_its_tasks_are_to_do(run: Run) -> None:
    done = [(order.task, order.attempt) for order in run.orders]
    assert done == [
        ("count", 1), ("count", 2), ("tell", 1), ("shell", 1), ("make", 1), ("load", 1),
        ("save", 1), ("alone", 1), ("check", 1), ("wrong", 1),
    ], run.told  # fmt: skip
    reasons = [reason for reason, *_ in run.outcomes]
    assert reasons == ["exit", *[None] * 7, "check_failed", "sql_error"], run.told
    assert "it is ***" in run.pit.log("tell")
    assert (run.folder / "data/note").read_text() == "written\n"


@pytest.mark.parametrize("pickler", ["pickle", "cloudpickle"])
def test_an_order_holds_no_secret_and_no_path_of_its_machine(run: Run, pickler: str) -> None:
    dumps = pytest.importorskip(pickler).dumps
    hidden = {
        "a secret": TOKEN,
        "a URL": LAKE,
        "its file": "lake-0815",
        "the run": str(run.folder),
        "the workspace": str(run.pit.root),
        "home": run.pit.env["HOME"],
        "the interpreter": sys.executable,
        "its real path": os.path.realpath(sys.executable),
        "Pit": str(Path(__file__).parents[3]),
    }
    for order in run.orders:
        told = dumps(order)
        assert order.task.encode() in told
        assert [what for what, text in hidden.items() if text.encode() in told] == [], order


def test_a_process_with_work_alone_performs_the_orders_elsewhere(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "runs" / run.folder.name
    shutil.copytree(run.folder / "project", folder / "project")
    for part in ("data", "logs"):
        (folder / part).mkdir()
    secrets = tmp_path / "services" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text(SECRETS)
    secrets.chmod(0o600)
    with run.away():
        done = subprocess.run(
            [sys.executable, "-c", WORKER, str(secrets)],
            cwd=tmp_path / "elsewhere",
            env=run.pit.env,
            input=pickle.dumps(run.orders),
            capture_output=True,
        )
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert [name for name in told["modules"] if not is_below(name)] == []
    assert told["outcomes"] == run.outcomes
    assert told["values"] == run.rows("SELECT task, attempt, name, value FROM task_values")
    asked = run.rows('SELECT task, attempt, "key", verdict FROM secret_requests ORDER BY at')
    assert told["asked"] == asked
    assert logs(folder) == logs(run.folder)
    made = [{path.name: path.read_bytes() for path in (each / "data").iterdir() if path.is_file()}
            for each in (folder, run.folder)]  # fmt: skip
    assert made[0] == made[1]
    assert (folder / "project/out/count.txt").read_text() == "3"
    secrets.unlink()
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        assert TOKEN.encode() not in path.read_bytes(), path


def is_below(name: str) -> bool:
    """Whether a module of Pit is one that performs orders, or lies below it."""
    return name == "pit" or name.split(".")[1] in BELOW


def logs(run: Path) -> dict[str, str]:
    """The logs of a run, but for how long each statement took."""
    found = {path.name: path.read_text() for path in (run / "logs").iterdir()}
    return {name: re.sub(r"[\d,.]+ (m?s|rows/s)\b", "…", text) for name, text in found.items()}
