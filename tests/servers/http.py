"""An origin on loopback: answers by path, remembers every request, optionally over TLS.

| path | answer |
|---|---|
| `/echo` | JSON of the request: method, target, headers, body |
| `/text`, `/json`, `/binary` | a small body of that kind |
| `/status/404` | that status, with the target and the Authorization header in the body |
| `/cookies` | two cookies |
| `/flaky/2` | 503 twice, then 200 |
| `/later/2?after=1` | 429 with Retry-After twice, then 200 |
| `/drop/1` | the connection closed once without an answer, then 200 |
| `/redirect/302?to=URL` | a redirect with that status |
| `/loop` | a redirect to itself; `/detour` to `/text`, with a body without an end |
| `/bytes/1000` | so many bytes with their length; `/chunked/1000` in chunks |
| `/endless` | bytes without an end; `/endless/1000` with a length that never comes |
| `/short` | fewer bytes than announced |
| `/gzip`, `/bomb` | a compressed body, small or one that is 64 MB unpacked |
| `/raw/name` | what `Origin.raw` has for the name, head and all; then the connection ends |
| `/silent` | nothing, until the server is stopped |
"""

from __future__ import annotations

import gzip
import json
import select
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BLOCK = bytes(range(256)) * 256


_STUCK = {"down": "endless/1000000000", "up": "silent"}


class Seen:
    """One request as it came."""

    def __init__(self, method: str, target: str, headers: dict[str, str], size: int) -> None:
        self.method, self.target, self.headers, self.size = method, target, headers, size
        self.body = b""
        """What was sent; the first MB of it."""
        self.peer = ("", 0)
        """The address and port that it came from."""

    @property
    def text(self) -> str:
        """Everything of it, to be searched for what must not be there."""
        return f"{self.method} {self.target} {self.headers} {self.body!r}"


class Origin:
    """A running server; `url` has no slash at its end."""

    def __init__(self, server: ThreadingHTTPServer, scheme: str) -> None:
        self.host, self.port = "127.0.0.1", server.server_port
        self.url = f"{scheme}://{self.host}:{self.port}"
        self.requests: list[Seen] = []
        self.counts: Counter[str] = Counter()
        self.arrived = threading.Event()
        """Set by each request; clear it to wait for the next."""
        self.stopping = threading.Event()
        self.canned: tuple[int, str] | None = None
        """An answer to everything: status and body."""
        self.kind = "application/xml"
        """Its Content-Type."""
        self.raw: dict[str, bytes] = {}
        """Whole answers for `/raw`."""
        self.detour = ""
        """Where everything is redirected to: the URL of another server."""
        self.stuck = ""
        """"down": every answer is `/endless` (with a length); "up": every answer is `/silent`."""
        self.left = threading.Event()
        """Set when a client has hung up in the middle of an answer."""

    def echo(self) -> dict[str, Any]:
        """The last request, as JSON can show it."""
        last = self.requests[-1]
        return {
            "method": last.method,
            "target": last.target,
            "headers": last.headers,
            "body": last.body.decode("latin-1"),
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    origin: Origin

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read `Origin.requests`."""

    def _answer(self) -> None:
        seen = self._receive()
        origin = self.origin
        origin.requests.append(seen)
        origin.arrived.set()
        if origin.canned is not None:
            self._send(origin.canned[0], origin.canned[1].encode(), origin.kind)
            return
        if origin.detour:
            self._send(307, b"", "text/plain", Location=f"{origin.detour}{self.path}")
            return
        parts = urlsplit(f"/{_STUCK[origin.stuck]}" if origin.stuck else self.path)
        name, _, rest = parts.path.strip("/").partition("/")
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        try:
            getattr(self, f"_{name}", self._unknown)(rest, query)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            origin.left.set()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_REPORT = _answer

    def do_CONNECT(self) -> None:
        """A tunnel, as a proxy makes one."""
        self.origin.requests.append(Seen("CONNECT", self.path, dict(self.headers.items()), 0))
        self.close_connection = True
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as beyond:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: beyond, beyond: self.connection}
            while True:
                for end in select.select([*ends], [], [])[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    ends[end].sendall(data)

    def _receive(self) -> Seen:
        length = int(self.headers.get("Content-Length") or 0)
        seen = Seen(self.command, self.path, dict(self.headers.items()), length)
        left, kept = length, bytearray()
        while left:
            data = self.rfile.read(min(left, 1 << 16))
            if not data:
                break
            left -= len(data)
            kept += data[: max(0, (1 << 20) - len(kept))]
        seen.body, seen.peer = bytes(kept), self.client_address
        return seen

    def _send(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        body = b"" if status in (204, 304) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _unknown(self, rest: str, query: dict[str, str]) -> None:
        self._send(404, b"nothing here", "text/plain")

    def _echo(self, rest: str, query: dict[str, str]) -> None:
        echo = json.dumps(self.origin.echo()).encode()
        told = self.headers.get("Authorization") or "nothing"
        self._send(200, echo, query.get("kind", "application/json"), X_Told=told)

    def _text(self, rest: str, query: dict[str, str]) -> None:
        self._send(200, "grüße".encode("latin-1"), "text/plain; charset=latin-1")

    def _json(self, rest: str, query: dict[str, str]) -> None:
        self._send(200, b'{"answer": [42, null]}', "application/vnd.api+json")

    def _binary(self, rest: str, query: dict[str, str]) -> None:
        self._send(200, b"\xff\x00\xfe", "application/octet-stream")

    def _gzip(self, rest: str, query: dict[str, str]) -> None:
        self._send(200, gzip.compress(b"unpacked"), "text/plain", Content_Encoding="gzip")

    def _bomb(self, rest: str, query: dict[str, str]) -> None:
        self._send(200, gzip.compress(bytes(64 << 20)), "text/plain", Content_Encoding="gzip")

    def _status(self, rest: str, query: dict[str, str]) -> None:
        told = f"{self.path} {self.headers.get('Authorization')}"
        self._send(int(rest), told.encode(), "text/plain")

    def _cookies(self, rest: str, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _flaky(self, rest: str, query: dict[str, str]) -> None:
        if self._first(int(rest)):
            self._send(503, b"try again", "text/plain")
        else:
            self._send(200, b"at last", "text/plain")

    def _later(self, rest: str, query: dict[str, str]) -> None:
        if self._first(int(rest)):
            self._send(429, b"slowly", "text/plain", Retry_After=query["after"])
        else:
            self._send(200, b"at last", "text/plain")

    def _drop(self, rest: str, query: dict[str, str]) -> None:
        if self._first(int(rest)):
            self.close_connection = True
        else:
            self._send(200, b"at last", "text/plain")

    def _first(self, times: int) -> bool:
        """Whether this path was asked for no more than so many times."""
        self.origin.counts[self.path] += 1
        return self.origin.counts[self.path] <= times

    def _redirect(self, rest: str, query: dict[str, str]) -> None:
        self._send(int(rest), b"elsewhere", "text/plain", Location=query["to"])

    def _detour(self, rest: str, query: dict[str, str]) -> None:
        """A redirect with a body without an end."""
        self.send_response(302)
        self.send_header("Location", "/text")
        self.send_header("Connection", "close")
        self.end_headers()
        while not self.origin.stopping.is_set():
            self.wfile.write(BLOCK)

    def _loop(self, rest: str, query: dict[str, str]) -> None:
        self._send(302, b"", "text/plain", Location=self.path)

    def _bytes(self, rest: str, query: dict[str, str]) -> None:
        size = int(rest)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for at in range(0, size, len(BLOCK)):
            self.wfile.write(BLOCK[: size - at])

    def _chunked(self, rest: str, query: dict[str, str]) -> None:
        size = int(rest)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, size, 1000):
            block = BLOCK[: min(1000, size - at)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")

    def _endless(self, rest: str, query: dict[str, str]) -> None:
        """Bytes as long as somebody reads; a trickle, so that a client waits in between."""
        self.send_response(200)
        if rest:
            self.send_header("Content-Length", rest)
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.send_header("ETag", '"1"')
        self.send_header("Connection", "close")
        self.end_headers()
        while not self.origin.stopping.wait(0.01):
            self.wfile.write(b"more ")

    def _short(self, rest: str, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"too few")
        self.close_connection = True

    def _raw(self, rest: str, query: dict[str, str]) -> None:
        self.wfile.write(self.origin.raw[rest])
        self.close_connection = True

    def _silent(self, rest: str, query: dict[str, str]) -> None:
        self.origin.stopping.wait(60)
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up, or trust no certificate, are what tests are about."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextmanager
def serving(certificate: tuple[str, str] | None = None) -> Iterator[Origin]:
    """A server on a free port; `certificate` is the files of a certificate and its key."""

    class Handler(_Handler):
        pass

    server = _Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        # The handshake belongs to the thread of the connection, not to the one that accepts.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    origin = Handler.origin = Origin(server, "https" if certificate else "http")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield origin
    finally:
        origin.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
