"""A server that speaks SQL Server's wire protocol, for drivers to talk to on this machine.

pysqlbridge does login, TLS and packets; `tds_values` the types; `tsql` the statements. It takes
batches, RPC calls (sp_executesql, sp_prepexec and so on), bulk copy, transaction requests, the
reset of pooled connections, and attention: a statement is cancelled while it runs.
"""

from __future__ import annotations

import select
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pysqlbridge.certificate import self_signed
from pysqlbridge.logins import Login, LoginStore
from pysqlbridge.tds.batch import parse_sql_batch
from pysqlbridge.tds.connection import Connection
from pysqlbridge.tds.packet import PacketStatus, PacketType
from pysqlbridge.tds.result import _rows, col_metadata
from pysqlbridge.tds.token import DoneStatus, done, info
from pysqlbridge.tds.token import error as error_token
from pysqlbridge.tds.transaction import TransactionRequestType, parse_transaction_request

from pit.sql.text.dialect import DUCKDB
from tests.servers.tds_values import Reader, read_type, read_value
from tests.servers.tsql import Answer, Fault, HangUp, Reply, Said, Session, Store

USER, PASSWORD = "sa", "Secret-123;x"
_BULK_LOAD = 7
_PROCEDURES = {
    10: "sp_executesql",
    11: "sp_prepare",
    12: "sp_execute",
    13: "sp_prepexec",
    15: "sp_unprepare",
}
_ROW, _ROW_WITH_NULLS = 0xD1, 0xD2
_DONE, _DONE_PROC, _DONE_IN_PROC = 0xFD, 0xFE, 0xFF


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    store: Store
    logins: list[str]

    def url(self, options: str = "", password: str = PASSWORD) -> str:
        from urllib.parse import quote

        return f"sqlserver://{USER}:{quote(password)}@127.0.0.1:{self.port}/master{options}"

    def empty(self) -> None:
        """Drop all tables, whatever test has left them."""
        tables = "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT temporary"
        for schema, name in self.store.root.execute(tables).fetchall():
            self.store.root.execute(f"DROP TABLE {DUCKDB.quote(schema)}.{DUCKDB.quote(name)}")


@contextmanager
def running() -> Iterator[Server]:
    """A server on a free port, with an empty database."""
    store = Store()
    logins: list[str] = []
    certificate = self_signed()
    known = LoginStore([Login(USER, PASSWORD, hashed=False)])

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            client = _Client(self.request, store, certificate, known)
            client.serve()

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def get_request(self) -> tuple[socket.socket, object]:
            request = super().get_request()
            logins.append("")
            return request

    with Listener(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield Server(listener.server_address[1], store, logins)
        listener.shutdown()
        thread.join()


class _Client(Connection):
    """One client, from login to the end."""

    def __init__(
        self, request: socket.socket, store: Store, certificate: object, logins: LoginStore
    ) -> None:
        super().__init__(certificate, database="master", logins=logins, server_name="test")
        self._request = request
        self._sql: Session = store.session()
        self._prepared: dict[int, tuple[str, list[str]]] = {}
        self._waiting: list[object] = []

    def serve(self) -> None:
        """Read and answer until one side has had enough."""
        try:
            while data := self._request.recv(65536):
                for response in self.receive(data):
                    self._request.sendall(response)
        except (OSError, HangUp):
            pass
        finally:
            self._sql.close()

    # ------------------------------------------------------------ requests

    def _step_query(self, responses: list[bytes]) -> bool:
        message = self._waiting.pop(0) if self._waiting else self._take_message()
        if message is None:
            return False
        if message.status & PacketStatus.RESET_CONNECTION:
            self._sql.reset()
        self._send(responses, self._answered(message))
        return True

    def _answered(self, message: object) -> bytes:
        if message.type is PacketType.ATTENTION:
            return self._acknowledged()
        result: list[bytes] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                result.append(self._answer(message))
            except BaseException as error:  # told to the client, or ends the connection
                failed.append(error)

        thread = threading.Thread(target=work, daemon=True)
        self._sql.forget_interrupt()
        thread.start()
        cancelled = self._watch(thread)
        if cancelled:
            return self._acknowledged()
        if failed and isinstance(failed[0], HangUp):
            raise failed[0]
        if failed:
            fault = failed[0] if isinstance(failed[0], Fault) else _bug(failed[0])
            return self._error(fault) + done(status=DoneStatus.ERROR, tds_version=self._tds_version)
        return result[0]

    def _watch(self, thread: threading.Thread) -> bool:
        """Wait for the work, and stop it when the client says so."""
        cancelled = False
        while True:
            # Also what came together with the request.
            while (message := self._take_message()) is not None:
                if message.type is PacketType.ATTENTION:
                    cancelled = True
                    self._sql.interrupt()
                else:
                    self._waiting.append(message)
            thread.join(0.001)
            if not thread.is_alive():
                return cancelled
            if not select.select([self._request], [], [], 0.01)[0]:
                continue
            data = self._request.recv(65536)
            if not data:
                self._sql.interrupt()
                thread.join()
                raise HangUp
            self._buffer += data

    def _acknowledged(self) -> bytes:
        status = DoneStatus.FINAL | DoneStatus.ATTENTION
        return done(status=status, tds_version=self._tds_version)

    def _answer(self, message: object) -> bytes:
        if message.type is PacketType.SQL_BATCH:
            return self._encoded(self._sql.run(parse_sql_batch(message.payload, self._tds_version)))
        if message.type is PacketType.RPC:
            return self._calls(message.payload)
        if int(message.type) == _BULK_LOAD:
            return self._encoded([Answer(self._bulk(message.payload))])
        if message.type is PacketType.TRANSACTION_MANAGER:
            return self._transaction(message.payload)
        return b""

    def _transaction(self, payload: bytes) -> bytes:
        request = parse_transaction_request(payload, self._tds_version)
        if request.kind is TransactionRequestType.BEGIN_XACT:
            self._sql.begin()
        elif request.kind in (
            TransactionRequestType.COMMIT_XACT,
            TransactionRequestType.ROLLBACK_XACT,
        ):
            self._sql.end(request.kind is TransactionRequestType.COMMIT_XACT)
        return self._transaction_envchange(request) + done(tds_version=self._tds_version)

    # ------------------------------------------------------------ replies

    def _encoded(self, replies: Iterator[Reply] | Sequence[Reply], rpc: bool = False) -> bytes:
        parts = [self._encoded_one(reply, rpc) for reply in replies] or [
            self._done(None, 0xC3, rpc)
        ]
        if not rpc:
            parts[-1] = _without_more(parts[-1])
        return b"".join(parts)

    def _encoded_one(self, reply: Reply, rpc: bool) -> bytes:
        if isinstance(reply, Said):
            return info(
                reply.number,
                reply.text,
                server="test",
                severity=reply.severity,
                state=1,
                tds_version=self._tds_version,
            ) + self._done(None, 0xC3, rpc)
        if isinstance(reply, Fault):
            return self._error(reply) + self._done(None, 0xC3, rpc, error=True)
        if reply.columns:
            rows = col_metadata(reply.columns, self._tds_version)
            rows += _rows(reply.columns, [list(row) for row in reply.rows])
            return rows + self._done(reply.count, 0xC1, rpc)
        return self._done(reply.count, 0xC3, rpc)

    def _done(self, count: int | None, command: int, rpc: bool, error: bool = False) -> bytes:
        status = DoneStatus.MORE | (DoneStatus.ERROR if error else DoneStatus.FINAL)
        if count is not None:
            status |= DoneStatus.COUNT
        token = done(
            status=status,
            current_command=command,
            row_count=count or 0,
            tds_version=self._tds_version,
        )
        return bytes([_DONE_IN_PROC if rpc else _DONE]) + token[1:]

    def _error(self, fault: Fault) -> bytes:
        return error_token(
            fault.number,
            str(fault)[:2000],
            server="test",
            severity=fault.severity,
            state=1,
            tds_version=self._tds_version,
        )

    # ------------------------------------------------------------ RPC

    def _calls(self, payload: bytes) -> bytes:
        """The calls of one RPC message; all answers but the last say that more follows."""
        reader = Reader(payload, struct.unpack_from("<I", payload)[0])
        answers: list[bytearray] = []
        while not reader.over:
            try:
                answers.append(bytearray(self._call(reader)))
            except Fault as fault:
                ended = done(status=DoneStatus.ERROR, tds_version=self._tds_version)
                answers.append(bytearray(self._error(fault) + bytes([_DONE_PROC]) + ended[1:]))
        for answer in answers[:-1]:
            answer[-12] |= DoneStatus.MORE
        return b"".join(answers)

    def _call(self, reader: Reader) -> bytes:
        length = reader.number(2)
        name = _PROCEDURES.get(reader.number(2), "?") if length == 0xFFFF else reader.text(length)
        reader.number(2)
        values: list[tuple[str, object]] = []
        while not reader.over:
            if reader.data[reader.at] in (0x80, 0xFF, 0xFE):
                reader.number(1)
                break
            parameter = reader.text(reader.number(1))
            reader.number(1)
            values.append((parameter, read_value(reader, read_type(reader))))
        return self._procedure(name.lower().split(".")[-1], values)

    def _procedure(self, name: str, values: list[tuple[str, object]]) -> bytes:
        if name == "sp_executesql":
            names = _declared(values[1][1]) if len(values) > 1 else []
            return self._ran(str(values[0][1]), _bound(names, values[2:]))
        if name in ("sp_prepexec", "sp_prepare"):
            handle = len(self._prepared) + 1
            text, names = str(values[2][1]), _declared(values[1][1])
            self._prepared[handle] = text, names
            if name == "sp_prepare":
                return self._procedure_end(b"", handle)
            return self._ran(text, _bound(names, values[3:]), handle)
        if name == "sp_execute":
            text, names = self._prepared[int(str(values[0][1]))]
            return self._ran(text, _bound(names, values[1:]))
        if name in ("sp_unprepare", "sp_reset_connection"):
            return self._procedure_end(b"", None)
        raise Fault(2812, f"Could not find stored procedure '{name}'.")

    def _ran(self, text: str, values: dict[str, object], handle: int | None = None) -> bytes:
        replies = list(self._sql.run(text, values))
        return self._procedure_end(self._encoded(replies, rpc=True), handle)

    def _procedure_end(self, replies: bytes, handle: int | None) -> bytes:
        returned = b"" if handle is None else _return_value(handle)
        ended = done(tds_version=self._tds_version)
        status = b"\x79" + struct.pack("<i", 0)
        return replies + status + returned + bytes([_DONE_PROC]) + ended[1:]

    # ------------------------------------------------------------ bulk copy

    def _bulk(self, payload: bytes) -> int:
        reader = Reader(payload)
        assert reader.number(1) == 0x81, "a bulk copy begins with its columns"
        columns = []
        for _ in range(reader.number(2)):
            reader.raw(6)
            of = read_type(reader)
            if of.is_long:
                for _ in range(reader.number(1)):
                    reader.text(reader.number(2))
            columns.append((reader.text(reader.number(1)), of))
        rows: list[list[object]] = []
        while (token := reader.number(1)) in (_ROW, _ROW_WITH_NULLS):
            nulls = reader.raw((len(columns) + 7) // 8) if token == _ROW_WITH_NULLS else b""
            rows.append(
                [
                    None
                    if nulls and nulls[i // 8] >> (i % 8) & 1
                    else read_value(reader, of, bulk=True)
                    for i, (_, of) in enumerate(columns)
                ]
            )
        return self._sql.load([name for name, _ in columns], rows)


def _without_more(part: bytes) -> bytes:
    """The last DONE of an answer says that nothing follows."""
    answer = bytearray(part)
    answer[-12] &= ~int(DoneStatus.MORE)
    return bytes(answer)


def _bug(error: BaseException) -> Fault:
    return Fault(50000, f"the test server failed: {type(error).__name__}: {error}")


def _declared(text: object) -> list[str]:
    import re

    parts = re.split(r",(?![^()]*\))", str(text or ""))
    return [part.strip().split()[0] for part in parts if part.strip()]


def _bound(names: Sequence[str], values: Sequence[tuple[str, object]]) -> dict[str, object]:
    return {name or names[i]: value for i, (name, value) in enumerate(values)}


def _return_value(value: int) -> bytes:
    head = b"\xac" + struct.pack("<H", 0) + b"\0\x01" + struct.pack("<IH", 0, 0)
    return head + b"\x26\x04\x04" + struct.pack("<i", value)
