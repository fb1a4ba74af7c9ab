"""`pit secrets set`, `get`, `list`, `remove` and `audit` on plain files."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from pit.events import SecretRequested
from pit.model import RunState, Verdict
from pit.state.store.store import Store
from tests.builder import Pit, Result
from tests.cli.conftest import Record
from tests.cli.dialogue import CTRL_C, talk
from tests.cli.inside import Inside
from tests.state.store.disks import make_read_only, small_disk

VALUE = "hunter2-hunter2"

FILE = """# Ours
[global]
api_key = "hunter2-hunter2" # from the portal
[global.warehouse]
driver = "postgres"
password = "hunter2-hunter2"

[sales]
ftp = "hunter2-hunter2"
[acl]
warehouse = ["sales"]
"""


@pytest.fixture
def bare(sales: Pit) -> Inside:
    """A workspace with the project `sales` and no secrets file."""
    return Inside(sales.root)


@pytest.fixture
def ws(bare: Inside) -> Inside:
    """A workspace with the project `sales` and a plain secrets file."""
    bare.file("pit_config.toml", 'secrets_dir = "secrets.toml"\n')
    bare.file("secrets.toml", FILE, 0o600)
    return bare


def piped(pit: Inside, text: str, *args: str) -> Result:
    """The command with something on standard input."""
    return pit.piped(text, "secrets", *args)


def document(pit: Pit) -> dict[str, dict[str, object]]:
    """What the secrets file holds now."""
    return tomllib.loads((pit.root / "secrets.toml").read_text())


# ----------------------------------------------------------------------------------------- set


def test_a_value_from_a_pipe(ws: Inside) -> None:
    done = piped(ws, "new value\n", "set", "sales", "token").ok()
    assert done.out == f'Secret "token" set in ["sales"] of {ws.root}/secrets.toml\n'
    assert done.err == ""
    assert document(ws)["sales"] == {"ftp": VALUE, "token": "new value"}
    piped(ws, "two\nlines\r\n", "set", "global", "api_key", "-").ok()
    text = (ws.root / "secrets.toml").read_text()
    assert document(ws)["global"]["api_key"] == "two\nlines"
    assert text.startswith("# Ours\n[global]\n")
    assert "# from the portal" in text
    assert (ws.root / "secrets.toml").stat().st_mode & 0o777 == 0o600


def test_a_value_from_a_person_is_asked_for_twice_and_not_shown(ws: Inside) -> None:
    code, shown = talk(
        ws,
        "secrets", "set", "global", "token",
        says=[("Value of global.token: ", "typed-secret\n"), ("Again: ", "typed-secret\n")],
    )  # fmt: skip
    assert code == 0
    assert "typed-secret" not in shown
    assert document(ws)["global"]["token"] == "typed-secret"


@pytest.mark.parametrize(
    ("second", "code", "sentence"),
    [("other\n", 2, "the two were not the same"), (CTRL_C, 130, "")],
)
def test_a_person_who_mistypes_or_gives_up_changes_nothing(
    ws: Inside, second: str, code: int, sentence: str
) -> None:
    found, shown = talk(
        ws,
        "secrets", "set", "global", "token",
        says=[("Value of global.token: ", "typed-secret\n"), ("Again: ", second)],
    )  # fmt: skip
    assert found == code
    assert sentence in shown
    assert "typed-secret" not in shown
    assert (ws.root / "secrets.toml").read_text() == FILE


def test_a_value_on_the_command_line_is_warned_about(ws: Inside) -> None:
    done = ws.run("secrets", "set", "global", "token", "v").ok()
    assert "stays in the shell's history" in done.err
    assert document(ws)["global"]["token"] == "v"


def test_fields_are_set_and_the_others_kept(ws: Inside) -> None:
    args = ("set", "global", "warehouse", "--field", "host=db", "--field", "password")
    done = piped(ws, "fresh\n", *args).ok()
    assert "history" not in done.err  # a host is not a secret
    assert document(ws)["global"]["warehouse"] == {
        "driver": "postgres",
        "password": "fresh",
        "host": "db",
    }
    done = ws.run("secrets", "set", "global", "warehouse", "--field", "password=x").ok()
    assert "stays in the shell's history" in done.err


@pytest.mark.parametrize(
    ("text", "args", "code", "sentence"),
    [
        ("", ("global", "k"), 2, "nothing was piped in for global.k"),
        ("v", ("acl", "k"), 2, "[acl] holds no secrets"),
        ("v", ("global", " "), 2, "scope and key must be names"),
        ("v", ("global", "k", "v", "--field", "a=b"), 2, "not both"),
        ("v", ("global", "k", "--field", "a", "--field", "b"), 2, "one can be piped in"),
        ("v", ("global", "k", "--field", "a=1", "--field", "a"), 2, "a field is given twice"),
        ("v", ("global", "k", "--field", "=v"), 2, "--field has no name"),
        ("v", ("sales", "k", "--only", "sales"), 2, "are for entries of [global]"),
        ("v", ("global", "k", "--only", "sales", "--everybody"), 2, "say opposite things"),
        ("v", ("global", "api_key", "--field", "port"), 31, "is a plain value, it has no fields"),
        ("v", ("global", "warehouse"), 2, "has fields (driver, password), which one value would"),
        ("a\0b", ("global", "k"), 31, "is not text"),
        ("", ("global", "api_key", ""), 2, "is empty, and nothing was changed"),
        ("", ("global", "warehouse", "--field", "password="), 2, "is empty"),
        ("", ("global", "k", "a\udcff"), 2, "is not UTF-8 text"),
        ("", ("global", "k", "--field", "host=a\udcff"), 2, "is not UTF-8 text"),
        ("", ("global", "k", "--field", "a\udcff=b"), 2, "--field has no name"),
    ],
)
def test_what_cannot_be_set(
    ws: Inside, text: str, args: tuple[str, ...], code: int, sentence: str
) -> None:
    piped(ws, text, "set", *args).fails(code, sentence)
    assert (ws.root / "secrets.toml").read_text() == FILE


def test_standard_input_may_be_closed(ws: Inside) -> None:
    words = shlex.join(ws.argv("secrets", "set", "global", "k"))
    done = subprocess.run(
        ["sh", "-c", f"exec {words} <&-"], env=ws.env, cwd=ws.root, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "nothing was piped in for global.k" in done.stderr


def test_a_scope_that_is_no_dag_is_warned_about(ws: Inside) -> None:
    done = piped(ws, "v", "set", "slaes", "k").ok()
    assert 'there is no DAG "slaes"' in done.err
    assert 'Did you mean "sales"?' in done.err
    done = piped(ws, "v", "set", "global", "k", "--only", "slaes").ok()
    assert 'there is no DAG "slaes"' in done.err


def test_who_may_have_a_global_entry(ws: Inside) -> None:
    ws.run("secrets", "set", "global", "api_key", "--only", "sales", "--only", "stock").ok()
    assert document(ws)["acl"] == {"warehouse": ["sales"], "api_key": ["sales", "stock"]}
    ws.run("secrets", "get", "other", "api_key").fails(34, 'is not for DAG "other"')
    ws.run("secrets", "set", "global", "api_key", "--everybody").ok()
    assert document(ws)["acl"] == {"warehouse": ["sales"]}
    piped(ws, "v", "set", "global", "new", "--only", "sales").ok()
    assert document(ws)["acl"] == {"warehouse": ["sales"], "new": ["sales"]}


def test_without_a_secrets_file_the_first_secret_makes_one(bare: Inside) -> None:
    bare.run("secrets", "list").fails(30, "secrets.toml does not exist", "pit secrets set global")
    piped(bare, "v", "set", "global", "k").ok()
    assert (bare.root / "secrets.toml").read_text() == '[global]\nk = "v"\n'
    assert bare.run("secrets", "get", "global", "k").ok().out == "v\n"
    for name in ("one.toml", "two.toml"):
        file = bare.root / name
        option = ("--secrets", name)
        words = (*option, "set") if name == "one.toml" else ("set", *option)
        piped(bare, "v", *words, "global", "k").ok()
        assert file.read_text() == '[global]\nk = "v"\n'
        assert file.stat().st_mode & 0o777 == 0o600


# ------------------------------------------------------------------------------------ get, list


def test_a_secret_is_printed_as_a_dag_gets_it(ws: Inside) -> None:
    assert ws.run("secrets", "get", "sales", "api_key").ok().out == f"{VALUE}\n"
    assert ws.run("secrets", "get", "sales", "warehouse").ok().json == {
        "driver": "postgres",
        "password": VALUE,
    }
    got = ws.run("secrets", "get", "sales", "warehouse", "--field", "driver").ok()
    assert got.out == "postgres\n"
    assert ws.run("secrets", "get", "global", "api_key", "--json").ok().json == VALUE
    ws.run("secrets", "get", "other", "ftp").fails(32, 'secret "ftp" not found for DAG "other"')
    ws.run("secrets", "get", "other", "warehouse").fails(34)
    ws.run("secrets", "get", "sales", "warehouse", "--field", "port").fails(32, 'no field "port"')


def test_access_rules_are_for_dags_and_not_for_whoever_keeps_the_file(ws: Inside) -> None:
    assert ws.run("secrets", "get", "global", "warehouse", "--field", "driver").ok().out
    ws.run("secrets", "get", "stock", "warehouse").fails(34, "[acl] names others")


def test_the_list_has_names_and_no_values(ws: Inside) -> None:
    done = ws.run("secrets", "list").ok()
    assert done.out.splitlines() == [
        "SCOPE   NAME       KIND              FOR",
        "global  api_key    plain             every DAG",
        "global  warehouse  driver, password  sales",
        "sales   ftp        plain             sales",
    ]
    assert ws.run("secrets", "list", "sales", "--json").ok().json == [
        {"scope": "sales", "name": "ftp", "kind": "plain", "fields": [], "only": None}
    ]
    assert "There are no secrets in [nope]" in ws.run("secrets", "list", "nope").ok().out
    assert VALUE not in done.out + done.err


# --------------------------------------------------------------------------------------- remove


def test_removing(ws: Inside) -> None:
    ws.run("secrets", "remove", "global", "warehouse", "--field", "driver").ok()
    assert document(ws)["global"]["warehouse"] == {"password": VALUE}
    ws.run("secrets", "remove", "global", "warehouse").ok()
    assert document(ws) == {"global": {"api_key": VALUE}, "sales": {"ftp": VALUE}, "acl": {}}
    assert "# from the portal" in (ws.root / "secrets.toml").read_text()
    ws.run("secrets", "remove", "global", "warehouse").fails(32, "not found in [global]")
    (ws.root / "secrets.toml").unlink()
    ws.run("secrets", "remove", "global", "api_key").fails(30, "does not exist")
    assert not (ws.root / "secrets.toml").exists()


# ------------------------------------------------------------------------------- what is open


def test_a_file_open_to_others_is_closed_by_the_next_change(ws: Inside) -> None:
    (ws.root / "secrets.toml").chmod(0o644)
    assert "is open to other users (mode 0644)" in ws.run("secrets", "list").ok().err
    piped(ws, "v", "set", "global", "k").ok()
    assert ws.run("secrets", "list").ok().err == ""


def test_a_plain_file_that_git_would_take_is_warned_about(ws: Inside) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    subprocess.run(["git", "-C", str(ws.root), "init", "--quiet"], check=True)
    sentence = "is plain text and git does not ignore it"
    assert sentence in ws.run("secrets", "list").ok().err
    assert sentence in ws.run("validate").ok().out
    (ws.root / ".gitignore").write_text("secrets.toml\n")
    assert ws.run("secrets", "list").ok().err == ""


# ---------------------------------------------------------------------------------------- audit


def test_what_people_did_is_in_the_audit(ws: Inside) -> None:
    began = time.time()
    piped(ws, "v", "set", "sales", "new").ok()
    piped(ws, "w", "set", "sales", "new").ok()
    piped(ws, "w", "set", "sales", "new").ok()  # which changes nothing
    ws.run("secrets", "get", "sales", "new").ok()
    ws.run("secrets", "remove", "sales", "new").ok()
    ws.run("secrets", "set", "global", "api_key", "--only", "sales").ok()
    changes = ws.run("secrets", "audit", "--json").ok().json["changes"]
    assert [(c["what"], c["scope"], c["name"]) for c in reversed(changes)] == [
        ("created", "sales", "new"),
        ("updated", "sales", "new"),
        ("read", "sales", "new"),
        ("deleted", "sales", "new"),
        ("created", "acl", "api_key"),
    ]
    assert all(began <= c["at"] <= time.time() for c in changes)
    assert {c["file"] for c in changes} == {str(ws.root / "secrets.toml")}
    assert all(c["who"] for c in changes)
    shown = ws.run("secrets", "audit", "--dag", "sales", "--limit", "1").ok().out.splitlines()
    assert len(shown) == 2
    assert "deleted" in shown[1]
    assert "sales.new" in shown[1]


def test_what_tasks_asked_for_is_in_the_audit(ws: Inside, record: Record) -> None:
    run = record(RunState.SUCCESS).id
    now = time.time()
    with Store.open(ws.root / "pit_metadata.db") as store:
        for age, task, key, verdict in (
            (7200, "extract", "ftp", Verdict.GRANTED),
            (7200, "extract", "ftp", Verdict.GRANTED),
            (60, "load", "warehouse", Verdict.REFUSED),
        ):
            asked = {"task": task, "attempt": 1, "key": key, "verdict": verdict}
            store.emit(SecretRequested(run=run, at=now - age, dag="sales", **asked))  # type: ignore[arg-type]
    lines = ws.run("secrets", "audit").ok().out.splitlines()
    assert [line.split()[2:5] for line in lines[1:]] == [
        ["sales/load", "refused", "warehouse"],
        ["sales/extract", "granted", "×2"],
    ]
    for option, value, count in (
        ("--since", "1h", 1),
        ("--since", "2d", 2),
        ("--since", "2020-01-31", 2),
        ("--task", "load", 1),
        ("--key", "ftp", 1),
        ("--run", run, 2),
        ("--dag", "other", 0),
    ):
        found = ws.run("secrets", "audit", option, value, "--json").ok().json
        assert len(found["requests"]) == count, (option, value)
    ws.run("secrets", "audit", "--since", "yesterday").fails(2, "neither a date nor a duration")
    ws.run("secrets", "audit", "--run", "2020").fails(2, 'run "2020" not found')


def test_the_audit_of_a_workspace_without_one(ws: Inside) -> None:
    assert "nothing in the audit" in ws.run("secrets", "audit").ok().err
    assert ws.run("secrets", "audit", "--json").ok().json == {"requests": [], "changes": []}
    assert not (ws.root / "pit_metadata.db").exists()


def test_a_folder_that_is_no_workspace_gets_no_history(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    bare = Inside(folder)
    bare.run("secrets", "set", "global", "k", "v", "--secrets", str(folder / "s.toml")).ok()
    assert os.listdir(folder) == ["s.toml"]


def test_a_history_that_cannot_be_written_stops_nothing(ws: Inside) -> None:
    (ws.root / "pit_metadata.db").mkdir()
    done = piped(ws, "v", "set", "global", "k").ok()
    assert "this is not in the audit" in done.err
    assert document(ws)["global"]["k"] == "v"


def test_a_read_only_workspace_can_be_looked_at(ws: Inside) -> None:
    with small_disk(8) as folder:
        copy = Inside(folder)
        copy.file("pit_config.toml", 'secrets_dir = "secrets.toml"\n')
        copy.file("secrets.toml", FILE, 0o600)
        piped(copy, "v", "set", "global", "k").ok()
        make_read_only(folder)
        copy.run("secrets", "list").ok()
        assert len(copy.run("secrets", "audit", "--json").ok().json["changes"]) == 1
        assert copy.run("secrets", "get", "sales", "api_key").ok().out == f"{VALUE}\n"
        piped(copy, "w", "set", "global", "k").fails(38, "was not changed", "read-only")


# ------------------------------------------------------------------------------------ the group


def test_help_and_near_names(ws: Inside) -> None:
    shown = ws.run("secrets").ok().out
    assert shown == ws.run("secrets", "--help").ok().out
    assert "remove-recipient" in shown
    ws.run("secrets", "lsit").fails(
        2, 'there is no command "secrets lsit"', 'Did you mean "secrets list"?'
    )


# ------------------------------------------------------------------------------------- validate


def test_validate_looks_at_the_secrets_file(ws: Inside) -> None:
    assert ws.run("validate").ok().out == "1 project with 2 tasks: all valid.\n"
    ws.file("secrets.toml", FILE + '[slaes]\nx = "y"\n', 0o600)
    notes = ws.run("validate").ok().out
    assert 'has a table for "slaes", which is not a DAG here; did you mean "sales"?' in notes
    ws.file("secrets.toml", FILE.replace('["sales"]', '["stok"]'), 0o600)
    assert (
        'gives warehouse in [acl] to "stok", which is not a DAG here' in ws.run("validate").ok().out
    )
    ws.file("secrets.toml", FILE.replace("warehouse = [", "warehuose = ["), 0o600)
    ws.run("validate").fails(
        11, '"warehuose" in [acl] is not the name of an entry', 'Did you mean "warehouse"?'
    )
    ws.file("secrets.toml", "[global]\nkey = 5\n", 0o600)
    ws.run("validate").fails(11, '"key" in [global] must be a string')
    (ws.root / "secrets.toml").unlink()
    ws.run("validate").fails(11, "pit_config.toml:1:15: the secrets file", "does not exist")


def test_validate_tells_a_table_without_quotes_from_a_dag_with_a_dot(ws: Inside) -> None:
    ws.project("eu").toml('[dag]\nname = "sales.eu"\n[[tasks]]\nname = "a"\nscript = "a.sh"\n')
    ws.file("a.sh", "true\n")
    (ws.root / "secrets.toml").write_text('[sales.eu]\npassword = "hunter2-hunter2"\n')
    assert 'its table needs quotes: ["sales.eu"]' in ws.run("validate").out
    (ws.root / "secrets.toml").write_text('["sales.eu"]\npassword = "hunter2-hunter2"\n')
    assert "quotes" not in ws.run("validate").out


def test_validate_misses_connections(ws: Inside) -> None:
    ws.project("stock").toml(
        '[dag.sql]\nconnection = "warehouse"\n'
        '[[tasks]]\nname = "a"\nscript = "a.sql"\n'
        '[[tasks]]\nname = "b"\nscript = "a.sql"\nconnection = "none"\n'
    ).file("a.sql", "select 1")
    done = ws.run("validate").ok()
    for text in (
        'projects/stock/pit.toml:2:14: warning: secret "warehouse" is not for DAG "stock"',
        'projects/stock/pit.toml:9:14: warning: secret "none" not found for DAG "stock"',
    ):
        assert text in done.err
    assert "all valid, with 2 warnings." in done.out
    ws.toml(
        '[[tasks]]\nname = "a"\nscript = "a.sql"\nconnection = "lake"\nsecrets = ["lake", "tokn"]\n'
        '[[tasks]]\nname = "b"\nscript = "a.sql"\nconnection = "lake"\nsecrets = ["tokn"]\n'
    )
    secrets = '[global]\nlake = ":memory:"\n["stock"]\ntoken = "hunter2"\n'
    (ws.root / "secrets.toml").write_text(secrets)
    (told,) = ws.run("validate", "--json").ok().json["warnings"]
    assert (told["line"], told["column"]) == (5, 20)
    assert told["sentence"] == 'secret "tokn" not found for DAG "stock"; did you mean "token"?'
    (ws.root / "secrets.toml").write_text(secrets.replace("token", "tokn"))
    assert ws.run("validate").ok().err == ""
