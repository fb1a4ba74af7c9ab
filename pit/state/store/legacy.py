"""Import of the database that Pit's predecessor, a Go program of the same name, left behind.

Its tables are renamed to `go_*` and kept as they were; runs, tasks, outputs, environment hashes and
the secret audit are copied into ours. It knew no locks, so a run that it left `running` is
`interrupted` here.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

_TABLES = ("schema_version", "runs", "task_instances", "env_snapshots", "outputs", "secret_audit")
_NEEDED = frozenset({"schema_version", "runs", "task_instances"})

_RUNS = """
    INSERT INTO runs (id, dag, state, reason, error, started_at, ended_at, seconds, run_dir,
                      "trigger", pit_version)
    SELECT id, dag_name,
           CASE WHEN status = 'running' THEN 'interrupted'
                WHEN status IN ('success', 'failed') THEN status ELSE 'failed' END,
           CASE status WHEN 'running' THEN 'interrupted' END,
           coalesce(error, ''), coalesce(go_time(started_at), 0), go_time(ended_at),
           max(0, go_time(ended_at) - go_time(started_at)), run_dir,
           coalesce(nullif(trigger_source, ''), 'manual'), 'go'
    FROM go_runs ORDER BY started_at, id"""

_TASKS = """
    INSERT INTO tasks (run, task, position, state, reason, error, attempts, started_at, ended_at,
                       seconds)
    SELECT runs.seq, task_name,
           row_number() OVER (PARTITION BY run_id ORDER BY go.started_at, task_name) - 1,
           CASE WHEN status = 'pending' THEN 'skipped'
                WHEN status IN ('success', 'skipped', 'upstream_failed') THEN status
                ELSE 'failed' END,
           CASE WHEN status IN ('pending', 'running') THEN 'interrupted'
                WHEN status = 'upstream_failed' THEN 'upstream_failed' END,
           CASE status WHEN 'success' THEN '' ELSE coalesce(go.error, '') END,
           coalesce(go.attempts, 1), go_time(go.started_at), go_time(go.ended_at),
           max(0, go_time(go.ended_at) - go_time(go.started_at))
    FROM go_task_instances AS go JOIN runs ON runs.id = go.run_id"""

_OUTPUTS = """
    INSERT INTO outputs (run, position, name, type, location)
    SELECT runs.seq, row_number() OVER (PARTITION BY run_id ORDER BY name) - 1, name,
           coalesce(type, ''), coalesce(location, '')
    FROM go_outputs AS go JOIN runs ON runs.id = go.run_id"""

_ENVIRONMENTS = """
    INSERT OR IGNORE INTO environments (run, dag, kind, digest)
    SELECT runs.seq, dag_name, hash_type, hash_value
    FROM go_env_snapshots AS go JOIN runs ON runs.id = go.run_id
    WHERE hash_type IS NOT NULL AND hash_value IS NOT NULL"""

# It did not record which task had asked; what was read outside of a run is a deed of somebody.
_REQUESTS = """
    INSERT INTO secret_requests (run, task, attempt, "key", verdict, at, last_at, count)
    SELECT runs.seq, coalesce(task_name, ''), 0, secret_key, 'granted',
           min(coalesce(go_time(timestamp), 0)), max(coalesce(go_time(timestamp), 0)), count(*)
    FROM go_secret_audit AS go JOIN runs ON runs.id = go.run_id
    WHERE event_type = 'accessed' GROUP BY 1, 2, 4"""
_CHANGES = """
    INSERT INTO secret_changes (at, who, what, scope, name)
    SELECT coalesce(go_time(timestamp), 0), '',
           CASE event_type WHEN 'accessed' THEN 'read' ELSE event_type END, project, secret_key
    FROM go_secret_audit AS go
    WHERE event_type <> 'accessed'
        OR NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = go.run_id)
    ORDER BY go.id"""

# The first layout of the predecessor lacked some of these tables.
_COPIES = (
    ("go_runs", _RUNS),
    ("go_task_instances", _TASKS),
    ("go_outputs", _OUTPUTS),
    ("go_env_snapshots", _ENVIRONMENTS),
)


def _present(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in rows}


def is_legacy(connection: sqlite3.Connection) -> bool:
    """Whether the predecessor wrote this database."""
    return _present(connection) >= _NEEDED


def set_aside(connection: sqlite3.Connection) -> None:
    """Renames the predecessor's tables to `go_*`."""
    for name in _present(connection).intersection(_TABLES):
        connection.execute(f"ALTER TABLE {name} RENAME TO go_{name}")


def import_rows(connection: sqlite3.Connection) -> None:
    """Copies what the `go_*` tables hold into ours, which must be empty."""
    connection.create_function("go_time", 1, _seconds)
    present = _present(connection)
    for table, copy in _COPIES:
        if table in present:
            connection.execute(copy)
    connection.create_function("go_time", 1, None)


def import_audit(connection: sqlite3.Connection) -> None:
    """Copies the predecessor's secret audit, where it left one, after the runs are there."""
    if "go_secret_audit" not in _present(connection):
        return
    connection.create_function("go_time", 1, _seconds)
    connection.execute(_REQUESTS)
    connection.execute(_CHANGES)
    connection.create_function("go_time", 1, None)


def _seconds(text: str | None) -> float | None:
    """Unix seconds of an RFC 3339 time; None for what cannot be read."""
    try:
        at = datetime.fromisoformat(text or "")
    except (ValueError, TypeError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
