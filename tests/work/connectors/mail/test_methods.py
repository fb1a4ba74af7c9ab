"""`send_mail` against a mail server: what arrives, what is refused, what is never sent twice."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pit.errors import ConnectorFailed, PitError, Refused
from pit.work.connectors import retry
from pit.work.connectors.mail import letter as letters
from pit.work.connectors.mail import methods
from tests.servers import smtp
from tests.servers.certificate import Certified, certified
from tests.servers.loop import silence, talking
from tests.work.connectors.direct import DirectCall

SEND = methods.METHODS["send_mail"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """A certificate for 127.0.0.1."""
    return certified(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0)


class Sender:
    """A caller with a mail server as the secret "mail"."""

    def __init__(self, folder: Path, secret: dict[str, str]) -> None:
        self.call = DirectCall(folder, {"mail": secret})
        self.data = folder

    def send(self, **params: Any) -> Any:
        """Send a mail; what is not said is filled in."""
        usual = {"to": "ann@example.com", "subject": "Hello", "text": "Hi\n"}
        return self.call.ask(SEND, secret="mail", **usual | params)

    def fails(self, expected: str, **params: Any) -> PitError:
        """The error of a mail, after asserting that it says something and no password."""
        with pytest.raises(PitError) as caught:
            self.send(**params)
        said = f"{caught.value} {caught.value.hint}"
        assert expected in said
        assert not reveals(said + "".join(self.call.lines))
        return caught.value


def reveals(text: str) -> bool:
    """Whether a text contains the password, plain or as a login says it."""
    login = f"\0{smtp.USER}\0{smtp.PASSWORD}".encode()
    coded = [base64.b64encode(each).decode() for each in (login, smtp.PASSWORD.encode())]
    return any(form in text for form in (smtp.PASSWORD, *coded))


def lines(part: Any) -> str:
    """The text of a part, its lines ended as here and not as on the wire."""
    return str(part.get_content()).replace("\r\n", "\n")


@pytest.fixture
def post() -> Iterator[smtp.Post]:
    """A server that takes all mail."""
    with smtp.serving() as server:
        yield server


@pytest.fixture
def sender(tmp_path: Path, post: smtp.Post) -> Sender:
    """A caller who may use it."""
    return Sender(tmp_path, post.secret(security="none"))


# ---------------------------------------------------------------- what arrives


def test_a_mail_arrives_as_it_was_meant(sender: Sender, post: smtp.Post) -> None:
    (sender.data / "figures.csv").write_text("a,b\n")
    (sender.data / "dump.gz").write_bytes(b"\x1f\x8b\0\xff" * 1000)
    told = sender.send(
        to="Ann <ann@example.com>, bob@example.com",
        cc=["carl@example.com"],
        bcc="dora@example.com",
        reply_to="desk@example.com",
        subject="Figures",
        text="Plain\n.\nafter a dot\n",
        html="<p>Rich</p>",
        attachments=["figures.csv", "dump.gz"],
    )
    (letter,) = post.letters
    everybody = ["ann@example.com", "bob@example.com", "carl@example.com", "dora@example.com"]
    assert told == {
        "message_id": letter.message["Message-ID"],
        "accepted": everybody,
        "refused": {},
    }
    assert letter.recipients == everybody
    assert letter.sender == "pit@example.com"
    assert letter.message["From"] == "Pit <pit@example.com>"
    assert letter.message["To"] == "Ann <ann@example.com>, bob@example.com"
    assert letter.message["Cc"] == "carl@example.com"
    assert letter.message["Reply-To"] == "desk@example.com"
    assert b"dora" not in letter.raw
    plain, rich = (letter.message.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert lines(plain) == "Plain\n.\nafter a dot\n"
    assert rich is not None
    assert rich.get_content().strip() == "<p>Rich</p>"
    figures, dump = letter.message.iter_attachments()
    assert figures.get_filename() == "figures.csv"
    assert figures.get_content_type() == "text/csv"
    assert dump.get_content() == b"\x1f\x8b\0\xff" * 1000
    assert dump.get_content_type() == "application/octet-stream"
    assert letter.message["Date"]


def test_letters_beyond_ascii_go_through_every_server(tmp_path: Path) -> None:
    with smtp.serving(utf8=False) as post:
        sender = Sender(tmp_path, post.secret(security="none"))
        (tmp_path / "Übersicht 日本.txt").write_text("ü")
        name, subject = "Ünal, Żółć", "Zahlen für Österreich – " + "sehr lang " * 20 + "日本"
        sender.send(
            to=[f'"{name}" <ann@bücher.example>'],
            subject=subject,
            text="Grüße\n",
            attachments="Übersicht 日本.txt",
        )
    (letter,) = post.letters
    assert letter.recipients == ["ann@xn--bcher-kva.example"]
    assert letter.raw.isascii()
    assert letter.message["Subject"] == subject
    assert letter.message["To"].addresses[0].display_name == name
    body = letter.message.get_body(("plain",))
    assert body is not None
    assert lines(body) == "Grüße\n"
    (attached,) = letter.message.iter_attachments()
    assert attached.get_filename() == "Übersicht 日本.txt"
    assert max(len(line) for line in letter.raw.split(b"\r\n")) < 999


def test_a_mailbox_beyond_ascii_wants_a_server_that_knows_it(
    tmp_path: Path, sender: Sender, post: smtp.Post
) -> None:
    sender.send(to="jörg@example.com")
    assert post.letters[0].recipients == ["jörg@example.com"]
    with smtp.serving(utf8=False) as old:
        other = Sender(tmp_path, old.secret(security="none"))
        error = other.fails("non-ASCII", to="jörg@example.com")
        assert not getattr(error, "retryable", True)
        assert old.letters == []


def test_a_sender_of_its_own(sender: Sender, post: smtp.Post) -> None:
    sender.send(**{"from": "Desk <desk@example.com>"})
    assert post.letters[0].sender == "desk@example.com"


def test_html_alone_and_one_recipient_twice(sender: Sender, post: smtp.Post) -> None:
    told = sender.send(text="", html="<b>ü</b>", cc="ann@example.com")
    assert told["accepted"] == ["ann@example.com"]
    assert post.letters[0].message.get_content_type() == "text/html"


# ---------------------------------------------------------------- what is refused before it goes


BREAKS = ["x\r\nBcc: eve@example.com", "x\nX: y", "x\ry", "x\0y", "x\u2028y"]


@pytest.mark.parametrize("text", BREAKS)
@pytest.mark.parametrize("param", ["subject", "to", "cc", "bcc", "reply_to", "from"])
def test_no_header_can_be_broken_out_of(
    sender: Sender, post: smtp.Post, param: str, text: str
) -> None:
    given = text if param == "subject" else f"{text} <a@example.com>"
    assert isinstance(sender.fails(param, **{param: given}), Refused)
    assert post.letters == []


def test_a_file_name_breaks_out_of_no_header_either(sender: Sender, post: smtp.Post) -> None:
    (sender.data / "a\r\nX-Evil: 1").write_text("x")
    assert isinstance(sender.fails("line break", attachments=["a\r\nX-Evil: 1"]), Refused)
    (sender.data / 'q"; x=y.txt').write_text("x")
    sender.send(attachments=['q"; x=y.txt'])
    (attached,) = post.letters[0].message.iter_attachments()
    assert attached.get_filename() == 'q"; x=y.txt'


@pytest.mark.parametrize(
    "address",
    [
        "ann",
        "@example.com",
        "ann@",
        "ann@ex ample.com",
        "a@b@example.com",
        "ann@-example.com",
        "ann@exa_mple..com",
        ".ann@example.com",
        "a..b@example.com",
        "<ann@example.com",
        "ann@[127.0.0.1]",
        f"{'a' * 65}@example.com",
        f"ann@{'a.' * 130}com",
        "ann@example.com> SIZE=1",
    ],
)
def test_what_is_no_address_is_refused(sender: Sender, post: smtp.Post, address: str) -> None:
    for param in ("to", "cc", "bcc", "reply_to", "from"):
        assert isinstance(sender.fails("", **{param: address}), Refused)
    assert post.letters == []


def test_what_is_no_mail_is_refused(sender: Sender, post: smtp.Post) -> None:
    sender.fails("somebody to send to", to="")
    sender.fails("something to send", text="")
    sender.fails("one sender", **{"from": "a@example.com, b@example.com"})
    sender.fails("half a character", text="\ud800")
    sender.fails("half a character", subject="\ud800")
    assert post.letters == []


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "none.txt", "link"])
def test_attachments_are_files_of_the_data_folder(
    tmp_path: Path, post: smtp.Post, name: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "x").write_text("outside")
    (data / "link").symlink_to(tmp_path / "x")
    sender = Sender(data, post.secret(security="none"))
    sender.fails("", attachments=[name])
    assert post.letters == []


def test_attachments_have_a_limit(
    sender: Sender, post: smtp.Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "MOST_BYTES", 1 << 20)
    (sender.data / "big").write_bytes(bytes((1 << 20) + 1))
    sender.fails("1 MB", attachments="big")
    assert post.letters == []


# ---------------------------------------------------------------- what the server refuses


def test_refused_recipients_are_told_and_the_others_get_it(sender: Sender, post: smtp.Post) -> None:
    post.refuse["bob@example.com"] = "550 no such person"
    told = sender.send(to="ann@example.com, bob@example.com")
    assert told["accepted"] == ["ann@example.com"]
    assert told["refused"] == {"bob@example.com": "550 no such person"}
    assert post.letters[0].recipients == ["ann@example.com"]
    assert any("bob@example.com" in line for line in sender.call.lines)


@pytest.mark.parametrize(("reply", "retryable"), [("550 nobody", False), ("450 later", True)])
def test_nobody_takes_it(sender: Sender, post: smtp.Post, reply: str, retryable: bool) -> None:
    post.refuse["ann@example.com"] = reply
    error = sender.fails(reply, retries=1)
    assert isinstance(error, ConnectorFailed)
    assert error.retryable is retryable
    assert post.letters == []
    assert bool([line for line in sender.call.lines if "trying again" in line]) is retryable


def test_a_temporary_refusal_is_tried_again_and_sent_once(sender: Sender, post: smtp.Post) -> None:
    post.replies = ["451 greylisted", "452 full"]
    sender.send()
    assert len(post.letters) == 1


def test_a_final_refusal_is_not(sender: Sender, post: smtp.Post) -> None:
    post.replies = ["554 spam"]
    error = sender.fails("554 spam")
    assert not getattr(error, "retryable", True)
    assert post.replies == []


def test_an_answer_that_is_lost_does_not_send_it_twice(sender: Sender, post: smtp.Post) -> None:
    post.replies = ["hang up"]
    error = sender.fails("whether the mail was sent is not known")
    assert not getattr(error, "retryable", True)
    assert len(post.letters) == 1


def test_a_mail_too_large_for_the_server_is_told_before(tmp_path: Path) -> None:
    with smtp.serving(limit=10_000) as post:
        sender = Sender(tmp_path, post.secret(security="none"))
        sender.fails("the server takes 10,000", text="x" * 20_000)


# ---------------------------------------------------------------- privacy and login


def test_starttls_and_login(tmp_path: Path, certificate: Certified) -> None:
    with smtp.serving(certificate, login=True) as post:
        sender = Sender(tmp_path, post.login(ca=certificate.authority))
        sender.send()
        assert len(post.letters) == 1
        assert post.logins


def test_tls_from_the_start(tmp_path: Path, certificate: Certified) -> None:
    with smtp.serving(certificate, implicit=True, login=True) as post:
        sender = Sender(tmp_path, post.login(security="tls", ca=certificate.authority))
        sender.send()
        assert len(post.letters) == 1


@pytest.mark.parametrize("implicit", [False, True])
def test_an_unknown_authority_hears_no_password(
    tmp_path: Path, certificate: Certified, implicit: bool
) -> None:
    with smtp.serving(certificate, implicit=implicit, login=True) as post:
        security = "tls" if implicit else "starttls"
        sender = Sender(tmp_path, post.login(security=security))
        error = sender.fails('field "ca"')
        assert not getattr(error, "retryable", True)
        assert post.logins == []


def test_no_starttls_no_mail(tmp_path: Path) -> None:
    with smtp.serving() as post:
        sender = Sender(tmp_path, post.secret())
        sender.fails("does not offer STARTTLS")
        assert post.letters == []


@pytest.mark.parametrize("right", [True, False])
def test_a_wrong_password_is_told_once(tmp_path: Path, certificate: Certified, right: bool) -> None:
    with smtp.serving(certificate, login=True) as post:
        password = smtp.PASSWORD if right else "battery horse"
        secret = post.login(ca=certificate.authority, password=password)
        if right:
            secret["user"] = "eve"
        error = Sender(tmp_path, secret).fails("logging in as")
        assert not getattr(error, "retryable", True)
        assert "battery horse" not in f"{error}{error.hint}"
        assert len(set(post.logins)) == len(post.logins), "the same way twice"


def own_address() -> str | None:
    """An address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        address = str(probe.getsockname()[0])
        return None if address.startswith("127.") else address


def test_a_password_does_not_travel_unencrypted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    monkeypatch.setattr(smtp.Post, "host", address)
    with smtp.serving(login=True) as post:
        sender = Sender(tmp_path, post.login(security="none"))
        assert isinstance(sender.fails("would travel unencrypted"), Refused)
        assert post.logins == []
        sender = Sender(tmp_path, post.login(security="none", insecure_login="true"))
        sender.send()
        assert post.logins


def test_to_loopback_it_may(tmp_path: Path) -> None:
    with smtp.serving(login=True) as post:
        Sender(tmp_path, post.login(security="none")).send()
        assert len(post.letters) == 1


def test_a_server_without_a_login(tmp_path: Path, post: smtp.Post) -> None:
    sender = Sender(tmp_path, post.login(security="none", password="plain"))
    sender.fails("offers no way to log in")


# ---------------------------------------------------------------- servers that are not well


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with silence() as server:
        secret = {"host": server.host, "port": str(server.port), "timeout": "300ms"}
        sender = Sender(tmp_path, secret | {"from": "a@example.com", "security": "none"})
        error = sender.fails("silent", retries=1)
        assert getattr(error, "retryable", False)


def test_waiting_ends_with_the_attempt(tmp_path: Path) -> None:
    with silence() as server:
        secret = {"host": server.host, "port": str(server.port), "timeout": "1h"}
        sender = Sender(tmp_path, secret | {"from": "a@example.com", "security": "none"})

        def leave() -> None:
            server.came.wait(30)
            sender.call.leave()

        leaver = threading.Thread(target=leave)
        leaver.start()
        sender.fails("attempt is over")
        leaver.join()


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    sender = Sender(tmp_path, {"host": "127.0.0.1", "port": "1", "from": "a@example.com"})
    error = sender.fails("127.0.0.1:1: connecting: connection refused", retries=1)
    assert getattr(error, "retryable", False)
    assert any("trying again (1 of 1)" in line for line in sender.call.lines)


# ---------------------------------------------------------------- the secret


@pytest.mark.parametrize(
    ("fields", "port", "security"),
    [
        ({}, 587, "starttls"),
        ({"port": "465"}, 465, "tls"),
        ({"security": "tls"}, 465, "tls"),
        ({"port": "25"}, 25, "none"),
        ({"security": "none"}, 25, "none"),
        ({"port": "25", "user": "u", "password": "p"}, 25, "starttls"),
        ({"port": "2525"}, 2525, "starttls"),
    ],
)
def test_the_port_says_how_private_it_is(fields: dict[str, str], port: int, security: str) -> None:
    from pit.work.connectors.fields import Fields
    from pit.work.connectors.mail.server import FORM, mail_server

    found = mail_server(Fields("mail", {"host": "h"} | fields, FORM))
    assert (found.port, found.security) == (port, security)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, 'no field "host"'),
        ({"host": "h", "user": "u"}, 'no field "password"'),
        ({"host": "h", "security": "ssl"}, "starttls, tls, none"),
        ({"host": "h", "port": "smtp"}, '"port"'),
        ({"host": "127.0.0.1", "port": "1"}, "one sender"),
    ],
)
def test_a_secret_that_makes_no_sense_is_told_by_its_field(
    tmp_path: Path, fields: dict[str, str], text: str
) -> None:
    assert isinstance(Sender(tmp_path, fields).fails(text), Refused)


def test_no_password_is_in_what_it_tells(tmp_path: Path, certificate: Certified) -> None:
    with smtp.serving(certificate, login=True) as post:
        sender = Sender(tmp_path, post.login(ca=certificate.authority))
        calls: list[Callable[[], Any]] = [sender.send]
        post.refuse["bob@example.com"] = f"550 {smtp.PASSWORD}"
        calls.append(lambda: sender.send(to="ann@example.com, bob@example.com"))
        told = json.dumps([call() for call in calls], ensure_ascii=False)
        assert not reveals(told + "".join(sender.call.lines))


def test_an_answer_without_an_end_is_given_up(tmp_path: Path) -> None:
    with talking(b"220-welcome\r\n" * 1000) as server:
        secret = {"host": server.host, "port": str(server.port), "security": "none"}
        sender = Sender(tmp_path, secret | {"from": "a@example.com"})
        sender.fails("never ends", retries=0)
