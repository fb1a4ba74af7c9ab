"""The real command on a real (pseudo) terminal."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import termios

import pytest

from pit.model import RunState
from tests.builder import Pit
from tests.cli.conftest import Record


def typed(pit: Pit, *args: str, columns: int = 80, **env: str) -> tuple[int, str]:
    """Exit code, and all that the command writes to a terminal of that width."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {k: v for k, v in pit.env.items() if k not in ("NO_COLOR", "COLUMNS")}
    with subprocess.Popen(
        pit.argv(*args),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ | {"TERM": "xterm"} | env,
        cwd=pit.root,
    ) as process:
        os.close(theirs)
        text = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    return process.returncode, text.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how Linux says that the other end of a terminal has been closed
        return b""


def test_a_run_is_drawn_and_its_block_is_gone_in_the_end(pit: Pit) -> None:
    pit.project("sales").toml('[[tasks]]\nname = "wait"\nscript = "wait.sh"\n')
    pit.file("wait.sh", "echo done; sleep 0.5")
    code, text = typed(pit, "run", "sales")
    assert code == 0
    assert "running" in text
    assert "0 of 1 done" in text
    final = text.rpartition("\x1b[2K")[2]
    assert re.search(r"sales.*success", final)
    assert "running" not in final


def test_a_listing_is_coloured_and_fits_the_window(sales: Pit, record: Record) -> None:
    record(RunState.FAILED, params={"day": "2026-01-31", "region": "north-north-west"})
    for columns in (80, 120):
        for command in (("status",), ("runs",), ("outputs",), ("status", "sales")):
            code, text = typed(sales, *command, columns=columns)
            assert code == 0
            table = text.partition("\n\n")[0] if command == ("status",) else text
            for line in table.splitlines():
                plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
                assert len(plain) <= columns or plain.startswith("sales/"), plain
    assert "\x1b[1;31mfailed\x1b[0m" in typed(sales, "runs")[1]
    assert "\x1b[" not in typed(sales, "runs", NO_COLOR="1")[1]
    assert "\x1b[" not in typed(sales, "runs", "--no-color")[1]


MANY = """
[[tasks]]
name = "report"
script = "report.sh"
inputs = ["data/{station}.csv"]
targets = ["out/{station}.txt"]
[tasks.matrix]
station = { glob = "data/*.csv" }
[[tasks]]
name = "mail"
script = "mail.sh"
depends_on = ["report"]
"""


def test_a_hundred_instances_fit_a_screen(pit: Pit) -> None:
    pit.project("many").toml(MANY)
    pit.file("report.sh", "sort data/$PIT_MATRIX_STATION.csv > out/$PIT_MATRIX_STATION.txt")
    pit.file("mail.sh", "exit 3")
    for number in range(100):
        pit.file(f"data/{number:03}.csv", str(number))
    for args, line in {
        ("plan", "many"): r"report ×100 +first run",
        ("run", "many"): r"report ×100 +\S+ in all  first run",
        ("status", "many"): r"report ×100  success +\S+ in all  .*first run",
    }.items():
        text = plain(typed(pit, *args)[1])
        assert re.search(line, text), text
        assert len(text.rpartition("\x1b[2K")[2].splitlines()) < 24
    text = plain(typed(pit, "plan", "many", "--verbose")[1])
    assert len(re.findall(r"skip +report:\d+", text)) == 100


def test_nothing_is_broken_within_a_word(pit: Pit) -> None:
    dag = "sales_of_the_regions"
    name = "our_warehouse_in_the_cellar"
    toml = f'[[tasks]]\nname = "a"\nscript = "a.sql"\n[dag.sql]\nconnection = "{name}"\n'
    pit.project(dag).toml(toml).file("a.sql", "select 1")
    pit.project(dag).root.joinpath("s.toml").write_text("[global]\n")
    pit.root.joinpath("s.toml").chmod(0o600)
    said = f'missing_connection: secret "{name}" not found for DAG "{dag}"'
    for args in (("run", dag, "--secrets", "s.toml"), ("status", dag), ("status",)):
        lines = [line.rstrip() for line in plain(typed(pit, *args)[1]).splitlines()]
        assert all(len(line) <= 80 for line in lines)
        assert said in " ".join(line.strip() for line in lines)


def plain(text: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


_COMMANDS = "\\u001b]0;pwned\\u0007\\u001b[2J\\u001b[5A\\u009b2Jshown\\r"
"""What sets the window's title, clears the screen and goes up, as TOML spells it."""


@pytest.mark.parametrize(
    "command", ["status", "status sales", "graph sales", "validate", "plan sales", "run sales"]
)
@pytest.mark.parametrize("terminal", [True, False])
def test_texts_of_pit_toml_cannot_command_the_terminal(
    pit: Pit, command: str, terminal: bool
) -> None:
    pit.project("sales").toml(
        f'[dag]\ndescription = "d {_COMMANDS}"\nowner = "o {_COMMANDS}"\ntags = ["t {_COMMANDS}"]\n'
        f'[[tasks]]\nname = "a"\nscript = "a.sh"\ndescription = "t {_COMMANDS}"\n'
    )
    pit.file("a.sh", "true")
    if terminal:
        code, text = typed(pit, *command.split())
    else:
        done = pit.run(*command.split())
        code, text = done.code, done.out + done.err
    assert code == 0, text
    assert not re.search("\x1b\\]|\x07|\x9b|\x1b\\[5A|\x1b\\[2J", text)
    if command == "status sales":
        assert "d shown" in text


@pytest.mark.parametrize("env", [{}, {"TERM": "dumb"}])
def test_what_a_task_writes_scrolls_by_in_colour_and_commands_nothing(
    pit: Pit, env: dict[str, str]
) -> None:
    pit.project("sales").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n')
    pit.file(
        "a.sh",
        r"printf '\033]0;pwned\007\033[2J\033[9Aa \033[32mgreen\033[0m word\n'"
        "\n"
        r"printf '10%%\r50%%\r100%%\n\302\2332Jlast\n'",
    )
    code, text = typed(pit, "run", "sales", "--verbose", **env)
    assert code == 0
    assert "[a] a \x1b[32mgreen\x1b[0m word" in text
    assert "100%" in text
    assert not re.search("\x1b\\]|\x07|\x9b|\x1b\\[9A|\x1b\\[2J", text)
    code, text = typed(pit, "logs", "sales/a")
    assert "a \x1b[32mgreen\x1b[0m word" in text
    assert not re.search("\x1b\\]|\x07|\x9b|\x1b\\[9A|\x1b\\[2J", text)
    assert "\x1b]0;pwned\x07\x1b[2J" in pit.run("logs", "sales/a").ok().out  # whole in a pipe


def test_a_result_wider_than_the_window_has_its_middle_columns_left_out(pit: Pit) -> None:
    columns = ", ".join(f"i AS column_{number}" for number in range(20))
    query = f"SELECT {columns} FROM range(5) t(i)"
    for width in (40, 80, 120):
        code, text = typed(pit, "sql", ":memory:", query, columns=width)
        assert code == 0
        assert re.search(r"… \d+ of 20 columns are not shown \(--csv", text)
        assert all(len(line) <= width for line in text.splitlines())
        assert "column_0" in text
        assert "column_19" in text
    whole = pit.run("sql", ":memory:", query, "--csv").ok().out.splitlines()
    assert whole[0] == ",".join(f"column_{number}" for number in range(20))
