"""The secrets file that nobody names, the one that is named wrongly, and runs without any."""

from __future__ import annotations

from pathlib import Path

import pytest

from pit.config.settings import load_workspace_config, settings_files
from tests.builder import Pit

SQL = '[dag.sql]\nconnection = "w"\n[[tasks]]\nname = "a"\nscript = "a.sql"\n'
SHELL = '[[tasks]]\nname = "a"\nscript = "a.sh"\n'
SECRETS = '[global]\nw = "duckdb://w.duckdb"\nkey = "hunter2-hunter2"\n'
FIRST = "as a stub: SQL is not executed, because there is no secrets file"
LAST = "Stub run: SQL is not executed, because there is no secrets file."


@pytest.fixture
def mart(tmp_path: Path) -> Pit:
    """A workspace with one SQL task and no secrets file."""
    return Pit(tmp_path).project("mart").toml(SQL).file("a.sql", "select 42 as answer;\n")


def put(pit: Pit, name: str, text: str | bytes = SECRETS, mode: int = 0o600) -> Path:
    """Write a file of the workspace itself."""
    path = pit.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


# ---------------------------------------------------------------- found by itself


def test_a_secrets_file_in_the_workspace_is_found(mart: Pit) -> None:
    assert "there is no secrets file, so the SQL of mart" in mart.run("validate").ok().out
    put(mart, "secrets.toml")
    assert mart.run("validate").ok().out == "1 project with 1 task: all valid.\n"
    assert "42" not in mart.run("plan", "mart").ok().out
    done = mart.run("run", "mart").ok()
    assert "stub" not in done.out + done.err
    assert "42" in mart.log("a")
    assert "42" in mart.run("sql", "w", "select 42").ok().out
    assert mart.run("secrets", "get", "mart", "key").ok().out == "hunter2-hunter2\n"


def test_one_that_others_can_read_is_used_with_the_usual_warning(mart: Pit) -> None:
    put(mart, "secrets.toml", mode=0o644)
    assert "is open to other users" in mart.run("validate").ok().out
    assert "is open to other users" in mart.run("run", "mart").ok().out


def test_one_that_is_named_comes_before_the_one_that_lies_there(mart: Pit) -> None:
    put(mart, "secrets.toml", "[global]\n")
    put(mart, "conf/mine.toml")
    put(mart, "pit_config.toml", 'secrets_dir = "conf/mine.toml"\n')
    assert mart.run("secrets", "get", "mart", "key").ok().out == "hunter2-hunter2\n"
    mart.run("secrets", "get", "mart", "key", "--secrets", "secrets.toml").fails(32)


@pytest.mark.parametrize("named", [True, False])
def test_a_link_that_leads_nowhere_is_not_the_same_as_no_secrets(mart: Pit, named: bool) -> None:
    (mart.root / "secrets.toml").symlink_to("/nonexistent/secrets.toml")
    if named:
        put(mart, "pit_config.toml", 'secrets_dir = "secrets.toml"\n')
    mart.run("validate").fails(11, "secrets.toml does not exist")
    mart.run("run", "mart").fails(30, "secrets.toml does not exist")


def test_an_encrypted_one_is_found_when_the_plain_one_is_gone(mart: Pit, tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    env = {"PIT_AGE_KEY_FILE": str(key)}
    put(mart, "secrets.toml")
    mart.run("secrets", "keygen", "-o", str(key)).ok()
    kept = mart.run("secrets", "encrypt", **env).ok()
    assert "used until it is gone" in kept.err
    assert "secrets_dir" not in kept.err
    (mart.root / "secrets.toml").unlink()
    assert mart.run("secrets", "get", "mart", "key", **env).ok().out == "hunter2-hunter2\n"
    mart.run("run", "mart", **env).ok()
    assert "42" in mart.log("a")
    assert "the secrets were not checked" in mart.run("validate").ok().out  # without the key
    mart.run("run", "mart").fails(36)


def test_a_folder_that_is_no_workspace_gets_no_secrets(tmp_path: Path) -> None:
    told = Pit(tmp_path).run("secrets", "set", "global", "k", "v")
    told.fails(30, "is not a workspace, and no secrets file is named")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_had_nothing_to_do_sees_that_there_are_secrets_now(tmp_path: Path) -> None:
    pit = Pit(tmp_path).project("p").toml(SHELL + 'inputs = []\ntargets = ["o"]\n')
    pit.file("a.sh", "pit sdk get_secret key=key > o || echo none > o\n")
    pit.run("run", "p").ok()
    assert "nothing to do" in pit.run("run", "p").ok().out
    assert "nothing to do" in pit.run("run", "p").ok().out
    put(pit, "secrets.toml", "broken")
    pit.run("run", "p").fails(31, "secrets.toml")
    put(pit, "secrets.toml")
    assert "1 task is current" in pit.run("run", "p").ok().out


def test_every_path_that_decides_the_configuration_is_listed(tmp_path: Path) -> None:
    def listed() -> list[str]:
        config = load_workspace_config(tmp_path)
        return [str(path.relative_to(tmp_path)) for path in settings_files(config)]

    usual = ["pit_config.toml", "secrets.toml", "secrets.toml.age"]
    assert listed() == usual
    (tmp_path / "secrets.toml.age").touch()
    assert load_workspace_config(tmp_path).secrets_file == tmp_path / "secrets.toml.age"
    assert listed() == usual
    (tmp_path / "secrets.toml").touch()
    assert load_workspace_config(tmp_path).secrets_file == tmp_path / "secrets.toml"
    (tmp_path / "pit_config.toml").write_text('secrets_dir = "other.toml"\n')
    assert listed() == ["pit_config.toml", "other.toml"]


# ---------------------------------------------------------------- named wrongly


@pytest.mark.parametrize(
    ("named", "there", "meant"),
    [
        ("secret.toml", "secrets.toml", "secrets.toml"),
        ("secrets.tml", "secrets.toml", "secrets.toml"),
        ("secrets.toml", "secrets.prod.toml", "secrets.prod.toml"),
        ("secrets", "secrets/secrets.toml", "secrets/secrets.toml"),
        ("secrets.toml", "conf/secrets.toml", "conf/secrets.toml"),
        ("config/secrets.toml", "conf/secrets.toml", "conf/secrets.toml"),
        ("conf/secrets.toml", "secrets.toml", "secrets.toml"),
        ("vault.toml", "secrets.toml", "secrets.toml"),
        ("s.toml", "notes.txt", ""),
    ],
)
def test_a_secrets_file_that_is_not_there_is_an_error_everywhere(
    mart: Pit, named: str, there: str, meant: str
) -> None:
    put(mart, there)
    put(mart, "pit_config.toml", f'keep_artifacts = []\nsecrets_dir = "{named}"\n')
    hint = f'Did you mean "{mart.root / meant}"?' if meant else ""
    told = mart.run("validate").fails(11, "pit_config.toml:2:15: the secrets file", hint)
    assert "all valid" not in told.out
    assert ("Did you mean" in told.err) == bool(meant)
    mart.run("run", "mart").fails(30, "the secrets file", hint)
    mart.run("sql", "w", "select 1").fails(30, "the secrets file", hint)


def test_one_named_on_the_command_line_is_told_by_its_own_name(mart: Pit) -> None:
    put(mart, "secrets.toml")
    told = mart.run("validate", "--secrets", "secret.toml").fails(11, "Did you mean")
    assert "pit_config.toml:" not in told.err
    mart.run("run", "mart", "--secrets", "secret.toml").fails(30, "Did you mean")


# ---------------------------------------------------------------- SQL that is not executed


def test_a_stub_run_says_so_first_and_last(mart: Pit) -> None:
    done = mart.run("run", "mart").ok()
    lines = [line for line in done.out.splitlines() if line.strip()]
    assert FIRST in lines[0]
    assert lines[-1] == LAST
    assert "success (stub)" in done.out
    events = mart.run("run", "mart", "--json").ok().events
    assert events[0]["event"] == "run_started"
    assert events[0]["stub"] is True
    assert events[-1]["stub"] is True


def test_a_run_without_sql_is_no_stub(tmp_path: Path) -> None:
    pit = Pit(tmp_path).project("p").file("a.sh", "true\n").file("a.sql", "select 1;\n")
    pit.toml(SHELL + SQL.replace('"a"', '"b"'))
    put(pit, "pit_config.toml", "stub = false\n")
    done = pit.run("run", "p/a").ok()
    assert "tub" not in done.out + done.err


@pytest.mark.parametrize("only", ["mart", "mart/a"])
def test_where_stubs_are_refused_such_a_run_fails_at_once(mart: Pit, only: str) -> None:
    put(mart, "pit_config.toml", "stub = false\n")
    note = mart.run("validate").ok().out
    assert "note: there is no secrets file, so the SQL of mart cannot be executed" in note
    assert "A run would stop here: there is no secrets file" in mart.run("plan", only).ok().out
    done = mart.run("run", only)
    done.fails(35, "there is no secrets file, so the SQL of a cannot be executed", "stub = true")
    assert "failed" in mart.run("status").ok().out
    assert not list(mart.root.glob("runs/*/logs/a.log"))
    put(mart, "secrets.toml")
    mart.run("run", only).ok()
    assert "42" in mart.log("a")


@pytest.mark.parametrize("kind", ["shell", "python"])
def test_a_workspace_made_where_secrets_are_refuses_stubs(tmp_path: Path, kind: str) -> None:
    here = tmp_path / "here"
    pit = Pit(here)
    put(pit, "secrets.toml")
    told = pit.inside(here, "new", ".", "--type", kind)
    told.ok()
    assert "\nstub = false" in (here / "pit_config.toml").read_text()
    assert (here / "secrets.toml").read_text() == SECRETS
    pit.inside(tmp_path, "new", "there", "--type", kind).ok()
    assert "\n# stub = false" in (tmp_path / "there" / "pit_config.toml").read_text()
