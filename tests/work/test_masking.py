"""`pit.work.masking`: no form of a secret gets through, wherever the pieces end."""

from __future__ import annotations

import base64
import html
import json
import os
import random
import re
import shlex
import subprocess
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.events import AttemptEnded, Logged, TaskEnded, Warned
from pit.model import Reason, TaskState
from pit.order import Outcome
from pit.work.masking import Masks
from pit.work.process import launch
from pit.work.task_log import TaskLog

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
    data, chance = f"{text}.".encode(), random.Random(seed)
    stream = made.stream()
    told = b""
    while data:
        size = chance.randint(1, 20)
        told += stream.feed(data[:size])
        assert len(stream._held) < max(made.known.longest, 1)
        data = data[size:]
    assert told.decode() == f"{made.hide(text)}."
    assert not stream.waiting


@given(
    st.lists(st.text("abcdef", min_size=6, max_size=9), min_size=1, max_size=4),
    st.lists(st.integers(0, 3) | st.text("abcdef ", min_size=1, max_size=4), max_size=12),
    st.integers(0, 2**32),
)
def test_a_pause_anywhere_shows_no_more_than_two_bytes_of_a_secret(
    secrets: list[str], words: list[int | str], seed: int
) -> None:
    made, chance = masks(*secrets), random.Random(seed)
    whole = "".join(
        secrets[each % len(secrets)] if isinstance(each, int) else each for each in words
    )
    data, stream, told = f"{whole}.".encode(), made.stream(), b""
    while data:
        size = chance.randint(1, 7)
        told += stream.feed(data[:size])
        told += stream.rest() if stream.waiting else b""
        assert not stream.waiting
        data = data[size:]
    expected = "[a-f]{0,2}".join(map(re.escape, f"{made.hide(whole)}.".split("***")))
    pattern = expected.replace("[a-f]{0,2}", r"(?:[a-f]{0,2}\*\*\*)+")
    assert re.fullmatch(pattern, told.decode()), (told, made.hide(whole))


def test_only_what_may_begin_a_secret_is_held_back() -> None:
    stream = masks("swordfish").stream()
    assert stream.feed(b"a line\n") == b"a line\n"
    assert stream.feed(b"sword") == b""
    assert stream.feed(b"s\n") == b"swords\n"
    assert stream.feed(b"swor") + stream.feed(b"dfish!") == b"***!"
    assert stream.feed(b"swor") + stream.flush() == b"swor"


@pytest.mark.parametrize(
    ("text", "left"), [("swor", "swor"), ("sword", "***"), ("swordfis", "***")]
)
def test_half_a_secret_is_not_shown_at_the_end_either(text: str, left: str) -> None:
    stream = masks("swordfish").stream()
    assert stream.feed(f"a {text}".encode()) + stream.flush() == f"a {left}".encode()
    long = masks("swordfish in the deep blue sea").stream()
    assert long.feed(b"a swordf") + long.flush() == b"a ***"


@pytest.mark.parametrize(
    "form", ["plain", "base64 without padding", "URL", "JSON", "ascii()", "set -x"]
)
def test_a_pause_at_any_place_in_a_secret_shows_hardly_anything_of_it(form: str) -> None:
    data = _FORMS[form].encode()
    for at in range(1, len(data)):
        stream = masks(SECRET).stream()
        told = stream.feed(b"token=" + data[:at]) + stream.rest()
        assert not stream.waiting
        told += stream.feed(data[at:] + b" ok\n")
        assert told == b"token=" + data[: at if at <= 2 else 0] + b"*** ok\n", at


def test_a_secret_that_comes_letter_by_letter_is_masked() -> None:
    stream, told = masks("swordfish", "swordfish-of-old", "fishbone").stream(), b""
    for letter in b"a swordfishbone, swordfish-of-gold, swordfish-of-old, so":
        told += stream.feed(bytes([letter])) + stream.rest()
    assert told + stream.flush() == b"a sw***, sw***-of-gold, sw***, so"


def test_a_secret_is_masked_at_once_though_a_longer_one_may_follow() -> None:
    stream = masks("swordfish", "swordfish-of-old").stream()
    assert stream.feed(b"a swordfish") + stream.rest() == b"a ***"
    assert stream.feed(b"-of-") + stream.rest() == b""
    assert stream.feed(b"old!") == b"!"
    assert (
        stream.feed(b"a swordfish") + stream.rest() + stream.feed(b"-of-gold!") == b"a ***-of-gold!"
    )


def test_a_pause_within_a_letter_beyond_ascii_leaves_no_half_of_it() -> None:
    stream = masks("étoile-filante").stream()
    first, *rest = "étoile-filante".encode()
    assert stream.feed(b"a " + bytes([first])) + stream.rest() == b"a "
    assert stream.feed(bytes(rest)) == b"***"


def test_many_small_pieces_of_a_large_secret_are_not_searched_again_and_again() -> None:
    secret = random.Random(1).randbytes(20_000).hex()
    stream = masks(secret).stream()
    stream.feed(secret[:39_000].encode())
    pieces = [stream.feed(letter.encode()) for letter in secret[39_000:]]
    assert b"".join(pieces) + stream.flush() == b"***"


@pytest.mark.parametrize("cut", ["a sw", "a swordfis", "a swordfish…"])
def test_what_pit_cuts_itself_leaves_no_half_of_a_secret(cut: str) -> None:
    hidden = {"a sw": "a sw… | b", "a swordfis": "a ***… | b", "a swordfish…": "a ***…… | b"}
    assert masks("swordfish").hide(f"{cut}… | b") == hidden[cut]


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


def test_a_prompt_appears_before_anything_follows(tmp_path: Path) -> None:
    """Also one that ends in what may begin a secret, which is masked if it does."""
    path = tmp_path / "log"
    code = (
        "import os, sys, time\nuntil = time.time() + 50\n"
        "for text in '100%? ', 'sw', ', sw':\n"
        " print(text, end='', flush=True)\n size += len(text)\n"
        f" while os.path.getsize({str(path)!r}) < size and time.time() < until: time.sleep(0.01)\n"
        "print('ordfish' if time.time() < until else ' too late', flush=True)"
    ).replace("until = ", "size, until = 0, ")
    with TaskLog(str(path), "t", None, masks("swordfish")) as log:
        _run(code, log)
    assert path.read_bytes() == b"100%? sw, sw***\n"


_CUTS = "1 2 3 8 15"
_PERL = """
my $p = shift; my $size = 0; open(my $going, "<", $ENV{GOING});
for my $cut (qw(CUTS)) {
    for (; ($size + $cut) % 8192; $size++) { print "x" }
    print "$p\\n"; $size += length($p) + 1;
    <$going>;
}""".replace("CUTS", _CUTS)
_PYTHON = """
import os, sys
secret, size, going = sys.argv[1], 0, open(os.environ["GOING"])
out = open(1, "wb", 8192)
for cut in map(int, "CUTS".split()):
    text = (b"x" * (-(size + cut) % 8192) + secret.encode() + b"\\n")
    for at in range(len(text)):
        out.write(text[at : at + 1])
    size += len(text)
    going.readline()
""".replace("CUTS", _CUTS)
_BLOCKS = {
    "perl": ["perl", "-e", _PERL, "{secret}"],
    "python": [sys.executable, "-c", _PYTHON, "{secret}"],
}


@pytest.mark.parametrize("program", list(_BLOCKS))
def test_a_secret_that_a_block_cuts_is_masked_after_any_pause(tmp_path: Path, program: str) -> None:
    """Blocks of 8,192 bytes or their half end in the secret; each next one waits for the pause."""
    path, going = tmp_path / "log", tmp_path / "going"
    os.mkfifo(going)
    keep = os.open(going, os.O_RDWR)
    secret = "Pl4in-secret-XYZ"

    class Paused(TaskLog):
        def release(self) -> None:
            super().release()
            os.write(keep, b"on\n")

    argv = [word.replace("{secret}", secret) for word in _BLOCKS[program]]
    with Paused(str(path), "t", None, masks(secret)) as log:
        env = {"GOING": str(going), "PATH": os.environ["PATH"]}
        ended = launch.run(argv, cwd="/", env=env, output=log.write, pausing=log, timeout=60)
    os.close(keep)
    assert ended.exit_code == 0, path.read_bytes()[-2000:]
    left = path.read_text().replace("x", "").split()
    assert left == ["P***", "Pl***", "***", "***", "***"]


def test_a_process_that_is_killed_in_the_midst_of_a_secret_leaves_none_of_it(
    tmp_path: Path,
) -> None:
    code = "import os, signal\nos.write(1, b'a swordf')\nos.kill(os.getpid(), signal.SIGKILL)"
    path = tmp_path / "log"
    with TaskLog(str(path), "t", None, masks("swordfish")) as log:
        argv = [sys.executable, "-c", code]
        launch.run(argv, cwd="/", env={}, output=log.write, pausing=log, timeout=60)
        log.finish()
        log.line("[pit] signal: killed by signal 9")
    assert path.read_bytes() == b"a ***[pit] signal: killed by signal 9\n"


def test_a_line_of_pit_stands_before_what_is_held_back(tmp_path: Path) -> None:
    with TaskLog(str(tmp_path / "log"), "t", None, masks("swordfish")) as log:
        log.write(b"a sword")
        log.line("no swordfish")
        log.write(b"fish, ")
    assert (tmp_path / "log").read_bytes() == b"a no ***\n***, "


def test_secrets_that_come_to_be_known_are_masked_from_then_on(tmp_path: Path) -> None:
    made = Masks()
    with TaskLog(str(tmp_path / "log"), "t", None, made) as log:
        log.write(b"swordfish ")
        made.add("swordfish")
        log.write(b"swordfish ")
    assert (tmp_path / "log").read_bytes() == b"swordfish *** "


def _run(code: str, log: TaskLog) -> None:
    ended = launch.run(
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
