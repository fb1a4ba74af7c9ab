"""The secrets file: structure, precedence, connection URLs, and silence about values."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from pit.errors import (
    SecretNotFound,
    SecretRefused,
    SecretsError,
    SecretsInvalid,
    SecretsUnreadable,
)
from pit.state.secrets.secrets import Secrets

FILE = """
[global]
api_key = "global-key"
empty = ""
[global.warehouse]
driver = "postgres"
host = "db.example.org"
port = "5433"
user = "etl user"
password = "p@ss/w:rd?#"
database = "ware house"
sslmode = "require"
schema = "public"

[claims]
api_key = "claims-key"
plain_url = "duckdb:///data/claims.duckdb"
with_url = { url = "sqlserver://sa:pw@host/db", host = "ignored" }
local = { driver = "duckdb", path = "data/my claims.duckdb", access_mode = "read_only" }
six = { driver = "postgresql", host = "2001:db8::1", user = "u", database = "d" }
instance = { driver = "sqlserver", host = "SRV\\\\SQL1", database = "d" }
ftp = { host = "ftp.example.org", user = "u", password = "secret-ftp" }

["odd name"]
key = "value"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A private secrets file."""
    file = tmp_path / "secrets.toml"
    file.write_text(FILE)
    file.chmod(0o600)
    return file


def test_the_dags_own_secret_comes_before_the_global_one(path: Path) -> None:
    secrets = Secrets.load(path)
    assert secrets.resolve("claims", "api_key") == "claims-key"
    assert secrets.resolve("sales", "api_key") == "global-key"
    assert secrets.resolve("odd name", "key") == "value"
    assert secrets.resolve("sales", "empty") == ""


def test_one_dag_never_reads_anothers_table(path: Path) -> None:
    with pytest.raises(SecretNotFound, match='secret "ftp" not found for DAG "sales"'):
        Secrets.load(path).resolve("sales", "ftp")


def test_a_structured_secret_is_a_table_of_its_own(path: Path) -> None:
    secrets = Secrets.load(path)
    value = secrets.resolve("sales", "warehouse")
    assert isinstance(value, dict)
    value["host"] = "changed"
    again = secrets.resolve("sales", "warehouse")
    assert isinstance(again, dict)
    assert again["host"] == "db.example.org"


def test_the_names_a_dag_can_read(path: Path) -> None:
    assert Secrets.load(path).names("sales") == ("api_key", "empty", "warehouse")
    assert "ftp" in Secrets.load(path).names("claims")


ACL = """
[global]
shared = "everybody"
narrow = "some"
nobody = "none"
[claims]
narrow = "its own"
[acl]
narrow = ["sales", "stock"]
nobody = []
"""


@pytest.fixture
def narrowed(tmp_path: Path) -> Secrets:
    """Secrets of which some [global] ones are for named DAGs."""
    file = tmp_path / "acl.toml"
    file.write_text(ACL)
    file.chmod(0o600)
    return Secrets.load(file)


def test_an_acl_narrows_a_global_entry_to_named_dags(narrowed: Secrets) -> None:
    assert narrowed.resolve("sales", "narrow") == "some"
    assert narrowed.resolve("other", "shared") == "everybody"
    for dag, key in (("other", "narrow"), ("sales", "nobody"), ("global", "narrow")):
        with pytest.raises(SecretRefused, match=f'secret "{key}" is not for DAG "{dag}"') as caught:
            narrowed.resolve(dag, key)
        assert (caught.value.key, caught.value.exit_code) == (key, 34)
        assert "some" not in str(caught.value) + caught.value.hint.replace("should", "")
    with pytest.raises(SecretRefused):
        narrowed.connection_url("other", "narrow")


def test_an_acl_says_nothing_of_a_dags_own_table(narrowed: Secrets) -> None:
    assert narrowed.resolve("claims", "narrow") == "its own"


def test_the_names_leave_out_what_the_acl_refuses(narrowed: Secrets) -> None:
    assert narrowed.names("other") == ("shared",)
    assert narrowed.names("sales") == ("narrow", "shared")
    assert narrowed.names("claims") == ("narrow", "shared")


def test_the_acl_itself_is_no_table_of_secrets(narrowed: Secrets) -> None:
    with pytest.raises(SecretNotFound):
        narrowed.resolve("acl", "other")
    assert narrowed.scopes == ("global", "claims")


def test_a_misspelt_entry_in_the_acl_is_suggested(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[global]\nwarehouse = "x"\n[acl]\nwarehuose = ["sales"]\n')
    with pytest.raises(SecretsInvalid) as caught:
        Secrets.load(file)
    assert caught.value.hint == 'Did you mean "warehouse"?'


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("plain_url", "duckdb:///data/claims.duckdb"),
        ("with_url", "sqlserver://sa:pw@host/db"),
        ("local", "duckdb://data/my%20claims.duckdb?access_mode=read_only"),
        ("six", "postgresql://u@[2001:db8::1]/d"),
        ("instance", "sqlserver://SRV\\SQL1/d"),
        (
            "warehouse",
            "postgres://etl%20user:p%40ss%2Fw%3Ard%3F%23@db.example.org:5433/ware%20house"
            "?sslmode=require",
        ),
    ],
)
def test_connection_urls(path: Path, key: str, url: str) -> None:
    assert Secrets.load(path).connection_url("claims", key) == url


def test_a_secret_that_is_no_connection_says_what_it_lacks(path: Path) -> None:
    with pytest.raises(SecretsInvalid, match='neither "url" nor "driver"') as caught:
        Secrets.load(path).connection_url("claims", "ftp")
    assert "secret-ftp" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        (
            'driver = "postgres"\nserver = "h"\nusername = "u"\npwd = "p/w"\ndbname = "d"',
            "postgres://u:p%2Fw@h/d",
        ),
        ('driver = "sqlserver"\nhost = "h"\nserver = "s"', "sqlserver://h?server=s"),
        (
            'driver = "odbc"\nodbc_driver = "SQLite3"\ndatabase = "/srv/x.db"',
            "odbc:///%2Fsrv%2Fx.db?odbc_driver=SQLite3",
        ),
    ],
)
def test_fields_by_their_other_names(tmp_path: Path, fields: str, url: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(f"[global.db]\n{fields}\n")
    assert Secrets.load(file).connection_url("x", "db") == url


@pytest.mark.parametrize(
    ("fields", "lack"),
    [('driver = "postgres"', "host"), ('driver = "duckdb"', "path")],
)
def test_fields_that_lack_something(tmp_path: Path, fields: str, lack: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(f"[global.db]\n{fields}\n")
    with pytest.raises(SecretsInvalid, match=f'has no "{lack}"'):
        Secrets.load(file).connection_url("x", "db")


# Every broken file holds this value, and no error may.
VALUE = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (f'top = "{VALUE}"', '"top" stands outside of any section'),
        (f'[ACL]\nkey = "{VALUE}"', "[ACL] would be the table of a DAG"),
        (f'[Global]\nkey = "{VALUE}"', "[Global] would be the table of a DAG"),
        ("[g]\nport = 5432", '"port" in [g] must be a string or a table of strings, not an int'),
        (f'[g]\nlist = ["{VALUE}"]', "not an array"),
        ("[g]\nflag = true", "not a boolean"),
        ("[g]\nday = 2026-01-31", "not a date"),
        (f'[g.db]\nuser = "{VALUE}"\nport = 5432', '"db" in [g]: field "port" must be a string'),
        (f'[g.db.deep]\nuser = "{VALUE}"', 'field "deep" must be a string, not a table'),
        (f'[g]\nkey = "{VALUE}', "s.toml:2: "),
        (f"[g]\nkey = {VALUE}", "s.toml:2:"),
        (f'[g]\nkey = "{VALUE}"\nkey = "{VALUE}"', "not valid TOML"),
        (f'[acl]\nkey = ["{VALUE}"]', '"key" in [acl] is not the name of an entry in [global]'),
        (f'[global]\nkey = "{VALUE}"\n[acl]\nkey = "x"', '"key" in [acl] must be a list of DAG'),
        (f'[global]\nkey = "{VALUE}"\n[acl]\nkey = [1]', '"key" in [acl] must be a list of DAG'),
        (f'acl = "{VALUE}"', '"acl" stands outside of any section'),
        ("x = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_broken_files_are_named_without_their_values(
    tmp_path: Path, content: str, sentence: str
) -> None:
    file = tmp_path / "s.toml"
    file.write_text(content)
    with pytest.raises(SecretsInvalid) as caught:
        Secrets.load(file)
    assert sentence in str(caught.value)
    everything = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert "hunter" not in everything
    assert caught.value.__context__ is None  # whose text or object could have it


def test_a_file_that_is_no_text_says_on_which_line(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(b'[g]\nkey = "\xff\xfe"\n')
    with pytest.raises(SecretsInvalid, match=r"s\.toml:2: not UTF-8 text"):
        Secrets.load(file)


def test_a_byte_order_mark_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(b'\xef\xbb\xbf[global]\nkey = "v"\n')
    assert Secrets.load(file).resolve("x", "key") == "v"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with open(tmp_path / "huge.toml", "wb") as huge:
        huge.truncate(1 << 40)
    for name, sentence in (
        ("missing.toml", "does not exist"),
        ("fifo", "not a regular file"),
        (".", "is a folder"),
        ("huge.toml", "larger than 16 MB"),
    ):
        with pytest.raises(SecretsUnreadable, match=sentence) as caught:
            Secrets.load(tmp_path / name)
        assert caught.value.exit_code == 30


@pytest.mark.skipif(sys.platform != "linux", reason="the shell's <(…) is a path in /dev/fd")
def test_the_output_of_a_command_can_be_a_secrets_file() -> None:
    script = (
        "import sys; from pathlib import Path; from pit.state.secrets.secrets import Secrets; "
        "print(Secrets.load(Path(sys.argv[1])).resolve('x', 'key'))"
    )
    done = subprocess.run(
        [
            "bash",
            "-c",
            f'"$0" -c "{script}" <(printf "[global]\\nkey = \\"v\\"\\n")',
            sys.executable,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "v\n"


def test_a_file_open_to_others_is_warned_about(path: Path) -> None:
    assert Secrets.load(path).warnings == ()
    path.chmod(0o640)
    (warning,) = Secrets.load(path).warnings
    assert "open to other users (mode 0640)" in warning
    assert f"chmod 600 {path}" in warning


def test_who_has_read_secrets_keeps_his_memory_to_himself(path: Path) -> None:
    code = """
import ctypes, pathlib, resource, sys
from pit.state.secrets.secrets import Secrets
Secrets.load(pathlib.Path(sys.argv[1]))
print(ctypes.CDLL(None).prctl(3), resource.getrlimit(resource.RLIMIT_CORE)[0])  # PR_GET_DUMPABLE
"""
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=root, capture_output=True, text=True
    )
    assert done.stdout == "0 0\n", done.stderr


def test_nothing_shows_a_value(path: Path) -> None:
    secrets = Secrets.load(path)
    shown = repr(secrets) + str(secrets) + f"{secrets!a}"
    assert "key" not in shown.replace(str(path), "")
    with pytest.raises(SecretsError) as caught:
        secrets.resolve("claims", "missing")
    assert "claims-key" not in str(caught.value) + caught.value.hint
