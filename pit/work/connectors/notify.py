"""The method `notify`: chat and push services by Apprise, one address for each.

An address holds its credentials, so it is never shown: errors name the service alone.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from mimetypes import guess_type
from pathlib import Path
from time import monotonic
from typing import Any, Literal
from urllib.parse import quote, unquote

from pit.errors import ConnectorFailed, MissingExtra, PitError, Refused
from pit.model import Record
from pit.work.connectors.attended import attended
from pit.work.connectors.fields import clean
from pit.work.connectors.loggers import silence
from pit.work.connectors.retry import NEVER
from pit.work.socket.call import Call, Method, Secret
from pit.work.socket.files import reading

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STATUS = re.compile(r"\berror=(\d{3})\b")
_PARTS = re.compile(r"[/:@?&=,#\s]+")
_SHORTEST = 4
_FORM = "It is an Apprise URL or several, one a line: as the value, or in the field url"
_loading = threading.Lock()
"""Held while a service is made: the first one has Apprise load all its plugins."""
_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class NotifyParams(Record):
    """A message; `severity` gives it a colour or sign where the service has them."""

    secret: str
    body: str
    title: str = ""
    format: Literal["text", "markdown", "html"] = "text"
    severity: Literal["info", "success", "warning", "failure"] = "info"
    attachments: str | list[str] = ""


def notify(call: Call, params: NotifyParams) -> dict[str, Any]:
    """`sent`: the services that took it; `failed`: those that did not, with their reason.

    Raises ConnectorFailed where none took it.
    """
    apprise = _library()
    if _CONTROL.search(params.title):
        raise Refused("title contains a line break or another control character")
    if not params.title.strip() and not params.body.strip():
        raise Refused("notify needs something to send", "Give body, or title and body")
    files = _files(call, params.attachments)
    addresses = _addresses(params.secret, call.secret(params.secret))
    services = [
        _service(apprise, url, f'secret "{params.secret}"', number if len(addresses) > 1 else 0)
        for number, url in enumerate(addresses, 1)
    ]
    sent, failed = [], {}
    for service, url in zip(services, addresses, strict=True):
        name = str(service.service_name)
        reason = attended(
            call,
            partial(_send, apprise, service, url, params, call.caller.data, files),
            stop=lambda: None,
            drop=lambda _: None,
            until=monotonic() + NEVER,
            doing=f"notify: {name}",
        )
        if reason is None:
            sent.append(name)
        else:
            failed[name] = reason
            call.log(f"notify: {name} did not accept the message: {reason}")
    if not sent:
        told = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise ConnectorFailed(
            f"nobody received the message: {told}",
            f'Look at the addresses in secret "{params.secret}"',
            retryable=any(_may_pass(reason) for reason in failed.values()),
        )
    return {"sent": sent, "failed": failed}


def _library() -> Any:
    try:
        import apprise
    except ImportError:
        raise MissingExtra("notify", "notify") from None
    silence("apprise", "requests", "urllib3")
    logging.getLogger("apprise").addHandler(_EAR)  # the same one, so that it is there but once
    return apprise


def _addresses(key: str, secret: Secret) -> list[str]:
    text = secret if isinstance(secret, str) else secret.get("url", "")
    found = [line.strip() for line in text.splitlines()]
    found = [line for line in found if line and not line.startswith("#")]
    if not found:
        raise Refused(
            f'secret "{key}" holds no address',
            _FORM,
        )
    return found


def _service(apprise: Any, url: str, secret: str, number: int) -> Any:
    asset = apprise.AppriseAsset(
        app_id="Pit",
        app_desc="Pit",
        app_url="",
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        secure_logging=True,
    )
    with _listening(), _loading:
        service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is None:
        which = f"address {number} of {secret}" if number else secret
        raise Refused(f"{which} is not an address that Apprise understands", _FORM)
    return service


def _files(call: Call, attachments: str | list[str]) -> list[Path]:
    names = [attachments] if isinstance(attachments, str) and attachments else attachments
    paths = [call.path(name, exists=True) for name in names]
    for path in paths:
        if path.is_dir():
            raise Refused(f'"{path.name}" is a folder; only files can be attached')
    return paths


def _send(
    apprise: Any, service: Any, url: str, params: NotifyParams, data: Path, files: list[Path]
) -> str | None:
    """None, or why the service did not take it, without anything of its address."""
    with ExitStack() as stack, _listening() as heard:
        try:
            done = _given(apprise, service, params, _attached(apprise, stack, data, files))
        except PitError:
            raise
        except Exception as error:  # a plugin among a hundred; its mistake is the service's failure
            heard.append(f"{type(error).__name__}: {error}")
            done = False
    return None if done else _without(url, "; ".join(heard)) or "no reason is given"


def _attached(apprise: Any, stack: ExitStack, data: Path, files: list[Path]) -> Any:
    """The files as Apprise takes them, open as long as the stack is.

    By handle and not by path, which could lead elsewhere by the time that a plugin opens it.
    """
    attach_file: Any = import_module("apprise.attachment.file").AttachFile
    attached = apprise.AppriseAttachment()
    for path in files:
        handle = stack.enter_context(reading(data, path)).fileno()
        kind = guess_type(path.name)[0] or "application/octet-stream"
        attached.add(attach_file(f"/dev/fd/{handle}", name=path.name, mimetype=kind))
    return attached if files else None


def _given(apprise: Any, service: Any, params: NotifyParams, attached: Any) -> bool:
    """Whether the service took the message."""
    box = apprise.Apprise()
    box.add(service)
    return bool(
        box.notify(
            body=params.body,
            title=params.title,
            notify_type=params.severity,
            body_format=params.format,
            attach=attached,
        )
    )


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What Apprise logs for this call as a warning or worse: it has no other way to say why."""
    heard: list[str] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)


class _Ear(logging.Handler):
    """Gives each record to the call that it belongs to, and to nobody else."""

    def emit(self, record: logging.LogRecord) -> None:
        heard = _HEARD.get()
        if heard is not None:
            heard.append(record.getMessage())


_EAR = _Ear(logging.WARNING)


def _without(url: str, text: str) -> str:
    """A text without an address and the parts of it, but for its scheme."""
    rest = url.partition("://")[2]
    parts = {part for part in _PARTS.split(rest) if len(part) >= _SHORTEST}
    spellings = {form for part in parts for form in (part, unquote(part), quote(part, safe=""))}
    for part in sorted({url, rest} | spellings, key=len, reverse=True):
        text = text.replace(part, "***")
    return clean(text)


def _may_pass(reason: str) -> bool:
    found = _STATUS.search(reason)
    return found is None or found[1] == "429" or found[1] >= "500"


METHODS = {"notify": Method(params=NotifyParams, serve=notify, doc="Tell people by chat or push.")}
