"""The audit of secrets and the values of tasks: kept, told, imported, gone with their run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pit.events import AttemptStarted, SecretRequested, ValueSet
from pit.model import Verdict
from pit.state.store import migrations
from pit.state.store.store import Store
from pit.state.store.tables.audit import SecretChange
from tests.state.store.test_legacy import SCHEMA
from tests.state.story import EPOCH, ended, run_id, started


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one run under way."""
    found = Store.open(tmp_path / "pit.db")
    found.emit(started(run_id(1)))
    return found


def asked(key: str, verdict: Verdict = Verdict.GRANTED, **given: object) -> SecretRequested:
    """A request of the first attempt of `extract`."""
    facts = {"run": run_id(1), "at": EPOCH, "dag": "sales", "task": "extract", "attempt": 1}
    return SecretRequested(**{**facts, "key": key, "verdict": verdict, **given})  # type: ignore[arg-type]


def test_a_request_is_kept_with_all_that_tells_who_asked(store: Store) -> None:
    store.emit(asked("db"))
    store.emit(asked("db", at=EPOCH + 1))
    store.emit(asked("db", at=EPOCH + 2, attempt=2))
    store.emit(asked("other", Verdict.REFUSED, at=EPOCH + 3))
    store.emit(asked("none", Verdict.UNKNOWN, at=EPOCH + 4, task="load"))
    store.barrier()
    rows = store.audit.requests()
    assert [(r.task, r.attempt, r.key, str(r.verdict), r.count) for r in rows] == [
        ("load", 1, "none", "unknown", 1),
        ("extract", 1, "other", "refused", 1),
        ("extract", 2, "db", "granted", 1),
        ("extract", 1, "db", "granted", 2),
    ]
    assert (rows[3].run, rows[3].dag, rows[3].at, rows[3].last_at) == (
        run_id(1),
        "sales",
        EPOCH,
        EPOCH + 1,
    )
    store.close()


def test_requests_are_found_by_what_one_knows(store: Store) -> None:
    store.emit(started(run_id(2, "stock"), "stock"))
    store.emit(asked("db"))
    store.emit(asked("db", run=run_id(2, "stock"), dag="stock", at=EPOCH + 5))
    store.emit(asked("ftp", Verdict.UNKNOWN, at=EPOCH + 9))
    store.barrier()
    assert [r.dag for r in store.audit.requests(key="db")] == ["stock", "sales"]
    assert [r.key for r in store.audit.requests(dag="sales")] == ["ftp", "db"]
    assert [r.key for r in store.audit.requests(run=run_id(1))] == ["ftp", "db"]
    assert [r.key for r in store.audit.requests(since=EPOCH + 6)] == ["ftp"]
    assert [r.key for r in store.audit.requests(task="load")] == []
    assert [r.key for r in store.audit.requests(limit=1)] == ["ftp"]
    store.close()


def test_a_name_that_is_no_name_is_kept_in_short(store: Store) -> None:
    store.emit(asked("x" * 100_000, Verdict.UNKNOWN))
    store.emit(asked("\udcff", Verdict.UNKNOWN, at=EPOCH + 1))
    store.barrier()
    assert [len(row.key) for row in store.audit.requests()] == [1, 500]
    store.close()


def test_requests_and_values_go_with_their_run(store: Store) -> None:
    store.emit(asked("db"))
    store.emit(ValueSet(run=run_id(1), at=EPOCH, task="extract", name="rows", value="1"))
    store.emit(ended(run_id(1)))
    store.barrier()
    store.audit.add_changes(
        [SecretChange(at=EPOCH, who="me", what="created", scope="global", name="db")]
    )
    store.runs.forget([run_id(1)])
    assert store.audit.requests() == ()
    assert store.values.of_run(run_id(1)) == ()
    assert store.database.query("SELECT * FROM task_values") == []
    assert [change.who for change in store.audit.changes()] == ["me"]
    store.close()


def test_the_last_value_stands_and_those_of_earlier_attempts_do_not(store: Store) -> None:
    def put(name: str, value: str, attempt: int) -> None:
        event = ValueSet(
            run=run_id(1), at=EPOCH, task="extract", name=name, value=value, attempt=attempt
        )
        store.emit(event)

    def begin(attempt: int) -> None:
        store.emit(
            AttemptStarted(run=run_id(1), at=EPOCH, task="extract", attempt=attempt, attempts=2)
        )

    begin(1)
    put("rows", "1", 1)
    put("only first", "true", 1)
    put("always", '"é\\u0000"', 0)
    begin(2)
    put("rows", "2", 2)
    put("rows", "3", 2)
    store.barrier()
    assert {row.name: row.value for row in store.values.of_run(run_id(1))} == {
        "rows": "3",
        "always": '"é\\u0000"',
    }
    assert store.values.of_run(run_id(1), "load") == ()
    store.close()


def test_a_long_value_stays_whole(store: Store) -> None:
    value = '"' + "x" * 64_000 + '"'
    store.emit(ValueSet(run=run_id(1), at=EPOCH, task="extract", name="long", value=value))
    store.barrier()
    assert store.values.of_run(run_id(1))[0].value == value
    store.close()


def test_changes_are_found_by_scope_and_name(store: Store) -> None:
    rows = [
        SecretChange(at=EPOCH + at, who="me", what=what, scope=scope, name=name, file="/s.toml")
        for at, (what, scope, name) in enumerate(
            [("created", "global", "a"), ("updated", "sales", "a"), ("deleted", "global", "b")]
        )
    ]
    store.audit.add_changes(rows)
    assert store.audit.changes() == tuple(reversed(rows))
    assert store.audit.changes(scope="global", name="a") == (rows[0],)
    assert store.audit.changes(since=EPOCH + 1, limit=1) == (rows[2],)
    store.close()


AUDITED = """
INSERT INTO secret_audit (event_type, project, secret_key, dag_name, run_id, timestamp) VALUES
    ('accessed', 'claims', 'db', 'claims', '20260301_120000.000_claims', '2026-03-01T11:00:01Z'),
    ('accessed', 'claims', 'db', 'claims', '20260301_120000.000_claims', '2026-03-01T11:00:05Z'),
    ('accessed', 'claims', 'ftp', 'claims', 'a run that is gone', '2026-03-02T11:00:00Z'),
    ('created', 'global', 'db', NULL, NULL, '2026-02-01T00:00:00Z'),
    ('deleted', 'claims', 'old', NULL, NULL, 'not a time');
"""


def legacy(path: Path) -> None:
    """A database of the predecessor with an audit."""
    connection = sqlite3.connect(path)
    connection.executescript(SCHEMA + AUDITED)
    connection.close()


def check_imported(store: Store) -> None:
    """What is to be found of the predecessor's audit."""
    (row,) = store.audit.requests()
    assert (row.run, row.task, row.attempt, row.key) == (
        "20260301_120000.000_claims",
        "",
        0,
        "db",
    )
    assert (row.count, row.last_at - row.at, str(row.verdict)) == (2, 4.0, "granted")
    changes = [(c.what, c.scope, c.name) for c in store.audit.changes()]
    assert changes == [
        ("deleted", "claims", "old"),
        ("created", "global", "db"),
        ("read", "claims", "ftp"),
        ("read", "claims", "db"),
    ]


@pytest.mark.parametrize("opening", [Store.open, Store.open_readonly])
def test_the_predecessors_audit_is_imported(tmp_path: Path, opening: object) -> None:
    path = tmp_path / "pit_metadata.db"
    legacy(path)
    with opening(path) as store:  # type: ignore[operator]
        check_imported(store)


def test_a_database_that_was_imported_before_gets_the_audit_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit_metadata.db"
    legacy(path)
    connection = sqlite3.connect(path)
    monkeypatch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:2])
    monkeypatch.setattr(migrations, "VERSION", 2)
    monkeypatch.setattr(migrations.legacy, "import_audit", lambda connection: None)
    migrations.migrate(connection)
    connection.commit()
    connection.close()
    monkeypatch.undo()
    with Store.open(path) as store:
        check_imported(store)
    with Store.open(path) as store:
        check_imported(store)
