"""`s3_*` against real servers: nanio checks signatures, moto knows the rest of the protocol."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from pit.errors import ConnectorFailed, MissingExtra, PitError, Refused
from pit.work.connectors.s3 import methods as s3
from pit.work.connectors.s3 import objects
from tests.servers import http as web
from tests.servers import s3 as server
from tests.servers.s3 import ACCESS_KEY, BUCKET, S3, SECRET_KEY
from tests.work.connectors.direct import DirectCall

LIST, HEAD, GET = s3.METHODS["s3_list"], s3.METHODS["s3_head"], s3.METHODS["s3_get"]
PUT, DELETE, PRESIGN = s3.METHODS["s3_put"], s3.METHODS["s3_delete"], s3.METHODS["s3_presign"]


@pytest.fixture(scope="module")
def signed() -> Iterator[S3]:
    with server.signed() as running:
        yield running


@pytest.fixture(scope="module")
def complete() -> Iterator[S3]:
    with server.complete() as running:
        yield running


@pytest.fixture(scope="module", params=["signed", "complete"])
def storage(request: pytest.FixtureRequest) -> S3:
    """Both servers, one after the other: one contract, every storage."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture
def call(tmp_path: Path) -> DirectCall:
    data = tmp_path / "data"
    data.mkdir()
    return DirectCall(data)


def at(call: DirectCall, storage: S3, **fields: str) -> DirectCall:
    """The call, with the secret `store` for a server."""
    call.secrets["store"] = storage.secret(**fields)
    return call


def put(call: DirectCall, key: str, content: bytes, **params: Any) -> Any:
    """Upload bytes."""
    (call.data / "upload").write_bytes(content)
    return call.ask(PUT, secret="store", file="upload", key=key, **params)


def keys(told: list[dict[str, Any]]) -> list[str]:
    return sorted(each["key"] for each in told)


# ---------------------------------------------------------------- there and back


def test_an_object_there_and_back(call: DirectCall, storage: S3) -> None:
    at(call, storage)
    content, key = os.urandom(100_000), "round/trip ü+%&=~.bin"
    made = put(call, key, content)
    assert (made["bucket"], made["key"], made["size"]) == (BUCKET, key, 100_000)
    assert made["etag"] == hashlib.md5(content).hexdigest()
    head = call.ask(HEAD, secret="store", key=key)
    got = call.ask(GET, secret="store", key=key, file="sub/back.bin")
    assert (call.data / "sub/back.bin").read_bytes() == content
    assert got == {**head, "file": "sub/back.bin", "sha256": hashlib.sha256(content).hexdigest()}
    assert head["size"] == 100_000
    assert head["modified"].startswith("20")
    assert call.ask(DELETE, secret="store", key=key) == ""
    assert call.ask(HEAD, secret="store", key=key, missing_ok=True) is None
    assert call.ask(DELETE, secret="store", key=key) == "", "as S3 has it, no error"


def test_a_large_object_goes_in_parts(call: DirectCall, storage: S3) -> None:
    at(call, storage)
    content = os.urandom(12 << 20)
    made = put(call, "large", content)
    assert made["etag"].endswith("-3"), "three parts"
    call.ask(GET, secret="store", key="large")
    assert (call.data / "large").read_bytes() == content


def test_an_empty_object(call: DirectCall, storage: S3) -> None:
    at(call, storage)
    assert put(call, "empty", b"")["size"] == 0
    assert call.ask(GET, secret="store", key="empty")["size"] == 0


def test_names_that_are_left_out(call: DirectCall, storage: S3) -> None:
    at(call, storage)
    (call.data / "report.csv").write_text("a\n")
    assert call.ask(PUT, secret="store", file="report.csv")["key"] == "report.csv"
    made = call.ask(PUT, secret="store", file="report.csv", key="into/")
    assert made["key"] == "into/report.csv"


def test_type_and_metadata_are_kept(call: DirectCall, complete: S3) -> None:
    at(call, complete)
    (call.data / "typed.csv").write_text("a")
    call.ask(PUT, secret="store", file="typed.csv", metadata={"owner": "finance"})
    put(call, "typed.bin", b"a", content_type="text/x-special")
    assert _header(call, "typed.csv", "x-amz-meta-owner") == "finance"
    assert _header(call, "typed.csv", "Content-Type") == "text/csv"
    assert _header(call, "typed.bin", "Content-Type") == "text/x-special"


def _header(call: DirectCall, key: str, name: str) -> str | None:
    parts = urlsplit(call.ask(PRESIGN, secret="store", key=key, method="HEAD"))
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("HEAD", f"{parts.path}?{parts.query}")
    value = connection.getresponse().getheader(name)
    connection.close()
    return value


# ---------------------------------------------------------------- many objects


def test_a_prefix_is_the_beginning_of_a_key(call: DirectCall, storage: S3) -> None:
    at(call, storage)
    for key in ("list/2024-01.csv", "list/2024-02.txt", "list/2025.csv", "list/deep/2024-x.csv"):
        put(call, key, b"x")

    def listed(**params: Any) -> list[str]:
        return keys(call.ask(LIST, secret="store", **params))

    assert listed(prefix="list/2024") == ["list/2024-01.csv", "list/2024-02.txt"]
    assert len(listed(prefix="list/")) == len(listed(prefix="list")) == 4
    assert listed(prefix="lis/") == []
    assert len(listed(prefix="list/", pattern="*.csv")) == 3
    assert listed(prefix="list/", pattern="deep/*") == ["list/deep/2024-x.csv"]
    assert len(listed(prefix="list/", limit=2)) == 2


def test_a_list_goes_on_beyond_a_thousand(call: DirectCall, signed: S3) -> None:
    at(call, signed)
    assert signed.folder is not None
    (signed.folder / "many").mkdir()
    for number in range(2100):
        (signed.folder / f"many/{number:04}").write_bytes(b"x")
    told = call.ask(LIST, secret="store", prefix="many/")
    assert keys(told) == [f"many/{number:04}" for number in range(2100)]
    assert len(call.ask(LIST, secret="store", prefix="many/", limit=1050)) == 1050


def test_all_objects_with_a_prefix_are_downloaded(call: DirectCall, storage: S3) -> None:
    at(call, storage)
    for key in ("batch/a.csv", "batch/sub/b.csv", "batch/c.txt", "batchother"):
        put(call, key, key.encode())
    told = call.ask(GET, secret="store", prefix="batch/", pattern="*.csv", folder="in")
    assert sorted(each["file"] for each in told) == ["in/a.csv", "in/sub/b.csv"]
    assert (call.data / "in/sub/b.csv").read_text() == "batch/sub/b.csv"
    assert sorted(call.saved) == [call.data / "in/a.csv", call.data / "in/sub/b.csv"]
    assert call.ask(GET, secret="store", prefix="none/") == []


def test_markers_of_folders_are_no_objects(call: DirectCall, complete: S3) -> None:
    """Consoles make an empty object with a slash at its end where somebody makes a "folder"."""
    at(call, complete)
    _put_as_it_is(complete, "marked/", b"")
    _put_as_it_is(complete, "marked/sub/", b"")
    put(call, "marked/empty", b"")
    put(call, "marked/sub/full", b"x")
    told = call.ask(LIST, secret="store", prefix="marked")
    assert keys(told) == ["marked/empty", "marked/sub/full"]
    assert len(call.ask(GET, secret="store", prefix="marked/", folder="in")) == 2
    assert (call.data / "in/sub/full").read_text() == "x"


ODD = ["a//b", "/lead", "tail/", "./a", "a/../b", "a/.", "a\x01", "del\x7f"]


def test_a_key_that_has_no_path_is_nobodys_neighbour(call: DirectCall, complete: S3) -> None:
    """It is listed as it is; what cannot be fetched is named, and stops nothing beside it."""
    at(call, complete)
    for number, key in enumerate(ODD):
        _put_as_it_is(complete, f"odd{number}/{key}", b"odd")
        put(call, f"odd{number}/fine.csv", b"fine")
    _put_as_it_is(complete, "/root", b"odd")

    def listed(**params: Any) -> list[str]:
        return keys(call.ask(LIST, secret="store", **params))

    for number, key in enumerate(ODD):
        folder = f"odd{number}/"
        assert listed(prefix=folder) == sorted([folder + key, f"{folder}fine.csv"])
        assert listed(prefix=folder + key) == [folder + key]
        assert listed(prefix=f"{folder}fi") == listed(prefix=folder, pattern="*.csv")
        told = call.ask(GET, secret="store", prefix=folder, pattern="*.csv", folder="in")
        assert [each["key"] for each in told] == [f"{folder}fine.csv"]
        with pytest.raises(ConnectorFailed, match="cannot be fetched") as caught:
            call.ask(GET, secret="store", prefix=folder, folder="all")
        assert repr(folder + key) in str(caught.value)
        assert "narrow the prefix, or set pattern" in caught.value.hint
        assert call.ask(HEAD, secret="store", key=f"{folder}none", missing_ok=True) is None
        assert call.ask(DELETE, secret="store", key=f"{folder}fine.csv") == ""
        assert listed(prefix=folder) == [folder + key]
    assert not (call.data / "all").exists()
    assert listed(prefix="/") == ["/root"]
    assert "/root" in listed()
    assert call.ask(HEAD, secret="store", key="none", missing_ok=True) is None


def test_keys_are_told_letter_by_letter(call: DirectCall, storage: S3) -> None:
    """One letter may be written in two ways, and what a URL or XML would read otherwise stays."""
    at(call, storage)
    composed, apart = "caf\u00e9", "cafe\u0301"
    signs = [
        "a+b c",
        "100%",
        "a&b=c;d",
        "<x>",
        "q?y#z",
        "'\"",
        "back\\slash",
        "日本",
        "~*()!",
    ]
    for key in (composed, apart, *signs):
        put(call, f"signs/{key}.txt", key.encode())
    for key in (composed, apart, *signs):
        (told,) = call.ask(LIST, secret="store", prefix=f"signs/{key}")
        assert told["key"] == f"signs/{key}.txt"
        assert {**told} == call.ask(HEAD, secret="store", key=told["key"])
    assert len(call.ask(GET, secret="store", prefix="signs/", folder="in")) == len(signs) + 2
    assert (call.data / f"in/{apart}.txt").read_text() == apart


def test_a_list_asks_for_its_prefix_and_nothing_around_it(call: DirectCall) -> None:
    """With a session token, a path behind the host, and again where the storage wants a pause."""
    page = (
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>raw/2026-a</Key>"
        "<Size>3</Size><ETag>&quot;e&quot;</ETag>"
        "<LastModified>2026-01-31T10:00:00.000Z</LastModified></Contents></ListBucketResult>"
    )
    with web.serving() as origin:
        origin.canned = (200, page)
        at(call, S3(origin.port), endpoint=f"{origin.url}/s3", session_token="tok-of-a-session")
        assert call.ask(LIST, secret="store", prefix="raw/2026-", retries=0) == [
            {"key": "raw/2026-a", "size": 3, "etag": "e", "modified": "2026-01-31T10:00:00+00:00"}
        ]
        (seen,) = origin.requests
        assert seen.target == (f"/s3/{BUCKET}?encoding-type=url&list-type=2&prefix=raw%2F2026-")
        headers = {name.lower(): value for name, value in seen.headers.items()}
        assert headers["x-amz-security-token"] == "tok-of-a-session"
        assert (
            "host;x-amz-content-sha256;x-amz-date;x-amz-security-token" in headers["authorization"]
        )
        encoded = page.replace("<Contents>", "<EncodingType>url</EncodingType><Contents>")
        origin.canned = (200, encoded.replace("2026-a", "2026-%252F+%0A%2B"))
        (told,) = call.ask(LIST, secret="store", prefix="raw/")
        assert told["key"] == "raw/2026-%2F \n+"
        origin.requests.clear()
        origin.canned = (503, "<Error><Code>SlowDown</Code></Error>")
        with pytest.raises(ConnectorFailed, match="answers SlowDown"):
            call.ask(LIST, secret="store", retries=2)
        assert len(origin.requests) == 3
        for strange in ("", "<html></html>", "<!DOCTYPE x><ListBucketResult/>", "{"):
            origin.canned = (200, strange)
            with pytest.raises(ConnectorFailed, match="no list of objects"):
                call.ask(LIST, secret="store", retries=0)


def _put_as_it_is(storage: S3, key: str, content: bytes) -> None:
    connection = http.client.HTTPConnection(urlsplit(storage.endpoint).netloc)
    connection.request("PUT", f"/{BUCKET}/{quote(key)}", body=content)
    assert connection.getresponse().status == 200
    connection.close()


# ---------------------------------------------------------------- presigned URLs


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_presigned_url_needs_no_key(call: DirectCall, signed: S3, method: str) -> None:
    at(call, signed)
    put(call, "shared/file ü", b"for all")
    url = call.ask(PRESIGN, secret="store", key="shared/file ü", method=method, expires="5m")
    assert SECRET_KEY not in url
    assert "X-Amz-Expires=300" in url
    assert call.reveals(f"as the log would have it: {url.rpartition('Signature=')[2]}")
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    target = f"{parts.path}?{parts.query}"
    connection.request(method, target, body=b"new" if method == "PUT" else None)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.read() == (b"for all" if method == "GET" else b"")
    connection.request(method, target.replace("Expires=300", "Expires=301"))
    assert connection.getresponse().status == 403, "the server checks signatures"
    connection.close()


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "https://claims.s3.us-east-1.amazonaws.com/key?"),
        ({"region": "eu-west-1"}, "https://claims.s3.eu-west-1.amazonaws.com/key?"),
        ({"path_style": "true"}, "https://s3.us-east-1.amazonaws.com/claims/key?"),
        ({"endpoint": "https://r2.example/"}, "https://r2.example/claims/key?"),
        (
            {"endpoint": "https://r2.example", "path_style": "false"},
            "https://claims.r2.example/key?",
        ),
    ],
)
def test_where_requests_go(call: DirectCall, fields: dict[str, str], place: str) -> None:
    call.secrets["lake"] = {"access_key_id": "AKIA", "secret_access_key": "s" * 20, **fields}
    url = call.ask(PRESIGN, secret="lake", bucket="claims", key="key")
    assert url.startswith(place)
    region = fields.get("region", "us-east-1")
    assert f"%2F{region}%2Fs3%2F" in url


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"expires": "8d"}, "expires"),
        ({"expires": "200h"}, "seven days"),
        ({"method": "POST"}, "method must be"),
    ],
)
def test_presigning_knows_its_limits(
    call: DirectCall, signed: S3, params: dict[str, str], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        at(call, signed).ask(PRESIGN, secret="store", key="x", **params)


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("method", [HEAD, GET])
def test_a_key_that_is_not_there(call: DirectCall, storage: S3, method: Any) -> None:
    with pytest.raises(ConnectorFailed, match='"no/such" is not in bucket "store"') as caught:
        at(call, storage).ask(method, secret="store", key="no/such")
    assert not caught.value.retryable
    assert list(call.data.iterdir()) == []


@pytest.mark.parametrize("method", [HEAD, GET, LIST, PUT])
def test_a_bucket_that_is_not_there(call: DirectCall, storage: S3, method: Any) -> None:
    (call.data / "file").write_text("x")
    params = {LIST: {}, PUT: {"file": "file"}}.get(method, {"key": "key"})
    with pytest.raises(ConnectorFailed, match='bucket "no-such" does not exist at http'):
        at(call, storage).ask(method, secret="store", bucket="no-such", **params)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"access_key": "AKIAUNKNOWN"}, "does not know its access_key"),
        ({"secret_key": "wrong-secret-key"}, "its secret_key does not fit"),
    ],
)
@pytest.mark.parametrize("method", [GET, LIST])
def test_keys_that_are_wrong(
    call: DirectCall, signed: S3, fields: dict[str, str], message: str, method: Any
) -> None:
    with pytest.raises(ConnectorFailed, match=message) as caught:
        at(call, signed, **fields).ask(
            method, secret="store", **({"key": "x"} if method is GET else {})
        )
    assert caught.value.hint == 'Correct the secret "store"'
    told = f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
    assert SECRET_KEY not in told
    assert "wrong-secret-key" not in told


@pytest.mark.parametrize(
    ("code", "status", "more", "message", "hint", "retryable"),
    [
        ("AccessDenied", 403, "", "access is denied", "", False),
        ("RequestTimeTooSkewed", 403, "", "clock is wrong", "Set this machine's clock", False),
        ("ExpiredToken", 400, "", "session_token has expired", "Correct", False),
        ("AuthorizationHeaderMalformed", 400, "<Region>eu-west-1</Region>",
         "is not in region us-east-1", 'region = "eu-west-1"', False),
        ("PermanentRedirect", 301, "", "is not in region", "Check", False),
        ("SlowDown", 503, "", "answers SlowDown", "", True),
        ("Strange", 409, f"<Message>said {SECRET_KEY}</Message>", r"said \*\*\*", "", False),
    ],
)  # fmt: skip
def test_what_a_storage_refuses_is_told_by_its_meaning(
    call: DirectCall, code: str, status: int, more: str, message: str, hint: str, retryable: bool
) -> None:
    with web.serving() as origin:
        origin.canned = (status, f"<Error><Code>{code}</Code>{more}</Error>")
        at(call, S3(origin.port))
        with pytest.raises(ConnectorFailed, match=message) as caught:
            call.ask(GET, secret="store", key="some/key", retries=0)
    assert hint in caught.value.hint
    assert caught.value.retryable == retryable
    assert SECRET_KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1 cannot be reached"),
        ("http://nothing.invalid", "the host of http://nothing.invalid is not known"),
    ],
)
def test_a_storage_that_is_not_there(call: DirectCall, endpoint: str, message: str) -> None:
    at(call, S3(1), endpoint=endpoint)
    with pytest.raises(ConnectorFailed, match=message) as caught:
        call.ask(LIST, secret="store", retries=1)
    assert caught.value.retryable
    assert "Check the endpoint" in caught.value.hint


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", "./a", "a\nb", "a\0b"])
@pytest.mark.parametrize("method", [GET, HEAD, DELETE, PRESIGN])
def test_keys_that_are_none(call: DirectCall, signed: S3, method: Any, key: str) -> None:
    with pytest.raises(Refused, match="is not the key"):
        at(call, signed).ask(method, secret="store", key=key)


@pytest.mark.parametrize("bucket", ["a/b", "..", "a", "a..b", "b?x", "evil.example/", "a@b"])
def test_buckets_that_are_none(call: DirectCall, signed: S3, bucket: str) -> None:
    with pytest.raises(Refused, match="not the name of a bucket"):
        at(call, signed).ask(LIST, secret="store", bucket=bucket)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "link", "sub/../../x"])
def test_no_file_outside_the_data_folder_is_touched(
    call: DirectCall, signed: S3, tmp_path: Path, name: str
) -> None:
    at(call, signed)
    put(call, "key", b"inside")
    (tmp_path / "x").write_text("outside")
    (call.data / "link").symlink_to(tmp_path / "x")
    attacks: list[tuple[Any, dict[str, str]]] = [
        (GET, {"key": "key", "file": name}),
        (PUT, {"key": "key", "file": name}),
        (GET, {"prefix": "key", "folder": name}),
    ]
    for method, params in attacks:
        with pytest.raises(Refused):
            call.ask(method, secret="store", **params)
    assert (tmp_path / "x").read_text() == "outside"


def test_metadata_cannot_smuggle_headers(call: DirectCall, signed: S3) -> None:
    at(call, signed)
    for params in ({"metadata": {"a": "b\r\nX: y"}}, {"content_type": "a\nb"}):
        with pytest.raises(Refused, match="line break"):
            put(call, "key", b"x", **params)


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("plain", "is a plain value"),
        ({"access_key": "a"}, 'no field "secret_key"'),
        ({"access_key": "a", "secret_key": "b", "endpoint": "store.example"}, "endpoint"),
        ({"ca": "/no/such/file"}, "ca"),
    ],
)
def test_secrets_that_do_not_fit(call: DirectCall, secret: Any, message: str) -> None:
    call.secrets["store"] = secret
    with pytest.raises(Refused, match=message):
        call.ask(LIST, secret="store", bucket="bucket")


def test_the_environment_has_no_say(
    call: DirectCall, signed: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and endpoints for Amazon's tools, as they stand in many environments."""
    with web.serving() as elsewhere:
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
            monkeypatch.setenv(name, elsewhere.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "other")
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        monkeypatch.setenv("AWS_REGION", "mars-north-1")
        at(call, signed)
        put(call, "key", b"mine")
        call.ask(GET, secret="store", key="key")
        url = call.ask(PRESIGN, secret="store", key="key")
        assert url.startswith(f"{signed.endpoint}/{BUCKET}/key?")
        assert f"{ACCESS_KEY}%2F" in url
        assert not elsewhere.requests


def test_a_redirect_to_another_host_takes_neither_key_nor_signature_along(call: DirectCall) -> None:
    with web.serving() as origin, web.serving() as elsewhere:
        origin.detour = elsewhere.url
        with pytest.raises(ConnectorFailed):
            at(call, S3(origin.port)).ask(GET, secret="store", key="x", retries=0)
        assert "Signature=" in origin.requests[-1].text
        for seen in elsewhere.requests:
            assert "Signature" not in seen.text
            assert SECRET_KEY not in seen.text


def test_without_keys_nothing_is_signed(call: DirectCall) -> None:
    with web.serving() as origin:
        call.secrets["open"] = {"endpoint": origin.url}
        with pytest.raises(ConnectorFailed):
            call.ask(GET, secret="open", bucket="public", key="x", retries=0)
        assert "authorization" not in {name.lower() for name in origin.requests[-1].headers}
        with pytest.raises(Refused, match="no access_key to sign with"):
            call.ask(PRESIGN, secret="open", bucket="public", key="x")


# ---------------------------------------------------------------- size and time


def test_memory_is_flat_whatever_the_size(signed: S3, tmp_path: Path) -> None:
    """120 MB up and down again; the parts under way are all that is in memory."""
    with open(tmp_path / "big", "wb") as file:
        for _ in range(120):
            file.write(bytes(range(256)) * (1 << 12))
    script = f"""
import resource
from pathlib import Path
from pit.work.connectors.s3 import methods as s3
from pit.work.connectors.s3 import objects
from tests.work.connectors.direct import DirectCall
call = DirectCall(Path({str(tmp_path)!r}), {{"store": {signed.secret()!r}}})
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(call.data / "small").write_bytes(bytes(1 << 20))
call.ask(s3.METHODS["s3_put"], secret="store", file="small")
before = peak()
call.ask(s3.METHODS["s3_put"], secret="store", file="big")
call.ask(s3.METHODS["s3_get"], secret="store", key="big", file="back")
print((peak() - before) // 1024)
"""
    grown = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert int(grown) < 80
    assert _digest(tmp_path / "back") == _digest(tmp_path / "big")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize("way", ["down", "up", "list"])
def test_a_transfer_ends_with_its_attempt(call: DirectCall, way: str) -> None:
    failures: list[PitError] = []
    doing = {"down": GET, "up": PUT, "list": LIST}[way]
    with web.serving() as origin:
        origin.stuck = "up" if way == "up" else "down"
        at(call, S3(origin.port))
        (call.data / "file").write_bytes(bytes(1000))
        params = {"key": "x", "file": "file" if way == "up" else "out"} if way != "list" else {}

        def transfer() -> None:
            try:
                call.ask(doing, secret="store", **params)
            except PitError as error:
                failures.append(error)

        thread = threading.Thread(target=transfer)
        thread.start()
        assert origin.arrived.wait(30)
        call.leave()
        thread.join(60)
        assert not thread.is_alive()
        if way != "up":
            assert origin.left.wait(30), "the connection is closed"
    method = {"down": "s3_get", "up": "s3_put", "list": "s3_list"}[way]
    assert [str(error) for error in failures] == [f"{method} store: the attempt is over"]
    assert [path.name for path in call.data.iterdir()] == ["file"]


def test_the_whole_is_bounded(call: DirectCall) -> None:
    with web.serving() as origin:
        origin.stuck = "down"
        at(call, S3(origin.port))
        asked: list[tuple[Any, dict[str, str]]] = [(GET, {"key": "x"}), (LIST, {})]
        for method, params in asked:
            with pytest.raises(ConnectorFailed, match="longer than max_time"):
                call.ask(method, secret="store", max_time=0.3, **params)
    assert list(call.data.iterdir()) == []


def test_the_library_is_loaded_on_first_use_only() -> None:
    script = "import sys; import pit.work.connectors.s3.methods; sys.exit('obstore' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_library_that_is_not_installed(call: DirectCall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    call.secrets["store"] = {"endpoint": "http://127.0.0.1:2"}
    with pytest.raises(MissingExtra, match="S3 needs a library that is not installed") as caught:
        call.ask(LIST, secret="store", bucket="bucket")
    assert caught.value.hint == "pip install 'pit-orchestrator[s3]'"


# ------------------------------------------------------------------------- several at once


def together(*errors: Exception) -> Exception:
    """What is raised where several pieces of work go wrong at the same moment."""

    async def all_at_once() -> None:
        moment = asyncio.Barrier(len(errors))

        async def work(key: str) -> None:
            await moment.wait()
            raise errors[int(key)]

        await objects.together(work, map(str, range(len(errors))), len(errors))

    with pytest.raises(tuple(map(type, errors))) as caught:
        asyncio.run(all_at_once())
    return caught.value


def test_errors_that_come_at_once_are_all_told() -> None:
    found = together(
        ConnectorFailed("a.csv: too slow", "Try later", retryable=True),
        ConnectorFailed("b.csv: too slow", retryable=True),
        ConnectorFailed("a.csv: too slow", retryable=True),
    )
    assert isinstance(found, ConnectorFailed)
    assert sorted(str(found).split("; ")) == ["a.csv: too slow", "b.csv: too slow"]
    assert (found.hint, found.retryable) == ("Try later", True)


def test_one_that_cannot_succeed_keeps_the_others_from_being_tried_again() -> None:
    found = together(
        ConnectorFailed("a.csv: too slow", retryable=True), ConnectorFailed("b.csv: forbidden")
    )
    assert isinstance(found, ConnectorFailed)
    assert not found.retryable
    assert "forbidden" in str(found)


def test_errors_without_words_for_people_come_along_as_notes() -> None:
    found = together(OSError("one"), ValueError("two"))
    said = {"one": "ValueError: two", "two": "OSError: one"}
    assert found.__notes__ == [f"and at the same time: {said[str(found)]}"]
    alone = together(OSError("one"))
    assert not hasattr(alone, "__notes__")
