"""Which fields of a secret are secrets: what opens something, wherever it stands, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pit.sql.connection import urls
from pit.sql.plain_options import plain_name
from pit.work.masking import Masks
from pit.work.socket.call import Caller
from pit.work.spellings import PLAIN_FIELDS
from tests.docs.pages import ROOT
from tests.work.socket.live import LiveServer

WORD = "hunter22"

CONNECTIONS = {
    "postgres": """driver=postgres host=db.example port=654321 user=loader database=claims
        schema=staging sslmode=verify-full sslrootcert=/etc/ca.pem sslcert=/etc/me.pem
        sslkey=/etc/me.key connect_timeout=100000 application_name=pit-nightly
        options=-csearch_path=mart target_session_attrs=read-write keepalives_idle=600000
        channel_binding=require passfile=/etc/pgpass service=warehouse hostaddr=10.20.30.40""",
    "sqlserver": """driver=sqlserver server=db.example odbc_driver=FreeTDS encrypt=strict
        TrustServerCertificate=yes-or-no hostNameInCertificate=db.example Connection-Timeout=100000
        applicationIntent=ReadOnly multisubnetfailover=enabled instance=SQLEXPRESS""",
    "odbc": "driver=odbc odbc_driver=FreeTDS dsn=Warehouse TDS_Version=7.4.00 charset=latin-1",
    "duckdb": "driver=duckdb path=/data/a.duckdb memory_limit=4000MB temp_directory=/scratch/duck",
    "sqlite": "driver=sqlite path=/data/a.sqlite foreign_keys=enabled journal_mode=truncate",
    "http": "endpoint=https://api.example.com/v1 header=X-Api-Key query=appid-param auth=bearer-x",
    "s3": "endpoint=https://s3.example region=eu-west-1 bucket=claims-raw prefix=raw/2026",
    "mail": "host=smtp.example security=starttls from=pit@example.com insecure_login=enabled",
    "ftp": "protocol=ftps-like tls=explicit host_key=SHA256:abcdefgh encoding=iso8859-15",
}


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_what_tells_where_and_how_stays_readable(kind: str) -> None:
    fields = dict(pair.split("=", 1) for pair in CONNECTIONS[kind].split())
    made = Masks()
    made.add(fields | {"password": WORD})
    text = "; ".join(fields.values())
    assert made.hide(f"{text}; {WORD}") == f"{text}; ***"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "Pwd",
            "sslpassword",
            "scram_client_key",
            "oauth_client_secret",
            "accesstoken",
        ),
        *("keystoresecret", "token", "value", "url", "private_key", "passphrase", "access_key"),
        *("secret_key", "session_token", "key", "pqopt", "connsettings", "clientcertificate"),
        *("whatever", "foreign_key", "authentication", "account"),
    ],
)
def test_what_opens_something_or_is_not_known_is_a_secret(name: str) -> None:
    made = Masks()
    made.add({"host": "db.example", name: WORD})
    assert made.hide(f"db.example {WORD}") == "db.example ***"


@pytest.mark.parametrize(
    ("field", "text", "secret"),
    [
        ("options", f"-c search_path=mart -c app.api_token={WORD}", WORD),
        ("options", f"-csearch_path=mart -cmine.password={WORD}", WORD),
        ("dsn", f"DSN=Warehouse;UID=etl;PWD={WORD};Encrypt=yes", WORD),
        ("dsn", "DSN=Warehouse;PWD={hunter; 22}}x};UID=etl", "hunter; 22}x"),
        ("odbc_driver", "FreeTDS;PWD=hunter 22 more;UID=etl", "hunter 22 more"),
        ("database", "host=db password='hunter 22\\' more' user=etl", "hunter 22' more"),
        ("database", "host=db password=hunter\\ 22 user=etl", "hunter 22"),
        ("endpoint", f"https://api.example/v1?version=2026&key={WORD}", WORD),
        ("endpoint", f"https://api.example/v1?token=another22&x_sig={WORD}", WORD),
        ("endpoint", f"https://me:{WORD}@api.example/v1", WORD),
        ("host", "https://me:hunter[22@api.example", "hunter[22"),
        ("path", f"/data/a.sqlite?AccountKey={WORD}", WORD),
        ("sslkey", f"-----BEGIN PRIVATE KEY-----\n{WORD}{WORD}\n-----END", WORD * 2),
        ("ca", f"-----BEGIN EC PRIVATE KEY-----\n{WORD}{WORD}\n-----END", WORD * 2),
    ],
)
def test_a_password_in_what_is_plain_is_one_all_the_same(
    field: str, text: str, secret: str
) -> None:
    made = Masks()
    made.add({field: text, "user": "loader"})
    told = made.hide(f"loader may not ({secret}); {text}")
    assert told.startswith("loader may not (***)")
    assert secret not in told
    words = {"search_path", "Warehouse", "FreeTDS", "api.example"}
    assert not words & {*_WORDS.findall(text)} - {*_WORDS.findall(told)}, "and nothing else of it"


_WORDS = re.compile(r"[\w.]+")


def test_options_that_only_sound_like_secrets_do_not_garble_errors(tmp_path: Path) -> None:
    database = urls.parse("sqlite:///a.sqlite?foreign_keys=on&key=hunter22", tmp_path)
    assert (
        database.hide("no such table on line 1: on hunter22") == "no such table on line 1: on ***"
    )


def test_a_url_without_anything_secret_is_none(tmp_path: Path) -> None:
    secrets = """
[global.file]
driver = "sqlite"
path = "/data/a.sqlite"
[global.server]
driver = "postgres"
host = "db.example"
password = "hunter22"
user = "me"
"""
    live = LiveServer(tmp_path, secrets)
    caller = Caller(run="r", dag="d", task="t", attempt=1, data=tmp_path)
    file, server = (live.access.connection(caller, name) for name in ("file", "server"))
    assert live.masks.hide(f"cannot open {file}") == f"cannot open {file}"
    assert live.masks.hide(f"cannot open {server} ") == "cannot open *** "
    live.server.end()


def test_the_page_names_the_fields_that_stay_readable() -> None:
    page = (ROOT / "docs" / "secrets.md").read_text()
    section = page[page.index("### What stays readable") :].split("\n## ")[0]
    told = {plain_name(name) for name in re.findall(r"`([a-z0-9_ -]+)`", section)}
    assert told - {plain_name("Connect Timeout")} <= PLAIN_FIELDS
    assert told >= PLAIN_FIELDS
