"""How many of the rows that were sent are in a table of Postgres's: COPY tells through ADBC only
how many were sent, and a trigger may keep some away.
"""

from __future__ import annotations

from collections.abc import Callable

from pit.sql.text import dialect


def inserted(rows: Callable[[str], list[tuple[object, ...]]], name: str) -> int | None:
    """How many rows this transaction has put into a table, as the server counts them.

    `name` is quoted. None where all rows that are sent get there: where no trigger before the row
    and no rule may keep them away. Partitions and children count.
    """
    oid = f"to_regclass({dialect.POSTGRES.literal(name)})::oid"
    found = rows(
        f"WITH RECURSIVE tree(oid) AS (SELECT {oid} UNION SELECT inhrelid FROM pg_inherits "
        "JOIN tree ON inhparent = tree.oid) "
        "SELECT sum(pg_stat_get_xact_tuples_inserted(oid))::bigint::text FROM tree "
        "WHERE current_setting('track_counts')::bool AND (EXISTS (SELECT 1 FROM pg_trigger g "
        "JOIN tree ON g.tgrelid = tree.oid WHERE NOT g.tgisinternal AND g.tgtype & 7 = 7 "
        "AND g.tgenabled <> 'D') OR EXISTS (SELECT 1 FROM pg_rewrite w JOIN tree "
        "ON w.ev_class = tree.oid JOIN pg_class c ON c.oid = tree.oid "
        "WHERE w.ev_type = '3' AND c.relkind <> 'v'))"
    )
    counted = found[0][0] if found else None
    return None if counted is None else int(str(counted))
