"""A publication that a crash has cut short is finished, from the run's own folder."""

from __future__ import annotations

import time

from pit.events import RunStarted
from pit.project.digest import digest_bytes
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from pit.state.store.tables.publications import Intent
from tests.builder import Pit


def strand(pit: Pit, store: Store, made: dict[str, str], places: dict[str, str]) -> RunDir:
    """A run that died while it was publishing `made`, which should have been `places`."""
    run = RunDir.allocate(pit.root / "runs", "m", time.time())
    for place, text in made.items():
        (run.project / place).parent.mkdir(parents=True, exist_ok=True)
        (run.project / place).write_text(text)
    at = time.time()
    started = RunStarted(
        run=run.id,
        at=at,
        dag="m",
        run_dir=str(run.root),
        project=str(pit.folder),
        tasks=("a",),
        params={},
    )
    store.emit(started)
    store.publications.add(
        Intent(
            run=run.id,
            at=at,
            task="a",
            project=str(pit.folder),
            places={place: digest_bytes(text.encode()) for place, text in places.items()},
            targets=tuple(dict.fromkeys(f"{p.split('/')[0]}/" if "/" in p else p for p in places)),
        )
    )
    run.lock.release()
    return run


def test_an_intent_of_a_dead_run_is_finished(pit: Pit) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\ntargets = ["o.txt", "d/"]\n'
    ).file("a.sh", "exit 1\n").file("o.txt", "old\n")
    made = {"o.txt": "new\n", "d/x": "deep\n"}
    with Store.open(pit.root / "pit_metadata.db") as store:
        strand(pit, store, made, made)
    pit.run("run", "m").fails(1)
    assert (pit.folder / "o.txt").read_text() == "new\n"
    assert (pit.folder / "d/x").read_text() == "deep\n"
    with Store.open(pit.root / "pit_metadata.db") as store:
        assert store.publications.pending() == ()


def test_what_is_not_as_intended_is_left_alone(pit: Pit) -> None:
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "true")
    pit.file("o.txt", "old\n")
    with Store.open(pit.root / "pit_metadata.db") as store:
        strand(pit, store, {"o.txt": "half"}, {"o.txt": "whole"})
    pit.run("run", "m").ok()
    assert (pit.folder / "o.txt").read_text() == "old\n"


def test_a_run_that_was_at_the_task_since_has_the_last_word(pit: Pit) -> None:
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\ntargets = ["o.txt"]\n')
    pit.file("a.sh", "echo newer > o.txt\n")
    with Store.open(pit.root / "pit_metadata.db") as store:
        dead = strand(pit, store, {"o.txt": "older\n"}, {"o.txt": "older\n"})
        assert dead.lock.acquire()  # it is not dead yet
        pit.run("run", "m").ok()
        dead.lock.release()
    assert (pit.folder / "o.txt").read_text() == "newer\n"
    pit.file("a.sh", "exit 1\n").run("run", "m").fails(1)
    assert (pit.folder / "o.txt").read_text() == "newer\n"
