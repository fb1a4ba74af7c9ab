"""Turns in Postgres: advisory locks of the transaction, then the table lock that the mode needs.

The advisory lock is by schema and name, so that a table can be locked which is yet to be made; it
belongs to the database that holds the table, whatever host, role or pooler leads there. A partition
shares the locks of the tables above it: loads of two partitions go at the same time, and a load of
the whole table waits for both. What Pit's lock does not keep out, other programs and loads through
a view, the table lock does.
"""

from __future__ import annotations

from pit.model import LoadMode, Record
from pit.sql.driver import SqlFailure
from pit.sql.text.dialect import POSTGRES, Table
from pit.sql.transfer.turns.claim import Claim, Taking, Turn, number_of

_ROUNDS = 20
"""How often the table may turn out to be another one while its lock is waited for."""
_NO_SUCH_LOCKS = frozenset(
    (
        "0A000",  # feature not supported: products that only speak like Postgres
        "42883",  # no such function
        "42601",  # syntax error
        "42501",  # the role may not call it, or may not use the language
        "42704",  # no such language
    )
)
_TABLE_LOCKS = {
    LoadMode.APPEND: ("ROW EXCLUSIVE",),
    LoadMode.UPSERT: ("SHARE ROW EXCLUSIVE", "ROW EXCLUSIVE"),
    LoadMode.TRUNCATE_AND_LOAD: ("ACCESS EXCLUSIVE",),
    LoadMode.CREATE_OR_REPLACE: ("ACCESS EXCLUSIVE",),
}
"""By mode, in order of preference: a role may lack the right to the first one."""


class _Place(Record, frozen=True):
    """Where a name leads: schema and name of the table that is meant, behind those above it.

    `there` says whether the table exists.
    """

    path: tuple[tuple[str, str], ...]
    there: bool


def take(database: Taking, claim: Claim) -> Turn:
    """Wait for the turn, in a transaction that has done nothing yet.

    Where a database or a role has no such locks, the load goes without them, and the log says so.
    """
    refusal = ""
    for of_table in (True, False):
        try:
            return _taken(database, claim, advisory=True, of_table=of_table)
        except SqlFailure as error:
            if error.failure.kind not in _NO_SUCH_LOCKS:
                raise
            refusal = error.failure.message.splitlines()[0]
        database.roll_back()
        database.begin()
    turn = _taken(database, claim, advisory=False, of_table=False)
    claim.tell(f"loads into {claim.table} cannot take turns here: {refusal}")
    return turn


def _taken(database: Taking, claim: Claim, advisory: bool, of_table: bool) -> Turn:
    place = _place(database, claim.table)
    if advisory:
        place = _locked(database, claim, place)
    if place.there and of_table:
        database.execute(_table_lock(place.path[-1], claim.mode))
    if not place.path:
        return Turn(table=claim.table, schema_missing=False)  # the server says what is missing
    schema, name = place.path[-1]
    missing = not place.there and not _has_schema(database, schema)
    if missing and advisory:
        # Two loads that make a schema at the same time collide, whatever their tables.
        _wait(database, claim, number_of("schema", schema), shared=False)
        missing = not _has_schema(database, schema)
    table = Table(name=name, schema=schema, shown=str(claim.table))
    return Turn(table=table, schema_missing=missing)


def _locked(database: Taking, claim: Claim, place: _Place) -> _Place:
    """The place whose locks are held: while they were waited for it may have become another."""
    for _ in range(_ROUNDS):
        for depth, (schema, name) in enumerate(place.path, 1):
            above = depth < len(place.path)
            shared = above or (claim.shared and place.there)
            _wait(database, claim, number_of("table", schema, name), shared)
        found = _place(database, claim.table)
        if found.path == place.path:
            return found
        place = found
    return place


def _wait(database: Taking, claim: Claim, number: int, shared: bool) -> None:
    """Take an advisory lock; time limits on statements are not meant for standing in a queue."""
    kind = "_shared" if shared else ""
    asked = database.rows(
        f"SELECT pg_try_advisory_xact_lock{kind}({number})::int, "
        "current_setting('lock_timeout'), current_setting('statement_timeout')"
    )
    taken, lock_timeout, statement_timeout = asked[0]
    if int(str(taken)):
        return
    claim.waits()
    database.execute("SET LOCAL lock_timeout = 0")
    database.execute("SET LOCAL statement_timeout = 0")
    database.rows(f"SELECT pg_advisory_xact_lock{kind}({number})::text")
    for name, value in (("lock_timeout", lock_timeout), ("statement_timeout", statement_timeout)):
        database.execute(f"SET LOCAL {name} = {POSTGRES.literal(str(value))}")


def _place(database: Taking, table: Table) -> _Place:
    """By the search path, as statements would find it; a new table goes where they would make it.

    `path` is empty where there is no schema that it could be made in.
    """
    name = POSTGRES.literal(POSTGRES.quoted(table))
    found = database.rows(
        f"WITH RECURSIVE up(oid, depth) AS (SELECT c.oid, 0 FROM pg_class c "
        f"WHERE c.oid = to_regclass({name}) UNION SELECT i.inhparent, up.depth + 1 "
        "FROM pg_inherits i JOIN up ON i.inhrelid = up.oid) "
        "SELECT n.nspname, c.relname FROM up JOIN pg_class c ON c.oid = up.oid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "GROUP BY c.oid, n.nspname, c.relname ORDER BY max(up.depth) DESC, c.oid"
    )
    if found:
        return _Place(path=tuple((str(row[0]), str(row[1])) for row in found), there=True)
    schema = table.schema or database.rows("SELECT current_schema()")[0][0]
    return _Place(path=((str(schema), table.name),) if schema else (), there=False)


def _has_schema(database: Taking, schema: str) -> bool:
    name = POSTGRES.literal(schema)
    return bool(database.rows(f"SELECT oid::text FROM pg_namespace WHERE nspname = {name}"))


def _table_lock(place: tuple[str, str], mode: LoadMode) -> str:
    """The strongest lock of the mode that the role may take, of what can be locked.

    Foreign tables cannot; to lock a view its owner needs rights to all that it reads; a role that
    may only insert can take the weakest. The table may be gone by then, and is made anew.
    """
    schema, name = place
    # Rows that are added find their partitions themselves, of which there may be thousands.
    only = "ONLY " if mode is LoadMode.APPEND else ""
    target = only + POSTGRES.quoted(Table(name=name, schema=schema))
    body = "NULL;"
    for lock in reversed(_TABLE_LOCKS[mode]):
        body = (
            f"BEGIN LOCK TABLE {target} IN {lock} MODE; "
            "EXCEPTION WHEN insufficient_privilege OR wrong_object_type OR undefined_table "
            f"OR invalid_schema_name THEN {body} END;"
        )
    return f"DO {POSTGRES.literal(f'BEGIN {body} END')}"
