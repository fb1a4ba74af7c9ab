"""`pit secrets edit`: nothing is lost, nothing leaks, whatever the editor and its user do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from pit.state.secrets import age
from tests.builder import Pit
from tests.cli.dialogue import talk
from tests.cli.inside import Inside
from tests.cli.secrets.test_age import Team
from tests.cli.secrets.test_secrets import FILE
from tests.state.store.disks import fill, small_disk

pytestmark = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a folder in memory")

MARK = "sentinel-of-the-edit"


@pytest.fixture
def team(sales: Pit, tmp_path: Path) -> Team:
    """A workspace with an encrypted secrets file, and its user."""
    home = tmp_path / "home"
    home.mkdir()
    made = Team(Inside(sales.root), home)
    made.encrypted()
    return made


def editor(pit: Pit, script: str) -> str:
    """An editor that is a shell script: its path, with an argument as in `code --wait`."""
    pit.file("bin/my editor", f'#!/bin/sh\n[ "$1" = --wait ] || exit 9\nfile=$2\n{script}\n', 0o755)
    return f"'{pit.root}/bin/my editor' --wait"


def left_in_memory() -> set[str]:
    """The folders of editors in memory."""
    return {name for name in os.listdir("/dev/shm") if name.startswith("pit-edit-")}


@pytest.fixture(autouse=True)
def nothing_stays_in_memory() -> object:
    """Whatever happens, the plain text is gone afterwards."""
    before = left_in_memory()
    yield
    assert left_in_memory() - before == set()


def kept(team: Team) -> Path:
    """Where an edit is kept that could not be saved."""
    return team.pit.root / f".pit-{team.secret.name}.rejected"


def nowhere_on_disk(pit: Pit) -> None:
    """Nothing in the workspace has what was edited, in plain text."""
    for path in pit.root.rglob("*"):
        if path.is_file() and path.parent.name != "bin":
            assert MARK.encode() not in path.read_bytes(), path


def test_an_edit_is_saved_encrypted_and_audited(team: Team) -> None:
    script = (
        f'printf "\\n# new\\n[stock]\\ntoken = \\"{MARK}\\"\\n" >> "$file"\n'
        'stat -c "%a %n" "$file" "${file%/*}" >&2; env | grep PIT_AGE >&2; exit 0'
    )
    variables = {"EDITOR": editor(team.pit, script), "PIT_AGE_KEY": team.key.read_text()}
    done = Pit.run(team.pit, "secrets", "edit", **variables).ok()
    assert "(1 change)" in done.out
    assert team.opened() == f'{FILE}\n# new\n[stock]\ntoken = "{MARK}"\n'
    modes = [line.split()[0] for line in done.err.splitlines() if line[:1].isdigit()]
    assert modes == ["600", "700"]
    assert "PIT_AGE" not in done.err
    assert "/dev/shm/pit-edit-" in done.err
    change, look = team.pit.run("secrets", "audit", "--json").ok().json["changes"]
    assert (change["what"], change["scope"], change["name"]) == ("created", "stock", "token")
    assert (look["what"], look["note"]) == ("read", "edit")
    nowhere_on_disk(team.pit)


def test_visual_comes_before_editor_and_no_change_writes_nothing(team: Team) -> None:
    before = team.secret.read_bytes()
    done = team.pit.run("secrets", "edit", VISUAL="true", EDITOR="false").ok()
    assert done.out == "Nothing was changed.\n"
    assert team.secret.read_bytes() == before


def test_an_edit_that_is_no_secrets_file_is_kept_encrypted_and_resumed(team: Team) -> None:
    before = team.secret.read_bytes()
    script = f'printf "\\n[stock]\\ntoken = {MARK}\\n" >> "$file"'
    done = team.pit.run("secrets", "edit", EDITOR=editor(team.pit, script))
    done.fails(31, "this is not valid TOML", f"Your edit is kept in {kept(team)}", "--resume")
    assert MARK not in done.out + done.err
    assert team.secret.read_bytes() == before
    assert age.is_encrypted(kept(team).read_bytes())
    nowhere_on_disk(team.pit)
    mend = f"""sed -i 's/{MARK}/"{MARK}"/' "$file\""""
    team.pit.run("secrets", "edit", "--resume", EDITOR=editor(team.pit, mend)).ok()
    assert f'token = "{MARK}"' in team.opened()
    assert not kept(team).exists()
    team.pit.run("secrets", "edit", "--resume", EDITOR="true").fails(2, "no edit to resume")


def test_at_a_terminal_it_can_be_edited_again(team: Team) -> None:
    script = (
        'if grep -q broken "$file"; then sed -i "s/= broken/= \\"v\\"/" "$file"; '
        'else printf "\\n[stock]\\ntoken = broken\\n" >> "$file"; fi'
    )
    words = editor(team.pit, script)
    says = [("Edit it again? [y/N] ", "y\n")]
    code, shown = talk(team.pit, "secrets", "edit", says=says, EDITOR=words)
    assert code == 0, shown
    assert 'token = "v"' in team.opened()
    code, shown = talk(
        team.pit,
        "secrets",
        "edit",
        says=[("Edit it again? [y/N] ", "\x03")],
        EDITOR=editor(team.pit, f'echo "{MARK}" >> "$file"'),
    )
    assert code == 130, shown
    assert age.is_encrypted(kept(team).read_bytes())


@pytest.mark.parametrize("script", ["kill -9 $$", "exit 3"])
def test_an_editor_that_dies_loses_nothing(team: Team, script: str) -> None:
    before = team.secret.read_bytes()
    done = team.pit.run("secrets", "edit", EDITOR=editor(team.pit, script))
    done.fails(38, "the editor ended with exit code")
    assert not kept(team).exists()
    words = editor(team.pit, f'echo "# {MARK}" >> "$file"; {script}')
    team.pit.run("secrets", "edit", EDITOR=words).fails(38, f"Your edit is kept in {kept(team)}")
    assert team.secret.read_bytes() == before
    assert MARK in team.opened_file(kept(team))
    nowhere_on_disk(team.pit)


def test_an_editor_that_is_not_there(team: Team) -> None:
    team.pit.run("secrets", "edit", EDITOR="no-such-editor -x").fails(38, "the editor is not there")
    team.pit.run("secrets", "edit", EDITOR="'unbalanced").fails(2, "cannot be read as a command")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_end_from_outside_keeps_the_edit(team: Team, number: int) -> None:
    script = f'echo "# {MARK}" >> "$file"; echo ready; exec sleep 60'
    with subprocess.Popen(
        team.pit.argv("secrets", "edit"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=team.pit.env | {"EDITOR": editor(team.pit, script)},
        cwd=team.pit.root,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        shown = process.stdout.read()
    assert process.returncode == 128 + number
    assert "Your edit is kept in" in shown
    assert MARK in team.opened_file(kept(team))
    nowhere_on_disk(team.pit)


def test_an_edit_that_was_killed_is_pointed_out(team: Team) -> None:
    with subprocess.Popen(
        team.pit.argv("secrets", "edit"),
        stdout=subprocess.PIPE,
        text=True,
        env=team.pit.env | {"EDITOR": editor(team.pit, 'echo "$file"; echo $$; exec sleep 60')},
        cwd=team.pit.root,
    ) as process:
        assert process.stdout is not None
        file, number = Path(process.stdout.readline().strip()), int(process.stdout.readline())
        assert str(file.parent) not in team.pit.run("secrets", "edit", EDITOR="true").err
        process.kill()
        os.kill(number, signal.SIGKILL)
    done = team.pit.run("secrets", "edit", EDITOR="true").ok()
    assert f"an edit that was cut short lies in {file.parent}" in done.err
    assert file.exists()
    shutil.rmtree(file.parent)
    assert "cut short" not in team.pit.run("secrets", "edit", EDITOR="true").ok().err


def test_ctrl_c_is_the_editors_own(team: Team) -> None:
    script = (
        'trap "echo caught; touch caught" INT; echo ready; '
        "while [ ! -e caught ]; do sleep 0.1; done; exit 0"
    )
    code, shown = talk(
        team.pit,
        "secrets",
        "edit",
        says=[("ready", "\x03")],
        EDITOR=editor(team.pit, script),
    )
    assert code == 0, shown
    assert "Nothing was changed." in shown


def test_a_change_by_somebody_else_is_not_overwritten(team: Team) -> None:
    other = f"{' '.join(team.pit.argv('secrets', 'set', 'sales', 'other', 'theirs'))}"
    script = f'echo "# {MARK}" >> "$file"; {other} >/dev/null 2>&1'
    done = team.pit.run("secrets", "edit", EDITOR=editor(team.pit, script))
    done.fails(38, "was changed by somebody else while you edited it", "Your edit is kept in")
    assert 'other = "theirs"' in team.opened()
    assert MARK in team.opened_file(kept(team))
    # Going on with it tells what would become of the other change, and leaves the choice.
    words = editor(team.pit, 'cp "$file" seen')
    done = team.pit.run("secrets", "edit", "--resume", EDITOR=words).ok()
    assert "somebody has changed the file since this edit began" in done.err
    assert "Nothing was saved" in done.out
    assert 'other = "theirs"' in team.opened()
    words = editor(team.pit, """sed -i '/^# pit:/d' "$file\"""")
    team.pit.run("secrets", "edit", "--resume", EDITOR=words).ok()
    seen = (team.pit.root / "seen").read_text()
    assert "# pit: Saving this will leave sales.other deleted." in seen
    assert "# pit:" not in team.opened()
    assert MARK in team.opened()


def test_an_edit_that_was_kept_earlier_stays(team: Team) -> None:
    for number in range(3):
        words = editor(team.pit, f'echo "{MARK} {number}" >> "$file"')
        done = team.pit.run("secrets", "edit", EDITOR=words)
        done.fails(31)
        assert ("there is an edit that was never saved" in done.err) == bool(number)
    names = [kept(team), *(Path(f"{kept(team)}-{number}") for number in (2, 1))]
    found = [team.opened_file(name).splitlines()[-1] for name in names]
    assert found == [f"{MARK} 2", f"{MARK} 1", f"{MARK} 0"]


def test_a_plain_file_keeps_a_plain_edit_for_its_owner_alone(team: Team) -> None:
    pit = team.pit
    pit.file("pit_config.toml", 'secrets_dir = "secrets.toml"\n').file("secrets.toml", FILE, 0o600)
    words = editor(pit, f'echo "{MARK}" >> "$file"')
    pit.run("secrets", "edit", EDITOR=words).fails(31, "this is not valid TOML")
    rejected = pit.root / ".pit-secrets.toml.rejected"
    assert MARK in rejected.read_text()
    assert rejected.stat().st_mode & 0o777 == 0o600
    assert (pit.root / "secrets.toml").read_text() == FILE


def test_a_new_file_begins_with_a_template(team: Team) -> None:
    team.secret.unlink()
    assert team.pit.run("secrets", "edit", EDITOR="true").ok().out == "Nothing was changed.\n"
    assert not team.secret.exists()
    words = editor(team.pit, 'grep -q "Secrets:" "$file" && echo "[global]" > "$file"')
    team.pit.run("secrets", "edit", EDITOR=words).ok()
    assert team.opened() == "[global]\n"


def test_an_edit_that_can_be_kept_nowhere_stays_where_it_was_made(team: Team) -> None:
    with small_disk(2) as folder:
        small = Team(Inside(folder), team.key.parents[2])
        shutil.rmtree(team.key.parents[2] / ".config")
        small.encrypted()
        words = editor(team.pit, f'printf "\\n[stock]\\ntoken = \\"{MARK}\\"\\n" >> "$file"')
        fill(folder)
        before = small.secret.read_bytes()
        done = small.pit.run("secrets", "edit", EDITOR=words)
        done.fails(
            38, "the disk is full", "could not be kept either", "It is still in /dev/shm/pit-"
        )
        assert small.secret.read_bytes() == before
    (left,) = [Path("/dev/shm") / name for name in left_in_memory()]
    assert MARK in (left / "secrets.toml").read_text()
    assert left.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(left)
