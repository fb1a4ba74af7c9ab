"""Secrets that a run has handed out, kept out of everything that the run writes.

As long as none was handed out, nothing is looked at and nothing costs anything. From then on each
text and each piece of output is searched for all forms of all of them at once (Aho-Corasick), so
that a thousand secrets cost hardly more than three. Where forms overlap, all of it goes.
"""

from __future__ import annotations

import os
import re
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import replace

from pit.work.spellings import SHORTEST, Secret, forms, parts

if TYPE_CHECKING:
    from ahocorasick_rs import BytesAhoCorasick

Span = tuple[int, int]

MASK = "***"
_MASK = MASK.encode()

_FEW = 2
"""Bytes of a secret at most that are written before it is known whether it is one."""

_CUT = "…".encode()
"""The mark that Pit sets where it shows but the beginning of a text."""

_TOLD = ("error", "message", "hint", "why", "remarks", "fields", "outcome")
"""The fields of events that are texts for people; the others are names, digests and states."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class _Layer:
    """An unchanging set of forms, ready to be searched for."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        self.forms = sorted(forms)
        self.longest = max(map(len, self.forms))
        self._any = _search((*self.forms, *_NEVER), "LeftmostFirst")
        self._heads = _search({form[:SHORTEST] for form in self.forms})
        self._first_bytes = {form[:size] for form in self.forms for size in range(1, SHORTEST)}

    @cached_property
    def _whole(self) -> BytesAhoCorasick:
        """Finds all places, also those that overlap, and is the slower for it."""
        return _search(self.forms)

    def spans(self, data: bytes) -> list[Span]:
        """Where a form stands, in no order."""
        if not self._any.find_matches_as_indexes(data):
            return []
        found = self._whole.find_matches_as_indexes(data, overlapping=True)
        return [(start, end) for _, start, end in found]

    def beginning(self, data: bytes) -> int:
        """Where the rest of the data may be the beginning of a form; its length if nowhere."""
        first = max(0, len(data) - self.longest + 1)
        if len(data) - first >= SHORTEST:
            for _, start, _ in self._heads.find_matches_as_indexes(data[first:], overlapping=True):
                if self.goes_on(data[first + start :]):
                    return first + start
        for at in range(max(first, len(data) - SHORTEST + 1), len(data)):
            if data[at:] in self._first_bytes:
                return at
        return len(data)

    def goes_on(self, rest: bytes) -> bool:
        """Whether some form begins with this, and is longer."""
        at = bisect_right(self.forms, rest)
        return at < len(self.forms) and self.forms[at].startswith(rest)

    def half(self, rest: bytes) -> bool:
        """Whether this is the first half, or more, of some form."""
        at = bisect_right(self.forms, rest)
        begun = takewhile(lambda form: form.startswith(rest), islice(self.forms, at, None))
        return any(len(form) <= 2 * len(rest) for form in begun)


class _Known:
    """All forms that are known, in layers, each at least twice as large as the next.

    So a secret that is added to a thousand others costs no search through the thousand.
    """

    def __init__(self, layers: tuple[_Layer, ...] = ()) -> None:
        self.layers = layers
        self.longest = max((layer.longest for layer in layers), default=0)

    def grown(self, forms: Iterable[bytes]) -> _Known:
        """The same with more forms."""
        layers, young = list(self.layers), list(forms)
        while layers and len(layers[-1].forms) < 2 * len(young):
            young += layers.pop().forms
        return _Known((*layers, _Layer(young)))

    def spans(self, data: bytes, covered: int = 0) -> list[Span]:
        """The places to be masked, in order and apart; the first `covered` bytes are one."""
        found = [(0, covered)] if covered else []
        for layer in self.layers:
            found += layer.spans(data)
        return list(_merged(sorted(found))) if len(found) > 1 else found

    def beginning(self, data: bytes) -> int:
        """Where the rest of the data may be the beginning of a form; its length if nowhere."""
        return min((layer.beginning(data) for layer in self.layers), default=len(data))

    def goes_on(self, rest: bytes) -> bool:
        """Whether some form begins with this, and is longer."""
        return any(layer.goes_on(rest) for layer in self.layers)

    def much(self, rest: bytes) -> bool:
        """Whether the beginning of a form is too much of it to be shown."""
        return len(rest) >= SHORTEST or any(layer.half(rest) for layer in self.layers)

    def hide(self, data: bytes) -> bytes:
        """A text of Pit's own with every form in it masked, and what Pit has cut one to."""
        spans = self.spans(data)
        if _CUT in data:
            spans = list(_merged(sorted((*spans, *self._cut_off(data)))))
        if not spans:
            return data
        pieces, at = [], 0
        for start, end in spans:
            pieces += [data[at:start], _MASK]
            at = end
        return b"".join((*pieces, data[at:]))

    def _cut_off(self, data: bytes) -> Iterator[Span]:
        """Where much of a form stands right before the mark that the rest was left out."""
        for mark in re.finditer(re.escape(_CUT), data):
            before = data[max(0, mark.start() - self.longest) : mark.start()].rstrip(b" ")
            start = self.beginning(before)
            if start < len(before) and self.much(before[start:]):
                end = max(0, mark.start() - self.longest) + len(before)
                yield end - len(before) + start, end


def _search(forms: Iterable[bytes], kind: str = "Standard") -> BytesAhoCorasick:
    from ahocorasick_rs import BytesAhoCorasick, MatchKind  # only where there is something to hide

    return BytesAhoCorasick(list(forms), matchkind=getattr(MatchKind, kind))


def _never() -> tuple[bytes, ...]:
    """Texts that are nowhere. With them in it, a search for up to sixty forms runs at 10 GB/s.

    The library looks for the rarest bytes first if all forms together need no more than three, and
    is fifty times as slow where one of them is a digit, say. It cannot be told not to; each of
    these has rare bytes of its own.
    """
    return tuple(bytes(pair[bit & 1] for bit in os.urandom(64)) for pair in _PAIRS)


_PAIRS = (b"\xf8\xf9", b"\xfa\xfb", b"\xfc\xfd", b"\xfe\xff")
_NEVER = _never()


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
        self._forms: set[bytes] = set()
        self._new: set[bytes] = set()
        self._known = _Known()
        self.armed = False
        """Whether there is anything to mask."""

    def add(self, secret: Secret) -> None:
        """Mask a secret from now on: a plain one whole, a structured one field by field."""
        found = {form for part in parts(secret) for form in forms(part)}
        with self._lock:
            if found := found - self._forms:
                self._forms |= found
                self._new |= found
                self.armed = True

    @property
    def known(self) -> _Known:
        """What is masked now; made when it is next needed, so many secrets at once make one."""
        if self._new:
            with self._lock:
                if self._new:
                    self._known = self._known.grown(self._new)
                    self._new = set()
        return self._known

    def hide(self, text: str) -> str:
        """The text without secrets."""
        if not self.armed:
            return text
        data = text.encode("utf-8", "surrogatepass")
        hidden = self.known.hide(data)
        return text if hidden is data else hidden.decode("utf-8", "surrogatepass")

    def reveals(self, text: str) -> bool:
        """Whether a secret stands in the text."""
        return self.armed and bool(self.known.spans(text.encode("utf-8", "surrogatepass")))

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
            case int() | float() if self.reveals(str(value)):
                return MASK  # a PIN may be logged as the number that it is
        return value

    def stream(self) -> Stream:
        """A filter for output that comes in pieces."""
        return Stream(self)


class Stream:
    """Output in pieces, masked across their borders; for one thread at a time.

    What may be the beginning of a secret is held back until what follows decides, at most the
    longest form but one byte.
    """

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._held = b""
        self._covered = 0  # so many bytes of what is held belong to what has been masked already
        self._shown = 0  # so many have been written, so that only what follows them can be masked
        self._rested = False

    @property
    def waiting(self) -> bool:
        """Whether something is held back of which a pause may tell more."""
        return bool(self._held) and not self._rested

    def feed(self, data: bytes) -> bytes:
        """What may be written after another piece has come."""
        known = self._masks.known
        self._rested = False
        if self._held:
            data = self._held + data
            if known.goes_on(data):
                self._held = data
                return b""
        return self._cut(data, known.spans(data, self._covered), known.beginning(data))

    def rest(self) -> bytes:
        """What is written of it when nothing has followed for a moment: no part of a secret.

        A prompt may end in what begins a secret, but hardly in more than a few bytes of it. These
        are written, and remembered. A secret that is there in full is masked, even if a longer one
        begins with it.
        """
        self._rested = True
        if len(self._held.lstrip()) <= _FEW and self._held.isascii():  # no half of a character
            told = self._held[max(self._shown, self._covered) :]
            self._shown = len(self._held)
            return told
        spans = self._masks.known.spans(self._held, self._covered)
        if not spans or spans[0][0] > 0:
            return b""
        told = b"" if self._covered else _MASK
        self._covered = spans[0][1]
        return told

    def flush(self) -> bytes:
        """What is held back, because nothing will follow; masked if it is much of a secret."""
        data, known = self._held, self._masks.known
        if known.much(data):
            return self._cut(data, [(0, len(data))], len(data))
        return self._cut(data, known.spans(data, self._covered), len(data))

    def _cut(self, data: bytes, spans: list[Span], keep: int) -> bytes:
        """Write up to `keep`, where a form may begin, and hold the rest."""
        pieces, at, covered = [], self._shown, 0
        for start, end in spans:
            if start >= keep:
                break
            pieces.append(data[at:start])
            if start or not self._covered:
                pieces.append(_MASK)
            at, covered = max(at, min(end, keep)), max(0, end - keep)
        if keep:
            self._covered, self._shown = covered, max(0, self._shown - keep)
        self._held = data[keep:]
        if not pieces and at == 0:
            return data if keep == len(data) else data[:keep]
        return b"".join((*pieces, data[at:keep]))
