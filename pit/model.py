"""The words of Pit as data: frozen records and enums, without input or output.

Units everywhere: durations are seconds (float), sizes are bytes (int), times are Unix
seconds (float). A duration is measured on the monotonic clock and kept beside the times,
so that a clock jump never makes a task take minus an hour.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every record: immutable, compared by value, cheap to make."""


# ---------------------------------------------------------------- what pit.toml declares


class Overlap(StrEnum):
    """What happens to a run while another run of the same DAG is alive."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"


class RetryOn(StrEnum):
    """Which failures of a SQL task are worth another attempt."""

    TRANSIENT = "transient"
    ANY = "any"


class TaskType(StrEnum):
    """What a task is, beside a script that is run."""

    SCRIPT = ""
    LOAD = "load"
    SAVE = "save"
    CHECK = "check"


class Severity(StrEnum):
    """What a check that finds something makes of its task."""

    WARN = "warn"
    ERROR = "error"


class LoadMode(StrEnum):
    """What a load does with the rows that a table has."""

    APPEND = "append"
    TRUNCATE_AND_LOAD = "truncate_and_load"
    CREATE_OR_REPLACE = "create_or_replace"
    UPSERT = "upsert"


class MissingColumns(StrEnum):
    """What a file is that lacks a column of the other files of a load."""

    ERROR = "error"
    NULL = "null"


class ColumnRule(Record):
    """What becomes of one column of a file: another name, another type, or nothing (`skip`)."""

    name: str = ""
    type: str = ""
    skip: bool = False


class CsvFormat(Record):
    """How CSV files are written; an empty text for what is found out from the file.

    `max_line_size` is in bytes, 0 for DuckDB's own limit.
    """

    delimiter: str = ""
    header: bool = True
    null: str = ""
    encoding: str = "utf-8"
    max_line_size: int = 0


class Load(Record):
    """Files into a table: all of them, or nothing.

    `source` is a path or pattern, relative to the data folder or else to the project; `schema` is
    for callers that name it apart. `format` is a suffix without its dot, empty for the file's own.
    """

    source: str
    table: str
    schema: str = ""
    mode: LoadMode = LoadMode.APPEND
    key: tuple[str, ...] = ()
    columns: dict[str, ColumnRule] = {}
    format: str = ""
    csv: CsvFormat = CsvFormat()
    max_rejects: int = 0
    missing_columns: MissingColumns = MissingColumns.ERROR


class Save(Record):
    """The rows of a query into a file: `output` is relative to the data folder, or absolute.

    `query` is its text, empty where the task's script has it.
    """

    output: str
    query: str = ""


class ParamType(StrEnum):
    """The type of a run parameter."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    DATE = "date"
    CHOICE = "choice"


class Param(Record):
    """One entry of `[dag.params]`; `default` is None for a required parameter."""

    name: str
    type: ParamType
    default: str | None = None
    choices: tuple[str, ...] = ()
    description: str = ""


class MatrixSource(Record):
    """Where the values of a matrix key come from, if they are not listed.

    `glob`: what the wildcards of a pattern stand for, file by file. `file`: the lines of a file,
    or the cells below `column` of a CSV file.
    """

    glob: str = ""
    file: str = ""
    column: str = ""


class Bounds(Record):
    """A range of numbers as somebody wrote it: `>0`, `10..20`; None is no bound.

    Both ends belong to it unless it is `open`, which ranges with one bound may be. What is left of
    a division by zero, NaN or infinity, lies in none.
    """

    text: str
    least: float | None = None
    most: float | None = None
    open: bool = False

    def holds(self, number: float) -> bool:
        """Whether a number is within it."""
        if number - number != 0:  # NaN or infinity
            return False
        if self.least is not None and (number < self.least or (self.open and number == self.least)):
            return False
        if self.most is None:
            return True
        return number < self.most or (number == self.most and not self.open)


class Expect(Record):
    """What the result of a check must be; without any of it, the query must return no rows.

    `rows` is how many. `value` is what the one value of the one row must be, or lie within;
    `max_null` the share of NULLs, from 0 to 1, that columns may have.
    """

    rows: Bounds | None = None
    value: Bounds | str | int | float | bool | None = None
    max_null: dict[str, float] = {}


class Check(Record):
    """A query whose result is held against what is expected; `query` is empty if a script has it.

    `keep` is where the rows of a check that fails are kept, relative to the data folder.
    """

    keep: str
    query: str = ""
    expect: Expect | None = None
    severity: Severity = Severity.ERROR


class Task(Record):
    """One `[[tasks]]` entry, complete: defaults applied, implied dependencies not yet added.

    An instance of a task with a `matrix` has the `values` that it was made for, and in
    `instance_of` the name of that task; its own `matrix` is empty. `tables` are those of its
    targets that are tables of its connection's database; `max_change` is a share, 0.2 for 20 %.
    """

    name: str
    script: str = ""
    type: TaskType = TaskType.SCRIPT
    runner: str | None = None
    depends_on: tuple[str, ...] = ()
    timeout: float | None = None
    retries: int = 0
    retry_delay: float = 0.0
    retry_backoff: float = 1.0
    retry_max_delay: float | None = None
    retry_on: RetryOn = RetryOn.TRANSIENT
    inputs: tuple[str, ...] | None = None
    targets: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    params: tuple[str, ...] | None = None
    secrets: tuple[str, ...] | None = None
    connection: str | None = None
    query: str = ""
    expect: Expect | None = None
    severity: Severity = Severity.ERROR
    max_change: float | None = None
    fingerprint: str = ""
    load: Load | None = None
    save: Save | None = None
    env: dict[str, str] = {}
    description: str = ""
    always: bool = False
    matrix: tuple[tuple[str, tuple[str, ...] | MatrixSource], ...] = ()
    instance_of: str = ""
    values: dict[str, str] = {}


class Output(Record):
    """One `[[outputs]]` entry: a registry, so unknown keys are kept in `extra`.

    `task` is the one that makes it, empty if pit.toml does not say.
    """

    name: str
    type: str = ""
    location: str = ""
    task: str = ""
    extra: dict[str, Any] = {}


class Dag(Record):
    """One project's pit.toml, valid and complete."""

    name: str
    project: Path
    tasks: tuple[Task, ...]
    outputs: tuple[Output, ...] = ()
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    timezone: str | None = None
    overlap: Overlap = Overlap.ALLOW
    timeout: float | None = None
    concurrency: int = 4
    keep_artifacts: tuple[str, ...] | None = None
    requires: dict[str, float] = {}
    env: dict[str, str] = {}
    params: tuple[Param, ...] = ()
    connection: str | None = None

    def task(self, name: str) -> Task:
        """The task called `name`; KeyError if there is none."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(name)


class Retention(Record):
    """How long runs are kept, per DAG: `days` or among the last `runs`, whichever keeps more."""

    days: float = 30.0
    runs: int = 20
    snapshots: int = 3
    history_days: float = 365.0


class WorkspaceConfig(Record):
    """pit_config.toml with every path absolute and every default applied.

    `secrets_file` and `identity` are those of the command line where it names them; an `identity`
    comes before the environment, `age_identity` after it. `secrets_found` says that the secrets
    file is named nowhere and was found. Without one SQL is only shown, or with `stub` false a run
    fails.
    """

    root: Path
    runs_dir: Path
    metadata_db: Path
    secrets_file: Path | None = None
    secrets_found: bool = False
    secrets_recipients: Path | None = None
    age_identity: Path | None = None
    identity: Path | None = None
    keep_artifacts: tuple[str, ...] = ("logs", "project", "data")
    retention: Retention = Retention()
    stub: bool = True

    @property
    def settings(self) -> Path:
        """pit_config.toml, which need not be there."""
        return self.root / "pit_config.toml"

    @property
    def cache_dir(self) -> Path:
        """`.pit/`: caches and environments, all of which may be deleted."""
        return self.root / ".pit"


class Problem(Record):
    """One thing wrong in one file; `line` and `column` count from 1, 0 when unknown."""

    path: str
    sentence: str
    line: int = 0
    column: int = 0
    source: str = ""
    hint: str = ""


# ---------------------------------------------------------------- how a run goes


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class TaskState(StrEnum):
    """Where a task of a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    UPSTREAM_FAILED = "upstream_failed"


class Reason(StrEnum):
    """Why a task or a run ended in its state; the store and the summary print these words."""

    CURRENT = "current"
    SUCCEEDED_BEFORE = "succeeded_before"
    SUPERSEDED = "superseded"
    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    NOT_FOUND = "not_found"
    SINGLE_TASK = "single_task"
    NO_SECRETS = "no_secrets"
    UPSTREAM_SKIPPED = "upstream_skipped"
    UPSTREAM_FAILED = "upstream_failed"
    MISSING_INPUT = "missing_input"
    MISSING_TARGET = "missing_target"
    TARGET_OCCUPIED = "target_occupied"
    MISSING_CONNECTION = "missing_connection"
    MISSING_SECRET = "missing_secret"
    INPUT_CHANGED = "input_changed"
    SQL_ERROR = "sql_error"
    CHECK_FAILED = "check_failed"
    WARNED = "warned"
    MAX_CHANGE = "max_change"
    DISK_FULL = "disk_full"
    SETUP = "setup"
    REQUIREMENT = "requirement"
    OVERLAP = "overlap"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


class Verdict(StrEnum):
    """What became of a request for a secret."""

    GRANTED = "granted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


# ---------------------------------------------------------------- what makes a task current
# Read by the ten thousand, and never part of a cycle: the garbage collector need not look at them.


class FileMark(Record, gc=False):
    """A file's content in short: its BLAKE3 digest (hex) and its size in bytes."""

    digest: str
    size: int


class Fingerprint(Record, gc=False):
    """All that a tracked task's last success read and made, in parts that can be told apart.

    `sources` maps each file of code to the digest of its text; `definition` each key of pit.toml
    that matters to its value as JSON; `inputs` and `products` each place (relative to the project,
    or absolute) to its content; `upstream` the targets of each task in `depends_on` likewise;
    `successes` the last success of each upstream task without products; `packages` is the text
    digest of uv.lock, for showing what changed. `databases` are those that its `secrets` lead to,
    by key; `handed` is what it hands on beside its targets: `value:<name>`, `data:<path>`.
    `watched` is the digest of what its `fingerprint` query returned.
    """

    version: int
    sources: dict[str, str] = {}
    definition: dict[str, str] = {}
    environment: str = ""
    packages: str = ""
    inputs: dict[str, FileMark] = {}
    upstream: dict[str, dict[str, FileMark]] = {}
    successes: dict[str, str] = {}
    database: str = ""
    databases: dict[str, str] = {}
    watched: str = ""
    products: dict[str, FileMark] = {}
    handed: dict[str, FileMark] = {}


class TaskRecord(Record, gc=False):
    """What the store keeps of a tracked task's last success, per values of its parameters.

    `params` is their canonical text, `run` the run that did the work, `seconds` how long it took.
    `snapshot` is the number of the snapshot that it read, which orders records: the clock does not.
    """

    dag: str
    task: str
    params: str
    run: str
    at: float
    seconds: float
    fingerprint: Fingerprint
    note: str = ""
    snapshot: int = 0
