"""Secrets over HTTP: they reach their own host and nobody else, and never come back."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from pit.errors import ConnectorFailed, PitError, Refused, SecretNotFound
from pit.work.connectors.http import credentials
from pit.work.connectors.http import methods as http
from pit.work.connectors.http.address import address
from pit.work.connectors.http.hops import Hop
from tests.servers import http as server
from tests.servers.http import Origin
from tests.work.connectors.direct import DirectCall, logging_everything

REQUEST = http.METHODS["http_request"]
TOKEN = "tok-3f/+9 ü-secret"
PLAIN = "tok-3f9c-secret"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with server.serving() as running:
        yield running


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Origin]:
    with server.serving() as running:
        yield running


@pytest.fixture
def call(tmp_path: Path, origin: Origin) -> DirectCall:
    data = tmp_path / "data"
    data.mkdir()
    return DirectCall(
        data,
        {
            "plain": PLAIN,
            "token": {"url": f"{origin.url}/echo", "token": PLAIN},
            "basic": {"host": f"127.0.0.1:{origin.port}", "user": "etl", "password": PLAIN},
            "header": {"header": "X-Api-Key", "value": PLAIN},
            "query": {"query": "api_key", "value": TOKEN},
            "other": {"host": "api.example.com", "token": PLAIN},
            "torn": "one\r\nX-Injected: two",
            "empty": {"driver": "postgres"},
        },
    )


def sent(origin: Origin) -> dict[str, str]:
    return origin.requests[-1].headers


# ---------------------------------------------------------------- forms


def test_a_plain_secret_is_a_bearer_token(origin: Origin, call: DirectCall) -> None:
    call.ask(REQUEST, url=f"{origin.url}/echo", secret="plain")
    assert sent(origin)["Authorization"] == f"Bearer {PLAIN}"


def test_a_user_and_password_are_basic_authentication(origin: Origin, call: DirectCall) -> None:
    call.ask(REQUEST, url=f"{origin.url}/echo", secret="basic")
    coded = base64.b64encode(f"etl:{PLAIN}".encode()).decode()
    assert sent(origin)["Authorization"] == f"Basic {coded}"


def test_a_secret_in_a_header_of_its_own(origin: Origin, call: DirectCall) -> None:
    call.ask(REQUEST, url=f"{origin.url}/echo", secret="header")
    assert sent(origin)["X-Api-Key"] == PLAIN
    call.ask(REQUEST, url=f"{origin.url}/echo", secret="plain", auth="header:X-Token")
    assert sent(origin)["X-Token"] == PLAIN
    assert "Authorization" not in sent(origin)


def test_a_secret_in_the_query(origin: Origin, call: DirectCall) -> None:
    told = call.ask(REQUEST, url=f"{origin.url}/status/200?a=1", secret="query")
    expected = "/status/200?a=1&api_key=tok-3f%2F%2B9+%C3%BC-secret"
    assert origin.requests[-1].target == expected
    assert told["url"] == f"{origin.url}/status/200?a=1", "the task learns the URL without it"
    assert told["body"] == "/status/200?a=1&api_key=*** None"


def test_urls_may_be_relative_to_that_of_the_secret(origin: Origin, call: DirectCall) -> None:
    call.ask(REQUEST, url="/deep?x=1", secret="token")
    assert origin.requests[-1].target == "/echo/deep?x=1"
    assert sent(origin)["Authorization"] == f"Bearer {PLAIN}"
    call.ask(REQUEST, secret="token")
    assert origin.requests[-1].target == "/echo"


@pytest.mark.parametrize(
    ("secret", "auth", "message"),
    [
        ("empty", None, "holds no credentials for HTTP"),
        ("plain", "basic", 'not "user:password"'),
        ("plain", "digest", "not a form of authentication"),
        ("plain", "header:bad name", "not a form of authentication"),
        ("torn", None, "line break"),
    ],
)
def test_secrets_that_do_not_fit(
    origin: Origin, call: DirectCall, secret: str, auth: str | None, message: str
) -> None:
    before = len(origin.requests)
    with pytest.raises(Refused, match=message):
        call.ask(REQUEST, url=f"{origin.url}/echo", secret=secret, auth=auth)
    assert len(origin.requests) == before


def test_a_secret_that_is_not_there(origin: Origin, call: DirectCall) -> None:
    with pytest.raises(SecretNotFound):
        call.ask(REQUEST, url=f"{origin.url}/echo", secret="none")


# ---------------------------------------------------------------- where it may go


@pytest.mark.parametrize("secret", ["token", "basic"])
def test_a_secret_goes_to_no_host_but_its_own(
    elsewhere: Origin, call: DirectCall, secret: str
) -> None:
    before = len(elsewhere.requests)
    with pytest.raises(Refused, match=r"does not belong to http://127\.0\.0\.1"):
        call.ask(REQUEST, url=f"{elsewhere.url}/echo", secret=secret)
    assert len(elsewhere.requests) == before


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/",
        "https://api.example.com:8443/",
        "https://api.example.com.evil.example/",
        "https://api.example.com./",
        "https://127.0.0.1#api.example.com",
    ],
)
def test_a_host_is_compared_whole(call: DirectCall, url: str) -> None:
    with pytest.raises(Refused, match=r"does not belong|unencrypted"):
        call.ask(REQUEST, url=url, secret="other")


def test_a_secret_does_not_travel_unencrypted(call: DirectCall) -> None:
    with pytest.raises(Refused, match="would travel unencrypted") as caught:
        call.ask(REQUEST, url="http://data.example.com/x", secret="plain")
    assert 'endpoint = "http://data.example.com:80"' in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "//127.0.0.1/x",
        "/x",
        "",
        "http://",
        "http://user:password@127.0.0.1/",
        "http://good.example\\@127.0.0.1/",
        "http://127.0.0.1/ x",
        "http://127.0.0.1/\r\nX: y",
        "http://127.0.0.1/\0",
        "http://127.0.0.1:99999/",
        "http://exa mple/",
    ],
)
def test_urls_that_are_none(call: DirectCall, url: str) -> None:
    with pytest.raises(Refused):
        call.ask(REQUEST, url=url, secret="plain")


def test_the_request_may_not_say_whom_to_trust_with_a_secret(
    origin: Origin, call: DirectCall
) -> None:
    (call.data / "ca.pem").write_text("")
    for params in ({"verify": False}, {"ca": "ca.pem"}):
        with pytest.raises(Refused, match="whom to trust"):
            call.ask(REQUEST, url=f"{origin.url}/echo", secret="plain", **params)


# ---------------------------------------------------------------- injection


@pytest.mark.parametrize("bad", ["a\r\nX-Injected: 1", "a\nb", "a\rb", "a\0b", "\x7f"])
def test_headers_and_methods_cannot_be_smuggled_in(
    origin: Origin, call: DirectCall, bad: str
) -> None:
    before = len(origin.requests)
    attacks: list[dict[str, Any]] = [
        {"headers": {"X-Note": bad}},
        {"headers": {bad: "x"}},
        {"method": bad},
        {"secret": "plain", "auth": f"header:{bad}"},
    ]
    for attack in attacks:
        with pytest.raises(Refused):
            call.ask(REQUEST, url=f"{origin.url}/echo", **attack)
    assert len(origin.requests) == before
    call.ask(REQUEST, url=f"{origin.url}/echo", query={"q": bad, bad: "x"})
    assert "X-Injected" not in sent(origin), "a query is coded"
    assert len(origin.requests) == before + 1


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "Connection", "Proxy-Authorization", "TE"]
)
def test_how_a_message_travels_is_not_for_a_task_to_say(
    origin: Origin, call: DirectCall, name: str
) -> None:
    with pytest.raises(Refused, match="set by Pit alone"):
        call.ask(REQUEST, url=f"{origin.url}/echo", headers={name: "1"})


@pytest.mark.parametrize("name", ["Host", "authorization"])
def test_a_secret_bears_no_header_that_could_lead_it_elsewhere(
    origin: Origin, call: DirectCall, name: str
) -> None:
    with pytest.raises(Refused, match="do not go with a secret"):
        call.ask(REQUEST, url=f"{origin.url}/echo", headers={name: "x"}, secret="plain")


def test_text_beyond_latin_goes_into_headers_as_utf_8(origin: Origin, call: DirectCall) -> None:
    call.ask(REQUEST, url=f"{origin.url}/echo", headers={"X-Name": "Zażółć"})
    assert sent(origin)["X-Name"].encode("latin-1").decode() == "Zażółć"


# ---------------------------------------------------------------- redirects


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (303, "HEAD", "HEAD"),
     (307, "POST", "POST"), (308, "PUT", "PUT")],
)  # fmt: skip
def test_redirects_on_the_same_origin_keep_the_credentials(
    origin: Origin, call: DirectCall, status: int, method: str, then: str
) -> None:
    url = f"{origin.url}/redirect/{status}?to=/echo"
    told = call.ask(REQUEST, url=url, method=method, secret="basic", body="text")
    last = origin.requests[-1]
    assert (last.method, told["redirects"], told["url"]) == (then, 1, f"{origin.url}/echo")
    assert "Authorization" in last.headers
    assert last.body == (b"text" if then == method else b"")
    assert ("Content-Type" in last.headers) == (then == method)


def test_a_query_credential_is_sent_once_on_each_hop(origin: Origin, call: DirectCall) -> None:
    call.ask(REQUEST, url=f"{origin.url}/redirect/302?to=/echo?b=2", secret="query")
    assert origin.requests[-1].target.startswith("/echo?b=2&api_key=tok")
    assert origin.requests[-1].target.count("api_key") == 1


@pytest.mark.parametrize("secret", ["plain", "token", "basic", "header", "query"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_takes_no_credentials_along(
    origin: Origin, elsewhere: Origin, call: DirectCall, secret: str, status: int
) -> None:
    own = {"Cookie": f"session={PLAIN}", "X-Own-Key": PLAIN, "Accept": "text/plain"}
    to = f"{elsewhere.url}/redirect/302?to={elsewhere.url}/echo"
    told = call.ask(
        REQUEST, url=f"{origin.url}/redirect/{status}?to={to}", secret=secret, headers=own
    )
    assert told["redirects"] == 2
    for seen in elsewhere.requests[-2:]:
        assert PLAIN not in seen.text
        assert "tok-" not in seen.text
        assert base64.b64encode(f"etl:{PLAIN}".encode()).decode() not in seen.text
        assert not {"Cookie", "X-Own-Key", "Authorization"} & set(seen.headers)
        assert seen.headers["Accept"] == "text/plain"


def test_a_redirect_without_a_scheme_leads_elsewhere_too(origin: Origin, call: DirectCall) -> None:
    """The same server by another name is another host."""
    before = len(origin.requests)
    target = f"//localhost:{origin.port}/echo"
    try:
        call.ask(REQUEST, url=f"{origin.url}/redirect/302?to={target}", secret="plain", retries=0)
    except PitError:
        assert len(origin.requests) == before + 1, "it went nowhere"
    else:
        assert PLAIN not in origin.requests[-1].text


def test_who_has_left_does_not_get_the_credentials_back(
    origin: Origin, elsewhere: Origin, call: DirectCall
) -> None:
    back = f"{elsewhere.url}/redirect/302?to={origin.url}/echo"
    call.ask(REQUEST, url=f"{origin.url}/redirect/302?to={back}", secret="plain")
    assert "Authorization" not in sent(origin)


def test_own_headers_that_may_be_credentials_stay_too(
    origin: Origin, elsewhere: Origin, call: DirectCall
) -> None:
    to = f"{origin.url}/redirect/302?to={elsewhere.url}/echo"
    call.ask(REQUEST, url=to, headers={"Authorization": f"Bearer {PLAIN}"})
    assert PLAIN not in elsewhere.requests[-1].text


def test_a_redirect_that_carries_the_secret_itself_is_refused(
    origin: Origin, elsewhere: Origin, call: DirectCall
) -> None:
    before = len(elsewhere.requests)
    to = f"{elsewhere.url}/echo?stolen={PLAIN}"
    with pytest.raises(Refused, match="with the secret in the URL") as caught:
        call.ask(REQUEST, url=f"{origin.url}/redirect/302?to={to}", secret="plain")
    assert PLAIN not in str(caught.value)
    assert len(elsewhere.requests) == before


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "body",
    [
        {"body": f"token={PLAIN}"},
        {"json": {"login": {"token": PLAIN}}},
        {"form": {"token": TOKEN}},
        {"file": "letter.txt"},
        {"files": {"a": "harmless.txt", "b": "letter.txt"}, "form": {"x": "1"}},
    ],
)
def test_a_redirect_does_not_carry_a_body_with_a_secret_to_another_host(
    origin: Origin, elsewhere: Origin, call: DirectCall, status: int, body: dict[str, Any]
) -> None:
    call.secret("plain")
    call.secret("query")  # both have been handed out to the task
    (call.caller.data / "letter.txt").write_text("-" * (1 << 20) + f"dear {PLAIN}")
    (call.caller.data / "harmless.txt").write_text("nothing")
    before = len(elsewhere.requests)
    to = f"{origin.url}/redirect/{status}?to={elsewhere.url}/echo"
    with pytest.raises(Refused, match="a secret in the body of the request") as caught:
        call.ask(REQUEST, url=to, method="POST", retries=0, **body)
    assert PLAIN not in str(caught.value)
    assert len(elsewhere.requests) == before


def test_a_secret_of_the_task_in_the_url_is_not_carried_to_another_host_either(
    origin: Origin, elsewhere: Origin, call: DirectCall
) -> None:
    call.secret("plain")
    before = len(elsewhere.requests)
    to = f"{origin.url}/redirect/302?to={elsewhere.url}/echo?stolen={PLAIN}"
    with pytest.raises(Refused, match="a secret in the URL"):
        call.ask(REQUEST, url=to, retries=0)
    assert len(elsewhere.requests) == before


@pytest.mark.parametrize("status", [307, 308])
def test_a_body_without_a_secret_and_one_that_stays_go_along(
    origin: Origin, elsewhere: Origin, call: DirectCall, status: int
) -> None:
    call.secret("plain")
    to = f"{origin.url}/redirect/{status}?to={elsewhere.url}/echo"
    call.ask(REQUEST, url=to, method="POST", body="harmless")
    assert elsewhere.requests[-1].body == b"harmless"
    here = f"{origin.url}/redirect/{status}?to=/echo"
    call.ask(REQUEST, url=here, method="POST", body=PLAIN)
    assert origin.requests[-1].body == PLAIN.encode()


@pytest.mark.parametrize(
    ("here", "there", "trusted"),
    [
        ("http://a.example", "https://a.example", True),
        ("https://a.example/x", "https://a.example/y", True),
        ("http://a.example", "https://b.example", False),
        ("https://a.example", "http://a.example", False),
        ("http://a.example:8080", "https://a.example", False),
    ],
)
def test_a_host_is_told_the_same_over_https(here: str, there: str, trusted: bool) -> None:
    def hop(url: str) -> Hop:
        return Hop(method="POST", address=address(url), headers={}, with_body=True)

    assert hop(there).is_trusted_by(hop(here)) is trusted


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://a:b@127.0.0.1/"])
def test_redirects_lead_to_http_only(origin: Origin, call: DirectCall, to: str) -> None:
    with pytest.raises(Refused, match="a redirect"):
        call.ask(REQUEST, url=f"{origin.url}/redirect/302?to={to}")


def test_redirects_end(origin: Origin, call: DirectCall) -> None:
    with pytest.raises(ConnectorFailed, match="more than 10 redirects"):
        call.ask(REQUEST, url=f"{origin.url}/loop")


def test_redirects_can_be_left_alone(origin: Origin, call: DirectCall) -> None:
    url = f"{origin.url}/redirect/302?to=/echo"
    told = call.ask(REQUEST, url=url, follow_redirects=False)
    assert (told["status"], told["headers"]["location"]) == (302, "/echo")


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    with server.serving((str(folder / "cert.pem"), str(folder / "key.pem"))) as running:
        yield running


def test_an_unknown_certificate_is_refused(secure: Origin, call: DirectCall) -> None:
    with pytest.raises(ConnectorFailed, match="its certificate is not to be trusted") as caught:
        call.ask(REQUEST, url=f"{secure.url}/echo", secret="plain")
    assert not caught.value.retryable
    assert not secure.requests, "nothing was sent"


def test_an_authority_of_ones_own(secure: Origin, call: DirectCall, authority: trustme.CA) -> None:
    pem = authority.cert_pem.bytes().decode()
    (call.data / "ca.pem").write_text(pem)
    call.secrets["own"] = {"url": secure.url, "token": PLAIN, "ca": pem}
    call.secrets["file"] = {"url": secure.url, "token": PLAIN, "ca": str(call.data / "ca.pem")}
    call.secrets["blind"] = {"url": secure.url, "token": PLAIN, "verify": "false"}
    for secret in ("own", "file", "blind"):
        call.ask(REQUEST, url="/echo", secret=secret)
        assert sent(secure)["Authorization"] == f"Bearer {PLAIN}"
    for params in ({"ca": "ca.pem"}, {"verify": False}):
        assert call.ask(REQUEST, url=f"{secure.url}/echo", **params)["status"] == 200


def test_a_proxy_sees_nothing_of_an_encrypted_request(
    secure: Origin, call: DirectCall, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = authority.cert_pem.bytes().decode()
    call.secrets["own"] = {"endpoint": secure.url, "token": PLAIN, "ca": pem}
    with server.serving() as proxy:
        monkeypatch.setenv("https_proxy", f"http://me:pass@127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        told = call.ask(REQUEST, url="/bytes/100000", secret="own", save_to="out")
        call.ask(REQUEST, url="/echo", secret="own")
        assert told["size"] == 100_000
        assert sent(secure)["Authorization"] == f"Bearer {PLAIN}"
        assert "proxy-authorization" not in {name.lower() for name in sent(secure)}
        (seen,) = proxy.requests
        assert (seen.method, seen.target) == ("CONNECT", f"127.0.0.1:{secure.port}")
        assert PLAIN not in seen.text
        assert "pass" not in str(call.lines)


def test_credentials_do_not_follow_from_https_to_http(
    secure: Origin, elsewhere: Origin, call: DirectCall, authority: trustme.CA
) -> None:
    pem = authority.cert_pem.bytes().decode()
    call.secrets["own"] = {"url": secure.url, "token": PLAIN, "ca": pem}
    (call.data / "ca.pem").write_text(pem)
    before = len(elsewhere.requests)
    down = f"/redirect/302?to={elsewhere.url}/echo"
    with pytest.raises(Refused, match="from an encrypted to an open connection"):
        call.ask(REQUEST, url=down, secret="own")
    with pytest.raises(Refused, match="from an encrypted to an open connection"):
        call.ask(REQUEST, url=f"{secure.url}{down}", ca="ca.pem", headers={"Cookie": "a=b"})
    assert len(elsewhere.requests) == before
    assert call.ask(REQUEST, url=f"{secure.url}{down}", ca="ca.pem")["status"] == 200


# ---------------------------------------------------------------- coming back


@pytest.mark.parametrize("secret", ["plain", "basic", "header", "query"])
@pytest.mark.parametrize(
    "path", ["echo", "echo?kind=text/plain", "status/500", "status/403", "flaky/9"]
)
def test_the_secret_is_in_no_result_error_or_log(
    origin: Origin, call: DirectCall, secret: str, path: str
) -> None:
    """The server says back all that it got, in headers, JSON, text and errors."""
    try:
        told = str(call.ask(REQUEST, url=f"{origin.url}/{path}", secret=secret, retry_delay="1ms"))
    except PitError as error:
        told = f"{error} {error.hint} {error!r} {error.__cause__!r}"
    told += str(call.lines)
    for form in (PLAIN, TOKEN, "tok-3f%2F", base64.b64encode(f"etl:{PLAIN}".encode()).decode()):
        assert form not in told
    if path != "flaky/9" and secret != "header":
        assert "***" in told


def test_half_a_secret_is_not_quoted_either(origin: Origin, call: DirectCall) -> None:
    """The error quotes the beginning of an answer; the cut may fall within the secret."""
    for padding in range(250, 300, 3):
        url = f"{origin.url}/status/404?{'x' * padding}"
        with pytest.raises(ConnectorFailed) as caught:
            call.ask(REQUEST, url=url, secret="plain")
        assert "tok-3f" not in str(caught.value)


# ---------------------------------------------------------------- by-ways


@pytest.mark.parametrize(
    "location",
    [
        "//evil.example/x",
        "https://api.example.com@evil.example/",
        "https://evil.example#@api.example.com/",
        "https:////evil.example/",
        "https:///evil.example/",
        "https:evil.example",
        "\\\\evil.example\\x",
        "https://evil.example\\@api.example.com/",
        "https://api.example.com.evil.example/",
        "https://api.example.com./",
        "https://api.example.com:8443/",
        "https://api.example.com:443@evil.example/",
        "http://api.example.com/",
        "https://[fe80::1%25eth0]/",
        "https://api%2eexample%2ecom.evil.example/",
        "https://\u0430pi.example.com/",
        "file:///etc/passwd",
        "https://evil.example\t/",
        "javascript:alert(1)",
    ],
)
def test_no_spelling_of_a_redirect_takes_the_secret_along(location: str) -> None:
    known = credentials.of("key", {"host": "api.example.com", "token": PLAIN}, None)
    first = Hop(
        method="GET",
        address=address("https://api.example.com/a"),
        headers={"X-Api-Key": "of the task", "Accept": "*/*"},
        with_body=False,
        credentials=known,
        private=True,
    )
    try:
        hop = first.next(302, location)
    except Refused:
        return
    where, headers = hop.dressed()
    if where.origin == ("https", "api.example.com", 443):
        assert hop.credentials is known
    else:
        assert hop.credentials is None
        assert PLAIN not in str(headers)
        assert "X-Api-Key" not in headers


def test_one_place_in_several_spellings_is_one_place() -> None:
    fields = {"host": "API.example.com,bücher.example:8443,::1,[::2]:90", "token": PLAIN}
    known = credentials.of("key", fields, None)
    for url in (
        "HTTPS://api.EXAMPLE.com:443/x",
        "https://xn--bcher-kva.example:8443/",
        "https://BÜCHER.example:8443/",
        "https://[::1]/",
        "https://[::2]:90/",
    ):
        known.check(address(url).origin)
    with pytest.raises(Refused, match="is not a host"):
        credentials.of("key", {"host": "api.example.com/v1", "token": PLAIN}, None)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Proxy-X"])
def test_a_secret_is_not_sent_as_what_frames_the_message(call: DirectCall, name: str) -> None:
    with pytest.raises(Refused, match="cannot be sent as the header"):
        call.ask(REQUEST, url="https://127.0.0.1/", secret="plain", auth=f"header:{name}")


def test_no_library_tells_a_secret_to_whoever_logs_everything(
    origin: Origin, call: DirectCall
) -> None:
    with logging_everything() as heard:
        call.ask(REQUEST, url=f"{origin.url}/text", secret="query")
    assert "tok-3f" in origin.requests[-1].target
    assert "tok-3f" not in heard.getvalue()


def test_what_goes_to_this_machine_in_the_open_passes_by_the_proxy(
    origin: Origin, elsewhere: Origin, call: DirectCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", elsewhere.url)
    monkeypatch.delenv("no_proxy", raising=False)
    before = len(elsewhere.requests)
    call.ask(REQUEST, url=f"{origin.url}/text", secret="plain")
    assert sent(origin)["Authorization"] == f"Bearer {PLAIN}"
    assert len(elsewhere.requests) == before


def test_certificates_are_a_file_of_the_data_folder_and_not_what_it_names(
    secure: Origin, call: DirectCall, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "elsewhere.pem"))
    (call.data / "ca.pem").write_text(str(tmp_path / "elsewhere.pem"))
    with pytest.raises(Refused, match="holds no certificates"):
        call.ask(REQUEST, url=f"{secure.url}/text", ca="ca.pem")
