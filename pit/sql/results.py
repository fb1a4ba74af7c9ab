"""The whole result of a query as a Parquet file, in flat memory, whatever the database."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb

from pit.sql.driver import Failure, Rows, Session, SqlFailure, Statement


def save(session: Session, statement: Statement, path: Path) -> None:
    """Write the whole result to a file, which appears when it is complete.

    Raises what the session raises, and SqlFailure if the statement returns no rows at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".pit-{path.name}-{os.getpid()}")
    try:
        if hasattr(session, "save"):
            session.save(statement, str(temporary))
        else:
            _save(session.rows(statement), statement, temporary)
        temporary.chmod(0o600)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def private() -> duckdb.DuckDBPyConnection:
    """A DuckDB of one's own, for files."""
    return duckdb.connect(config={"python_enable_replacements": "false"})


def _save(rows: Rows, statement: Statement, path: Path) -> None:
    """By way of texts: what type a column has is known when all of it has been seen."""
    if not rows.columns:
        raise SqlFailure(
            Failure(message="the statement returns no rows", line=statement.line, kind="query")
        )
    with private() as stage:
        names = [f"c{index}" for index in range(len(rows.columns))]
        stage.execute(f"CREATE TABLE stage ({', '.join(f'{name} VARCHAR' for name in names)})")
        insert = f"INSERT INTO stage SELECT {', '.join('unnest(?::VARCHAR[])' for _ in names)}"
        seen: list[set[type]] = [set() for _ in names]
        for batch in rows.batches:
            columns = list(zip(*batch, strict=True))
            for kinds, column in zip(seen, columns, strict=True):
                kinds.update(map(type, column))
            stage.execute(insert, [[_text(value) for value in column] for column in columns])
        casts = [
            f"{_typed(stage, name, kinds)} AS {quoted(title)}"
            for name, kinds, title in zip(names, seen, _distinct(rows.columns), strict=True)
        ]
        where = str(path).replace("'", "''")
        stage.execute(f"COPY (SELECT {', '.join(casts)} FROM stage) TO '{where}' (FORMAT parquet)")


def _distinct(names: Sequence[str]) -> list[str]:
    """Names that a file can have: a query may have one twice, or none."""
    found: list[str] = []
    for index, name in enumerate(names):
        taken = {other.lower() for other in found}
        while not name or name.lower() in taken:
            name = f"{name or 'column'}_{index + 1}"
        found.append(name)
    return found


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: Any) -> str | None:
    match value:
        case None | str():
            return value
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case dict() | list():
            import json

            return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


_TYPES: tuple[tuple[frozenset[type], tuple[str, ...]], ...] = (
    (frozenset((bool,)), ("BOOLEAN",)),
    (frozenset((int,)), ("BIGINT", "HUGEINT")),
    (frozenset((int, float)), ("DOUBLE",)),
    (frozenset((int, Decimal)), ("DECIMAL",)),
    (frozenset((datetime,)), ("TIMESTAMP", "TIMESTAMPTZ")),
    (frozenset((date,)), ("DATE",)),
    (frozenset((time,)), ("TIME",)),
    (frozenset((UUID,)), ("UUID",)),
    (frozenset((bytes, bytearray, memoryview)), ("BLOB",)),
)


def _typed(stage: duckdb.DuckDBPyConnection, name: str, kinds: set[type]) -> str:
    """The column as the type that its values have, if each of them survives that; else as text."""
    kinds = kinds - {type(None)}
    for known, types in _TYPES:
        if not kinds or not kinds <= known:
            continue
        for one in types:
            wanted = _decimal(stage, name) if one == "DECIMAL" else one
            value = f"unhex({name})" if one == "BLOB" else f"TRY_CAST({name} AS {wanted})"
            zoned = f"regexp_matches({name}, '[+-][0-9:]+$')" if one == "TIMESTAMP" else "false"
            query = f"SELECT count(*) FROM stage WHERE {name} NOT NULL AND ({value} IS NULL OR {zoned})"
            if wanted and stage.execute(query).fetchone() == (0,):
                return value
    return name


def _decimal(stage: duckdb.DuckDBPyConnection, name: str) -> str:
    """A decimal type that holds every digit, if there is one."""
    point = f"position('.' IN {name})"
    query = (
        f"SELECT max(CASE WHEN {point} > 0 THEN length({name}) - {point} ELSE 0 END), "
        f"max(CASE WHEN {point} > 0 THEN {point} - 1 ELSE length({name}) END), "
        f"bool_or(regexp_matches({name}, '[^0-9.+-]')) FROM stage"
    )
    scale, whole, odd = stage.execute(query).fetchone() or (0, 0, True)
    return "" if odd or scale + whole > 38 else f"DECIMAL({max(1, scale + whole)}, {scale})"
