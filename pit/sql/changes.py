"""What a script or a load has changed in its tables, in one line for each.

Only what the database answers fast is asked: a large table whose rows it would have to count is
left out, unless `max_change` makes the count a condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from typing import Any, Protocol

from msgspec import field

from pit.model import Record
from pit.sql.baseline import Baseline
from pit.sql.driver import MAX_CHANGE, Failure, Session, SqlFailure, Statement
from pit.sql.text import dialect as dialects
from pit.sql.text import split, table
from pit.sql.text.dialect import BadName, Dialect, Table

_FEW = 2_000_000
"""So many rows are counted without hesitation, and their NULLs as well."""
_NOTABLE = 0.05
"""A column is told of if its share of NULLs has moved by so much, or has left zero."""
_COLUMNS = 200
_SHOWN = 3
_ROW, _PAGE = 100, 8192
"""Bytes of a row, for want of better; bytes of a page of Postgres."""
_TABLES = 20


class State(Record, frozen=True):
    """A table at one moment: its rows, NULLs by column, the range of its key.

    `rows` is None where counting them would take long; `there` says whether it exists.
    """

    there: bool
    rows: int | None = None
    nulls: dict[str, int] = field(default_factory=dict)
    key: str = ""
    range: tuple[str, str] | None = None

    @property
    def known(self) -> bool:
        """Whether its number of rows is known; one that is not there has none."""
        return self.rows is not None or not self.there


class Loaded(Record, frozen=True):
    """What a load put into its table: how many rows, and whether it `made` the table for them."""

    rows: int
    made: bool


def dialect_of(session: Session, kind: str) -> Dialect:
    """How the database writes names: that of the product, where ODBC has told which it is."""
    product: Dialect = getattr(session, "product", None) or dialects.of_kind(kind)
    return product


class Native(Protocol):
    """A session, or whatever else has a library's connection."""

    @property
    def native(self) -> Any:
        """The library's own connection."""


class Changes:
    """Looks at tables before and after, on one session; `key` is the column whose range is told.

    Call `before` first, `after` for the lines and the verdict on `max_change`, a share. Whatever
    cannot be found out is not told; but a count that `max_change` needs and that cannot be had
    fails.
    """

    def __init__(
        self,
        session: Native,
        dialect: Dialect,
        tables: Sequence[Table],
        max_change: float | None = None,
        key: str = "",
    ) -> None:
        self._native, self._dialect = session.native, dialect
        self._tables = tuple(dict.fromkeys(tables))[:_TABLES]
        self._max_change, self._key = max_change, key
        self._base: Baseline | None = None
        self._before: dict[Table, State] = {}
        self._after: dict[Table, State] = {}

    def before(self) -> None:
        """Look at the tables; raises only what has ended the transaction of a load."""
        for one in self._tables:
            self._before[one] = self._state(one)

    def keep(self, baseline: Baseline) -> None:
        """Compare with the numbers of rows that are kept there, and keep those that are not."""
        if self._max_change is None:
            return
        self._base = baseline
        looked = self._before.items()
        baseline.keep({str(one): state.rows or 0 for one, state in looked if state.known})

    def succeeded(self) -> None:
        """The script has succeeded: nothing need be remembered."""
        if self._base is not None:
            self._base.clear()

    def failed(self) -> None:
        """The script has failed; if it has changed nothing, nothing more need be remembered."""
        if self._base is not None and all(
            self._counted(one) == state.rows for one, state in self._before.items()
        ):
            self._base.restore()

    def untouched(self) -> None:
        """The script has done nothing, and begins anew: others may change the tables first."""
        if self._base is not None:
            self._base.restore()

    def after(self, loaded: Loaded | None = None) -> list[str]:
        """A line for each table that is there; `loaded` is what is known of them without a look."""
        lines = []
        for one in self._tables:
            was = self._before.get(one, State(there=False))
            now = self._after[one] = self._state(one, was, loaded)
            if line := told(was, now):
                lines.append(f"{table.visible(str(one))}: {line}")
        return lines

    def exceeded(self) -> str:
        """Which table has changed by more than it may, in a sentence; empty if none has."""
        if self._max_change is None:
            return ""
        for one in self._tables:
            was = self._before.get(one, State(there=False))
            now = self._after[one].rows if one in self._after else self._counted(one)
            if now is None and (was.rows or not was.known):
                if exists(self._native, self._dialect, one):
                    return f"the rows of {one} cannot be counted, which max_change needs"
                now = 0
            rows = self._base.before.get(str(one), was.rows) if self._base else was.rows
            share = change(rows, now)
            if share is not None and share > self._max_change:
                since = " (before an attempt that failed)" if rows != was.rows else ""
                return (
                    f"{one} went from {rows or 0:,}{since} to {now or 0:,} rows, a change of "
                    f"{100 * share:.1f} %; max_change is {100 * self._max_change:g} %"
                )
        return ""

    def check(self) -> None:
        """SqlFailure if a table has changed by more than it may."""
        if sentence := self.exceeded():
            raise SqlFailure(Failure(message=sentence, kind=MAX_CHANGE))

    # ------------------------------------------------------------------ one table

    def _state(self, one: Table, was: State | None = None, loaded: Loaded | None = None) -> State:
        name = self._dialect.quoted(one)
        known = loaded.rows if loaded is not None and loaded.made else None
        if known is not None and (known > _FEW or not (self._key or (was and was.nulls))):
            return State(there=True, rows=known)
        if not exists(self._native, self._dialect, one):
            return State(there=False)
        if self._max_change is None and is_view(self._native, self._dialect, one):
            return State(there=True)  # its query would have to be done, twice
        rows = self._counted(one) if known is None else known
        if rows is None or rows > _FEW:
            return State(there=True, rows=rows)
        columns = self._columns(one)
        key = self._key if self._key in columns else ""
        nulls, ends = self._nulls(name, columns, rows, key)
        return State(there=True, rows=rows, nulls=nulls, key=key, range=ends)

    def _counted(self, one: Table) -> int | None:
        """The number of rows, if it may be asked for."""
        if self._max_change is None and self._is_large(one):
            return None
        rows = self._ask(f"SELECT count(*) FROM {self._dialect.quoted(one)}")
        return int(rows[0][0]) if rows else None

    def _is_large(self, one: Table) -> bool:
        """Whether the database would have to read much to count; it keeps an estimate."""
        name = self._dialect.literal(self._dialect.quoted(one))
        match self._dialect.name:
            case "postgres":
                # By its size, as long as nobody has counted, or rows came since.
                size = "pg_relation_size(oid)"
                grown = f"reltuples / greatest(relpages, 1) * {size} / {_PAGE}"
                # What the role may not read it cannot count either.
                query = (
                    f"SELECT CASE WHEN has_any_column_privilege(oid, 'SELECT') THEN "
                    f"greatest(reltuples, CASE WHEN reltuples > 0 THEN {grown} "
                    f"ELSE {size} / {_ROW} END) ELSE {_FEW + 1} END "
                    f"FROM pg_class WHERE oid = to_regclass({name})"
                )
            case "sqlserver":
                query = (
                    f"SELECT sum(rows) FROM sys.partitions WHERE object_id = object_id({name}) "
                    "AND index_id IN (0, 1)"
                )
            case "sqlite":
                query = (
                    "SELECT page_count * page_size / 100 FROM pragma_page_count, pragma_page_size"
                )
            case _:
                return False
        rows = self._ask(query)
        return bool(rows) and rows[0][0] is not None and float(rows[0][0]) > _FEW

    def _columns(self, one: Table) -> list[str]:
        """The columns that may be read."""
        name = self._dialect.quoted(one)
        if self._dialect.name == "postgres":
            rows = self._ask(
                f"SELECT attname FROM pg_attribute WHERE attrelid = "
                f"to_regclass({self._dialect.literal(name)}) AND attnum > 0 AND NOT attisdropped "
                f"AND has_column_privilege(attrelid, attnum, 'SELECT') "
                f"ORDER BY attnum LIMIT {_COLUMNS}"
            )
            return [str(row[0]) for row in rows]
        found = looked(self._native, f"SELECT * FROM {name} WHERE 1 = 0")
        columns = found.columns[:_COLUMNS] if found is not None else ()
        return [one for one in columns if one and "\0" not in one]  # some drivers garble names

    def _nulls(
        self, name: str, columns: Sequence[str], rows: int, key: str
    ) -> tuple[dict[str, int], tuple[str, str] | None]:
        quoted = [self._dialect.quote(column) for column in columns]
        counts = [f"count({column})" for column in quoted]
        if not counts:
            return {}, None
        ends = [self._end(word, key) for word in ("min", "max")] if key else []
        found = self._ask(f"SELECT {', '.join([*counts, *ends])} FROM {name}")
        if not found and ends:  # its type has no order
            found = self._ask(f"SELECT {', '.join(counts)} FROM {name}")
        if not found:
            return {}, None
        nulls = {column: rows - int(n) for column, n in zip(columns, found[0], strict=False)}
        last = found[0][len(columns) :]
        return nulls, (str(last[0]), str(last[1])) if last and last[0] is not None else None

    def _end(self, word: str, key: str) -> str:
        """The smallest or the largest value of a column, as the database writes it."""
        value = f"{word}({self._dialect.quote(key)})"
        return f"CAST({value} AS text)" if self._dialect.name == "postgres" else value

    def _ask(self, query: str) -> list[Any]:
        """The rows of a query; none if the database will not answer it."""
        return asked(self._native, query) or []


class Looked(Record, frozen=True):
    """What a small query returned."""

    columns: tuple[str, ...]
    rows: tuple[Any, ...]


def looked(native: Any, query: str) -> Looked | None:
    """The result of a small query on a library's own connection; None if it fails.

    A failed query must not spoil the transaction that it is in: Postgres wants a savepoint. What a
    load looks with raises SqlFailure where it has, which is the load's failure.
    """
    saved = native.transaction() if hasattr(native, "transaction") else nullcontext()
    try:
        with saved:
            cursor = native.execute(query)
            columns = tuple(str(column[0]) for column in cursor.description or ())
            rows = tuple(cursor.fetchall()) if columns else ()
            if cursor is not native:
                cursor.close()
            return Looked(columns=columns, rows=rows)
    except SqlFailure:
        raise
    # Each library has errors of its own, and what cannot be known here is just not told.
    except Exception:
        return None


def asked(native: Any, query: str) -> list[Any] | None:
    """The rows alone."""
    found = looked(native, query)
    return None if found is None else list(found.rows)


def exists(native: Any, dialect: Dialect, one: Table) -> bool:
    """Whether a table or view is there, in a way that cannot spoil a transaction."""
    name = dialect.quoted(one)
    match dialect.name:
        case "postgres":
            rows = asked(native, f"SELECT to_regclass({dialect.literal(name)}) IS NOT NULL")
            return bool(rows and rows[0][0])
        case "sqlserver":
            rows = asked(native, f"SELECT object_id({dialect.literal(name)})")
            if rows:
                return rows[0][0] is not None
        case "duckdb":
            return _in_duckdb(native, one)
    return asked(native, f"SELECT 1 FROM {name} WHERE 1 = 0") is not None


def is_view(native: Any, dialect: Dialect, one: Table) -> bool:
    """Whether a name is that of a view, as far as the database tells."""
    name = dialect.literal(dialect.quoted(one))
    match dialect.name:
        case "postgres":
            query = f"SELECT relkind = 'v' FROM pg_class WHERE oid = to_regclass({name})"
        case "sqlserver":
            query = f"SELECT CASE WHEN object_id({name}, N'V') IS NULL THEN 0 ELSE 1 END"
        case "sqlite":
            text = dialect.literal(one.name)
            query = f"SELECT type = 'view' FROM sqlite_master WHERE lower(name) = lower({text})"
        case "duckdb":
            return _in_duckdb(native, one, ("view",))
        case _:
            return False
    rows = asked(native, query)
    return bool(rows and rows[0][0])


def _in_duckdb(native: Any, one: Table, kinds: Sequence[str] = ("table", "view")) -> bool:
    """By the catalog: a failed query would end an open transaction."""
    schema = f"lower({_text(one.schema)})" if one.schema else "lower(current_schema())"
    catalog = f"lower({_text(one.catalog)})" if one.catalog else "lower(current_database())"
    where = f"lower(schema_name) = {schema} AND lower(database_name) = {catalog}"
    if one.schema and not one.catalog:
        # `a.b` is a table of the schema a, or of the attached database a.
        attached = f"lower(database_name) = {schema} AND schema_name = 'main'"
        where = f"({where} OR {attached})"
    name = f"lower({_text(one.name)})"
    return any(
        asked(
            native,
            f"SELECT 1 FROM duckdb_{kind}s() WHERE lower({kind}_name) = {name} AND {where} LIMIT 1",
        )
        for kind in kinds
    )


def _text(text: str) -> str:
    return dialects.DUCKDB.literal(text)


# ---------------------------------------------------------------- in words


def change(was: int | None, now: int | None) -> float | None:
    """The share by which a number of rows has changed; None where there was none to compare to."""
    if not was or now is None:
        return None
    return abs(now - was) / was


def told(was: State, now: State) -> str:
    """What has become of a table, as a line; empty where nothing can be said."""
    if not now.there:
        return "dropped" if was.there else ""
    if now.rows is None:
        return ""
    parts = [_rows(was, now), *_moved(was, now)]
    if now.range is not None:
        parts.append(f"{_name(now.key)} {_cell(now.range[0])} … {_cell(now.range[1])}")
    return ", ".join(parts)


def _rows(was: State, now: State) -> str:
    count = f"{now.rows:,} row{'' if now.rows == 1 else 's'}"
    if not was.there:
        return f"new, {count}"
    if was.rows is None or now.rows is None:
        return count
    if was.rows == now.rows:
        return f"{count} as before"
    share = change(was.rows, now.rows)
    percent = f", {100 * share:.1f} %" if share is not None else ""
    sign = "+" if now.rows > was.rows else "−"
    return f"{was.rows:,} → {count} ({sign}{abs(now.rows - was.rows):,}{percent})"


def _moved(was: State, now: State) -> Iterable[str]:
    """The columns whose NULLs have moved notably."""
    if not was.there or not now.rows:
        return
    moved = []
    for column, count in now.nulls.items():
        before = was.nulls.get(column)
        if before is None or not was.rows:
            continue
        old, new = before / was.rows, count / now.rows
        if abs(new - old) >= _NOTABLE or (count and not before):
            moved.append(f"NULLs in {_name(column)} {_percent(old)} → {_percent(new)}")
    yield from moved[:_SHOWN]
    if len(moved) > _SHOWN:
        yield f"and in {len(moved) - _SHOWN} more columns"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < percent < 99.95 else f"{percent:.0f} %"


def _name(column: str) -> str:
    return table.clip(table.visible(column), table.CELL)


def _cell(text: str) -> str:
    return table.clip(table.visible(text), table.CELL // 2)


# ---------------------------------------------------------------- which tables a script writes

_CONNECTING = ("attach", "detach", "use")


def written(script: Sequence[Statement], kind: str) -> list[Table]:
    """The tables that a script is seen to write; none where names may mean something else later."""
    found: list[Table] = []
    for statement in script:
        words = _Words(statement.text, kind)
        first = words.at(0)
        if first in _CONNECTING or (first == "set" and words.at(1) in ("search_path", "schema")):
            return []
        name = words.target()
        with suppress(BadName):
            if name:
                found.append(dialects.of_kind(kind).table(name))
    return list(dict.fromkeys(found))


_GRAMMARS = {
    "duckdb": split.POSTGRES,
    "postgres": split.POSTGRES,
    "sqlite": split.SQLITE,
    "sqlserver": split.TSQL,
}


class _Words:
    """The words of a statement outside of parentheses, with the texts of quoted names."""

    def __init__(self, text: str, kind: str) -> None:
        self._text = text
        grammar = _GRAMMARS.get(kind, split.ANY)
        depth = 0
        self._tokens: list[split.Token] = []
        for token in split.tokens(text, grammar):
            if token.kind is split.Kind.COMMENT:
                continue
            mark = text[token.start : token.end]
            depth -= mark == ")"
            if depth == 0 and mark != ")":
                self._tokens.append(token)
            depth += mark == "("

    def at(self, index: int) -> str:
        """A word in lower case; empty behind the last."""
        return self._word(self._tokens[index]).lower() if index < len(self._tokens) else ""

    def _word(self, token: split.Token) -> str:
        return self._text[token.start : token.end]

    def target(self) -> str:
        """The name of the table that the statement writes, as it is written; empty for none."""
        start = 0
        if self.at(0) == "with":
            verbs = ("insert", "update", "delete", "merge")
            start = next((i for i in range(len(self._tokens)) if self.at(i) in verbs), -1)
            if start < 0:
                return ""
        words = iter(range(start + 1, len(self._tokens)))
        match self.at(start):
            case "insert" | "replace":
                return self._behind(words, ("or", "replace", "ignore", "overwrite"), "into")
            case "merge":
                return self._behind(words, (), "into")
            case "delete":
                return self._behind(words, (), "from")
            case "update":
                return self._name(start + 1 + (self.at(start + 1) == "only"))
            case "truncate":
                return self._name(start + 1 + (self.at(start + 1) == "table"))
            case "copy":
                return self._name(start + 1) if self._copies_in(start) else ""
            case "create":
                return self._created(start + 1)
        return ""

    def _behind(self, words: Iterable[int], skipped: Sequence[str], wanted: str) -> str:
        for index in words:
            if self.at(index) == wanted:
                return self._name(index + 1)
            if self.at(index) not in skipped:
                return ""
        return ""

    def _copies_in(self, start: int) -> bool:
        return any(
            self.at(i) == "from" for i in range(start + 1, min(start + 8, len(self._tokens)))
        )

    def _created(self, index: int) -> str:
        if self.at(index) == "or":
            index += 2
        if self.at(index) != "table":
            return ""  # temporary tables and all that is no table
        index += 1
        if self.at(index) == "if":
            index += 3
        return self._name(index)

    def _name(self, index: int) -> str:
        """The dotted name that begins at a token."""
        parts = []
        while index < len(self._tokens):
            token = self._tokens[index]
            text = self._word(token)
            if token.kind is split.Kind.MARK or text.startswith("'"):
                break
            parts.append(text)
            if self.at(index + 1) != ".":
                break
            index += 2
        return ".".join(parts)
