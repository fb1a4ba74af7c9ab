"""Many runs at once: of one DAG, of DAGs that share inputs; nothing is done twice or torn."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable

from tests.builder import Pit
from tests.doit import DOIT, TEMPLATES, doit
from tests.engine.run.test_run import rows

SHARED = """
[[tasks]]
name = "copy"
script = "copy.sh"
inputs = ["{workspace}/shared/*.csv"]
targets = ["out/all.csv"]
[[tasks]]
name = "count"
script = "count.sh"
inputs = ["out/all.csv"]
targets = ["out/count.txt"]
"""


def project(pit: Pit, name: str) -> None:
    pit.project(name).toml(SHARED)
    pit.file(
        "copy.sh",
        "echo x >> $PIT_WORKSPACE/did-$PIT_DAG_NAME\n"
        "cat $PIT_WORKSPACE/shared/*.csv > out/all.csv; sleep 0.2\n",
    )
    pit.file("count.sh", "wc -l < out/all.csv > out/count.txt\n")


def start(pit: Pit, *dags: str) -> None:
    started = [pit.start("run", dag) for dag in dags]
    assert [process.wait(120) for process in started] == [0] * len(started)
    for process in started:
        process.communicate()


def test_ten_runs_of_one_dag_do_the_work_once(pit: Pit) -> None:
    (pit.root / "shared").mkdir()
    (pit.root / "shared/a.csv").write_text("1\n2\n")
    project(pit, "one")
    start(pit, *["one"] * 10)
    assert (pit.root / "did-one").read_text() == "x\n"
    assert (pit.folder / "out/count.txt").read_text().strip() == "2"
    assert rows(pit, "select count(*) from tasks where state = 'success'") == [(2,)]
    assert rows(pit, "select count(*) from runs where state = 'success'") == [(10,)]


def test_a_run_says_that_another_one_is_doing_its_task(pit: Pit) -> None:
    project(pit, "one")
    held = "touch $PIT_WORKSPACE/begun\nwhile [ ! -e $PIT_WORKSPACE/go ]; do sleep 0.05; done\n"
    pit.file("copy.sh", f"{held}echo x > out/all.csv\n")
    first = pit.start("run", "one")
    until((pit.root / "begun").exists)
    second = pit.start("run", "one")
    assert second.stdout is not None
    said = b""
    while b"waiting" not in said:
        said = second.stdout.readline()
    told = f"run {pit.runs()[0].name} is doing it"
    assert f"copy   waiting: {told}" in said.decode()
    until(lambda: f"waiting: {told}" in pit.run("status", "one").out)
    (pit.root / "go").touch()
    assert first.wait(60) == 0
    rest = second.communicate(timeout=60)[0].decode()
    assert second.returncode == 0
    assert "is doing it" not in rest
    assert rows(pit, "select why from tasks where why like 'waiting%'") == []
    first.communicate()


def until(done: Callable[[], object]) -> None:
    """Wait until something is so, which it must be within a minute."""
    late = time.monotonic() + 60
    while not done():
        assert time.monotonic() < late
        time.sleep(0.05)


def test_dags_that_share_inputs_each_see_every_change(pit: Pit) -> None:
    (pit.root / "shared").mkdir()
    project(pit, "one")
    project(pit, "two")
    for number in range(1, 4):
        (pit.root / f"shared/{number}.csv").write_text(f"{number}\n")
        start(pit, "one", "two", "one", "two")
        for dag in ("one", "two"):
            out = pit.root / "projects" / dag / "out"
            assert (out / "count.txt").read_text().strip() == str(number)
            assert (pit.root / f"did-{dag}").read_text() == "x\n" * number


def test_doit_and_pit_beside_each_other_do_the_work_once(pit: Pit) -> None:
    (pit.root / "shared").mkdir()
    shutil.copy(TEMPLATES / "workspace" / "dodo.py", pit.root)
    project(pit, "two")
    project(pit, "one")
    for number in range(1, 4):
        (pit.root / f"shared/{number}.csv").write_text(f"{number}\n")
        beside(pit)
        assert (pit.folder / "out/count.txt").read_text().strip() == str(number)
        for dag in ("one", "two"):
            assert (pit.root / f"did-{dag}").read_text() == "x\n" * number
    assert rows(pit, "select distinct state from runs") == [("success",)]
    listed = doit(pit.root, "list", "--all", "--status", "-q").ok().out
    assert {line.split()[0] for line in listed.splitlines() if ":" in line} == {"U"}


def beside(pit: Pit) -> None:
    """Three runs by doit's own command and three by pit, of two DAGs, all at once."""
    own = [
        subprocess.Popen(
            [DOIT, "run", dag],
            cwd=pit.root,
            env=pit.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for dag in ("one", "two", "one")
    ]
    started = [*own, *(pit.start("run", dag) for dag in ("one", "one", "two"))]
    said = [process.communicate(timeout=120)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0] * len(started), said
