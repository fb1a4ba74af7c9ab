"""Many runs at once: of one DAG, of DAGs that share inputs; nothing is done twice or torn."""

from __future__ import annotations

from tests.builder import Pit
from tests.engine.test_run import rows

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
