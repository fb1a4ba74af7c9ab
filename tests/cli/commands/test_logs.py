"""What the tasks of a run wrote: whole, in part, and as it comes."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from pit.model import RunState
from tests.builder import Pit
from tests.cli.conftest import Record


def raw(pit: Pit, *args: str) -> bytes:
    """Standard output of `pit logs`, byte for byte."""
    return subprocess.run(
        pit.argv("logs", *args), env=pit.env, capture_output=True, check=True
    ).stdout


def test_one_task_is_shown_byte_for_byte(sales: Pit, record: Record) -> None:
    data = b"\xff\x00\x1b[31mred\r\nno end"
    record(logs={"extract": data, "load": b""})
    assert raw(sales, "sales/extract") == data
    assert raw(sales, "sales/load") == b""


def test_all_tasks_are_shown_in_their_order_under_headings(sales: Pit, record: Record) -> None:
    record(RunState.FAILED, logs={"load": b"three\n", "extract": b"no end"})
    assert sales.run("logs", "sales").ok().out == (
        "── extract  success  2.0s ──\nno end\n── load  failed  2.0s ──\nthree\n"
    )


def test_the_latest_run_is_meant_unless_another_is_named(sales: Pit, record: Record) -> None:
    old = record(at=time.time() - 90000, logs={"extract": b"old\n"})
    record(logs={"extract": b"new\n"})
    assert raw(sales, "sales/extract") == b"new\n"
    assert raw(sales, "sales/extract", "--run-id", old.id) == b"old\n"
    assert raw(sales, "sales/extract", "--run-id", old.id[:12]) == b"old\n"


def test_a_run_of_another_dag_is_refused(sales: Pit, record: Record) -> None:
    record()
    other = record(dag="other")
    sales.run("logs", "sales", "--run-id", other.id).fails(2, 'belongs to DAG "other", not "sales"')
    sales.run("logs", "sales", "--run-id", "1999").fails(2, 'run "1999" not found')


@pytest.mark.parametrize(
    ("data", "lines", "shown"),
    [
        (b"1\n2\n3\n", 2, b"2\n3\n"),
        (b"1\n2\n3", 2, b"2\n3"),
        (b"1\n2\n3\n", 9, b"1\n2\n3\n"),
        (b"1\n\n\n", 2, b"\n\n"),
        (b"1\n2\n", 0, b""),
        (b"", 3, b""),
        (b"a\n" * 200_000, 150_000, b"a\n" * 150_000),
        (b"x" * 600_000 + b"\nend\n", 2, b"x" * 600_000 + b"\nend\n"),
    ],
)
def test_only_the_last_lines(
    sales: Pit, record: Record, data: bytes, lines: int, shown: bytes
) -> None:
    record(logs={"extract": data})
    assert raw(sales, "sales/extract", "-n", str(lines)) == shown


def test_what_is_not_there_is_said(sales: Pit, record: Record) -> None:
    sales.run("logs", "sales").fails(2, 'DAG "sales" has not run yet', "pit run sales")
    sales.run("logs", "slaes").fails(2, 'DAG "slaes" not found', 'Did you mean "sales"?')
    folder = record(RunState.FAILED, logs={"extract": b"x"})
    sales.run("logs", "sales/laod").fails(2, 'task "laod" not found', 'Did you mean "load"?')
    assert 'task "load" wrote no log' in sales.run("logs", "sales/load").ok().err
    folder.remove("logs")
    assert f"the logs of run {folder.id} have been removed" in sales.run("logs", "sales").ok().err


@pytest.mark.parametrize(
    "target", ["../sales", "sales/../../secret", "sales/..", "/sales", "sales/", "", "/etc/passwd"]
)
def test_no_argument_leads_out_of_the_logs(sales: Pit, record: Record, target: str) -> None:
    record()
    sales.file("../../secret.log", "secret")
    result = sales.run("logs", target)
    assert result.code == 2
    assert result.out == ""
    assert sales.run("logs", "sales", "--run-id", "../x").code == 2


def test_a_link_or_pipe_in_place_of_a_log_is_not_read(sales: Pit, record: Record) -> None:
    folder = record()
    folder.log_file("extract").unlink()
    folder.log_file("extract").symlink_to("/etc/passwd")
    assert "root" not in sales.run("logs", "sales/extract").fails(1).out
    folder.log_file("extract").unlink()
    os.mkfifo(folder.log_file("extract"))
    sales.run("logs", "sales/extract").fails(2, "is not a file")


def test_the_list_tells_sizes_and_what_was_removed(sales: Pit, record: Record) -> None:
    gone = record(at=time.time() - 90000)
    gone.remove("logs")
    there = record(RunState.FAILED)
    lines = sales.run("logs", "sales", "--list").ok().out.splitlines()
    assert [line.split()[0] for line in lines] == ["RUN", there.id, gone.id]
    assert lines[1].endswith("14 B")
    assert lines[2].endswith("removed")
    found = sales.run("logs", "sales", "--list", "--json", "--limit", "1").json
    assert [(each["run"]["run"], each["size"]) for each in found] == [(there.id, 14)]


def test_json(sales: Pit, record: Record) -> None:
    folder = record(logs={"extract": b"1\n\xff\n"})
    found = sales.run("logs", "sales", "--json", "-n", "1").ok().json
    assert found["run"]["run"] == folder.id
    assert found["logs"] == [
        {
            "task": "extract",
            "state": "success",
            "run": folder.id,
            "path": str(folder.log_file("extract")),
            "size": 4,
            "text": "\ufffd\n",
            "truncated": True,
        }
    ]


def test_following_ends_with_the_run(sales: Pit, record: Record) -> None:
    folder = record(ended=False, alive=True, logs={"extract": b"old\nfirst\n"})
    following = sales.start("logs", "sales", "--follow", "-n", "1")
    assert following.stdout is not None
    assert following.stdout.readline() == b"[extract] first\n"
    with open(folder.log_file("extract"), "ab") as log:
        log.write(b"sec")
        log.flush()
        log.write(b"ond\n")
    assert following.stdout.readline() == b"[extract] second\n"
    folder.log_file("load").write_bytes(b"late, no end")
    assert folder.lock is not None
    folder.lock.release()
    rest, _ = following.communicate(timeout=60)
    assert following.returncode == 0
    assert rest.decode().splitlines() == [
        "[load] late, no end",
        f"run {folder.id}: interrupted",
    ]


def test_following_one_task_is_byte_for_byte_and_a_past_run_ends_at_once(
    sales: Pit, record: Record
) -> None:
    record(logs={"extract": b"\xffno end"})
    assert raw(sales, "sales/extract", "--follow") == b"\xffno end"
    sales.run("logs", "sales", "--follow", "--json").fails(2, "--follow cannot be combined")


@pytest.mark.parametrize("task", ["report:JFK", "report:JFK:2013", "report:S%C3%A3o%2FPaulo"])
def test_the_log_of_an_instance_is_found_by_its_name(sales: Pit, record: Record, task: str) -> None:
    record(logs={"extract": b"", task: b"drawn\n", "report:LGA": b"other\n"})
    assert raw(sales, f"sales/{task}") == b"drawn\n"
    assert f"── {task} ──\ndrawn\n" in sales.run("logs", "sales").ok().out


def test_a_matrix_a_pattern_and_values_are_understood_as_everywhere(
    sales: Pit, record: Record
) -> None:
    record(logs={"extract": b"", "report:JFK": b"1\n", "report:S%C3%A3o%20Paulo": b"2\n"})
    assert raw(sales, "sales/report:São Paulo") == b"2\n"
    for several in ("sales/report", "sales/report:*"):
        out = sales.run("logs", several).ok().out
        assert "── report:JFK ──\n1\n" in out
        assert "── report:S%C3%A3o%20Paulo ──\n2\n" in out
        assert "extract" not in out
    sales.run("logs", "sales/repart").fails(2, 'task "repart" not found')


def test_a_run_with_nothing_to_do_has_lost_no_logs(pit: Pit) -> None:
    pit.project("p").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\n')
    pit.file("a.sh", "echo hello\n").run("run", "p").ok()
    pit.run("run", "p").ok()
    listed = pit.run("logs", "p", "--list").ok().out
    assert "nothing to do" in listed.splitlines()[1]
    assert "removed" not in listed
    assert "hello" in pit.run("logs", "p").ok().out
    pit.run("prune", "--all-finished").ok()
    assert "had nothing to do" in pit.run("logs", "p").ok().err
