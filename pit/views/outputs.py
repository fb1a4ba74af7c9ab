"""What the projects declare to produce, when that was last made, and by which task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pit.config.dag.outputs import makers
from pit.config.workspace import discover
from pit.model import Output, Record, WorkspaceConfig
from pit.state.store.store import Store
from pit.state.store.tables.dags import OutputRow


class OutputView(Record):
    """One declared output: an entry of `pit outputs --json`.

    `made_at` and `run` are those of the last success of the `task` that makes it, or, where that is
    not known, of its whole DAG; null before it. `extra` are the keys that Pit gives no meaning.
    """

    dag: str
    name: str
    type: str
    location: str
    task: str | None
    extra: dict[str, Any]
    made_at: float | None
    run: str | None


def declared_outputs(config: WorkspaceConfig, store: Store) -> list[OutputView]:
    """What pit.toml declares now, with what the store knows of each, by DAG.

    A project that cannot be read just now still shows what its last success declared.
    """
    return sorted(_outputs(config, store), key=lambda each: each.dag)


def _outputs(config: WorkspaceConfig, store: Store) -> Iterator[OutputView]:
    dags = discover(config).dags
    rows = store.dags.outputs()
    whole = {row.dag: row for row in rows}
    for dag in dags.values():
        for output in dag.outputs:
            among = makers(dag, output, config.root)
            yield _output_view(dag.name, output, among, whole.get(dag.name), store)
    for row in rows:
        if row.dag not in dags:
            output = Output(
                name=row.name, type=row.type, location=row.location, task=row.task, extra=row.extra
            )
            among = (row.task,) if row.task else ()
            yield _output_view(row.dag, output, among, row, store)


def _output_view(
    dag: str, output: Output, among: Sequence[str], whole: OutputRow | None, store: Store
) -> OutputView:
    """An output with the last success of the tasks that make it, else that of the `whole` DAG."""
    made_at, run = (None, None) if whole is None else (whole.made_at, whole.run)
    task = among[0] if len(among) == 1 else None
    if among:
        made = [each for name in among if (each := store.dags.last_made(dag, name)) is not None]
        last = max(made, key=lambda each: each.at or 0.0, default=None)
        made_at, run = (None, None) if last is None else (last.at, last.run)
        task = task if last is None else last.task
    return OutputView(
        dag=dag,
        name=output.name,
        type=output.type,
        location=output.location,
        task=task,
        extra=output.extra,
        made_at=made_at,
        run=run,
    )
