"""`pit.work.masking`: no form of a secret gets through, wherever the pieces end."""

from __future__ import annotations

import base64
import html
import json
import os
import random
import shlex
import subprocess
import sys
import time
import unicodedata
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.events import AttemptEnded, Logged, TaskEnded, Warned
from pit.model import Outcome, Reason, TaskState
from pit.work import process
from pit.work.masking import Masks
from pit.work.tasklog import TaskLog

SECRET = 's3cr3t+/w\\ith "quotes" & é\''


def masks(*secrets: str | dict[str, str]) -> Masks:
    """Masks of these."""
    made = Masks()
    for secret in secrets:
        made.add(secret)
    return made


def encoded(text: str, *, before: str = "", after: str = "") -> str:
    """Base64 of a text between others."""
    return base64.b64encode(f"{before}{text}{after}".encode()).decode()


_FORMS = {
    "plain": SECRET,
    "base64": encoded(SECRET),
    "base64 without padding": encoded(SECRET).rstrip("="),
    "urlsafe base64": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "base64 of a line": encoded(SECRET, after="\n"),
    "base64 after one byte": encoded(SECRET, before="u"),
    "base64 after two bytes": encoded(SECRET, before="u:"),
    "base64 in the midst": encoded(SECRET, before="user:", after="@host"),
    "URL": quote(SECRET, safe=""),
    "URL with slashes": quote(SECRET),
    "form": quote_plus(SECRET),
    "lower-case URL": quote(SECRET, safe="").replace("%2B", "%2b").replace("%2F", "%2f")
    .replace("%5C", "%5c").replace("%C3%A9", "%c3%a9"),
    "JSON": json.dumps(SECRET)[1:-1],
    "JSON with text": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "a traceback": repr(SECRET)[1:-1],
    "hexadecimal": SECRET.encode().hex(),
    "hexadecimal in capitals": SECRET.encode().hex().upper(),
    "JSON in JSON": json.dumps(json.dumps(SECRET))[1:-1].removeprefix('\\"').removesuffix('\\"'),
    "ascii()": ascii(SECRET)[1:-1],
    "bytes": repr(SECRET.encode())[2:-1],
    "a traceback in other quotes": repr(f"it's {SECRET}")[6:-1],
    "HTML": html.escape(SECRET),
    "XML": html.escape(SECRET).replace("&#x27;", "&#39;"),
    "shlex": shlex.quote(SECRET)[1:-1],
    "set -x": shlex.quote(SECRET).replace("'\"'\"'", "'\\''")[1:-1],
    "SQL": SECRET.replace("'", "''"),
    "CSV": SECRET.replace('"', '""'),
    "JSON of Go": json.dumps(SECRET, ensure_ascii=False)[1:-1].replace("&", "\\u0026"),
    "JSON of Java": json.dumps(SECRET)[1:-1].replace("\\u00e9", "\\u00E9"),
    "HTML of Go": html.escape(SECRET).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    "decomposed": unicodedata.normalize("NFD", SECRET),
}  # fmt: skip


@pytest.mark.parametrize("form", list(_FORMS))
def test_a_form_of_a_secret_is_masked(form: str) -> None:
    hidden = masks(SECRET).hide(f"before {_FORMS[form]} after")
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert "***" in hidden
    assert len(hidden) <= len("before *** after") + 18  # what stood around it, in base64


@pytest.mark.parametrize(
    "text", [SECRET, "it's so", 'quote "so"', "back\\slash\\'s", "tab\tand\nline"]
)
def test_what_bash_and_python_make_of_a_secret_is_masked(text: str) -> None:
    shown = subprocess.run(
        ["bash", "-c", 'printf "%q " "$1"; set -x; : "$1"', "-", text],
        capture_output=True,
        text=True,
    )
    told = [shown.stdout, shown.stderr, repr([text, "'"]), repr([text, '"']), repr({text: b"x"})]
    told += [
        repr(f"{text} in '\"' quotes"),
        str(KeyError(text)),
        json.dumps({"a": json.dumps(text)}),
    ]
    for each in told:
        hidden = masks(text).hide(each)
        assert "***" in hidden
        assert not any(word in hidden for word in ("it", "quote so", "slash", "tab"))


def test_nothing_is_masked_before_something_is_known() -> None:
    made = Masks()
    assert not made.armed
    assert made.hide("text") == "text"
    assert made.stream().feed(b"bytes") == b"bytes"


def test_fields_that_are_no_secret_stay() -> None:
    database = {"host": "db.example", "user": "loader", "database": "claims", "schema": "staging"}
    made = masks(database | {"driver": "postgres", "port": "543210", "password": "hunter22"})
    text = "loader@db.example:543210/claims staging postgres hunter22"
    assert made.hide(text) == "loader@db.example:543210/claims staging postgres ***"


def test_what_is_short_stays() -> None:
    assert masks("12345").hide("12345") == "12345"
    assert masks("12345é"[1:]).hide("2345é") == "***"  # six bytes


def test_the_password_of_a_url_is_one_too() -> None:
    made = masks("postgres://me:p%40ss-word@db.example/claims")
    assert made.hide("p@ss-word and p%40ss-word, not db.example") == "*** and ***, not db.example"


def test_passwords_within_a_connection_string_are_secrets_too() -> None:
    odbc = "Driver={ODBC Driver 18};Server=db.example;UID=etl;PWD={hunter 22;};Encrypt=yes"
    assert masks(odbc).hide("hunter 22; of etl at db.example") == "*** of etl at db.example"
    libpq = "host=db.example user=etl password=hunter22"
    assert masks(libpq).hide("hunter22 of etl") == "*** of etl"
    signed = {"endpoint": "https://store.example/x?version=2026-11-26&sig=ab%2Bcdefgh"}
    assert masks(signed).hide("2026-11-26 ab+cdefgh ab%2Bcdefgh") == "2026-11-26 *** ***"


def test_the_lines_of_a_long_secret_are_masked() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n  hkiG9w0BAQEFAASC\nab\n-----END KEY-----\n"
    hidden = masks(key).hide("line 2: MIIEvQIBADANBgkq; line 3: hkiG9w0BAQEFAASC; ab")
    assert hidden == "line 2: ***; line 3: ***; ab"


def test_long_base64_is_found_in_the_lines_that_the_command_makes() -> None:
    secret = os.urandom(90).hex()
    wrapped = base64.encodebytes(secret.encode()).decode()
    assert set(masks(secret).hide(wrapped).split()) == {"***"}


@pytest.mark.parametrize("width", [64, 76])
@pytest.mark.parametrize("after", ["", "\n"])
def test_no_line_of_long_base64_is_left(width: int, after: str) -> None:
    for size in range(60, 120):
        secret = os.urandom(size).hex()[:size]
        whole = encoded(secret, after=after)
        lines = [whole[at : at + width] for at in range(0, len(whole), width)]
        left = masks(secret).hide("\n".join(lines)).replace("***", "").replace("\n", "")
        assert len(left) < 10, (size, left)  # the end of a short last line


def test_all_of_overlapping_secrets_goes() -> None:
    assert masks("abcdefgh", "efghijkl").hide("abcdefghijkl") == "***"
    assert masks("abcabc").hide("abcabcabc") == "***"


@given(
    st.lists(st.text("ab\n", min_size=6, max_size=12), min_size=1, max_size=3),
    st.text("ab\n", max_size=200),
    st.integers(0, 2**32),
)
def test_where_pieces_end_makes_no_difference(secrets: list[str], text: str, seed: int) -> None:
    made = masks(*secrets)
    data, chance = text.encode(), random.Random(seed)
    stream = made.stream()
    told = b""
    while data:
        size = chance.randint(1, 20)
        told += stream.feed(data[:size])
        assert len(stream._held) < max(made.known.longest, 1)
        data = data[size:]
    told += stream.flush()
    assert told.decode() == made.hide(text)


def test_only_what_may_begin_a_secret_is_held_back() -> None:
    stream = masks("swordfish").stream()
    assert stream.feed(b"a line\n") == b"a line\n"
    assert stream.feed(b"sword") == b""
    assert stream.feed(b"s\n") == b"swords\n"
    assert stream.feed(b"swor") + stream.flush() == b"swor"
    assert stream.feed(b"swor") + stream.feed(b"dfish!") == b"***!"


def test_a_thousand_secrets_are_searched_for_at_once() -> None:
    made = masks(*(f"secret number {number:04} of many" for number in range(1000)))
    assert made.hide("x secret number 0123 of many x") == "x *** x"
    stream = made.stream()
    assert stream.feed(b"a secret number 09") == b"a "
    assert stream.feed(b"99 of many secret numbers!") == b"*** secret numbers!"


def test_a_secret_that_comes_late_is_not_sorted_in_with_all_others() -> None:
    made = Masks()
    for number in range(200):
        made.add(f"secret number {number:04} of many")
        assert made.hide(f"secret number {number:04} of many") == "***"
    sizes = [len(layer.forms) for layer in made.known.layers]
    assert all(one >= 2 * other for one, other in pairwise(sizes)), sizes
    assert made.hide("secret number 0000 of many") == "***"


def test_what_is_added_while_a_piece_is_held_back_is_known_at_once() -> None:
    made = masks("swordfish")
    stream = made.stream()
    assert stream.feed(b"a sword") == b"a "
    made.add("sword-of-damocles")
    assert stream.feed(b"-of-") == b""
    assert stream.feed(b"damocles") + stream.flush() == b"***"


def test_events_lose_secrets_and_keep_the_rest() -> None:
    made = masks("swordfish")
    outcome = Outcome(
        started_at=1, ended_at=2, seconds=1, reason=Reason.SQL_ERROR, error="bad swordfish"
    )
    ended = AttemptEnded(run="r", at=1, task="swordfish", attempt=1, outcome=outcome)
    hidden = made.hidden(ended)
    assert hidden.outcome.error == "bad ***"
    assert hidden.task == "swordfish"  # a name that people chose is no secret
    task = TaskEnded(run="r", at=1, task="t", state=TaskState.FAILED, error="a swordfish")
    assert made.hidden(task).error == "a ***"
    assert made.hidden(Warned(run="r", at=1, message="x", hint="swordfish")).hint == "***"
    same = Warned(run="r", at=1, message="nothing")
    assert made.hidden(same) is same


def test_errors_lose_them_too() -> None:
    made = masks("swordfish")
    error = RuntimeError("cannot use swordfish", 7)
    error.__cause__ = KeyError("swordfish")
    made.scrub(error)
    assert error.args == ("cannot use ***", 7)
    assert str(error.__cause__) == "'***'"


# ---------------------------------------------------------------- in a task's log


def test_a_log_masks_what_its_process_writes_in_two_pieces(tmp_path: Path) -> None:
    made, heard = masks("swordfish"), []
    code = "for text in 'a swo', 'rdfish b':\n print(text, end='', flush=True)\n time.sleep(0.03)"
    code = f"import time\n{code}"
    with TaskLog(str(tmp_path / "log"), "t", lambda _, data: heard.append(data), made) as log:
        _run(code, log)
    assert (tmp_path / "log").read_bytes() == b"a *** b"
    assert b"".join(heard) == b"a *** b"


def test_what_is_held_back_is_written_when_nothing_follows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    code = (
        "import os, sys, time\nprint('sword', end='', flush=True)\nuntil = time.time() + 50\n"
        f"while not os.path.getsize({str(path)!r}) and time.time() < until: time.sleep(0.01)\n"
        "print('fish', flush=True)"
    )
    with TaskLog(str(path), "t", None, masks("swordfish")) as log:
        began = time.monotonic()
        _run(code, log)
    assert time.monotonic() - began < 45
    assert path.read_bytes() == b"swordfish\n"  # said so slowly that it is two words


def test_a_line_of_pit_leaves_nothing_behind(tmp_path: Path) -> None:
    with TaskLog(str(tmp_path / "log"), "t", None, masks("swordfish")) as log:
        log.write(b"sword")
        log.line("fish is no fish, sword")
        assert log.due is None
    assert (tmp_path / "log").read_bytes() == b"*** is no fish, sword\n"


def test_secrets_that_come_to_be_known_are_masked_from_then_on(tmp_path: Path) -> None:
    made = Masks()
    with TaskLog(str(tmp_path / "log"), "t", None, made) as log:
        log.write(b"swordfish ")
        made.add("swordfish")
        log.write(b"swordfish ")
    assert (tmp_path / "log").read_bytes() == b"swordfish *** "


def _run(code: str, log: TaskLog) -> None:
    ended = process.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={},
        output=log.write,
        pausing=log,
        timeout=60,
    )
    assert ended.exit_code == 0


def test_what_says_how_to_connect_is_no_secret() -> None:
    made = masks({"sslmode": "require", "Encrypt": "strict", "header": "X-Api-Key"})
    text = "pip: requirements.txt; restricted; X-Api-Key"
    assert made.hide(text) == text


def test_other_names_of_what_says_how_to_connect_are_none_either() -> None:
    made = masks({"server": "localhost", "uid": "postgres", "dbname": "warehouse", "pwd": SECRET})
    text = "postgres@localhost/warehouse"
    assert made.hide(f"{text} {SECRET}") == f"{text} ***"


def test_a_url_leaves_the_slash_to_what_follows() -> None:
    made = masks({"url": "https://hooks.example/T1/B2/"})
    hidden = made.hide(
        "https://hooks.example/T1/B2/today.csv: not found; https://hooks.example/T1/B2"
    )
    assert hidden == "***/today.csv: not found; ***"


def test_a_log_in_another_encoding_is_masked() -> None:
    text = f"before {SECRET} after".encode("latin-1")
    stream = masks(SECRET).stream()
    assert stream.feed(text) + stream.flush() == b"before *** after"


def test_what_a_shell_quotes_in_the_c_locale_is_masked() -> None:
    env = {"SECRET": SECRET, "LC_ALL": "C", "PATH": os.environ["PATH"]}
    told = subprocess.run(["bash", "-c", 'printf %q "$SECRET"'], env=env, capture_output=True)
    assert "s3cr3t" not in masks(SECRET).hide(told.stdout.decode())


def test_a_number_in_the_fields_of_an_event_is_masked_as_well() -> None:
    event = Logged("r", 0.0, "t", "info", "pin", {"pin": 24681357, "rows": 3, "deep": [24681357.0]})
    assert masks("24681357").hidden(event).fields == {"pin": "***", "rows": 3, "deep": ["***"]}


def test_a_password_with_a_brace_in_a_connection_string() -> None:
    made = masks("Driver={X};UID=etl;PWD={open}}sesame};Encrypt=yes")
    assert made.hide("login with open}sesame failed; PWD={open}}sesame}") == (
        "login with *** failed; PWD={***}"
    )
