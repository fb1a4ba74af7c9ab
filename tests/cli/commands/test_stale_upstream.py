"""What a selection leaves stale above it is said by run, plan and why, in the same words."""

from __future__ import annotations

import pytest

from tests.builder import Pit

CHAIN = """
[[tasks]]
name = "a"
script = "a.sh"
inputs = ["in.txt"]
targets = ["out/a"]
[[tasks]]
name = "b"
script = "b.sh"
inputs = ["out/a"]
targets = ["out/b"]
[[tasks]]
name = "c"
script = "c.sh"
inputs = ["out/b", "c.txt"]
targets = ["out/c"]
[[tasks]]
name = "e"
script = "e.sh"
inputs = ["out/b"]
targets = ["out/e"]
[[tasks]]
name = "x"
script = "x.sh"
"""
A = "a would run (in.txt changed)"
ALONE = f"d/c is current by itself, but what it needs is not: {A}"


@pytest.fixture
def d(pit: Pit) -> Pit:
    """A chain that has run, with two ends, and a task that always runs beside it."""
    pit.project("d").toml(CHAIN).file("in.txt", "1\n").file("c.txt", "1\n").file("x.sh", "")
    pit.file("a.sh", "cat in.txt > out/a").file("b.sh", "cat out/a > out/b")
    pit.file("c.sh", "cat out/b > out/c").file("e.sh", "cat out/b > out/e")
    pit.run("run", "d").ok()
    return pit


def test_all_three_say_it_where_there_is_nothing_to_do(d: Pit) -> None:
    d.run("run", "d/c").ok()
    d.file("in.txt", "2\n")
    for _ in range(3):  # no stamp answers without it
        run = d.run("run", "d/c").ok()
        assert "nothing to do: 1 task is current" in run.out
        assert ALONE in run.err
        assert "With it: pit run d/+c" in run.err
    plan, why = d.run("plan", "d/c").ok(), d.run("why", "d/c").ok()
    assert "nothing to do: it is current" in plan.out
    assert "d/c may run" in why.out
    for told in (plan, why):
        assert ALONE in told.err
        assert "With it: pit run d/+c" in told.err
        found = d.run("plan" if told is plan else "why", "d/c", "--json").ok().json
        assert (found["stale"], found["hint"].split(" --")[0]) == (ALONE, "With it: pit run d/+c")
    (warning,) = [
        event for event in d.run("run", "d/c", "--json").ok().events if event["event"] == "warning"
    ]
    assert warning["message"] == ALONE
    (kept,) = d.run("status", "d", "--json").ok().json["warnings"]
    assert (kept["message"], kept["hint"]) == (ALONE, warning["hint"])
    d.run("run", "d/+c").ok()
    for command in ("run", "plan", "why"):
        assert d.run(command, "d/c").ok().err == ""


def test_a_seal_that_was_there_does_not_hide_it(d: Pit) -> None:
    for _ in range(2):
        assert d.run("run", "d/c").ok().err == ""
    d.file("in.txt", "2\n")
    assert ALONE in d.run("run", "d/c").ok().err


@pytest.mark.parametrize(
    ("selection", "sentence", "call"),
    [
        ("c", f"what d/c needs is not current: {A}", "d/+c"),
        ("c+", f"what d/c+ needs is not current: {A}", "d/+c+"),
        ("b", f"d/b is current by itself, but what it needs is not: {A}", "d/+b"),
        ("c,e", f"what d/c,e need is not current: {A}", "d/+c,+e"),
        ("[ce]", f"what d/[ce] need is not current: {A}", "'d/+[ce]'"),
        ("b+", f"what d/b+ need is not current: {A}", "d/+b+"),
        ("e", f"d/e is current by itself, but what it needs is not: {A}", "d/+e"),
        ("out/e", f"d/out/e is current by itself, but what it needs is not: {A}", "d/+out/e"),
    ],
)
def test_every_way_to_select_says_it(d: Pit, selection: str, sentence: str, call: str) -> None:
    d.file("in.txt", "2\n").file("c.txt", "2\n")
    plan = d.run("plan", f"d/{selection}").ok()
    run = d.run("run", f"d/{selection}").ok()
    for told in (plan.err, run.out + run.err):
        assert sentence in told
        assert f"ith it: pit run {call}" in told
        assert "not run now" not in told
    for whole in ("+c", "a,b", "a", "x", "*"):
        assert "needs" not in d.run("plan", f"d/{whole}").ok().err


def test_what_is_forced_says_it_as_well(d: Pit) -> None:
    d.file("in.txt", "2\n")
    for command in ("plan", "run"):
        done = d.run(command, "d/c", "--force").ok()
        assert f"what d/c needs is not current: {A}" in done.out + done.err


def test_several_stale_tasks_are_counted(d: Pit) -> None:
    d.file("in.txt", "2\n").file("b.sh", "cat out/a > out/b; true")
    told = f"{A}, b would run (b.sh changed)"
    assert told in d.run("plan", "d/c").ok().err


def test_a_task_between_two_selected_ones_is_told(d: Pit) -> None:
    d.file("in.txt", "2\n")
    done = d.run("run", "d/a,c").ok()
    assert "what d/a,c need is not current: b may run (after a)" in done.out + done.err
    assert "what it needs is not: b would run (out/a" in d.run("run", "d/c").ok().err


def test_the_call_has_the_parameters(pit: Pit) -> None:
    toml = '[dag.params]\nday = { type = "string" }\n' + CHAIN
    pit.project("d").toml(toml).file("in.txt", "1\n").file("c.txt", "").file("x.sh", "")
    for name in "abce":
        pit.file(f"{name}.sh", f"echo $PIT_PARAM_DAY > out/{name}")
    pit.run("run", "d", "-p", "day=a b").ok()
    pit.file("in.txt", "2\n")
    done = pit.run("run", "d/c", "-p", "day=a b").ok()
    assert "With it: pit run d/+c -p 'day=a b'" in done.err


@pytest.mark.parametrize("key", ["", "always = true\ninputs = []\n"])
def test_what_always_runs_is_not_called_stale(d: Pit, key: str) -> None:
    toml = CHAIN.replace('inputs = ["in.txt"]\n', key)
    d.toml(toml).file("a.sh", "echo 1 > out/a")
    d.run("run", "d").ok()
    for command in ("plan", "run"):
        done = d.run(command, "d/c").ok()
        assert "need" not in done.err
    assert "current by itself" not in d.run("why", "d/c").ok().err
    d.file("a.sh", "echo 2 > out/a")
    assert "need" not in d.run("run", "d/c").ok().err
    d.run("run", "d/a").ok()  # what it made is other than what b has read
    assert "b would run (out/a" in d.run("run", "d/c").ok().err


def test_a_dependency_that_always_runs_is_still_named(d: Pit) -> None:
    d.toml(CHAIN.replace('name = "c"\n', 'name = "c"\ndepends_on = ["x"]\n')).file("c.txt", "2\n")
    done = d.run("run", "d/c").ok()
    assert 'task "c" depends on x, b, not run now' in done.out


def test_an_instance_of_a_matrix_looks_above_itself_alone(pit: Pit) -> None:
    pit.project("d").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["in/{k}"]\ntargets = ["out/{k}"]\n'
        'matrix = { k = ["p", "q"] }\n'
        '[[tasks]]\nname = "b"\nscript = "b.sh"\ninputs = ["out/{k}"]\ntargets = ["end/{k}"]\n'
        'matrix = { k = ["p", "q"] }\n'
    )
    pit.file("a.sh", "cat in/$PIT_MATRIX_K > out/$PIT_MATRIX_K").file("in/p", "1").file("in/q", "1")
    pit.file("b.sh", "cat out/$PIT_MATRIX_K > end/$PIT_MATRIX_K")
    pit.run("run", "d").ok()
    pit.file("in/p", "2")
    assert pit.run("run", "d/b:q").ok().err == ""
    told = "d/b:p is current by itself, but what it needs is not: a:p would run (in/p changed)"
    assert told in pit.run("run", "d/b:p").ok().err
    told = "d/b are current by themselves, but what they need is not: a:p would run (in/p changed)"
    assert told in pit.run("run", "d/b").ok().err
    assert told.replace("d/b ", "d/b:* ") in pit.run("plan", "d/b:*").ok().err


def test_only_what_failed_leaves_out_what_became_stale_above_it(d: Pit) -> None:
    d.file("c.sh", "exit 1")
    d.run("run", "d").fails(1)
    d.file("c.sh", "cat out/b > out/c").file("in.txt", "2\n")
    for command in ("plan", "run"):
        done = d.run(command, "d", "--failed").ok()
        told = done.out + done.err
        assert f"what d/c needs is not current: {A}" in told
        assert "ith it: pit run d" in told
