"""A publication that a crash has cut short is finished, from the run's own folder."""

from __future__ import annotations

import time

from pit.model import RunStarted
from pit.state.intents import Intent
from pit.state.rundir import RunDir
from pit.state.store import Store
from pit.work.digest import digest_bytes
from tests.builder import Pit


def test_an_intent_of_a_dead_run_is_finished(pit: Pit) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\ntargets = ["o.txt", "d/"]\n'
    ).file("a.sh", "echo again > o.txt; mkdir d; echo again > d/x\n")
    pit.file("o.txt", "old\n")
    made = {"o.txt": "new\n", "d/x": "deep\n"}
    with Store.open(pit.root / "pit_metadata.db") as store:
        run = RunDir.allocate(pit.root / "runs", "m", time.time())
        (run.project / "d").mkdir(parents=True)
        for place, text in made.items():
            (run.project / place).write_text(text)
        at = time.time()
        store.emit(
            RunStarted(
                run=run.id,
                at=at,
                dag="m",
                run_dir=str(run.root),
                project=str(pit.folder),
                tasks=("a",),
                params={},
            )
        )
        store.add_intent(
            Intent(
                run=run.id,
                at=at,
                task="a",
                project=str(pit.folder),
                places={place: digest_bytes(text.encode()) for place, text in made.items()},
                targets=("o.txt", "d/"),
            )
        )
        run.lock.release()
    pit.file("a.sh", "exit 1\n")
    pit.run("run", "m").fails(1)
    assert (pit.folder / "o.txt").read_text() == "new\n"
    assert (pit.folder / "d/x").read_text() == "deep\n"
    with Store.open(pit.root / "pit_metadata.db") as store:
        assert store.intents() == ()


def test_what_is_not_as_intended_is_left_alone(pit: Pit) -> None:
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "true")
    pit.file("o.txt", "old\n")
    with Store.open(pit.root / "pit_metadata.db") as store:
        run = RunDir.allocate(pit.root / "runs", "m", time.time())
        (run.project / "o.txt").write_text("half")
        started = RunStarted(
            run=run.id,
            at=time.time(),
            dag="m",
            run_dir=str(run.root),
            project=str(pit.folder),
            tasks=("a",),
            params={},
        )
        store.emit(started)
        places = {"o.txt": digest_bytes(b"whole")}
        store.add_intent(
            Intent(
                run=run.id,
                at=time.time(),
                task="a",
                project=str(pit.folder),
                places=places,
                targets=("o.txt",),
            )
        )
        run.lock.release()
    pit.run("run", "m").ok()
    assert (pit.folder / "o.txt").read_text() == "old\n"
