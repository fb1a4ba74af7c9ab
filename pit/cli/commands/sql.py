"""`pit sql`: a query to a connection of the workspace, and whether its connections can be used."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pit.cli.complete import complete_connection, complete_dag
from pit.cli.options import Settings, command
from pit.cli.terminal.console import Cell, Column
from pit.errors import BadArgument, NoSecrets, QueryFailed
from pit.model import Reason

if TYPE_CHECKING:
    from pit.model import WorkspaceConfig
    from pit.sql import protocol
    from pit.state.secrets.secrets import Secrets
    from pit.views.connections import ConnectionView

_ROWS = 40
"""Rows of a table that are shown unless --limit says otherwise."""

_TRY_SECONDS = 20.0
"""How long a connection may take with --check, unless --timeout says otherwise."""

_IN_MEMORY = ":memory:"
"""A DuckDB for one query, such as one that reads a file; it needs no secret."""


@command("sql", short_help="Send a query to a connection, or try the connections.")
@click.argument("connection", required=False, shell_complete=complete_connection)
@click.argument("query", metavar="[QUERY|FILE|-]", required=False)
@click.argument("others", metavar="", nargs=-1)
@click.option("--check", is_flag=True, help="Try connections: all that the DAGs name, or these.")
@click.option("--json", "as_json", is_flag=True, help="Write the whole result as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Write the whole result as CSV.")
@click.option("--parquet", type=click.Path(dir_okay=False), help="Write it to a Parquet file.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"How many rows to show (default: {_ROWS} in a table, else all).",
)
@click.option(
    "--dag", metavar="NAME", shell_complete=complete_dag, help="Whose secrets; [global] if absent."
)
@click.option("--timeout", metavar="DURATION", help="Interrupt it after this long, such as 90s.")
def sql(
    settings: Settings,
    connection: str | None,
    query: str | None,
    others: Sequence[str],
    check: bool,
    as_json: bool,
    as_csv: bool,
    parquet: str | None,
    limit: int | None,
    dag: str | None,
    timeout: str | None,
) -> None:
    """Send a query to a connection, and show what it returns.

    \b
    CONNECTION   the name of a secret with a database URL, or :memory:, a DuckDB of its own
    QUERY        the query itself, a file that ends in .sql, or - for standard input

    Several statements are carried out as a task would. Ctrl-C and --timeout end what runs in the
    database.
    """
    seconds = _seconds(timeout)
    if check:
        names = [name for name in (connection, query, *others) if name is not None]
        if as_csv or parquet or limit is not None:
            raise BadArgument("--check takes only --json, --dag and --timeout")
        return _check(settings, names, dag, seconds, as_json=as_json)
    if connection is None:
        raise BadArgument("which connection?", 'pit sql CONNECTION "select …", or pit sql --check')
    if others:
        raise BadArgument("the query is more than one word", 'Quote it: pit sql db "select 1"')
    forms = [form for form, on in (("json", as_json), ("csv", as_csv), ("parquet", parquet)) if on]
    if len(forms) > 1:
        raise BadArgument(f"--{forms[0]} and --{forms[1]} cannot be combined")
    form = forms[0] if forms else "table"
    if form == "parquet" and limit is not None:
        raise BadArgument("--parquet writes the whole result; put the limit into the query")
    if parquet is not None:
        _check_file(Path(parquet).expanduser())
    text = _text(query)
    url = _IN_MEMORY if connection == _IN_MEMORY else connection_url(settings, connection, dag)
    _Sending(settings, form, limit, parquet, seconds).send(url, text)


def _check_file(path: Path) -> None:
    """A folder that is not there may be a slip of the pen, and is told before the query is sent."""
    if path.suffix != ".parquet":
        raise BadArgument(f"--parquet: {path} does not end in .parquet")
    if not path.parent.is_dir():
        hint = f"Make it: mkdir -p {path.parent}"
        raise BadArgument(f"--parquet: there is no folder {path.parent}", hint)


def _seconds(timeout: str | None) -> float | None:
    if timeout is None:
        return None
    from pit.text import durations

    try:
        return durations.parse(timeout) or None
    except ValueError as error:
        raise BadArgument(f"--timeout: {error}") from None


def _text(query: str | None) -> str:
    """The query itself, that of a file, or what comes on standard input."""
    if query is None and sys.stdin.isatty():
        raise BadArgument("which query?", 'pit sql CONNECTION "select …", or a .sql file, or -')
    try:
        if query is None or query == "-":
            return sys.stdin.read()
        if query.endswith(".sql") and os.path.isfile(query):
            return Path(query).read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise BadArgument(f"{query or 'standard input'} is not UTF-8 text") from None
    if query.endswith((".sql", ".sql.j2")) and " " not in query:
        hint = "Templates need a run" if query.endswith(".j2") else ""
        raise BadArgument(f"there is no file {query}", hint)
    return query


def connection_url(settings: Settings, name: str, dag: str | None) -> str:
    """The URL of a connection, for a person; that it was read stands in the audit."""
    from pit.cli.secrets.context import Context
    from pit.views.connections import scope_of

    config = settings.config()
    secrets = _secrets(settings, config, name)
    scope = scope_of(secrets, name, dag)
    url = secrets.connection_url(scope, name)
    Context(settings, config).record([("read", scope, name)], secrets.path, "pit sql")
    return url


def _secrets(settings: Settings, config: WorkspaceConfig, name: str) -> Secrets:
    """The secrets of the workspace; NoSecrets, which says for the want of what, if there are
    none."""
    from pit.cli.unlock import unlock
    from pit.state.secrets.secrets import Secrets

    unlock(settings.console, config)
    secrets = Secrets.of(config)
    if secrets is None:
        raise NoSecrets(name)
    return secrets


class _Sending:
    """One query on its way to the terminal or a file."""

    def __init__(
        self,
        settings: Settings,
        form: str,
        limit: int | None,
        parquet: str | None,
        seconds: float | None,
    ) -> None:
        self._settings, self._console = settings, settings.console
        self._form, self._seconds = form, seconds
        self._limit = _ROWS if limit is None and form == "table" else limit
        self._path = os.path.abspath(os.path.expanduser(parquet)) if parquet else ""

    def send(self, url: str, text: str) -> None:
        """Send it and write what comes; QueryFailed, or exit code 130 after Ctrl-C."""
        from pit.sql import protocol
        from pit.sql.connection.urls import Database
        from pit.work.sql import querying

        request = protocol.Query(
            id=0,
            text=text,
            database=Database(kind="", display="", key=""),
            form=self._form,
            limit=self._limit,
            width=self._console.width,
            path=self._path,
        )
        with querying.client(self._settings.root, Path.cwd()) as database:
            try:
                done = database.send(url, request, self._seconds, self._take)
            except querying.Failed as error:
                failure = error.failure
                line = f"line {failure.line}: " if failure.line else ""
                raise QueryFailed(f"{line}{failure.message}", failure.snippet) from None
            except querying.Ended as error:
                if error.reason is Reason.CANCELLED:
                    self._console.note("interrupted")
                    raise click.exceptions.Exit(database.exit_code) from None
                raise QueryFailed(str(error)) from None
        self._tell(done)

    def _take(self, message: protocol.Log | protocol.Data) -> None:
        from pit.sql import protocol

        if isinstance(message, protocol.Data):
            self._console.raw(message.text.encode(errors="replace"))
        elif self._form == "table":
            self._console.out(message.text)
        else:
            self._console.note(message.text)

    def _tell(self, done: protocol.Done) -> None:
        if isinstance(done.answer, int):
            rows = f"{done.answer:,} row{'' if done.answer == 1 else 's'}"
            self._console.note(f"{rows} changed")


# ---------------------------------------------------------------- --check


def _check(
    settings: Settings,
    names: Sequence[str],
    dag: str | None,
    seconds: float | None,
    *,
    as_json: bool,
) -> None:
    """Try the connections that are named, else all that the DAGs of the workspace name."""
    from pit.cli.secrets.context import Context
    from pit.views.connections import tried_connections, wanted_connections

    config = settings.config()
    secrets = _secrets(settings, config, names[0] if names else "connections")
    wanted = wanted_connections(settings.workspace(), secrets, names, dag)
    found = tried_connections(settings.root, secrets, wanted, seconds or _TRY_SECONDS)
    read = [("read", one.scope, one.connection) for one in found if one.database]
    Context(settings, config).record(read, secrets.path, "pit sql --check")
    if as_json:
        settings.console.json(found)
    elif not found:
        settings.console.out("No DAG names a connection.")
    else:
        _show_connections(settings, found)
    if not all(one.ok for one in found):
        raise click.exceptions.Exit(1)


def _show_connections(settings: Settings, found: Sequence[ConnectionView]) -> None:
    console = settings.console
    columns = (
        Column("CONNECTION"),
        Column("DAGS"),
        Column("SERVER"),
        Column("ANSWERS IN", right=True),
        Column("DRIVER", flexible=True),
    )
    rows = []
    for one in found:
        latency = f"{1000 * one.latency:.1f} ms" if one.latency else "-"
        state = Cell(one.server or ("ok" if one.ok else "failed"), "green" if one.ok else "red")
        dags = ", ".join(one.dags) or one.scope
        rows.append([Cell(one.connection), Cell(dags), state, Cell(latency), Cell(one.driver)])
    console.table(columns, rows)
    for one in found:
        if one.remark:
            console.out(f"\n{one.connection} ({one.database}): {one.remark}")
        if one.error:
            console.out()
            where = f" ({one.database})" if one.database else ""
            console.error(f"{one.connection}{where}: {one.error}", one.hint)
