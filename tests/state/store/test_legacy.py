"""The predecessor's database: imported whole, its own tables kept."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from pit.model import RunState, TaskState
from pit.state.store.store import Store
from tests.state.story import run_id, started

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL);
CREATE TABLE runs (
    id TEXT PRIMARY KEY, dag_name TEXT NOT NULL, status TEXT NOT NULL, started_at TEXT NOT NULL,
    ended_at TEXT, run_dir TEXT NOT NULL, trigger_source TEXT, error TEXT);
CREATE INDEX idx_runs_dag_started ON runs (dag_name, started_at DESC);
CREATE INDEX idx_runs_status ON runs (status);
CREATE TABLE task_instances (
    run_id TEXT NOT NULL REFERENCES runs(id), task_name TEXT NOT NULL, status TEXT NOT NULL,
    started_at TEXT, ended_at TEXT, attempts INTEGER DEFAULT 1, error TEXT, log_path TEXT,
    PRIMARY KEY (run_id, task_name));
CREATE INDEX idx_ti_status ON task_instances (status);
CREATE TABLE env_snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT, dag_name TEXT, hash_type TEXT, hash_value TEXT,
    first_seen TEXT NOT NULL, run_id TEXT REFERENCES runs(id));
CREATE TABLE outputs (
    run_id TEXT NOT NULL REFERENCES runs(id), dag_name TEXT NOT NULL, name TEXT NOT NULL,
    type TEXT, location TEXT, PRIMARY KEY (run_id, name));
CREATE INDEX idx_outputs_dag ON outputs (dag_name);
CREATE TABLE secret_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event_type TEXT NOT NULL, project TEXT NOT NULL,
    secret_key TEXT NOT NULL, dag_name TEXT, task_name TEXT, run_id TEXT, timestamp TEXT NOT NULL);
INSERT INTO schema_version VALUES (1, '2026-02-10T00:00:00Z'), (2, '2026-02-12T00:00:00Z');
INSERT INTO runs VALUES
    ('20260301_120000.000_claims', 'claims', 'success', '2026-03-01T11:00:00Z',
     '2026-03-01T11:01:30Z', '/w/runs/20260301_120000.000_claims', 'manual', NULL),
    ('20260302_120000.000_claims', 'claims', 'failed', '2026-03-02T11:00:00Z',
     '2026-03-02T11:00:10Z', '/w/runs/20260302_120000.000_claims', 'cron', 'task failed'),
    ('20260303_120000.000_claims', 'claims', 'running', '2026-03-03T11:00:00Z',
     NULL, '/w/runs/20260303_120000.000_claims', NULL, NULL),
    ('20260228_120000.000_odd dag', 'odd dag', 'weird', 'not a time',
     NULL, '/w/runs/x', '', '');
INSERT INTO task_instances VALUES
    ('20260301_120000.000_claims', 'load', 'success', '2026-03-01T11:01:00Z',
     '2026-03-01T11:01:30Z', 2, 'left over from the first attempt', '/w/x.log'),
    ('20260301_120000.000_claims', 'extract', 'success', '2026-03-01T11:00:00Z',
     '2026-03-01T11:01:00Z', 1, NULL, '/w/y.log'),
    ('20260302_120000.000_claims', 'extract', 'failed', '2026-03-02T11:00:00Z',
     '2026-03-02T11:00:10Z', 1, 'exit status 3', NULL),
    ('20260303_120000.000_claims', 'extract', 'running', '2026-03-03T11:00:00Z',
     NULL, 1, NULL, NULL);
INSERT INTO env_snapshots (dag_name, hash_type, hash_value, first_seen, run_id) VALUES
    ('claims', 'uv_lock', 'abc', '2026-03-01T11:00:00Z', '20260301_120000.000_claims'),
    ('claims', 'uv_lock', 'abc', '2026-03-01T11:00:00Z', NULL);
INSERT INTO outputs VALUES
    ('20260301_120000.000_claims', 'claims', 'staging', 'table', 'warehouse.staging');
INSERT INTO secret_audit (event_type, project, secret_key, timestamp) VALUES
    ('accessed', 'claims', 'db', '2026-03-01T11:00:00Z');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database as the predecessor left it."""
    file = tmp_path / "pit_metadata.db"
    connection = sqlite3.connect(file)
    connection.executescript(SCHEMA)
    connection.close()
    file.chmod(0o644)
    return file


def check(store: Store) -> None:
    """Everything that is to be found after the import."""
    rows = store.runs.latest(limit=None)
    assert [(row.dag, row.state, row.reason) for row in rows] == [
        ("odd dag", RunState.FAILED, None),
        ("claims", RunState.INTERRUPTED, "interrupted"),
        ("claims", RunState.FAILED, None),
        ("claims", RunState.SUCCESS, None),
    ]
    odd, running, failed, success = rows
    assert odd.started_at == 0.0
    assert (running.ended_at, running.seconds, running.trigger) == (None, None, "manual")
    assert (failed.error, failed.trigger) == ("task failed", "cron")
    assert (success.started_at, success.seconds) == (1772362800.0, 90.0)
    assert success.run_dir == "/w/runs/20260301_120000.000_claims"
    extract, load = store.runs.tasks(success.id)
    assert (extract.task, extract.seconds) == ("extract", 60.0)
    assert (load.task, load.attempts, load.error) == ("load", 2, "")
    (broken,) = store.runs.tasks(failed.id)
    assert (broken.state, broken.error) == (TaskState.FAILED, "exit status 3")
    (left,) = store.runs.tasks(running.id)
    assert (left.state, left.reason) == (TaskState.FAILED, "interrupted")
    assert [(o.name, o.location) for o in store.dags.outputs()] == [
        ("staging", "warehouse.staging")
    ]
    assert store.runs.environments(success.id) == {"uv_lock": "abc"}
    assert store.runs.running() == ()


def test_its_history_is_imported_and_its_tables_kept(path: Path) -> None:
    with Store.open(path) as store:
        check(store)
        store.emit(started(run_id(1), "claims"))
        assert store.runs.find(run_id(1)).seq == 5
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection = sqlite3.connect(path)
    for table, count in (("runs", 4), ("task_instances", 4), ("secret_audit", 1)):
        assert connection.execute(f"SELECT count(*) FROM go_{table}").fetchone() == (count,)
    connection.close()
    with Store.open(path) as again:
        assert len(again.runs.latest(limit=None)) == 5


def test_it_can_be_looked_at_without_being_changed(path: Path) -> None:
    reader = Store.open_readonly(path)
    check(reader)
    reader.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM task_instances").fetchone() == (4,)
    connection.close()


def test_its_first_layout_lacked_some_tables(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        "DROP TABLE secret_audit; DROP TABLE outputs; DROP TABLE env_snapshots"
    )
    connection.close()
    with Store.open(path) as store:
        assert len(store.runs.latest(limit=None)) == 4
        assert store.dags.outputs() == ()
