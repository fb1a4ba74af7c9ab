"""What is sent to whoever performs an attempt, and what comes back: an order, an outcome.

An order may lie in a queue between two machines, so it has no secret and no path of the machine
that wrote it: connections and runners by name, files by their places in the project, in the data
folder or in `{workspace}/`. Whoever performs it knows where these are: `pit.work.site`.
"""

from __future__ import annotations

from msgspec import field

from pit.model import Check, Load, Reason, Record, Save


class Templated(Record):
    """What a template of SQL has in scope beside the run, the task and its variables.

    `params` have the types that pit.toml declares; those named in `dates` are dates, as text.
    """

    params: dict[str, str | int | float | bool] = field(default_factory=dict)
    dates: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    run: dict[str, str | int] = field(default_factory=dict)


class Order(Record):
    """All that a worker must be told to perform one attempt: small, picklable, nothing open.

    `runner` is named as in pit.toml; `script` is a place in the project, empty where `work` says it
    all. `env` are the variables of its own, `log` is the name of its log file, which is appended
    to. `work` is what a SQL task does beyond sending its script, `template` is set where that has
    to be rendered; `tables` are those that it promises to write, `max_change` the share by which
    their numbers of rows may change; `retry_any` says that every failure of its SQL is worth
    another attempt, not the transient ones alone. `connection` is the name of the one that it uses,
    if any; `secrets` are the only ones that it may read, None for all that its DAG may. `targets`
    are prepared before the attempt and must exist after it.
    """

    run: str
    dag: str
    task: str
    attempt: int
    attempts: int
    marker: str
    log: str
    runner: str
    script: str = ""
    env: dict[str, str] = field(default_factory=dict)
    work: Load | Save | Check | None = None
    template: Templated | None = None
    tables: tuple[str, ...] = ()
    max_change: float | None = None
    connection: str = ""
    retry_any: bool = False
    targets: tuple[str, ...] = ()
    secrets: tuple[str, ...] | None = None
    timeout: float | None = None
    grace: float = 10.0


class Outcome(Record):
    """How one attempt ended; `reason` is None exactly when it succeeded.

    `lost`: it died with something it shared (a SQL process), through no fault of its own.
    `warning` is what a success found that somebody should know.
    """

    started_at: float
    ended_at: float
    seconds: float
    reason: Reason | None = None
    error: str = ""
    exit_code: int | None = None
    signal: int | None = None
    retryable: bool = True
    lost: bool = False
    warning: str = ""
    cpu_seconds: float | None = None
    peak_memory: int | None = None
