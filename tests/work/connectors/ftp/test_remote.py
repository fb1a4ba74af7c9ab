"""How the secret of a file server is understood."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pit.errors import Refused
from tests.servers import ftp
from tests.work.connectors.direct import DirectCall
from tests.work.connectors.ftp.place import METHODS, Place


def account(**fields: str) -> Any:
    """How a secret is understood."""
    from pit.work.connectors.fields import Fields
    from pit.work.connectors.ftp.remote import FORM, account

    return account(Fields("files", {"host": "h", "user": "u"} | fields, FORM))


@pytest.mark.parametrize(
    ("fields", "protocol", "tls", "port"),
    [
        ({}, "ftp", "none", 21),
        ({"tls": "true"}, "ftp", "explicit", 21),
        ({"tls": "false"}, "ftp", "none", 21),
        ({"protocol": "ftps"}, "ftps", "explicit", 21),
        ({"driver": "ftps", "port": "990"}, "ftps", "implicit", 990),
        ({"port": "990"}, "ftp", "implicit", 990),
        ({"tls": "implicit"}, "ftp", "implicit", 990),
        ({"port": "22"}, "sftp", "none", 22),
        ({"host_key": "x"}, "sftp", "none", 22),
        ({"protocol": "SFTP", "port": "2022"}, "sftp", "none", 2022),
        ({"driver": "sftp", "tls": "true"}, "sftp", "none", 22),
    ],
)
def test_the_secret_says_which_protocol(
    fields: dict[str, str], protocol: str, tls: str, port: int
) -> None:
    found = account(**fields)
    assert (found.protocol, found.tls, found.port) == (protocol, tls, port)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"port": "70000"}, '"port"'),
        ({"protocol": "gopher"}, "ftp, ftps, sftp"),
        ({"protocol": "ftps", "tls": "none"}, '"tls"'),
        ({"tls": "maybe"}, '"tls"'),
        ({"timeout": "soon"}, '"timeout"'),
        ({"encoding": "klingon"}, '"encoding"'),
        ({"encoding": "utf-16"}, "extends ASCII"),
        ({"encoding": "cp037"}, "extends ASCII"),
        ({"host": "", "hosts": "h"}, 'Rename its field "hosts"'),
        ({"user": ""}, 'no field "user"'),
    ],
)
def test_a_secret_that_makes_no_sense_is_told_by_its_field(
    fields: dict[str, str], text: str
) -> None:
    with pytest.raises(Refused) as caught:
        account(**fields)
    assert text in f"{caught.value} {caught.value.hint}"


def test_a_plain_secret_is_refused_unseen(tmp_path: Path) -> None:
    call = DirectCall(tmp_path, {"files": "ftp://u:hush@host"})
    with pytest.raises(Refused) as caught:
        call.ask(METHODS["ftp_list"], secret="files")
    assert "hush" not in f"{caught.value}{caught.value.hint}"


def test_params_are_known_or_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"directory": "x"}, METHODS["ftp_list"].params, strict=False)


def test_no_password_is_in_what_the_methods_tell(faulty: Place) -> None:
    faulty.there("a")
    told: list[Callable[[], Any]] = [
        lambda: faulty.ask("ftp_list", details=True),
        lambda: faulty.ask("ftp_get", path="a"),
        lambda: faulty.ask("ftp_put", file="a", path="b"),
    ]
    said = json.dumps([each() for each in told]) + "".join(faulty.call.lines)
    assert ftp.PASSWORD not in said
