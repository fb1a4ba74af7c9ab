"""`notify` by Apprise against servers on loopback: what arrives, and what is never shown."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apprise
import pytest

from pit.errors import ConnectorFailed, MissingExtra, PitError, Refused
from pit.work.connectors import notify
from tests.servers import http, smtp
from tests.work.connectors.direct import DirectCall, logging_everything

NOTIFY = notify.METHODS["notify"]
TOKEN = "t0ken-of-the-channel"


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """Apprise with all its services; some of what it imports is deprecated by Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apprise.Apprise.instantiate("json://localhost")


@pytest.fixture
def web() -> Iterator[http.Origin]:
    """A server that takes what is posted."""
    with http.serving() as origin:
        yield origin


def address(origin: http.Origin, path: str = "echo", scheme: str = "json") -> str:
    """An Apprise URL with credentials in it."""
    return f"{scheme}://robot:{TOKEN}@{origin.host}:{origin.port}/{path}/?key={TOKEN}"


def tell(folder: Path, secret: str | dict[str, str], **params: Any) -> tuple[Any, DirectCall]:
    """The result of a message, and the caller."""
    call = DirectCall(folder, {"team": secret})
    result = call.ask(NOTIFY, secret="team", **{"body": "It is done"} | params)
    assert TOKEN not in json.dumps(result) + "".join(call.lines)
    return result, call


def fails(folder: Path, secret: str | dict[str, str], text: str, **params: Any) -> PitError:
    """The error of a message, after asserting that it says something and no credentials."""
    call = DirectCall(folder, {"team": secret})
    with pytest.raises(PitError) as caught:
        call.ask(NOTIFY, secret="team", **{"body": "It is done"} | params)
    said = f"{caught.value} {caught.value.hint}"
    assert text in said
    assert TOKEN not in said + "".join(call.lines)
    return caught.value


def test_a_message_arrives(tmp_path: Path, web: http.Origin) -> None:
    told, _ = tell(tmp_path, address(web), title="Claims", severity="failure", body="Grüße")
    assert told == {"sent": ["JSON"], "failed": {}}
    sent = json.loads(web.requests[0].body)
    assert (sent["title"], sent["message"], sent["type"]) == ("Claims", "Grüße", "failure")
    assert web.requests[0].headers["Authorization"].startswith("Basic ")


def test_several_addresses_in_one_secret(tmp_path: Path, web: http.Origin) -> None:
    both = f"# the team\n{address(web)}\n\n  {address(web, scheme='form')}\n"
    assert tell(tmp_path, {"url": both})[0] == {"sent": ["JSON", "Form"], "failed": {}}
    assert len(web.requests) == 2


def test_attachments_and_their_names(tmp_path: Path, web: http.Origin) -> None:
    name = "ünder ?a=b&c.txt"
    (tmp_path / name).write_text("attached words")
    tell(tmp_path, address(web, scheme="form"), attachments=[name])
    assert b"attached words" in web.requests[0].body


class Swapping(DirectCall):
    """Puts a link that leads out in the place of each file, once it has been looked at."""

    def path(self, name: str, *, exists: bool = False) -> Path:
        found = super().path(name, exists=exists)
        found.unlink()
        found.symlink_to(self.data.parent / "outside")
        return found


@pytest.mark.parametrize("scheme", ["json", "form"])
def test_a_link_that_is_put_in_the_way_is_not_followed(
    tmp_path: Path, web: http.Origin, scheme: str
) -> None:
    (tmp_path / "outside").write_text("not for the team")
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("for the team")
    call = Swapping(data, {"team": address(web, scheme=scheme)})
    with pytest.raises(Refused, match="by a link"):
        call.ask(NOTIFY, secret="team", body="It is done", attachments="a")
    assert web.requests == []


def test_no_library_tells_an_address_to_whoever_logs_everything(
    tmp_path: Path, web: http.Origin
) -> None:
    web.canned = (200, "taken")
    with logging_everything() as heard:
        tell(tmp_path, f"json://{web.host}:{web.port}/{TOKEN}")
    assert TOKEN in web.requests[0].target
    assert TOKEN not in heard.getvalue()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "none", "http://127.0.0.1/x"])
def test_attachments_are_files_of_the_data_folder(
    tmp_path: Path, web: http.Origin, name: str
) -> None:
    fails(tmp_path, address(web), "", attachments=[name])
    assert web.requests == []


def test_markdown_becomes_html_where_a_service_wants_it(tmp_path: Path) -> None:
    with smtp.serving() as post:
        url = f"mailto://{post.host}:{post.port}?from=pit@example.com&to=ann@example.com"
        told, _ = tell(tmp_path, url, title="Done", body="*well*", format="markdown")
    assert told["sent"] == ["E-Mail"]
    (letter,) = post.letters
    assert letter.recipients == ["ann@example.com"]
    assert letter.message["Subject"] == "Done"
    assert b"<em>well</em>" in letter.raw


def test_one_service_fails_and_the_other_is_told(tmp_path: Path, web: http.Origin) -> None:
    both = f"{address(web)}\n{address(web, 'status/403', 'form')}"
    told, call = tell(tmp_path, both)
    assert told["sent"] == ["JSON"]
    assert "403" in told["failed"]["Form"]
    assert any("Form" in line for line in call.lines)


@pytest.mark.parametrize(
    ("path", "retryable"), [("status/403", False), ("status/503", True), ("drop/9", True)]
)
def test_nobody_takes_it(tmp_path: Path, web: http.Origin, path: str, retryable: bool) -> None:
    error = fails(tmp_path, address(web, path), "JSON")
    assert isinstance(error, ConnectorFailed)
    assert error.retryable is retryable


def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    error = fails(tmp_path, f"json://robot:{TOKEN}@127.0.0.1:1/{TOKEN}", "JSON")
    assert getattr(error, "retryable", False)


@pytest.mark.parametrize(
    "secret", ["", "# nothing\n", {"token": TOKEN}, f"nonsense://{TOKEN}", f"{TOKEN}", "json://"]
)
def test_a_secret_that_is_no_address_is_refused_unseen(
    tmp_path: Path, secret: str | dict[str, str]
) -> None:
    assert isinstance(fails(tmp_path, secret, 'secret "team"'), Refused)


def test_a_wrong_address_among_several_is_told_by_its_number(
    tmp_path: Path, web: http.Origin
) -> None:
    fails(tmp_path, f"{address(web)}\nnonsense://{TOKEN}", 'address 2 of secret "team"')
    assert web.requests == [], "nothing is sent before all are understood"


@pytest.mark.parametrize("title", ["a\r\nBcc: eve@example.com", "a\nb", "a\0b"])
def test_no_header_can_be_broken_out_of(tmp_path: Path, web: http.Origin, title: str) -> None:
    assert isinstance(fails(tmp_path, address(web), "line break", title=title), Refused)


def test_there_must_be_something_to_say(tmp_path: Path, web: http.Origin) -> None:
    fails(tmp_path, address(web), "something to send", body=" ")


def test_apprise_writes_nothing_of_its_own(
    tmp_path: Path, web: http.Origin, capfd: pytest.CaptureFixture[str]
) -> None:
    tell(tmp_path, address(web))
    fails(tmp_path, address(web, "status/500"), "JSON")
    written = capfd.readouterr()
    assert written.out + written.err == ""
    assert not logging.getLogger("apprise").propagate


def test_a_missing_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "apprise", None)
    error = fails(tmp_path, "json://x", "pit-orchestrator[notify]")
    assert isinstance(error, MissingExtra)
