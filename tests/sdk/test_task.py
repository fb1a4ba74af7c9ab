"""Real runs whose tasks ask over the real socket: Python, shell, Node.js."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pit.work import bundled
from tests.builder import Pit

PIT = f"{sys.executable} -m pit sdk"

SECRETS = """
[global]
token = "a-token-of-mine"
[global.server]
host = "files.example"
password = "correct-horse"
"""


def with_secrets(pit: Pit) -> Pit:
    """The workspace with a secrets file."""
    (pit.root / "secrets.toml").write_text(SECRETS)
    (pit.root / "secrets.toml").chmod(0o600)
    return pit


def dag(pit: Pit, **scripts: str) -> Pit:
    """A project `p` whose tasks, a chain, are these scripts; `x_py` is `x.py`."""
    names = [name.replace("_", ".") for name in scripts]
    tasks = [
        f'[[tasks]]\nname = "{name.partition(".")[0]}"\nscript = "{name}"\n'
        + (f'depends_on = ["{names[place - 1].partition(".")[0]}"]\n' if place else "")
        for place, name in enumerate(names)
    ]
    pit.project("p").toml('[dag]\nname = "p"\n' + "".join(tasks))
    for name, script in zip(names, scripts.values(), strict=True):
        pit.file(name, script)
    return pit


def events(pit: Pit, kind: str, *args: str) -> list[dict[str, Any]]:
    """The events of one kind in a run with --json."""
    result = pit.run("run", "p", "--json", *args).ok()
    return [event for event in result.events if event["event"] == kind]


# ---------------------------------------------------------------- values


def test_values_go_from_task_to_task_and_stand_in_status(pit: Pit) -> None:
    first = f"set -e\n{PIT} set_value name=rows value:=42\n{PIT} set_value name=city value=Oslo\n"
    second = """
from pit.sdk import *
assert get_value("rows") == 42 and get_value("city", task="a") == "Oslo"
assert get_value("absent", default=[1]) == [1]
set_value("share", {"x": 0.5})
try: get_value("absent")
except PitSDKError as error: print(error)
"""
    dag(pit, a_sh=first, b_py=second, c_sh=f"{PIT} get_value name=share; {PIT} get_value name=city")
    pit.run("run", "p").ok()
    assert 'no task that "b" depends on has set a value "absent"' in pit.log("b")
    assert pit.log("c") == '{"x":0.5}\nOslo\n'
    tasks = pit.run("status", "p", "--json").ok().json["tasks"]
    assert [task["values"] for task in tasks] == [
        {"rows": 42, "city": "Oslo"},
        {"share": {"x": 0.5}},
        {},
    ]
    shown = " ".join(pit.run("status", "p").ok().out.split())
    assert 'TASK VALUE IS a city Oslo a rows 42 b share {"x":0.5}' in shown


def test_a_skipped_task_hands_on_its_values(pit: Pit) -> None:
    pit.project("p").toml("""
[dag]
name = "p"
[[tasks]]
name = "a"
script = "a.sh"
inputs = ["in.txt"]
targets = ["out.txt"]
[[tasks]]
name = "b"
script = "b.sh"
depends_on = ["a"]
""")
    pit.file("in.txt", "x")
    pit.file("a.sh", f"{PIT} set_value name=rows value:=42 && echo done > out.txt\n")
    pit.file("b.sh", f"{PIT} get_value name=rows\n")
    pit.run("run", "p").ok()
    second = pit.run("run", "p", "--json").ok().events
    states = {e["task"]: e["state"] for e in second if e["event"] == "task_ended"}
    assert states == {"a": "skipped", "b": "success"}
    assert pit.log("b") == "42\n"
    assert pit.run("status", "p", "--json").ok().json["tasks"][0]["values"] == {"rows": 42}
    pit.run("run", "p/b").ok()  # what a run leaves out is as it last was
    assert pit.log("b") == "42\n"


def test_a_skipped_task_hands_on_its_tables(pit: Pit) -> None:
    pit.project("p").toml(f"""
[dag]
name = "p"
[[tasks]]
name = "a"
script = "a.py"
runner = "$ {sys.executable}"
inputs = ["in.txt"]
[[tasks]]
name = "b"
script = "b.py"
runner = "$ {sys.executable}"
depends_on = ["a"]
""")
    pit.file("in.txt", "x")
    pit.file(
        "a.py", "from pit.sdk import write_output\nwrite_output('t', [{'x': 1}, {'y': 'z'}])\n"
    )
    pit.file("b.py", "from pit.sdk import read_input\nprint(read_input('t', return_type='rows'))\n")
    pit.run("run", "p").ok()
    assert "skipped" in pit.run("run", "p").ok().out
    assert pit.log("b") == "[{'x': 1, 'y': None}, {'x': None, 'y': 'z'}]\n"


def test_a_value_has_its_limits(pit: Pit) -> None:
    script = f"""
{PIT} set_value name=../x value=1
head -c 70000 /dev/zero | tr '\\0' x | {PIT} set_value name=big value=-
{PIT} get_secret key=token > /dev/null
{PIT} set_value name=stolen value="it is a-token-of-mine"
{PIT} set_value name=a-token-of-mine value=1
{PIT} get_value name=rows task=t2
{PIT} log message="told: a-token-of-mine" fields:='{{"token": "a-token-of-mine"}}'
{PIT} progress done=1 message="a-token-of-mine"
exit 0
"""
    dag(with_secrets(pit), t_sh=script)
    told = pit.run("run", "p", "--json", "--secrets", "secrets.toml").ok().out
    assert '"told: ***"' in told
    assert "a-token-of-mine" not in told
    log = pit.log("t")
    assert '"../x" is not a valid name for a value' in log
    assert 'value "big" has 70,002 bytes of JSON, more than 64,000' in log
    assert 'value "stolen" holds a secret' in log
    assert 'value "***" holds a secret' in log
    assert 'there is no task "t2" in this run (Did you mean "t"?)' in log
    assert "a-token-of-mine" not in log
    assert b"a-token-of-mine" not in (pit.root / "pit_metadata.db").read_bytes()


# ---------------------------------------------------------------- progress and logged events


def test_a_flood_of_progress_is_told_now_and_then_and_its_end_always(pit: Pit) -> None:
    script = "from pit.sdk import progress\nfor n in range(1001): progress(n, 1000, f'row {n}')\n"
    told = events(dag(pit, t_py=script), "progress")
    assert told[-1]["done"] == 1000
    assert told[-1]["message"] == "row 1000"
    assert len(told) < 200


def test_events_of_tasks_are_structured_and_readable(pit: Pit) -> None:
    script = """
from pit.sdk import log
log("INFO", "started", files=2, note="a b")
log("warning", "late")
try: log("shout", "x")
except RuntimeError as error: print(error)
"""
    told = events(dag(pit, t_py=script), "log")
    assert [(e["level"], e["message"], e["fields"]) for e in told] == [
        ("info", "started", {"files": 2, "note": "a b"}),
        ("warning", "late", {}),
    ]
    assert '[info] started  files=2 note="a b"\n[warning] late\n' in pit.log("t")
    assert 'there is no level "shout"' in pit.log("t")
    assert "t  warning: late" in pit.run("run", "p").ok().out


# ---------------------------------------------------------------- pit sdk


def test_pit_sdk_prints_answers_and_tells_failures_by_its_exit_code(pit: Pit) -> None:
    script = f"""
{PIT} get_secret key=token | wc -c
{PIT} get_secret_field secret=server field=host
{PIT} get_secret key=tokn; echo "exit $?"
{PIT} get_secret; echo "exit $?"
{PIT} get_secret key=token colour=red; echo "exit $?"
{PIT} get_secrt key=x; echo "exit $?"
{PIT} get_secret token; echo "exit $?"
{PIT} set_value rows; echo "exit $?"
{PIT} set_value name=x value:=nonsense; echo "exit $?"
printf 'from a file\\n' > text; {PIT} set_value name=file value=@text; {PIT} get_value name=file
printf '[1, 2]' > json; {PIT} set_value name=json value:=@json; {PIT} get_value name=json
{PIT} set_value name=x value=@nowhere; echo "exit $?"
printf '\\377' > binary; {PIT} set_value name=x value=@binary; echo "exit $?"
"""
    dag(with_secrets(pit), t_sh=script).run("run", "p", "--secrets", "secrets.toml").ok()
    log = pit.log("t")
    assert log.startswith("16\nfiles.example\n")
    for text in (
        'get_secret: secret "tokn" not found for DAG "p"',
        "error: get_secret: missing required parameter: key\nexit 1",
        'error: get_secret: unknown parameter "colour"',
        'error: unknown method "get_secrt" (Did you mean "get_secret"?)\nexit 1',
        'error: "token" is not KEY=VALUE\n       Write it like: key=token\nexit 2',
        "Write it like: name=rows\nexit 2",
        "error: value is not JSON",
        "from a file\n",
        "[1,2]\n",
        "error: nowhere: No such file or directory\nexit 1",
        "error: value: what @binary holds is not text",
    ):
        assert text in log, log


def test_pit_sdk_outside_of_a_task_says_where_it_works(pit: Pit) -> None:
    pit.run("sdk", "get_secret", "key=x").fails(
        2, "pit sdk get_secret works in a task of a run only: PIT_SOCKET is not set", "pit run DAG"
    )
    pit.run("sdk").fails(2, "which method?", "pit sdk --list")
    assert pit.run("sdk", "--path").ok().out == f"{bundled.PYTHON}\n"
    listed = pit.run("sdk", "--list").ok().out
    assert "get_secret key\n" in listed
    assert "progress done [total] [message]\n" in listed
    one = pit.run("sdk", "--list", "http_request").ok().out.splitlines()
    assert one[0] == "http_request: Send an HTTP request."
    assert ["timeout", '"30s"'] in [line.split() for line in one]
    listed = pit.run("sdk", "--list", "--json").ok().json
    assert {"http_request", "get_secret"} <= {method["name"] for method in listed}
    one = pit.run("sdk", "--list", "get_secret", "--json").ok().json
    assert [param["name"] for param in one["params"] if param["required"]] == ["key"]
    pit.run("sdk", "get_secret", "key=x", "--json").fails(2, "--json goes with --list")
    pit.run("sdk", "--list", "http_reqest").fails(2, 'unknown method "http_reqest"', "http_request")


def test_pit_sdk_does_not_load_the_engine(pit: Pit) -> None:
    script = f"{sys.executable} -X importtime -m pit sdk progress done=1 2>&1 | cut -d'|' -f3\n"
    dag(pit, t_sh=script).run("run", "p").ok()
    loaded = {line.strip() for line in pit.log("t").splitlines()}
    assert "pit.sdk" in loaded
    assert not {
        name for name in loaded if name.startswith(("pit.engine", "pit.state", "pit.work", "doit"))
    }


# ---------------------------------------------------------------- threads and forks

CROWD = """
import os, threading
from pit.sdk import get_value, set_value

def work(number):
    set_value(f"n{number}", number)
    assert get_value(f"n{number}") == number

def crowd(base):
    threads = [threading.Thread(target=work, args=(base + n,)) for n in range(100)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

children = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        crowd(1000 * child)
        os._exit(0)
    children.append(pid)
assert all(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 for pid in children)
print(sum(get_value(f"n{1000 * c + n}") for c in range(3) for n in range(100)))
"""


def test_threads_and_forks_need_no_care(pit: Pit) -> None:
    dag(pit, t_py=CROWD).run("run", "p").ok()
    assert pit.log("t") == f"{sum(1000 * c + n for c in range(3) for n in range(100))}\n"


# ---------------------------------------------------------------- Node.js

NODE = shutil.which("node")

COMMONJS = """
const assert = require("node:assert");
const pit = require("pit-sdk");
async function main() {
  assert.strictEqual(await pit.getSecret("token"), "a-token-of-mine");
  assert.strictEqual(await pit.getSecretField("server", "host"), "files.example");
  await pit.setValue("rows", { n: 42, text: "Ærø" });
  assert.deepStrictEqual(await pit.getValue("rows"), { n: 42, text: "Ærø" });
  await pit.setValue("nothing", null);
  assert.strictEqual(await pit.getValue("nothing", { default: 3 }), null);
  assert.strictEqual(await pit.getValue("absent", { default: null }), null);
  await pit.progress(1, 2, "half");
  await pit.log("info", "from node", { count: 2 });
  await assert.rejects(pit.getSecret("tokn"), (error) => {
    assert(error instanceof pit.RequestFailed && error instanceof pit.PitError);
    return /secret "tokn" not found/.test(error.message);
  });
  const many = [...Array(50).keys()].map((n) => pit.setValue(`n${n}`, n));
  await Promise.all(many);
  console.log("data in", require("node:path").basename(pit.dataDir()));
}
main();
"""

MODULE = """
import { createRequire } from "node:module";
const commonjs = createRequire(import.meta.url)("pit-sdk");
const pit = await import(process.env.NODE_SDK + "/index.mjs");
for (const name of Object.keys(commonjs)) if (!(name in pit)) throw new Error(name);
console.log("rows:", (await pit.getValue("rows")).n);
"""

BY_HAND = """
const pit = require(process.env.NODE_SDK);
(async () => {
  await pit.progress(1, 2);
  await pit.log("info", "by hand", { a: 1 });
  console.log(await pit.getValue("x", { default: 7 }));
  await pit.getSecret("x").catch((error) => console.log(error.name, error.message));
  try { pit.dataDir(); } catch (error) { console.log(error.message); }
})();
"""


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
def test_node(pit: Pit, tmp_path: Path) -> None:
    pit.project("p").toml(f"""
[dag]
name = "p"
[dag.env]
NODE_SDK = "{bundled.NODE}/pit-sdk"
[[tasks]]
name = "cjs"
script = "a.js"
runner = "$ node"
[[tasks]]
name = "mjs"
script = "b.mjs"
runner = "$ node"
depends_on = ["cjs"]
env = {{ NODE_PATH = "/elsewhere" }}
""")
    with_secrets(pit).file("a.js", COMMONJS).file("b.mjs", MODULE)
    told = events(pit, "log", "--secrets", "secrets.toml")
    assert [event["fields"] for event in told] == [{"count": 2}]
    assert pit.log("cjs") == "[info] from node  count=2\ndata in data\n"
    assert pit.log("mjs") == "rows: 42\n"


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
def test_node_by_hand(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "x.js").write_text(BY_HAND)
    argv = ["node", "x.js"]
    env = {"NODE_SDK": f"{bundled.NODE}/pit-sdk", "PATH": str(Path(NODE or "").parent)}
    told = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert told.stderr == "[info] by hand  a=1\n"
    default, secret, data = told.stdout.splitlines()
    assert default == "7"
    assert secret.startswith("OutsideTask get_secret asks Pit")
    assert data.endswith("PIT_DATA_DIR=data node x.js")


def test_the_node_package_types_each_function() -> None:
    folder = bundled.SDK / "node" / "pit-sdk"
    exported = (folder / "index.js").read_text().rpartition("module.exports = {")[2]
    names = {name.strip() for name in exported.partition("}")[0].split(",")} - {""}
    types = (folder / "index.d.ts").read_text()
    assert all(f"function {n}(" in types or f"class {n} " in types for n in names)
    module = (folder / "index.mjs").read_text()
    assert all(f"  {name},\n" in module for name in names)
    assert json.loads((folder / "package.json").read_text())["name"] == "pit-sdk"


# ---------------------------------------------------------------- databases


def test_tables_go_through_a_database_without_a_driver_in_the_task(pit: Pit) -> None:
    script = """
from pit.sdk import *
(data_dir() / "rows.csv").write_text("id,city\\n1,Oslo\\n2,Rome\\n")
print(load_data("rows.csv", "cities", "lake"))
print(load_data("rows.csv", "cities", "lake", mode="truncate_and_load"))
made = output_sql("lake", "select city from cities order by id desc", "names")
print(made.name, made.read_bytes()[:4])
for attempt in (
    lambda: load_data("rows.csv", "a.b.c.d", "lake"),
    lambda: output_sql("lake", "select * from nowhere", "none"),
    lambda: load_data("rows.csv", "t", "closed"),
    lambda: output_sql("plain", "select 1", "none"),
    lambda: output_sql("away", "select 1", "none"),
    lambda: output_sql("lake", "select 1", "../none"),
):
    try: attempt()
    except PitSDKError as error: print(error)
"""
    dag(pit, a_py=script)
    (pit.root / "secrets.toml").write_text(
        '[global]\nlake = "duckdb://lake.duckdb"\nclosed = "duckdb://lake.duckdb"\n'
        'plain = "a-token-of-mine"\naway = "postgres://u@127.0.0.1:1/d"\n'
        '[acl]\nclosed = ["other"]\n'
    )
    (pit.root / "secrets.toml").chmod(0o600)
    pit.run("run", "p", "--secrets", "secrets.toml").ok()
    log = pit.log("a")
    for line in (
        "2 rows loaded\n",
        "names.parquet b'PAR1'\n",
        'load_data: the table name "a.b.c.d" has 4 parts',
        "save_query: query:1: Catalog Error: Table with name nowhere does not exist!",
        'load_data: secret "closed" is not for DAG "p": [acl] names others',
        "save_query: the connection names no database that Pit knows",
        "save_query: cannot connect to ***",
        '"../none" is not a valid name for an output',
    ):
        assert line in log, log
    assert "load_data: load:" not in log
    assert "save_query: query: " not in log
    assert [file.name for file in pit.root.rglob("none*")] == []
