"""A load from beginning to end: files, columns, the table, rows; and one line on what it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import duckdb
from msgspec.structs import replace

from pit.errors import on_error
from pit.model import LoadMode
from pit.sql import protocol
from pit.sql.changes import Changes, Loaded
from pit.sql.driver import Driver, Session, SqlFailure
from pit.sql.drivers.transient import THERE_NOW, UNKNOWN_END, collides, leaves_open
from pit.sql.script import Report, connected
from pit.sql.text import table
from pit.sql.text.dialect import BadName, Table
from pit.sql.transfer.coerce import MARK, strict
from pit.sql.transfer.match import Matched, match, ways
from pit.sql.transfer.patience import Collided, Patience
from pit.sql.transfer.reading.files import refused
from pit.sql.transfer.reading.reader import Reader, private
from pit.sql.transfer.reading.rejects import Rejects
from pit.sql.transfer.reading.unreadable import Lost
from pit.sql.transfer.tables.sink import Counts, Plan, Sink, carry_out
from pit.sql.transfer.tables.sinks import sink_of
from pit.sql.transfer.turns.claim import Claim, Turn

_SURPRISES = 2
"""So often something may turn out to be there that was looked for and not found."""


class Loading:
    """One load; `run` it once, `interrupt` it from any thread."""

    def __init__(self, driver: Driver, order: protocol.Load, log: Callable[[str], None]) -> None:
        self._driver, self._database, self._work = driver, order.database, order.work
        self._roots, self._aside, self._max_change = order.roots, order.aside, order.max_change
        self._kept, self._warning = order.kept, ""
        self._log = log
        self._patience = Patience(self._tell)
        self._stop = self._patience.stop
        self._reader: duckdb.DuckDBPyConnection | None = None
        self._sink: Sink | None = None
        self._changed: list[str] = []
        self._surprises = 0

    def run(self) -> Report:
        """Load, and let go of the database; failures are in the report."""
        report = self._patience.report(self._whole, self._database)
        return replace(report, warning=self._warning)

    def interrupt(self) -> None:
        """End it soon; the table is then as it was."""
        self._stop.wish()
        for running in (self._reader, self._sink):
            if running is not None:
                running.interrupt()

    # ------------------------------------------------------------ the steps

    def _whole(self) -> int:
        begun = time.monotonic()
        # Made anew each time, so that an interrupt meant for one never meets another.
        self._reader = private(spill=self._spill())
        try:
            reader = Reader(self._reader, self._work, self._roots)
            reader.check(self._stop.heed)
            try:
                counts, rejected = self._read(reader)
            except Lost:
                reader.read_alone()
                counts, rejected = self._read(reader)
        finally:
            connection, self._reader = self._reader, None
            connection.close()
        for line in self._changed:
            self._tell(line)
        if rejected:
            self._warning = f"{_rows(rejected)} rejected, kept in {self._kept}"
        self._tell(self._summary(counts, rejected, len(reader.files), time.monotonic() - begun))
        return counts.loaded

    def _read(self, reader: Reader) -> tuple[Counts, int]:
        try:
            return self._on_session(reader)
        except duckdb.Error as error:
            self._stop.heed()
            raise reader.told(error, self._stop.heed) from None

    def _on_session(self, reader: Reader) -> tuple[Counts, int]:
        session = connected(self._driver, self._database, (), self._tell, self._stop)
        try:
            # Postgres has a second connection for the rows.
            sink = self._sink = self._stop.opened(
                lambda: sink_of(session, self._database), lambda late: late.close()
            )
            try:
                return self._within(session, sink, reader)
            finally:
                self._sink = None
                sink.close()
        finally:
            session.close()

    def _spill(self) -> str:
        return f"{self._aside}.tmp"

    def _within(self, session: Session, sink: Sink, reader: Reader) -> tuple[Counts, int]:
        """One transaction; whatever goes wrong in it undoes it all."""
        self._stop.heed()
        sink.begin()
        try:
            with on_error(sink.roll_back):
                counts, rejected = self._done(sink, reader)
                self._stop.heed()
                reader.prove(counts.read, rejected, self._stop.heed)
                self._commit(sink)
        except (SqlFailure, duckdb.Error) as error:
            raise self._met(error, reader) from None
        return counts, rejected

    def _met(self, error: Exception, reader: Reader) -> BaseException:
        """An error after which all was undone; one of having met others says so."""
        told = reader.told(error, self._stop.heed) if isinstance(error, duckdb.Error) else error
        if not isinstance(told, SqlFailure):
            return error
        kind = told.failure.kind
        # What is there but never found is no table that has come meanwhile.
        self._surprises += kind in THERE_NOW
        if self._surprises > _SURPRISES or not collides(kind, told.failure.message):
            return error
        return Collided(told.failure)

    def _commit(self, sink: Sink) -> None:
        """Make it stand; where that is left open, rows are not appended a second time."""
        try:
            sink.commit()
        except SqlFailure as error:
            told = error.failure
            if self._work.mode is LoadMode.APPEND and leaves_open(told.kind, told.message):
                known = "" if UNKNOWN_END in told.message else f"; {UNKNOWN_END}"
                message = f"{told.message}{known}: see whether its rows are there, then load again"
                raise SqlFailure(replace(told, message=message, retryable=False)) from None
            raise

    def _done(self, sink: Sink, reader: Reader) -> tuple[Counts, int]:
        turn = self._turn(sink)
        target = turn.table
        replaces = self._work.mode is LoadMode.CREATE_OR_REPLACE
        existing = None if replaces else sink.existing(target)
        fields = reader.fields(None if existing is None else [one.name for one in existing])
        matched = match(self._work, fields, sink, existing)
        if matched.left:
            names = ", ".join(table.visible(name) for name in matched.left[:10])
            self._tell(f"no file has: {names}; they get their defaults")
        assert self._reader is not None
        rejects = Rejects(self._reader, reader, matched.checked)
        rejected = self._set_aside(rejects)
        plan = Plan(
            table=target,
            mode=self._work.mode,
            create=existing is None,
            columns=matched.columns,
            key=matched.key,
            query=self._query(matched, sink, reader, rejects.condition if rejected else ""),
            reader=self._reader,
            schema_missing=turn.schema_missing,
        )
        looking = _Looking(sink.looking)
        key = _key(plan, looking.native)
        changes = Changes(looking, sink.dialect, [target], self._max_change, key)
        changes.before()
        try:
            counts = carry_out(sink, plan, self._stop.heed)
        except (duckdb.Error, SqlFailure) as error:
            raise self._explained(error, reader, rejects) from None
        # A table that nobody else has seen yet holds what was loaded: it need not be counted.
        self._changed = changes.after(Loaded(rows=counts.loaded, made=plan.create))
        changes.check()
        return counts, rejected

    def _turn(self, sink: Sink) -> Turn:
        """The turn at the table, before any look at it."""
        claim = Claim(
            table=self._table(sink),
            mode=self._work.mode,
            alone=self._max_change is not None,
            tell=self._tell,
            heed=self._stop.heed,
        )
        return sink.take_turn(claim)

    def _table(self, sink: Sink) -> Table:
        try:
            found = sink.dialect.table(self._work.table)
            if self._work.schema:
                if found.schema:
                    raise BadName(f'"{self._work.table}" names a schema already')
                sink.dialect.quote(self._work.schema)
                found = Table(name=found.name, schema=self._work.schema)
            return sink.dialect.in_schema(found)
        except BadName as error:
            raise refused(str(error)) from None

    def _set_aside(self, rejects: Rejects) -> int:
        if not self._work.max_rejects:
            return 0
        return rejects.set_aside(self._work.max_rejects, self._aside)

    def _query(self, matched: Matched, sink: Sink, reader: Reader, where: str) -> str:
        values = []
        for number, (way, column) in enumerate(ways(matched, sink)):
            value = way.value if where else strict(way, number)
            values.append(f"{value} AS {_quote(column.name)}")
        relation = reader.relation(reader.files)
        return f"SELECT {', '.join(values)} FROM {relation}{f' WHERE {where}' if where else ''}"

    def _explained(
        self, error: duckdb.Error | SqlFailure, reader: Reader, rejects: Rejects
    ) -> SqlFailure:
        """The rows at fault if values were, else what the database says."""
        self._stop.heed()
        told = reader.told(error, self._stop.heed) if isinstance(error, duckdb.Error) else error
        if MARK not in told.failure.message:
            return told
        return rejects.failure(told)

    # ------------------------------------------------------------ words

    def _summary(self, counts: Counts, rejected: int, files: int, seconds: float) -> str:
        read = counts.read + rejected
        of = f" of {files:,} files" if files > 1 else ""
        parts = [f"{_rows(read)} read{of}", f"{counts.loaded:,} loaded into {self._work.table}"]
        if counts.updated is not None:
            parts[-1] += f" ({counts.inserted or 0:,} new, {counts.updated:,} updated)"
        if rejected:
            parts.append(f"{rejected:,} rejected, kept in {self._kept}")
        speed = f"{counts.loaded / max(seconds, 0.001):,.0f} rows/s"
        return f"{', '.join(parts)}; {seconds:.2f} s, {speed}"

    def _tell(self, text: str) -> None:
        self._log(self._database.hide(text))


class _Looking:
    """A connection for whoever looks at tables, in the load's transaction."""

    def __init__(self, native: Any) -> None:
        self.native = native


def _key(plan: Plan, looking: Any) -> str:
    """The column whose range is told, if it has one."""
    types = {one.name: one.declared for one in plan.columns}
    first = plan.key[0] if plan.key else ""
    return first if first and looking.orders(types[first]) else ""


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
