"""Secrets that a run has handed out, kept out of everything that the run writes.

As long as none was handed out, nothing is looked at and nothing costs anything. From then on each
text and each piece of output is searched for every form in which a secret commonly appears: as it
is, its lines, in base64 (at all three alignments, so that it is found within a longer text too),
URL-encoded, escaped as in JSON or in a Python traceback. Where forms overlap, all of it goes.
"""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, unquote, urlsplit

import msgspec
from msgspec.structs import replace

Secret = str | dict[str, str]
Span = tuple[int, int]

MASK = "***"
_MASK = MASK.encode()

SHORTEST = 6
"""Bytes; what is shorter would be found everywhere."""

PLAIN_FIELDS = frozenset(
    {"host", "port", "user", "database", "schema", "driver", "path"}
    | {"endpoint", "region", "bucket", "prefix", "path_style", "verify", "ca", "auth"}
    | {"protocol", "tls", "security", "from", "host_key", "encoding", "timeout", "insecure_login"}
)
"""The fields of a structured secret that are no secret, but for a password in a URL.

A `url` is one: that of a webhook is all that it takes to use it.
"""

_TOLD = ("error", "message", "hint", "why", "remarks", "fields", "outcome")
"""The fields of events that are texts for people; the others are names, digests and states."""

_SHARED = 16
"""Bytes of a beginning that is searched for in place of several forms."""

_MANY = 200

_WRAPPED = 76
"""How long the lines of the command `base64` are."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class _Known:
    """An unchanging set of forms, ready to be searched for."""

    def __init__(self, forms: frozenset[bytes]) -> None:
        self.forms = tuple(sorted(forms, key=len, reverse=True))
        self.longest = len(self.forms[0]) if forms else 0
        self._needles = tuple(_needles(self.forms))
        self._by_first: dict[int, list[bytes]] = {}
        for form in self.forms:
            self._by_first.setdefault(form[0], []).append(form)
        firsts = b"".join(re.escape(bytes((first,))) for first in sorted(self._by_first))
        self._first = re.compile(b"[" + firsts + b"]") if firsts else None

    def present(self, data: bytes) -> bool:
        """Whether any form may stand in the data: if not, that is certain."""
        return any(needle in data for needle in self._needles)

    def spans(self, data: bytes, covered: int = 0) -> list[Span]:
        """The places to be masked, in order and apart; the first `covered` bytes are one."""
        found = [(0, covered)] if covered else []
        if self.present(data):
            for form in self.forms:
                at = data.find(form)
                while at >= 0:
                    found.append((at, at + len(form)))
                    at = data.find(form, at + 1)
        return list(_merged(sorted(found))) if len(found) > 1 else found

    def beginning(self, data: bytes) -> int:
        """Where the rest of the data may be the beginning of a form; its length if nowhere."""
        if self._first is None:
            return len(data)
        for match in self._first.finditer(data, max(0, len(data) - self.longest + 1)):
            at = match.start()
            rest = data[at:]
            for form in self._by_first[rest[0]]:
                if len(form) <= len(rest):
                    break  # the longest come first
                if form.startswith(rest):
                    return at
        return len(data)

    def hide(self, data: bytes) -> bytes:
        """The data with every form in it masked."""
        spans = self.spans(data)
        if not spans:
            return data
        pieces, at = [], 0
        for start, end in spans:
            pieces += [data[at:start], _MASK]
            at = end
        return b"".join((*pieces, data[at:]))


def _needles(forms: tuple[bytes, ...]) -> Iterator[bytes]:
    """What need be searched for to know that none of the forms is there; few, to be fast.

    Where a form stands, what is part of it stands as well, and so does what it begins with: one
    long beginning that several spellings share stands for them all.
    """
    smallest = sorted(forms)
    if len(forms) <= _MANY:  # with more, finding out would take longer than it saves
        smallest = [
            form for form in smallest if not any(other in form for other in forms if other != form)
        ]
    shared = b""
    for form in smallest:
        common = _common(shared, form)
        if shared and common < _SHARED:
            yield shared
        shared = form[:common] if common >= _SHARED else form
    if shared:
        yield shared


def _common(one: bytes, other: bytes) -> int:
    """How many bytes two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Sorted spans, those that overlap made one."""
    pending: Span | None = None
    for start, end in spans:
        if pending is None:
            pending = start, end
        elif start < pending[1]:
            pending = pending[0], max(pending[1], end)
        else:
            yield pending
            pending = start, end
    if pending is not None:
        yield pending


class Masks:
    """All forms of the secrets that one run has handed out; grows, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = _Known(frozenset())
        self.armed = False
        """Whether there is anything to mask."""

    def add(self, secret: Secret) -> None:
        """Mask a secret from now on: a plain one whole, a structured one field by field."""
        found = {form for part in parts(secret) for form in forms(part)}
        with self._lock:
            if found <= set(self._known.forms):
                return
            self._known = _Known(frozenset(found) | frozenset(self._known.forms))
            self.armed = True

    @property
    def known(self) -> _Known:
        """What is masked now."""
        return self._known

    def hide(self, text: str) -> str:
        """The text without secrets."""
        if not self.armed:
            return text
        data = text.encode("utf-8", "surrogatepass")
        hidden = self._known.hide(data)
        return text if hidden is data else hidden.decode("utf-8", "surrogatepass")

    def reveals(self, text: str) -> bool:
        """Whether a secret stands in the text."""
        return self.armed and bool(self._known.spans(text.encode("utf-8", "surrogatepass")))

    def hidden(self, event: _Struct) -> _Struct:
        """The event with its texts for people masked."""
        if not self.armed:
            return event
        changes = {
            name: hidden
            for name in _TOLD
            if (value := getattr(event, name, None)) and (hidden := self._deep(value)) != value
        }
        return replace(event, **changes) if changes else event

    def scrub(self, error: BaseException) -> None:
        """Mask what an error says, and what those say that led to it, before others hear of it."""
        seen: set[int] = set()
        each: BaseException | None = error
        while self.armed and each is not None and id(each) not in seen:
            seen.add(id(each))
            each.args = tuple(map(self._deep, each.args))
            each = each.__cause__ or each.__context__

    def _deep(self, value: Any) -> Any:
        match value:
            case str():
                return self.hide(value)
            case dict():
                return {self._deep(key): self._deep(each) for key, each in value.items()}
            case tuple() | list():
                return type(value)(self._deep(each) for each in value)
            case msgspec.Struct():
                return self.hidden(value)
        return value

    def stream(self) -> Stream:
        """A filter for output that comes in pieces."""
        return Stream(self)


class Stream:
    """Output in pieces, masked across their borders; for one thread at a time.

    What may be the beginning of a secret is held back, at most the longest form but one byte.
    """

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._held = b""
        self._covered = 0  # so many bytes of what is held belong to what has been masked already

    @property
    def holding(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """What may be written after another piece has come."""
        known = self._masks.known
        data = self._held + data if self._held else data
        return self._cut(data, known.spans(data, self._covered), known.beginning(data))

    def flush(self) -> bytes:
        """What is held back, because nothing has followed for long or nothing will."""
        data = self._held
        return self._cut(data, self._masks.known.spans(data, self._covered), len(data))

    def _cut(self, data: bytes, spans: list[Span], keep: int) -> bytes:
        """Write up to `keep`, where a form may begin, and hold the rest."""
        if keep == 0:
            self._held = data
            return b""
        pieces, at, covered = [], 0, 0
        for start, end in spans:
            if start >= keep:
                break
            pieces.append(data[at:start])
            if start or not self._covered:
                pieces.append(_MASK)
            at, covered = min(end, keep), max(0, end - keep)
        self._held, self._covered = data[keep:], covered
        if not pieces:
            return data if keep == len(data) else data[:keep]
        return b"".join((*pieces, data[at:keep]))


# ---------------------------------------------------------------- what a secret may look like


def parts(secret: Secret) -> Iterator[str]:
    """The texts of a secret that nobody else may read: a URL as a whole, and its password."""
    fields = {"": secret} if isinstance(secret, str) else secret
    for name, text in fields.items():
        if name not in PLAIN_FIELDS:
            yield text
        yield from _password(text)


def _password(text: str) -> Iterator[str]:
    if "://" not in text:
        return
    try:
        password = urlsplit(text).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)


def forms(text: str) -> set[bytes]:
    """Every form of a text that is masked; none if it is too short."""
    whole = text.encode("utf-8", "surrogatepass")
    found: set[bytes] = set()
    for part in {text, text.strip(), *_lines(text)}:
        for spelling in _SPELLINGS:
            found.add(spelling(part).encode("utf-8", "surrogatepass"))
    for data in {whole, whole.strip()}:
        found |= _in_base64(data)
    return {form for form in found if len(form) >= SHORTEST} if len(whole) >= SHORTEST else set()


def _lines(text: str) -> list[str]:
    """The lines of a many-line secret that are long enough to be one."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if len(line.encode("utf-8", "surrogatepass")) >= SHORTEST]


def _quoted(safe: str) -> Callable[[str], str]:
    return lambda text: quote(text, safe=safe, errors="surrogatepass")


_PERCENT = re.compile("%[0-9A-F]{2}")


def _lowered(text: str) -> str:
    return _PERCENT.sub(lambda code: code[0].lower(), quote(text, "", errors="surrogatepass"))


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    _quoted(""),
    _quoted("/"),
    _quoted("!'()*"),  # what JavaScript leaves as it is
    _lowered,
    lambda text: quote_plus(text, errors="surrogatepass"),
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    lambda text: repr(text)[1:-1],
    lambda text: text.replace("'", "'\\''"),  # as a shell shows a command (set -x)
)


def _in_base64(data: bytes) -> set[bytes]:
    """Base64 of the data alone, and what it is bound to be within more data: three alignments.

    Padding is left out, for it tells nothing.
    """
    whole = b64encode(data).rstrip(b"=")
    found = {whole}
    if len(whole) > _WRAPPED:
        found |= {whole[at : at + _WRAPPED] for at in range(0, len(whole), _WRAPPED)}
    for before in range(3):
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        found.add(b64encode(bytes(before) + data)[first:last])
    return {form for each in found for form in (each, each.translate(_URLSAFE))}


_URLSAFE = bytes.maketrans(b"+/", b"-_")
