"""Programs that tests start to write to a store at the same time, or to be killed while at it."""

from __future__ import annotations

import sys
from pathlib import Path

from pit.state.store.store import Store
from tests.state.story import attempted, ended, run_id, started, task_ended

TASKS = 10


def write_one_run(path: Path, number: int) -> None:
    """One run with ten tasks, each durable before the next: what a `pit run` does."""
    with Store.open(path) as store:
        name = run_id(number)
        tasks = tuple(f"t{place}" for place in range(TASKS))
        store.emit(started(name, tasks=tasks))
        for task in tasks:
            for event in attempted(name, task):
                store.emit(event)
            store.emit(task_ended(name, task))
            store.barrier()
        store.emit(ended(name))


def write_for_ever(path: Path, number: int) -> None:
    """Endless tasks of one run; says on stdout what is durable, as soon as it is."""
    store = Store.open(path)
    name = run_id(number)
    store.emit(started(name, tasks=tuple(f"t{place}" for place in range(5000))))
    print("run", flush=True)
    for place in range(5000):
        task = f"t{place}"
        for event in attempted(name, task):
            store.emit(event)
        store.emit(task_ended(name, task))
        store.barrier()
        print(task, flush=True)


def fill_for_ever(folder: Path) -> None:
    """A task that fills the disk and takes whatever becomes free."""
    with (folder / "filler").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                print("full", flush=True)


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what == "fill":
        fill_for_ever(Path(where))
    elif what == "one":
        write_one_run(Path(where), int(rest[0]))
    else:
        write_for_ever(Path(where), int(rest[0]))
