"""`http_request` against a real server: bodies, files, retries, time."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from pit.errors import ConnectorFailed, MissingExtra, PitError, Refused
from pit.work.connectors.http import methods as http
from tests.servers import http as server
from tests.servers.http import BLOCK, Origin
from tests.work.connectors.direct import DirectCall

REQUEST = http.METHODS["http_request"]
SOON = {"retry_delay": "1ms"}


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with server.serving() as running:
        yield running


@pytest.fixture
def call(tmp_path: Path) -> DirectCall:
    data = tmp_path / "data"
    data.mkdir()
    return DirectCall(data)


def files(call: DirectCall) -> set[str]:
    """Everything in the data folder, hidden files too."""
    return {str(p.relative_to(call.data)) for p in call.data.rglob("*") if not p.is_dir()}


def content(size: int) -> bytes:
    """What the server sends for `/bytes/<size>`."""
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


# ---------------------------------------------------------------- bodies


def test_an_answer_is_told_with_status_headers_and_body(origin: Origin, call: DirectCall) -> None:
    told = call.ask(REQUEST, url=f"{origin.url}/text")
    assert told["status"] == 200
    assert told["body"] == "grüße"
    assert told["url"] == f"{origin.url}/text"
    assert told["headers"]["content-type"] == "text/plain; charset=latin-1"
    assert (told["attempts"], told["redirects"]) == (1, 0)
    assert told["seconds"] >= 0


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("json", {"json": {"answer": [42, None]}}),
        ("binary", {"base64": base64.b64encode(b"\xff\x00\xfe").decode()}),
        ("gzip", {"body": "unpacked"}),
    ],
)
def test_a_body_is_json_text_or_base64(
    origin: Origin, call: DirectCall, path: str, part: dict[str, Any]
) -> None:
    told = call.ask(REQUEST, url=f"{origin.url}/{path}")
    assert part.items() <= told.items()


def test_what_only_claims_to_be_json_is_text(origin: Origin, call: DirectCall) -> None:
    told = call.ask(REQUEST, url=f"{origin.url}/text", method="GET", expect=200)
    assert "json" not in told


@pytest.mark.parametrize(
    ("params", "kind", "body"),
    [
        ({"json": {"a": [1, "ü"]}}, "application/json", '{"a":[1,"ü"]}'.encode()),
        ({"json": None}, "application/json", b"null"),
        ({"body": "grüße"}, "text/plain; charset=utf-8", "grüße".encode()),
        (
            {"form": {"a": "1&2", "b": "ü"}},
            "application/x-www-form-urlencoded",
            b"a=1%262&b=%C3%BC",
        ),
        ({"file": "in.csv"}, "text/csv", b"a,b\n1,2\n"),
    ],
)
def test_what_is_sent(
    origin: Origin, call: DirectCall, params: dict[str, Any], kind: str, body: bytes
) -> None:
    (call.data / "in.csv").write_text("a,b\n1,2\n")
    call.ask(REQUEST, url=f"{origin.url}/echo", method="post", **params)
    last = origin.requests[-1]
    assert last.method == "POST"
    assert last.headers["Content-Type"] == kind
    assert last.body == body


def test_a_form_with_files_is_multipart(origin: Origin, call: DirectCall) -> None:
    from email import message_from_bytes, policy

    name = 'quo"te.csv'
    (call.data / name).write_text("a,b\n")
    call.ask(
        REQUEST,
        url=f"{origin.url}/echo",
        method="POST",
        form={"note": "with a\nline"},
        files={"up\r\nload": name},
    )
    last = origin.requests[-1]
    head = f"Content-Type: {last.headers['Content-Type']}\r\n\r\n".encode()
    parts = list(message_from_bytes(head + last.body, policy=policy.HTTP).iter_parts())
    assert [part.get_payload(decode=True) for part in parts] == [b"with a\nline", b"a,b\n"]
    assert parts[0].get_param("name", header="content-disposition") == "note"
    assert b'name="up%0D%0Aload"; filename="quo%22te.csv"' in last.body


def test_query_parameters_join_those_of_the_url(origin: Origin, call: DirectCall) -> None:
    query = {"b": [2, "x y"], "c": True, "d": None}
    call.ask(REQUEST, url=f"{origin.url}/echo?a=1", query=query)
    assert origin.requests[-1].target == "/echo?a=1&b=2&b=x+y&c=true"


def test_no_cookie_is_kept_for_the_next_request(origin: Origin, call: DirectCall) -> None:
    told = call.ask(REQUEST, url=f"{origin.url}/cookies")
    assert told["headers"]["set-cookie"] == "a=1, b=2"
    call.ask(REQUEST, url=f"{origin.url}/echo")
    assert "Cookie" not in origin.requests[-1].headers


def test_only_one_body(origin: Origin, call: DirectCall) -> None:
    with pytest.raises(Refused, match="json and body do not go together"):
        call.ask(REQUEST, url=f"{origin.url}/echo", method="POST", json=1, body="x")


def test_an_answer_that_is_too_large_is_not_kept_in_memory(
    origin: Origin, call: DirectCall
) -> None:
    for path in ("bytes/17000000", "bomb"):
        with pytest.raises(ConnectorFailed, match="larger than 16 MB") as caught:
            call.ask(REQUEST, url=f"{origin.url}/{path}")
        assert "save_to" in caught.value.hint


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("path", ["bytes/300001", "chunked/300001"])
def test_an_answer_is_saved_to_a_file(origin: Origin, call: DirectCall, path: str) -> None:
    told = call.ask(REQUEST, url=f"{origin.url}/{path}", save_to="sub/out.bin")
    made = (call.data / "sub/out.bin").read_bytes()
    if path.startswith("bytes"):
        assert made == content(300001)
    assert told["file"] == "sub/out.bin"
    assert told["size"] == len(made) == 300001
    assert told["sha256"] == hashlib.sha256(made).hexdigest()
    assert files(call) == {"sub/out.bin"}
    assert call.saved == [call.data / "sub/out.bin"], "what others may read, when it is skipped"
    assert origin.requests[-1].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("path", ["short", "status/500", "bytes/x"])
def test_a_file_is_saved_whole_or_not_at_all(origin: Origin, call: DirectCall, path: str) -> None:
    (call.data / "out.bin").write_text("old")
    with pytest.raises(ConnectorFailed):
        call.ask(REQUEST, url=f"{origin.url}/{path}", save_to="out.bin", retries=1, **SOON)
    assert call.saved == []
    assert (call.data / "out.bin").read_text() == "old"
    assert files(call) == {"out.bin"}


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_content_is_no_file(
    origin: Origin, call: DirectCall, status: int
) -> None:
    (call.data / "out").write_text("as it was")
    headers = {"If-None-Match": '"1"'}
    url = f"{origin.url}/status/{status}"
    told = call.ask(REQUEST, url=url, headers=headers, save_to="out")
    assert (told["status"], told["body"]) == (status, "")
    assert (call.data / "out").read_text() == "as it was"


def test_a_folder_is_no_place_for_a_file(origin: Origin, call: DirectCall) -> None:
    (call.data / "folder").mkdir()
    before = len(origin.requests)
    with pytest.raises(Refused, match='"folder" is a folder'):
        call.ask(REQUEST, url=f"{origin.url}/text", save_to="folder")
    assert len(origin.requests) == before


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "sub/../../x", "link", "", "a\0b", "fifo"])
@pytest.mark.parametrize("argument", ["file", "save_to", "files", "ca"])
def test_no_file_outside_the_data_folder_is_touched(
    origin: Origin, call: DirectCall, argument: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("outside")
    (call.data / "link").symlink_to(tmp_path / "x")
    os.mkfifo(call.data / "fifo")
    before = len(origin.requests)
    given: Any = {"upload": name} if argument == "files" else name
    with pytest.raises(Refused):
        call.ask(REQUEST, url=f"{origin.url}/echo", method="PUT", **{argument: given})
    assert len(origin.requests) == before
    assert (tmp_path / "x").read_text() == "outside"


def test_memory_is_flat_whatever_the_size(origin: Origin, tmp_path: Path) -> None:
    """200 MB down and up again, in a process that may grow by less than a tenth of it."""
    script = f"""
import resource, sys
from pathlib import Path
from pit.work.connectors.http import methods as http
from tests.work.connectors.direct import DirectCall
call, ask = DirectCall(Path({str(tmp_path)!r})), http.METHODS["http_request"]
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
call.ask(ask, url="{origin.url}/bytes/100000", save_to="small")
call.ask(ask, url="{origin.url}/echo", method="PUT", file="small")
before = peak()
call.ask(ask, url="{origin.url}/bytes/200000000", save_to="big")
call.ask(ask, url="{origin.url}/status/200", method="PUT", file="big")
print((peak() - before) // 1024)
"""
    grown = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert (tmp_path / "big").stat().st_size == origin.requests[-1].size == 200_000_000
    assert int(grown) < 16
    (tmp_path / "big").unlink()


# ---------------------------------------------------------------- statuses and retries


def test_a_status_from_400_on_is_a_failure_that_quotes_the_answer(
    origin: Origin, call: DirectCall
) -> None:
    with pytest.raises(ConnectorFailed) as caught:
        call.ask(REQUEST, url=f"{origin.url}/status/404?page=2")
    expected = (
        f"GET {origin.url}/status/404 was answered with 404 Not Found: /status/404?page=2 None"
    )
    assert str(caught.value) == expected
    assert not caught.value.retryable


def test_an_error_holds_no_control_characters(call: DirectCall) -> None:
    with server.serving() as origin:
        origin.canned = (500, "\x1b[2Jgone\r\n\x9b1mbold\0")
        with pytest.raises(ConnectorFailed, match=r"Server Error:  ?\[2Jgone 1mbold$"):
            call.ask(REQUEST, url=f"{origin.url}/x", retries=0)


@pytest.mark.parametrize("expect", [404, [200, 404], "404", "200, 404", "[404]"])
def test_what_is_expected_is_no_failure(origin: Origin, call: DirectCall, expect: Any) -> None:
    assert call.ask(REQUEST, url=f"{origin.url}/status/404", expect=expect)["status"] == 404
    with pytest.raises(ConnectorFailed, match="204 No Content"):
        call.ask(REQUEST, url=f"{origin.url}/status/204", expect=expect)


@pytest.mark.parametrize(
    ("path", "attempts"), [("flaky/2?1", 3), ("later/1?after=0", 2), ("drop/1?1", 2)]
)
def test_what_passes_is_tried_again(
    origin: Origin, call: DirectCall, path: str, attempts: int
) -> None:
    told = call.ask(REQUEST, url=f"{origin.url}/{path}", **SOON)
    assert (told["body"], told["attempts"]) == ("at last", attempts)
    assert len(call.lines) == attempts - 1
    assert "again in 0.0 s" in call.lines[0]


def test_a_body_is_sent_anew_with_each_attempt(origin: Origin, call: DirectCall) -> None:
    (call.data / "in").write_text("again and again")
    for params in ({"file": "in"}, {"files": {"upload": "in"}}):
        before = len(origin.requests)
        url = f"{origin.url}/flaky/1?{next(iter(params))}"
        call.ask(REQUEST, url=url, method="PUT", **params, **SOON)
        first, second = origin.requests[before:]
        assert first.body == second.body
        assert b"again and again" in first.body


@pytest.mark.parametrize(
    ("extra", "attempts"),
    [({}, 1), ({"retry_unsafe": True}, 2), ({"headers": {"Idempotency-Key": "1"}}, 2)],
)
@pytest.mark.parametrize("path", ["flaky/9", "drop/9"])
def test_a_request_that_may_have_been_carried_out_is_not_repeated(
    origin: Origin, call: DirectCall, path: str, extra: dict[str, Any], attempts: int
) -> None:
    before = len(origin.requests)
    with pytest.raises(ConnectorFailed):
        call.ask(REQUEST, url=f"{origin.url}/{path}", method="POST", retries=1, **extra, **SOON)
    assert len(origin.requests) - before == attempts


def test_a_host_that_cannot_be_reached(call: DirectCall) -> None:
    with pytest.raises(ConnectorFailed, match=r"http://127.0.0.1:1: connection refused") as caught:
        call.ask(REQUEST, url="http://127.0.0.1:1/x", method="POST", retries=2, **SOON)
    assert caught.value.retryable
    assert len(call.lines) == 2, "nothing was sent, so that even a POST can be repeated"


def test_a_host_that_does_not_exist(call: DirectCall) -> None:
    with pytest.raises(ConnectorFailed, match="this host is not known"):
        call.ask(REQUEST, url="http://nothing.invalid/", retries=0)


def test_retry_after_is_waited_for_unless_it_is_beyond_max_time(
    origin: Origin, call: DirectCall
) -> None:
    began = monotonic()
    told = call.ask(REQUEST, url=f"{origin.url}/later/1?after=1", **SOON)
    assert told["attempts"] == 2
    assert monotonic() - began >= 1
    with pytest.raises(ConnectorFailed, match="429 Too Many Requests"):
        call.ask(REQUEST, url=f"{origin.url}/later/9?after=3600", max_time="1m", **SOON)


# ---------------------------------------------------------------- time


def test_silence_is_bounded(origin: Origin, call: DirectCall) -> None:
    with pytest.raises(ConnectorFailed, match=r"nothing came for 0\.2 s") as caught:
        call.ask(REQUEST, url=f"{origin.url}/silent", timeout="200ms", retries=0)
    assert caught.value.retryable


@pytest.mark.parametrize("path", ["silent", "endless", "flaky/99"])
def test_the_whole_is_bounded(origin: Origin, call: DirectCall, path: str) -> None:
    with pytest.raises(ConnectorFailed, match=r"longer than max_time|503"):
        call.ask(REQUEST, url=f"{origin.url}/{path}", max_time=0.3, retries=99, save_to="out")
    assert files(call) == set()


@pytest.mark.parametrize("path", ["silent", "endless", "later/9?after=60"])
def test_a_request_ends_with_its_attempt(origin: Origin, call: DirectCall, path: str) -> None:
    origin.arrived.clear()
    origin.left.clear()
    failures: list[PitError] = []

    def ask() -> None:
        try:
            call.ask(REQUEST, url=f"{origin.url}/{path}", save_to="out")
        except PitError as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert origin.arrived.wait(30)
    call.leave()
    thread.join(60)
    assert not thread.is_alive()
    assert len(failures) == 1
    assert files(call) == set()
    if path == "endless":
        assert origin.left.wait(30), "the connection is closed"


def test_what_a_redirect_says_is_not_read_to_its_end(origin: Origin, call: DirectCall) -> None:
    assert call.ask(REQUEST, url=f"{origin.url}/detour")["body"] == "grüße"


def test_connections_are_kept_for_the_next_request(call: DirectCall) -> None:
    with server.serving() as origin:
        for _ in range(3):
            call.ask(REQUEST, url=f"{origin.url}/echo")
        assert len({seen.peer for seen in origin.requests}) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("timeout", "soon", "not a duration"),
        ("max_time", -1, "not a number of seconds"),
        ("timeout", "0s", "greater than zero"),
        ("expect", "good", "expect must be"),
        ("auth", "bearer", "no secret is named"),
    ],
)
def test_params_that_make_no_sense(call: DirectCall, name: str, value: Any, message: str) -> None:
    with pytest.raises(Refused, match=message):
        call.ask(REQUEST, url="http://127.0.0.1:1/", **{name: value})


def test_many_at_once_do_not_disturb_each_other(origin: Origin, tmp_path: Path) -> None:
    """One of them is cut short while the others share the same connections."""
    calls = [DirectCall(tmp_path) for _ in range(20)]
    leaver = DirectCall(tmp_path)
    told: list[Any] = []

    def ask(call: DirectCall) -> None:
        for _ in range(5):
            told.append(call.ask(REQUEST, url=f"{origin.url}/text", retries=0)["body"])

    def leave() -> None:
        threading.Timer(0.1, leaver.leave).start()
        with pytest.raises(ConnectorFailed, match="the attempt is over"):
            leaver.ask(REQUEST, url=f"{origin.url}/silent")

    threads = [threading.Thread(target=ask, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    leave()
    for thread in threads:
        thread.join(60)
    assert told == ["grüße"] * 100


@pytest.mark.parametrize("proxy", ["http://{user}127.0.0.1:{port}", "{user}127.0.0.1:{port}"])
def test_the_proxy_of_the_environment_is_used(
    call: DirectCall, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    with server.serving() as middle, server.serving() as origin:
        place = proxy.format(user="me:p%3Ass@", port=middle.port)
        monkeypatch.setenv("http_proxy", place)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        call.ask(REQUEST, url="http://nothing.invalid/echo")
        assert middle.requests[-1].target == "http://nothing.invalid/echo"
        assert middle.requests[-1].headers["proxy-authorization"] == "Basic bWU6cDpzcw=="
        call.ask(REQUEST, url=f"{origin.url}/echo")
        assert origin.requests[-1].target == "/echo"
        assert len(middle.requests) == 1


def test_a_proxy_that_is_not_there(call: DirectCall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ConnectorFailed, match="the proxy does not answer"):
        call.ask(REQUEST, url="http://nothing.invalid/", retries=0)


def test_a_library_that_is_not_installed(call: DirectCall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(MissingExtra, match="needs a library that is not installed") as caught:
        call.ask(REQUEST, url="http://127.0.0.1/")
    assert caught.value.hint == "pip install 'pit-orchestrator[http]'"


def test_the_library_is_loaded_on_first_use_only() -> None:
    script = (
        "import sys; import pit.work.connectors.http.methods; sys.exit('urllib3' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "undefined", "unicode_escape", "rot13", "?"]
)
def test_a_charset_that_is_none_neither_fails_nor_takes_for_ever(
    call: DirectCall, charset: str
) -> None:
    with server.serving() as hostile:
        body = "a" * 200_000 + "-" + "b" * 200_000
        hostile.canned, hostile.kind = (200, body), f"text/plain; charset={charset}"
        told = call.ask(REQUEST, url=hostile.url)
    assert base64.b64decode(told["base64"]).decode() == body


@pytest.mark.parametrize("depth", [400, 100_000])
def test_json_that_is_nested_without_an_end(call: DirectCall, depth: int) -> None:
    call.secrets["token"] = "tok-3f9c-secret"
    with server.serving() as hostile:
        hostile.canned, hostile.kind = (200, "[" * depth + "]" * depth), "application/json"
        with suppress(ConnectorFailed):
            told = call.ask(REQUEST, url=hostile.url, secret="token")
            assert len(told.get("body", "")) in (0, 2 * depth)
