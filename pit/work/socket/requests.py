"""What becomes of a request: answered at once where it was read, or by a thread of the pool.

At once is answered what needs no waiting: a secret that the attempt has been given before, the
methods that are `quick`, and everything that is wrong with a request. What is `brief` has threads
of its own: a task that fetches twenty files gets its secrets all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from pit.errors import PitError, Refused
from pit.model import Verdict
from pit.work.socket import methods, wire
from pit.work.socket.answers.secrets import GetSecret, GetSecretField, field_of, whole
from pit.work.socket.connection import Connection
from pit.work.socket.listener import OVER, Listener, RunningCall, Services
from pit.work.socket.pool import Pool

MOST_BRIEF, MOST_LONG = 16, 512
"""Threads: as many as a run may have connections, so that no task waits for another's."""

_SECRETIVE: dict[str, type[GetSecret] | type[GetSecretField]] = {
    "get_secret": GetSecret,
    "get_secret_field": GetSecretField,
}

HandBack = Callable[[Connection, Callable[[], None]], None]
"""Has a connection's work done by the thread that waits for sockets."""


class Requests:
    """Serves the requests of one run; `ask` is called by the one thread that waits for sockets."""

    def __init__(self, services: Services, hand_back: HandBack) -> None:
        self._services, self._hand_back = services, hand_back
        self.brief, self.long = Pool(MOST_BRIEF), Pool(MOST_LONG)

    def close(self) -> None:
        """Have the threads end when they have nothing more to do; waits for none."""
        self.brief.close()
        self.long.close()

    def ask(self, connection: Connection, line: bytes) -> bytes | None:
        """The answer to a request; None if it takes time, and the connection has it later."""
        if connection.objection:
            return self._turned_away(connection, line)
        if connection.listener.over:
            connection.over = True
            return wire.failure(OVER)
        try:
            request = wire.parsed(line)
            at_once = self._at_once(connection.listener, request)
        except PitError as error:
            return wire.failure(error)
        if at_once is not None:
            return wire.answer(at_once)
        call = RunningCall(connection.listener, self._services, request.method, request.params)
        if methods.quick(request.method):
            return self._answer(call)
        connection.call = call

        if methods.brief(request.method):
            self.brief.submit(lambda: self._serve(connection, call))
            return None

        def serve() -> None:
            self._serve(connection, call)
            if waiting := connection.listener.next():
                self.long.submit(waiting)

        if connection.listener.in_turn(serve):
            self.long.submit(serve)
        return None

    def _turned_away(self, connection: Connection, line: bytes) -> bytes:
        """Audit what a stranger wanted, and tell him."""
        connection.over = True
        caller = connection.listener.caller
        self._services.access.record(caller, _wanted(line), Verdict.REFUSED)
        return wire.failure(
            f'refused: this socket is for task "{caller.task}" of DAG "{caller.dag}", '
            f"and {connection.objection}"
        )

    def _at_once(self, listener: Listener, request: wire.Request) -> str | None:
        """The answer to what this attempt has been given before, None for all else."""
        wanted = _SECRETIVE.get(request.method)
        if wanted is None:
            return None
        params: Any = methods.converted(request.method, wanted, request.params)
        key = params.key if wanted is GetSecret else params.secret
        value = self._services.access.granted_before(listener.caller, key)
        if value is None:
            return None
        return whole(value) if wanted is GetSecret else field_of(value, params)

    # ------------------------------------------------------------------ in a thread of the pool

    def _serve(self, connection: Connection, call: RunningCall) -> None:
        """One request, unless nobody waits for it any more."""
        listener = connection.listener
        answer = b""
        if not call.stopped and listener.enter(call):
            try:
                answer = self._answer(call)
            finally:
                listener.leave(call)
        self._hand_back(connection, lambda: _answered(connection, call, answer))

    def _answer(self, call: RunningCall) -> bytes:
        try:
            return wire.answer(wire.text(methods.serve(call, call.method, call.params)))
        except PitError as error:
            sentence = wire.sentence(error)
        # What a connector's library raises is the task's to know, and must not end the thread.
        except Exception as error:
            sentence = f"{call.method}: {type(error).__name__}: {error}"
        # The other side may have said again what it was told: no error holds a secret.
        return wire.failure(self._services.masks.hide(sentence))


def _answered(connection: Connection, call: RunningCall, answer: bytes) -> None:
    if connection.call is call:
        connection.answered(answer, time.monotonic())


def _wanted(line: bytes) -> str:
    """The secret that a request is about, as far as that can be told."""
    with suppress(Refused, msgspec.MsgspecError, UnicodeError, RecursionError):
        params = msgspec.json.decode(wire.parsed(line).params)
        if isinstance(params, dict):
            for name in ("key", "secret", "connection"):
                if isinstance(params.get(name), str):
                    return str(params[name])
    return "(none)"
