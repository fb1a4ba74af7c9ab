"""The entry: help, errors and exit codes, as a shell sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click
import pytest

from pit.cli import main
from pit.cli.options import Command
from pit.cli.secrets import group
from pit.cli.secrets.group import Group
from tests.builder import Pit, Result


def test_help_lists_every_command(pit: Pit) -> None:
    out = pit.run("--help").ok().out
    for name, entry in main.COMMANDS.items():
        assert f"  {name} " in out
        assert entry.help in out
    assert pit.run("-h").ok().out == out
    bare = subprocess.run(
        [sys.executable, "-m", "pit"], env=pit.env, capture_output=True, text=True
    )
    assert (bare.returncode, bare.stdout) == (0, out)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_each_command_is_what_the_list_says(name: str) -> None:
    command = main.program.get_command(click.Context(main.program), name)
    assert isinstance(command, Command | Group)
    assert (command.name, command.short_help) == (name, main.COMMANDS[name].help)


@pytest.mark.parametrize("name", list(group.COMMANDS))
def test_each_command_of_a_group_is_what_its_list_says(name: str) -> None:
    command = group.secrets.get_command(click.Context(group.secrets), name)
    assert isinstance(command, Command)
    assert (command.name, command.short_help) == (name, group.COMMANDS[name].help)


def test_the_version_is_that_of_the_distribution(pit: Pit) -> None:
    assert pit.run("--version").ok().out == f"pit {metadata.version('pit-orchestrator')}\n"


def test_an_unknown_command_gets_a_suggestion(pit: Pit) -> None:
    pit.run("stats").fails(2, 'error: there is no command "stats"', 'Did you mean "status"?')
    pit.run("frobnicate").fails(2, "List the commands with: pit --help")


def test_an_unknown_option_gets_a_suggestion(pit: Pit) -> None:
    result = pit.run("status", "--jsn").fails(2, "error: no such option", "--jsn", "--json")
    assert "Usage:" not in result.err
    pit.run("logs").fails(2, "error: missing argument", "Help: pit logs --help")
    pit.project("sales").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "")
    pit.run("logs").fails(2, "error: missing argument", "Such as: sales", "Help: pit logs --help")
    several = "Several tasks are joined by commas: DAG/TASK,TASK"
    pit.run("run", "sales/a", "sales/b").fails(2, "unexpected extra argument", several)
    pit.run("runs", "--limit", "none").fails(2, "error: invalid value for '--limit'")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("-v",), "pit --version"),
        (("run", "sales", "-v"), "--verbose"),
        (("run", "sales", "-q"), "2>/dev/null"),
    ],
)
def test_an_option_of_other_tools_is_answered(pit: Pit, words: tuple[str, ...], meant: str) -> None:
    pit.project("sales").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "")
    pit.run(*words).fails(2, "no such option", meant)


def test_global_options_stand_before_or_after_the_command(sales: Pit, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    argv = [sys.executable, "-m", "pit"]

    def names(*args: str, **env: str) -> str:
        done = subprocess.run(
            [*argv, *args], cwd=elsewhere, env=sales.env | env, capture_output=True, text=True
        )
        return done.stdout

    expected = names("--project-dir", str(sales.root), "status")
    assert "sales" in expected
    assert names("status", "--project-dir", str(sales.root)) == expected
    assert names("status", PIT_WORKSPACE=str(sales.root)) == expected
    assert names("status", "--project-dir", "..", PIT_WORKSPACE="/nonexistent") == expected


def test_a_workspace_that_is_not_there_is_named(pit: Pit) -> None:
    pit.run("status", "--project-dir", "/nonexistent").fails(
        2, "workspace folder /nonexistent does not exist", "pit new"
    )


def test_a_workspace_without_projects_says_how_to_begin(pit: Pit) -> None:
    for command in (("validate",), ("status",), ("run", "sales"), ("runs", "sales")):
        pit.run(*command).fails(10, "no workspace here or above", "pit init my_project")


def test_from_a_folder_inside_of_a_workspace_the_workspace_is_named(sales: Pit) -> None:
    inside = sales.root / "projects" / "sales"
    said = f"inside the workspace {sales.root}: go there"
    sales.run("run", "sales", "--project-dir", str(inside)).fails(10, "no projects found", said)


def test_a_folder_inside_of_a_workspace_belongs_to_it(sales: Pit) -> None:
    inside = sales.root / "projects" / "sales" / "deep" / "er"
    inside.mkdir(parents=True)
    assert sales.inside(inside, "runs", "--json").ok().json == []
    done = sales.inside(inside, "run", "sales").ok()
    assert "--project-dir" not in done.out + done.err
    assert sales.runs()
    inner = inside / "projects" / "other"
    inner.mkdir(parents=True)
    (inner / "pit.toml").write_text("")
    sales.inside(inner, "run", "sales").fails(2, 'DAG "sales" not found')


def test_a_workspace_above_is_not_taken_from_home_or_from_others(sales: Pit) -> None:
    inside = sales.root / "projects" / "sales"
    said = f"inside the workspace {sales.root}: go there"
    for home in (sales.root, inside):
        sales.inside(inside, "run", "sales", HOME=str(home)).fails(10, said)
    sales.inside(sales.root, "validate", HOME=str(sales.root)).ok()
    if os.geteuid() == 0:
        os.chown(sales.root, 65534, 65534)
        sales.inside(inside, "run", "sales").fails(10, said)


def test_a_broken_configuration_points_at_the_line(pit: Pit) -> None:
    pit.file("pit_config.toml", 'runs_dri = "x"\n')
    pit.run("status").fails(11, "pit_config.toml:1:1: ", "runs_dri", "    ^", "1 problem found")


def test_a_reader_that_goes_away_is_no_error(sales: Pit) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        sales.argv("schema"), stdout=writer, stderr=subprocess.PIPE, env=sales.env
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_onto_a_full_disk_is_an_error(sales: Pit) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            sales.argv("schema"), stdout=full, stderr=subprocess.PIPE, env=sales.env
        )
    assert done.returncode == 25
    assert done.stderr == b"error: No space left on device\n"


def crash(pit: Pit, *args: str) -> subprocess.CompletedProcess[str]:
    """Call a command whose code is broken."""
    program = (
        "import sys; from pit.cli import main;"
        "main.COMMANDS['status'] = main.Entry('tests.cli.test_main:missing', '');"
        "sys.exit(main.main())"
    )
    return subprocess.run(
        [sys.executable, "-c", program, "status", *args],
        env=pit.env | {"PIT_WORKSPACE": str(pit.root)},
        capture_output=True,
        text=True,
    )


def test_a_defect_leaves_its_traceback_in_a_file(sales: Pit) -> None:
    done = crash(sales, "secret-argument")
    assert done.returncode == 70
    assert done.stderr.startswith("error: internal error: AttributeError:")
    assert "Traceback" not in done.stderr
    log = sales.root / ".pit" / "crash.log"
    assert str(log) in done.stderr
    text = log.read_text()
    assert "Traceback" in text
    assert "AttributeError" in text
    assert "secret-argument" not in text
    assert log.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("code", ["143", "0", "None"])
def test_a_command_that_is_ended_has_its_output_flushed_like_any_other(
    sales: Pit, code: str
) -> None:
    program = (
        "import sys, click; from pit.cli import main;"
        "held = click.Command('status', callback=lambda: (print('held back'), sys.exit(CODE)));"
        "sys.modules['ended'] = type(sys)('ended'); sys.modules['ended'].held = held;"
        "main.COMMANDS['status'] = main.Entry('ended:held', '');"
        "sys.exit(main.main())"
    ).replace("CODE", code)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", program, "status"],
        env=sales.env | {"PIT_WORKSPACE": str(sales.root), "PYTHONUNBUFFERED": ""},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == (143 if code == "143" else 141)


def test_a_defect_where_there_is_no_workspace_shows_its_traceback(pit: Pit) -> None:
    done = crash(pit)
    assert done.returncode == 70
    assert "Traceback" in done.stderr
    assert list(pit.root.iterdir()) == []


HEAVY = (
    *("doit", "duckdb", "rich", "psutil", "tree_sitter", "pathspec", "subprocess", "blake3"),
    *("tomllib", "difflib", "click.shell_completion", "asyncio", "ssl", "csv"),
)
SPARED = ("pathlib", "msgspec", "json", "hashlib", "ctypes", "pit.model")
"""What help does without."""


@pytest.mark.parametrize("command", [["--help"], ["status"], ["runs"], ["logs", "sales"]])
def test_commands_that_run_nothing_load_nothing_heavy(
    record: object, sales: Pit, command: list[str]
) -> None:
    record()  # type: ignore[operator]
    program = (
        "import sys; from pit.cli.main import main; main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        env=sales.env | {"PIT_WORKSPACE": str(sales.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded.isdisjoint(HEAVY)


def test_a_run_loads_the_dispatcher_of_doit_and_not_its_command_line(sales: Pit) -> None:
    program = "import sys; from pit.cli.main import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program, "run", "sales"],
        env=sales.env | {"PIT_WORKSPACE": str(sales.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"doit.control", "doit.task"} <= loaded
    assert loaded.isdisjoint({"doit.doit_cmd", "doit.plugin", "doit.api", "importlib.metadata"})


@pytest.mark.parametrize(
    ("most", "command"),
    [
        (12, ["--help"]),
        (100, ["status"]),
        (168, ["plan", "sales"]),
        (232, ["run", "sales"]),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_a_command_loads_what_it_needs(sales: Pit, most: int, command: list[str]) -> None:
    """So many modules of Pit at most, none of the standard library's that few commands need, and
    no pattern is compiled before it is used."""
    program = """
import re, sys
compiled = []
def compile(pattern, flags=0, real=re.compile):
    caller = sys._getframe(1)
    if caller.f_code.co_name == "<module>" and caller.f_globals["__name__"].startswith("pit."):
        compiled.append(f"{caller.f_globals['__name__']}: {pattern}")
    return real(pattern, flags)
re.compile = compile
from pit.cli.main import main
main(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
print(compiled, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        env=sales.env | {"PIT_WORKSPACE": str(sales.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    modules, compiled = done.stderr.splitlines()[-2:]
    loaded = set(modules.split())
    ours = sorted(name for name in loaded if name.split(".")[0] == "pit")
    assert len(ours) <= most, ours
    assert not loaded & {"tomllib", "csv", "difflib", "tempfile", "html", "base64"}
    assert compiled == "[]"


def test_help_loads_next_to_nothing(pit: Pit) -> None:
    program = (
        "import sys; before = set(sys.modules); from pit.cli.main import main; main(['--help']);"
        "print(*set(sys.modules) - before, file=sys.stderr)"
    )
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, env=pit.env, capture_output=True, text=True, check=True)
    assert not {*SPARED, *HEAVY} & set(done.stderr.split())


def test_projects_that_cannot_be_read_are_no_missing_projects(pit: Pit) -> None:
    pit.file("projects", "")
    for words in (["status"], ["run", "sales"], ["validate"], ["sync"], ["plan", "sales"]):
        pit.run(*words).fails(10, f"{pit.root}/projects cannot be read: not a directory")


def test_a_current_folder_that_is_gone_is_told(pit: Pit, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"rmdir {gone}; exec {sys.executable} -m pit status"
    env = {name: value for name, value in pit.env.items() if name != "PYTHONPATH"}
    done = subprocess.run(["sh", "-c", script], cwd=gone, capture_output=True, text=True, env=env)
    Result(done.returncode, done.stdout, done.stderr).fails(
        2, "the current folder does not exist any more"
    )


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("serve", "let cron or a timer call pit run"),
        ("ls", "pit status"),
        ("list", "pit status"),
        ("test", "pit validate"),
        ("build", "pit run DAG"),
        ("stop", "Ctrl-C"),
        ("ps", "pit status"),
        ("backfill", "-p day=$day"),
        ("watch", "watch pit run"),
        ("stats", 'Did you mean "status"?'),
        ("zzzz", "pit --help"),
    ],
)
def test_a_word_of_another_tool_gets_the_way_to_do_it_here(pit: Pit, word: str, hint: str) -> None:
    told = pit.run(word).fails(2, f'there is no command "{word}"', hint)
    assert len(told.err.splitlines()) == 2


def test_help_and_version_are_commands_as_well(pit: Pit) -> None:
    assert pit.run("help").ok().out == pit.run("--help").ok().out
    assert pit.run("help", "run").ok().out == pit.run("run", "--help").ok().out
    words = ("secrets", "set")
    assert pit.run("help", *words).ok().out == pit.run(*words, "--help").ok().out
    pit.run("help", "rnu").fails(2, 'Did you mean "run"?')
    version = pit.run("--version").ok().out
    assert version.startswith("pit ")
    assert pit.run("-V").ok().out == pit.run("version").ok().out == version


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("run", "shop", "--day", "2026-01-01"), "-p day=2026-01-01"),
        (("run", "shop/a", "--day=2026-01-01"), "-p day=2026-01-01"),
        (("run", "--load-id", "a b", "shop"), "-p 'load_id=a b'"),
        (("plan", "shop", "--load_id", "7"), "-p load_id=7"),
        (("run", "shop", "--forse"), "Did you mean --force"),
        (("run", "shop", "--quux", "1"), "Help: pit run --help"),
        (("run", "none", "--day", "1"), "Help: pit run --help"),
    ],
)
def test_a_parameter_as_an_option_is_told_how_it_is_written(
    pit: Pit, words: tuple[str, ...], meant: str
) -> None:
    pit.project("shop").toml(
        "[dag.params]\nday = {}\nload_id = {}\n" + '[[tasks]]\nname = "a"\nscript = "a.sh"\n'
    ).file("a.sh", "true\n")
    told = pit.run(*words).fails(2, "no such option", meant)
    assert ("-p " in told.err) == meant.startswith("-p ")
