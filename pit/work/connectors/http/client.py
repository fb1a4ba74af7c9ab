"""One exchange over HTTP: a request sent and its answer begun, without a thought about credentials.

urllib3 does the talking. Its own redirects and retries are off, as they know nothing of secrets;
it keeps no cookies and reads no netrc. Connections are kept for the requests that follow in the
same run. The proxies of Pit's own environment are used, as everywhere.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pit.errors import ConnectorFailed, Refused
from pit.model import Record
from pit.work.connectors.fields import trusting
from pit.work.connectors.http.address import Address, is_local, shown
from pit.work.connectors.http.body import Body
from pit.work.connectors.http.coding import Undecodable, decoded

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_BLOCK = 1 << 16
_KEPT = 8
"""Idle connections kept for each host."""

_here = threading.local()
"""`exchange`: what this thread is doing, so that a connection knows to whom it belongs."""
_owners = threading.Lock()


class Trust(Record):
    """Whose certificates are believed: the system's, those in `ca` (PEM text or a file's path)."""

    ca: str = ""
    verify: bool = True


class Trouble(Enum):
    """What kept an exchange from coming to its end."""

    HOST = auto()
    CONNECTION = auto()
    CERTIFICATE = auto()
    SILENCE = auto()
    BREAK = auto()
    OTHER = auto()


class Broken(ConnectorFailed):
    """The exchange did not come to an end; `sent` unless the server can have seen nothing of it."""

    def __init__(
        self,
        sentence: str,
        hint: str = "",
        *,
        retryable: bool,
        sent: bool,
        trouble: Trouble = Trouble.OTHER,
    ) -> None:
        super().__init__(sentence, hint, retryable=retryable)
        self.sent, self.trouble = sent, trouble


class Exchange:
    """A request and its answer, which `stop` ends from another thread."""

    def __init__(self, trust: Trust, timeout: float) -> None:
        self._trust, self._timeout = trust, timeout
        self._stopped = False
        self._connection: Any = None
        self._socket: Any = None

    def stop(self) -> None:
        """Ends whatever the exchange is waiting for."""
        with _owners:
            self._stopped = True
            if self._connection is None or self._connection.owner is not self:
                return
            # Beneath TLS, which would first want to talk to the other side.
            raw = getattr(self._socket, "socket", self._socket)
            if isinstance(raw, socket.socket):
                with suppress(OSError):
                    socket.socket.shutdown(raw, socket.SHUT_RDWR)

    def use(self, connection: Any) -> None:
        """Takes a connection over; called by the connection itself."""
        with _owners:
            if self._stopped:
                raise OSError("stopped")
            self._connection, connection.owner = connection, self
            # Kept here, as a connection lets go of a socket that the server will close.
            self._socket = connection.sock

    @contextmanager
    def answer(
        self, method: str, address: Address, headers: Mapping[str, str], body: Body
    ) -> Iterator[BaseHTTPResponse]:
        """Sends a request; yields the answer, whose body is still to come.

        Raises Broken, also for what goes wrong with the body while it is read.
        """
        from urllib3 import Timeout

        where = shown(address.origin)
        _here.exchange = self
        with ExitStack() as stack, _told(where, self._timeout):
            fields = {name: _encoded(value) for name, value in headers.items()}
            stream = body.open(stack)
            if stream is not None:
                fields["Content-Length"] = str(stream.length)
            elif method in ("POST", "PUT", "PATCH"):
                fields["Content-Length"] = "0"
            response = _pools(_proxy(address), self._trust).urlopen(
                method,
                address.url,
                body=stream,
                headers=fields,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=Timeout(connect=self._timeout, read=self._timeout),
            )
            stack.callback(_end, response)
            yield response


def chunks(response: BaseHTTPResponse) -> Iterator[bytes]:
    """The body of an answer, piece by piece, without the coding it was sent in.

    Raises Undecodable if the coding is damaged, or ends before its end.
    """
    framed = bool(getattr(response, "chunked", False)) or response.length_remaining is not None
    coding = response.headers.get("Content-Encoding", "")
    return decoded(response.stream(_BLOCK, decode_content=False), coding, framed=framed)


def _end(response: BaseHTTPResponse) -> None:
    """Gives the connection back if the body was read to its end, and closes it if not."""
    response.close()
    response.release_conn()


def _encoded(value: str) -> Any:
    """A header's value as the library takes it: bytes are sent as they are."""
    return value if value.isascii() else value.encode()


# ------------------------------------------------------------------------------------ connections


def _proxy(address: Address) -> str:
    """The proxy that the environment names for this address, or nothing.

    None on the way to this very machine: a secret may go there in the open, and not to a proxy.
    """
    from urllib.request import getproxies, proxy_bypass

    scheme, host, port = address.origin
    if scheme == "http" and is_local(host):
        return ""
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all") or ""
    if not proxy or proxy_bypass(f"{host.strip('[]')}:{port}"):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


@lru_cache(maxsize=32)
def _pools(proxy: str, trust: Trust) -> PoolManager:
    """The connections of this process by proxy and trust, made on first use."""
    from urllib3 import PoolManager, ProxyManager
    from urllib3.util import make_headers, parse_url

    kept: dict[str, Any] = {"maxsize": _KEPT, "blocksize": _BLOCK, "ssl_context": _context(trust)}
    if proxy:
        auth = unquote(parse_url(proxy).auth or "")
        pools: PoolManager = ProxyManager(
            proxy, proxy_headers=make_headers(proxy_basic_auth=auth) if auth else None, **kept
        )
    else:
        pools = PoolManager(**kept)
    pools.pool_classes_by_scheme = _owned()
    return pools


def _context(trust: Trust) -> ssl.SSLContext:
    try:
        return trusting(trust.ca, verify=trust.verify)
    except (OSError, ValueError):
        raise Refused("ca is neither certificates in PEM nor a file of them") from None


@lru_cache(maxsize=1)
def _owned() -> dict[str, Any]:
    """Pools by scheme whose connections tell the exchange that uses them."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Owned:
        owner: Exchange | None = None
        is_verified: bool

        def connect(self) -> None:
            _here.exchange.use(self)
            super().connect()  # type: ignore[misc]
            # Whoever turned verification off has been told what that means; no warning each time.
            self.is_verified = True
            _here.exchange.use(self)

        def request(self, *args: Any, **named: Any) -> None:
            _here.exchange.use(self)
            super().request(*args, **named)  # type: ignore[misc]

    plain = type("Plain", (Owned, HTTPConnection), {})
    secure = type("Secure", (Owned, HTTPSConnection), {})
    return {
        "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }


# ---------------------------------------------------------------------------------------- failures


@contextmanager
def _told(where: str, timeout: float) -> Iterator[None]:
    """What goes wrong in urllib3, told by what it means; its own texts hold URLs and objects."""
    from urllib3 import exceptions

    try:
        yield
    except exceptions.HTTPError as error:
        raise _broken(error, where, timeout) from None
    except Undecodable as error:
        raise Broken(f"{where}: {error}", retryable=True, sent=True) from None
    except ValueError:  # what http.client itself refuses to put on the wire
        raise Refused("the request cannot be written as HTTP") from None
    except OSError as error:
        reason = (error.strerror or "the connection broke").lower()
        raise Broken(f"{where}: {reason}", retryable=True, sent=True) from None


def _broken(error: Exception, where: str, timeout: float) -> Broken:
    from urllib3 import exceptions

    retryable, sent, hint = True, False, ""
    match error:
        case exceptions.ProxyError():
            trouble, reason = Trouble.OTHER, "the proxy does not answer, or refuses"
            hint = "Pit uses the proxy that HTTPS_PROXY or HTTP_PROXY names, except for NO_PROXY"
        case exceptions.NameResolutionError():
            trouble, reason = Trouble.HOST, "this host is not known"
        case exceptions.NewConnectionError():
            trouble, reason = Trouble.CONNECTION, _system(error, "no connection")
        case exceptions.ConnectTimeoutError():
            trouble, reason = Trouble.CONNECTION, f"no connection in {timeout:g} s"
        case exceptions.SSLError():
            trouble, reason, retryable = Trouble.CERTIFICATE, _certificate(error), False
        case exceptions.ReadTimeoutError():
            trouble, reason, sent = Trouble.SILENCE, f"nothing came for {timeout:g} s", True
        case _:
            trouble, reason, sent = Trouble.BREAK, "the connection broke off", True
    sentence = f"{where}: {reason}"
    return Broken(sentence, hint, retryable=retryable, sent=sent, trouble=trouble)


def _system(error: BaseException, otherwise: str) -> str:
    """What the operating system said beneath an error."""
    beneath: BaseException | None = error
    while beneath is not None:
        if isinstance(beneath, OSError) and beneath.strerror:
            return beneath.strerror.lower()
        beneath = beneath.__cause__ or beneath.__context__
    return otherwise


def _certificate(error: Exception) -> str:
    first = error.args[0] if error.args else None
    if isinstance(first, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {first.verify_message}"
    return "no encrypted connection could be established"
