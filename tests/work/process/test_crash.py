"""What a Pit that died has left running is ended by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from uuid import uuid4

import pytest

from pit.work.process import launch
from tests.work.process import daemons
from tests.work.process.test_launch import ENV, _subreaper, alive  # noqa: F401 the fixture is used by itself


def test_end_marked_ends_only_what_carries_the_run(tmp_path: Path) -> None:
    run = f"run-{uuid4()}"
    script = """
        setsid -f env PIT_RUN_ID=$RUN bash -c 'trap "" TERM; echo $$ > mine; env -i sleep 60; true'
        setsid -f env PIT_RUN_ID=${RUN}0 bash -c 'echo $$ > other; exec sleep 60'
        sleep 60 & echo $! > neighbour
        PIT_RUN_ID=$RUN sleep 60 & echo $! > beside
        until [ -s mine ] && [ -s other ]; do sleep 0.01; done
        echo; until [ -e stop ]; do sleep 0.01; done
    """
    ready = threading.Event()
    thread = threading.Thread(
        target=lambda: launch.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={**ENV, "RUN": run},
            output=lambda _: ready.set(),
        )
    )
    thread.start()
    assert ready.wait(60)
    helper = [
        sys.executable,
        "-c",
        f"from pit.work.process import launch as p; print(p.end_marked({run!r}, 0.2))",
    ]
    env = {**os.environ, "PYTHONPATH": str(Path(launch.__file__).parents[3])}
    code, output = launch.capture(helper, cwd=tmp_path, env=env)
    names = ("mine", "beside", "other", "neighbour")
    pids = [int((tmp_path / name).read_text()) for name in names]
    survived = [alive(pid) for pid in pids]
    (tmp_path / "stop").touch()
    thread.join()
    assert (code, survived) == (0, [False, False, True, True])
    assert int(output) >= 2
    assert not any(map(alive, pids))


@pytest.mark.parametrize("known", [False, True])
def test_end_marked_finds_what_has_cut_every_tie_if_it_knows_the_pit(
    tmp_path: Path, known: bool
) -> None:
    """Not while that Pit lives: then it takes care of its own."""
    pit = f"""
import os
from pit.work.process import launch
launch.become_subreaper()
print(launch.identity(), flush=True)
launch.run(["bash", "-c", {daemons.left("double fork") + "; sleep 60"!r}], cwd=".",
            env=os.environ, output=lambda _: None)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(launch.__file__).parents[3])}
    popen = subprocess.Popen(
        [sys.executable, "-c", pit], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    )
    assert popen.stdout is not None
    with popen, popen.stdout:
        identity = popen.stdout.readline().strip()
        (pid,) = daemons.pids(tmp_path)
        argument = f", pit={identity}" if known else ""
        program = f"from pit.work.process import launch as p; p.end_marked('run-no', 0.2{argument})"
        subprocess.run([sys.executable, "-c", program], env=env, check=True)
        assert alive(pid)
        popen.kill()
    subprocess.run([sys.executable, "-c", program], env=env, check=True)
    lived = alive(pid)
    daemons.kill(pid)
    assert lived is not known
