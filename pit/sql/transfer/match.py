"""Which column of the files goes into which column of the table, and on what way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from pit.model import Load, LoadMode, Record
from pit.sql.text import dialect, table
from pit.sql.transfer.coerce import Way, cast, fit, joined
from pit.sql.transfer.reading.files import refused
from pit.sql.transfer.reading.reader import Field
from pit.sql.transfer.reading.rejects import Checked
from pit.sql.transfer.tables.catalog import ANY
from pit.sql.transfer.tables.sink import Sink, TargetColumn
from pit.sql.transfer.types import NoType

_quote = dialect.DUCKDB.quote


class Matched(Record):
    """Columns of the files, each with its column of the table and its way there.

    `left` are columns of the table that no file has, so that they get their defaults.
    """

    columns: tuple[TargetColumn, ...]
    checked: tuple[Checked, ...]
    key: tuple[str, ...]
    left: tuple[str, ...] = ()


def match(
    work: Load, fields: Sequence[Field], sink: Sink, target: Sequence[TargetColumn] | None
) -> Matched:
    """Match by name; raises SqlFailure for what has no counterpart, or no type there."""
    if target is None:
        return _with_new(work, fields, sink)
    find = _finder(target)
    pairs = [(one, _found(one, find, work.table)) for one in fields]
    _check_once(pairs)
    names = {column.name for _, column in pairs}
    left = [one for one in target if one.name not in names and not one.fixed]
    missing = [one.name for one in left if one.required and not one.default]
    if missing:
        raise refused(f"no file has the column {_listed(missing)}, which may not be NULL")
    both = [_checked(one, column, sink) for one, column in pairs]
    return Matched(
        columns=tuple(column for _, column in both),
        checked=tuple(checked for checked, _ in both),
        key=_key(work, [column.name for _, column in pairs]),
        left=tuple(one.name for one in left),
    )


def _with_new(work: Load, fields: Sequence[Field], sink: Sink) -> Matched:
    key = _key(work, [one.name for one in fields])
    columns, checked = [], []
    for one in fields:
        found, column = _checked(one, _new(one, sink, one.name in key), sink)
        columns.append(column)
        checked.append(found)
    folded: dict[str, str] = {}
    for column in columns:
        other = folded.setdefault(column.name.lower(), column.name)
        if other != column.name and sink.dialect.name != "postgres":
            raise refused(f'the columns "{other}" and "{column.name}" differ only in case')
    return Matched(columns=tuple(columns), checked=tuple(checked), key=key)


def _new(one: Field, sink: Sink, key: bool) -> TargetColumn:
    try:
        sink.dialect.quote(one.name)
        return sink.new(one.name, one.wanted or one.type, key)
    except (NoType, dialect.BadName) as error:
        raise refused(f'column "{table.visible(one.column)}": {error}') from None


def _key(work: Load, names: Sequence[str]) -> tuple[str, ...]:
    if work.mode is not LoadMode.UPSERT:
        return ()
    found = []
    for name in work.key:
        near = [one for one in names if one == name] or [
            one for one in names if one.lower() == name.lower()
        ]
        if len(near) != 1:
            raise refused(f'the key "{name}" is none of the columns {_listed(names)}')
        found.append(near[0])
    return tuple(found)


def _finder(target: Sequence[TargetColumn]) -> Callable[[str], TargetColumn | None]:
    exact = {one.name: one for one in target}
    loose: dict[str, list[TargetColumn]] = {}
    for one in target:
        loose.setdefault(one.name.lower(), []).append(one)

    def find(name: str) -> TargetColumn | None:
        near = loose.get(name.lower(), [])
        return exact.get(name) or (near[0] if len(near) == 1 else None)

    return find


def _found(one: Field, find: Callable[[str], TargetColumn | None], name: str) -> TargetColumn:
    column = find(one.name)
    if column is None:
        raise refused(
            f'the table {name} has no column "{table.visible(one.name)}"; in columns, rename '
            f'it, or leave it out with "{table.visible(one.column)}" = false'
        )
    if column.fixed:
        raise refused(f'the column "{table.visible(column.name)}" is computed by the database')
    return column


def _check_once(pairs: Sequence[tuple[Field, TargetColumn]]) -> None:
    taken: dict[str, str] = {}
    for one, column in pairs:
        other = taken.setdefault(column.name, one.column)
        if other != one.column:
            raise refused(f'the columns "{other}" and "{one.column}" are both "{column.name}"')


def _checked(one: Field, column: TargetColumn, sink: Sink) -> tuple[Checked, TargetColumn]:
    """A column's way, and the column with the type that it is sent as."""
    source, given = _quote(one.column), one.wanted or one.type
    if column.sent.base == ANY or given.base in column.also:
        column = replace(column, sent=given)
    try:
        way = Way(value=source) if one.wanted is None else cast(source, one.type, one.wanted)
        way = joined(way, fit(way.value, given, column.sent))
    except NoType as error:
        raise refused(f'column "{table.visible(one.column)}": {error}') from None
    if limit := sink.limit(column, way.value):
        bounded = f"({way.value} IS NULL OR {limit})"
        way = joined(way, Way(value=way.value, good=bounded))
    return Checked(field=one, way=way, wanted=_wanted(column, sink)), column


def _wanted(column: TargetColumn, sink: Sink) -> str:
    return f"{column.declared.lower() or column.sent.text.lower()} of {sink.dialect.title}"


def ways(matched: Matched, sink: Sink) -> Iterator[tuple[Way, TargetColumn]]:
    """Each column's way, its value in the form that the sink takes."""
    for one, column in zip(matched.checked, matched.columns, strict=True):
        yield Way(value=sink.expression(column, one.way.value), good=one.way.good), column


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{table.visible(name)}"' for name in names[:10])
    return f"{shown} …" if len(names) > 10 else shown
