"""The way of a request through redirects, and what it may take along to each place.

Pure: addresses and headers in, addresses and headers out. Credentials are added at each hop, never
kept in the request, and a request that has left their origin does not get them back.
"""

from __future__ import annotations

from collections.abc import Mapping

from pit.errors import Refused
from pit.model import Record
from pit.work.connectors.http.address import Address, shown
from pit.work.connectors.http.credentials import Credentials

REDIRECTS = (301, 302, 303, 307, 308)
MOST = 10
"""Redirects that are followed for one request."""

_HARMLESS = frozenset(
    (
        *("accept", "accept-encoding", "accept-language", "content-type", "user-agent", "range"),
        *("if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
    )
)
"""The headers of a request that may go to another origin; all others might be credentials."""


class Hop(Record):
    """One request of the way: what to ask whom, with `credentials` or without."""

    method: str
    address: Address
    headers: dict[str, str]
    with_body: bool
    credentials: Credentials | None = None
    private: bool = False
    """Whether the request still carries anything that may be a credential."""

    def dressed(self) -> tuple[Address, dict[str, str]]:
        """The address and headers to send, credentials included."""
        known = self.credentials
        if known is None:
            return self.address, self.headers
        known.check(self.address.origin)
        held = {pair.partition("=")[0] for pair in self.address.query.split("&")}
        lacking = {name: value for name, value in known.query.items() if name not in held}
        return self.address.asking(lacking), {**self.headers, **known.headers}

    def next(self, status: int, location: str) -> Hop:
        """The hop that a redirect asks for; Refused where it would give a secret away."""
        target = self.address.follow(location)
        stays = target.origin == self.address.origin
        if not stays:
            self._guard(target)
        keeps = status in (307, 308) or self.method in ("GET", "HEAD")
        kept = self.headers if stays else _harmless(self.headers)
        return Hop(
            method=self.method if keeps else "GET",
            address=target,
            headers=kept if keeps else _without_body(kept),
            with_body=self.with_body and keeps,
            credentials=self.credentials if stays else None,
            private=self.private and stays,
        )

    def is_trusted_by(self, earlier: Hop) -> bool:
        """Whether it may be told all that `earlier` was: the same origin, or its encrypted twin."""
        here, there = earlier.address.origin, self.address.origin
        is_twin = here == ("http", here[1], 80) and there == ("https", here[1], 443)
        return here == there or is_twin

    def _guard(self, target: Address) -> None:
        """Refused for a step to another origin that must not be made."""
        here, there = shown(self.address.origin), shown(target.origin)
        if self.credentials is not None and self.credentials.betrayed(target.url):
            raise Refused(f"{here} redirects to {there} with the secret in the URL")
        downgraded = self.address.origin[0] == "https" and target.origin[0] == "http"
        if downgraded and self.private:
            raise Refused(
                f"{here} redirects to {there}, from an encrypted to an open connection",
                "Ask for the final URL, or set follow_redirects to false",
            )


def _harmless(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in _HARMLESS}


def _without_body(headers: Mapping[str, str]) -> dict[str, str]:
    return {n: v for n, v in headers.items() if not n.lower().startswith("content-")}
