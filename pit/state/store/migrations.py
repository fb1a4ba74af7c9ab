"""The layout of the metadata database, and how an older one becomes the present one.

One SQLite file, recognised by its `application_id`; `user_version` counts the migrations that
were applied. A database written by a newer Pit is refused, not guessed at.

runs            one row per run. `seq` is the order of everything: ids are names made from a clock,
                and clocks jump. AUTOINCREMENT, so that the number of a deleted run is never given
                to another. `started_at` and `ended_at` are Unix seconds; `seconds` was measured on
                the monotonic clock. `parent` is the run whose task started this one, `retry_of`
                the run that this one repeats; both are ids and may name a run no longer kept.
                `whole` says that a run was about every task of its DAG, `complete_at` since when
                each of them has been known to be done: the end of a whole run that succeeded, or
                the oldest of its tasks' successes after a run of some that left nothing undone.
                `pid`, `pid_started` and `boot_id` name the holder of the run's lock for people;
                whether the run lives is the lock's word alone.
tasks           one row per task of a run, made as `pending` when the run starts, so that what
                never started is in the history too. `position` is the order in pit.toml.
                `why` is why a task ran, or since when it is current, or before that what it
                waits for; a skipped one hands on the products of run `made_by` and saved `saved`
                seconds.
attempts        one row per attempt; `state` is running, success, failed or cancelled.
outputs         what the run declares to have made, in the order of pit.toml; `extra` holds the
                keys that Pit does not know.
environments    the digests a run was executed with: `kind` is pit_toml, uv_lock, pyproject or
                environment; for snapshot, the run that took it: it is whole.
intents         what a run is publishing at this moment: `publishing` is JSON, the project and the
                digest of each place. It goes in the commit that ends the task.
task_values     the small facts that tasks set; `value` is JSON. Those of an attempt that is not the
                task's last (`attempt`, 0 if it does not matter) are no longer facts.
secret_requests who asked for which secret; `verdict` is granted, refused or unknown. The same
                again in the same attempt only moves `last_at` and `count`. Audited are names alone.

These tables, from `tasks` on, are keyed by the number of a run and clustered (WITHOUT ROWID), so
that a run's rows lie together: they are written once, read together and deleted together. No index
covers them, which keeps the cost of a task low (secret_requests, of which most tasks have none,
has two, for questions across runs). `runs` has an index for each question that is asked
of a million runs: the last of a DAG, those in a state, the last complete one and that which was
complete most lately, the last whole one, the last that did more than to find everything current,
the last that made outputs, the last finished ones.

What makes tasks current outlives the runs, and so does how they stand: these name a run by its id:

standings       how each task of a DAG stands: see standing_table.py.

records         the last success of a tracked task for each text of its parameters (`params`, ''
                without any), deleted in the commit in which an attempt starts. `version` is that of
                `fingerprint` (msgpack); many sources are in a row of their own. `saves` says that
                products lie in the run's data folder, which retention therefore leaves alone.
sources         the files of code that a record covers (msgpack, file to digest), by a digest of
                them all: the instances of one script share a row.
texts           the text of those files, by digest, compressed with zlib. `at` is when it was last
                kept, to the day: what no record needs goes, unless a run under way may need it.
digests         a cache, no history: absolute path, and the stat that the file had. It may be
                emptied at any time: see pit/state/cache/digests.py.
makings         what tasks are known to have published, also after their records have died:
                `places` as in intents, or the fingerprint of a record that is older than this
                table. `run` is '' for the last success, else names a run that was cut short or
                was not alone.
notes           what people did to records, and why.
owners          the workspace that a DAG belongs to, by its real path: see dags.py.
counters        numbers that only grow: `snapshot` is the last one drawn. Each run has that of its
                snapshot, and each record that of the snapshot it is of: see snapshots.py. An
                intent is `outrun` once another run of the DAG has been at its task. `revision`
                is one more after each commit that changed anything but the cache of digests, a
                migration among them.
secret_changes  what people did to secrets files: `who` is the user of the operating system, `scope`
                and `name` say which entry, `file` where. Kept for ever: they are few.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pit.errors import StoreUnavailable
from pit.state.store import legacy, standing_table

APPLICATION = 0x50495421  # "PIT!"

_FIRST = (
    """CREATE TABLE runs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        dag TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        error TEXT NOT NULL DEFAULT '',
        started_at REAL NOT NULL,
        ended_at REAL,
        seconds REAL,
        run_dir TEXT NOT NULL,
        project TEXT NOT NULL DEFAULT '',
        selection TEXT,
        "trigger" TEXT NOT NULL DEFAULT 'manual',
        parent TEXT,
        retry_of TEXT,
        params TEXT NOT NULL DEFAULT '{}',
        stub INTEGER NOT NULL DEFAULT 0,
        concurrency INTEGER NOT NULL DEFAULT 1,
        pid INTEGER NOT NULL DEFAULT 0,
        pid_started REAL NOT NULL DEFAULT 0,
        boot_id TEXT NOT NULL DEFAULT '',
        pit_version TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX runs_by_dag ON runs (dag)",
    "CREATE INDEX runs_by_state ON runs (state)",
    "CREATE INDEX runs_by_dag_state ON runs (dag, state)",
    "CREATE INDEX runs_succeeded ON runs (dag) WHERE state = 'success' AND stub = 0",
    """CREATE INDEX runs_finished ON runs (dag, seq, state, seconds)
        WHERE stub = 0 AND state <> 'running'""",
    """CREATE TABLE tasks (
        run INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
        task TEXT NOT NULL,
        position INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        error TEXT NOT NULL DEFAULT '',
        attempts INTEGER NOT NULL DEFAULT 0,
        started_at REAL,
        ended_at REAL,
        seconds REAL,
        PRIMARY KEY (run, task)
    ) WITHOUT ROWID""",
    """CREATE TABLE attempts (
        run INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
        task TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        error TEXT NOT NULL DEFAULT '',
        started_at REAL NOT NULL,
        ended_at REAL,
        seconds REAL,
        exit_code INTEGER,
        signal INTEGER,
        cpu_seconds REAL,
        peak_memory INTEGER,
        PRIMARY KEY (run, task, attempt)
    ) WITHOUT ROWID""",
    """CREATE TABLE outputs (
        run INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        name TEXT NOT NULL,
        type TEXT NOT NULL DEFAULT '',
        location TEXT NOT NULL DEFAULT '',
        extra TEXT NOT NULL DEFAULT '{}',
        PRIMARY KEY (run, position)
    ) WITHOUT ROWID""",
    """CREATE TABLE environments (
        run INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
        dag TEXT NOT NULL,
        kind TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, kind)
    ) WITHOUT ROWID""",
)

_RECORDS = (
    "ALTER TABLE tasks ADD COLUMN why TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE tasks ADD COLUMN made_by TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE tasks ADD COLUMN saved REAL NOT NULL DEFAULT 0",
    """CREATE TABLE intents (
        run INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
        task TEXT NOT NULL,
        at REAL NOT NULL,
        publishing TEXT NOT NULL,
        PRIMARY KEY (run, task)
    ) WITHOUT ROWID""",
    """CREATE TABLE records (
        dag TEXT NOT NULL,
        task TEXT NOT NULL,
        params TEXT NOT NULL,
        run TEXT NOT NULL,
        at REAL NOT NULL,
        seconds REAL NOT NULL,
        note TEXT NOT NULL DEFAULT '',
        version INTEGER NOT NULL,
        saves INTEGER NOT NULL DEFAULT 0,
        sources BLOB,
        fingerprint BLOB NOT NULL,
        PRIMARY KEY (dag, task, params)
    ) WITHOUT ROWID""",
    "CREATE INDEX records_by_run ON records (dag, run, saves)",
    "CREATE TABLE sources (digest BLOB PRIMARY KEY, files BLOB NOT NULL)",
    "CREATE TABLE texts (digest TEXT PRIMARY KEY, at REAL NOT NULL, text BLOB NOT NULL)",
    """CREATE TABLE digests (
        path TEXT PRIMARY KEY,
        device INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        digest TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE notes (
        seq INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        dag TEXT NOT NULL,
        task TEXT NOT NULL,
        what TEXT NOT NULL,
        note TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX notes_by_task ON notes (dag, task)",
)

_AUDIT = (
    """CREATE TABLE task_values (
        run INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
        task TEXT NOT NULL,
        name TEXT NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        value TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (run, task, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE secret_requests (
        run INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
        task TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        "key" TEXT NOT NULL,
        verdict TEXT NOT NULL,
        at REAL NOT NULL,
        last_at REAL NOT NULL,
        count INTEGER NOT NULL DEFAULT 1,
        PRIMARY KEY (run, task, attempt, "key", verdict)
    ) WITHOUT ROWID""",
    "CREATE INDEX secret_requests_by_time ON secret_requests (at)",
    'CREATE INDEX secret_requests_by_key ON secret_requests ("key", at)',
    """CREATE TABLE secret_changes (
        seq INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        who TEXT NOT NULL,
        what TEXT NOT NULL,
        scope TEXT NOT NULL DEFAULT '',
        name TEXT NOT NULL DEFAULT '',
        file TEXT NOT NULL DEFAULT '',
        note TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX secret_changes_by_time ON secret_changes (at)",
)

_ORDER = (
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO counters SELECT 'snapshot', coalesce(max(seq), 0) FROM runs",
    "ALTER TABLE runs ADD COLUMN snapshot INTEGER NOT NULL DEFAULT 0",
    "UPDATE runs SET snapshot = seq",
    "ALTER TABLE records ADD COLUMN snapshot INTEGER NOT NULL DEFAULT 0",
    "UPDATE records SET snapshot = coalesce((SELECT seq FROM runs WHERE id = records.run), 0)",
    "ALTER TABLE intents ADD COLUMN outrun INTEGER NOT NULL DEFAULT 0",
)

_CANCELLED = (
    "UPDATE tasks SET state = 'cancelled' WHERE state = 'failed' AND reason = 'cancelled'",
    "UPDATE attempts SET state = 'cancelled' WHERE state = 'failed' AND reason = 'cancelled'",
)
"""What a run had ended was `failed` once, for the reason `cancelled`."""

# A path without its last part: what is no "/" is taken from its end, then the "/".
_PARENT = "rtrim(rtrim({0}, replace({0}, '/', '')), '/')"
_PROJECTS = _PARENT.format("project")
_OWNERS = (
    "CREATE TABLE owners (dag TEXT PRIMARY KEY, workspace TEXT NOT NULL) WITHOUT ROWID",
    f"""INSERT INTO owners SELECT dag, {_PARENT.format(_PROJECTS)} FROM runs
        WHERE seq IN (SELECT max(seq) FROM runs GROUP BY dag) AND {_PROJECTS} LIKE '/%/projects'""",
)

_WHOLE = (
    "ALTER TABLE runs ADD COLUMN whole INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE runs ADD COLUMN complete_at REAL",
    "DROP INDEX runs_succeeded",
    "DROP INDEX runs_finished",
    "CREATE INDEX runs_complete ON runs (dag) WHERE complete_at IS NOT NULL",
    "CREATE INDEX runs_complete_at ON runs (dag, complete_at) WHERE complete_at IS NOT NULL",
    "CREATE INDEX runs_whole ON runs (dag) WHERE whole = 1",
    "CREATE INDEX runs_worked ON runs (dag) WHERE reason IS NOT 'current'",
    """CREATE INDEX runs_made ON runs (dag)
        WHERE whole = 1 AND state = 'success' AND stub = 0 AND reason IS NOT 'current'""",
    """CREATE INDEX runs_finished ON runs (dag, seq, state, seconds)
        WHERE whole = 1 AND stub = 0 AND state <> 'running'""",
    "ALTER TABLE outputs ADD COLUMN task TEXT NOT NULL DEFAULT ''",
    *standing_table.TABLES,
)

_MAKINGS = (
    "ALTER TABLE intents ADD COLUMN params TEXT NOT NULL DEFAULT ''",
    """CREATE TABLE makings (
        dag TEXT NOT NULL,
        task TEXT NOT NULL,
        params TEXT NOT NULL,
        run TEXT NOT NULL DEFAULT '',
        places NOT NULL,
        PRIMARY KEY (dag, task, params, run)
    ) WITHOUT ROWID""",
    """INSERT INTO makings (dag, task, params, places)
        SELECT dag, task, params, fingerprint FROM records""",
)

_REVISION = ("INSERT OR IGNORE INTO counters (name, value) VALUES ('revision', 0)",)
REVISE = "UPDATE counters SET value = value + 1 WHERE name = 'revision'"
REVISION = "SELECT value FROM counters WHERE name = 'revision'"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    _FIRST,
    _RECORDS,
    (*_AUDIT, *_ORDER),
    (*_CANCELLED, *_OWNERS),
    _WHOLE,
    _MAKINGS,
    _REVISION,
)
VERSION = len(MIGRATIONS)
_WITH_AUDIT = 3
_WITH_STANDINGS = 5
_WITH_REVISION = 7


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing at all has been written to this database."""
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def is_current(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the layout is the present one; StoreUnavailable if it is not for us to change."""
    if _pragma(connection, "application_id") == APPLICATION:
        return _is_present(_pragma(connection, "user_version"), path)
    if is_empty(connection) or legacy.is_legacy(connection):
        return False
    raise StoreUnavailable(
        f"{path} is the database of another program",
        "Set metadata_db in pit_config.toml to a path of its own",
    )


def _is_present(version: int, path: Path) -> bool:
    if version > VERSION:
        raise StoreUnavailable(
            f"{path} was written by a newer version of Pit "
            f"(layout {version}; this version knows {VERSION})",
            "Upgrade Pit here too, or use a workspace of its own",
        )
    return version == VERSION


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the layout up to date, within the transaction that the caller has begun."""
    ours = _pragma(connection, "application_id") == APPLICATION
    version = _pragma(connection, "user_version") if ours else 0
    imports = not ours and legacy.is_legacy(connection)
    if imports:
        legacy.set_aside(connection)
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    if imports:
        legacy.import_rows(connection)
    if version < _WITH_AUDIT:
        legacy.import_audit(connection)
    if version < _WITH_STANDINGS <= len(MIGRATIONS):
        standing_table.fill(connection)
    if len(MIGRATIONS) >= _WITH_REVISION:
        connection.execute(REVISE)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
