"""Every failure that a user can meet: facts as fields, one sentence, an exit code, a hint.

PitError
├── UsageError                2
│   ├── UnknownDag · UnknownTask · UnknownRun · BadParameter · BadArgument
├── ConfigError               10–19
│   ├── NoProjects · ProjectsUnreadable  10
│   ├── InvalidConfig         11  (carries every Problem)
│   └── ProjectExists         12
├── SetupError                20–29
│   ├── Overlapping           20  (also a nested run of its own DAG)
│   ├── RequirementNotMet     21
│   ├── EnvironmentFailed     22
│   ├── SnapshotFailed        23
│   ├── StoreUnavailable      24
│   └── DiskFull              25
├── SecretsError              30–39
│   ├── SecretsUnreadable     30
│   │   └── SecretsAbsent     30  (the file that is named is not there)
│   ├── SecretsInvalid        31
│   ├── SecretNotFound        32
│   ├── InvalidConnection     33
│   ├── SecretRefused         34
│   ├── NoSecrets · StubRefused  35
│   ├── CannotDecrypt         36  (no key, the wrong one, or a damaged file)
│   ├── CannotEncrypt         37  (no recipients, or nobody here could read it again)
│   └── SecretsNotWritten     38
├── SdkError                  1   (what a task is told over its socket)
│   ├── Refused · ConnectorFailed · MissingExtra
├── QueryFailed               1   (what `pit sql` sent)
└── RunNotSuccessful          1, 124 (timed out), 130 (Ctrl-C), 143 (SIGTERM)

Only `cli/main.py` ends a command with a PitError, as output and an exit code. Elsewhere one is
caught where the work can go on without what failed, or where it is the failure of one task, one
project or one request of many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pit.model import Problem


class on_error:
    """A block that is undone if it ends with an error, an interrupt among them, which goes on."""

    def __init__(self, undo: Callable[[], object]) -> None:
        self._undo = undo

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._undo()


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The name in `known` that a person most likely meant by `word`, or None."""
    import difflib  # only for those who mistype

    choices = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    return choices[found[0]] if found else None


class PitError(Exception):
    """Base of all: `str(error)` is one sentence, `hint` the next step or empty."""

    exit_code = 1

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.hint = hint


class UsageError(PitError):
    """The command line asks for something that is not there."""

    exit_code = 2


def _unknown(kind: str, name: str, known: Sequence[str], where: str = "") -> tuple[str, str]:
    near = nearest(name, known)
    sentence = f'{kind} "{name}" not found{where}'
    if near:
        return sentence, f'Did you mean "{near}"?'
    return sentence, f"Available: {', '.join(sorted(known))}" if known else ""


class UnknownDag(UsageError):
    """No project of the workspace declares this DAG."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(*_unknown("DAG", name, known))
        dag, colon, task = name.partition(":")
        if colon and dag in known:
            self.hint = f'Did you mean "{dag}/{task}"?'
        self.name, self.known = name, tuple(known)


class UnknownTask(UsageError):
    """The DAG has no such task."""

    def __init__(self, dag: str, name: str, known: Sequence[str]) -> None:
        super().__init__(*_unknown("task", name, known, f' in DAG "{dag}"'))
        self.dag, self.name = dag, name


class UnknownRun(UsageError):
    """The store has no such run."""

    def __init__(self, run: str, dag: str = "") -> None:
        where = f' of DAG "{dag}"' if dag else ""
        super().__init__(f'run "{run}"{where} not found', "List the runs with: pit runs")
        self.run = run


class BadParameter(UsageError):
    """A `-p name=value` that the DAG does not take, lacks, or cannot read."""


class BadArgument(UsageError):
    """An option or argument whose value makes no sense."""


class ConfigError(PitError):
    """What the files of the workspace say cannot be used."""

    exit_code = 11


class NoProjects(ConfigError):
    """The workspace holds no `projects/*/pit.toml`, or is none; `around` is one that it lies in, if
    any. `misplaced` is a sentence about a pit.toml that lies where none is looked for, and what to
    type."""

    exit_code = 10

    def __init__(
        self, root: Path, around: Path | None = None, misplaced: tuple[str, str] | None = None
    ) -> None:
        sentence = f"no projects found in {root / 'projects'}"
        begun = (root / "projects").exists() or (root / "pit_config.toml").exists()
        if not begun and around is None:
            sentence = f"no workspace here or above: {root} has no projects"
        hint = "Make one with: pit init my_project   (or point at a workspace with --project-dir)"
        if around is not None:
            hint = f"This is inside the workspace {around}: go there, or give --project-dir"
        elif misplaced is not None:
            sentence, hint = misplaced
        super().__init__(sentence, hint)
        self.root, self.around = root, around


class ProjectsUnreadable(ConfigError):
    """`projects/` is there, but is no folder or may not be read."""

    exit_code = 10

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} cannot be read: {why}", "It is the folder of all projects")
        self.path = path


class InvalidConfig(ConfigError):
    """One or more files have problems; each names its line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} found")
        self.problems = tuple(problems)


class ProjectExists(ConfigError):
    """`pit new` or `pit init` would overwrite something."""

    exit_code = 12

    def __init__(self, path: Path, hint: str) -> None:
        super().__init__(f"{path} already exists", hint)
        self.path = path


class SetupError(PitError):
    """The run could not be set up; nothing of it was executed."""

    exit_code = 22


class Overlapping(SetupError):
    """Another run of this DAG is alive and its overlap rule forbids a second one."""

    exit_code = 20


class RequirementNotMet(SetupError):
    """A DAG named in `[dag.requires]` has no success that is young enough."""

    exit_code = 21


class EnvironmentFailed(SetupError):
    """The project's Python environment could not be locked or built."""

    exit_code = 22


class SnapshotFailed(SetupError):
    """The project could not be copied into the run's folder."""

    exit_code = 23


class StoreUnavailable(SetupError):
    """The metadata database cannot be opened, read or written."""

    exit_code = 24


class DiskFull(SetupError):
    """The file system has no room left (or a quota is used up)."""

    exit_code = 25


class SecretsError(PitError):
    """Something about secrets; never contains a value."""

    exit_code = 30


class SecretsUnreadable(SecretsError):
    """The secrets file is missing or may not be read."""

    exit_code = 30


class SecretsAbsent(SecretsUnreadable):
    """The secrets file that is named is not there, or is no file."""


class SecretsInvalid(SecretsError):
    """The secrets file is not TOML of strings and tables of strings."""

    exit_code = 31


_LIST = "See what is there: pit secrets list"


class SecretNotFound(SecretsError):
    """Neither the DAG's table nor [global] holds the key."""

    exit_code = 32

    def __init__(self, key: str, dag: str, field: str = "") -> None:
        if field:
            sentence, hint = f'secret "{key}" has no field "{field}"', _LIST
        elif dag == "global":
            sentence, hint = f'secret "{key}" not found in [global]', _LIST
        else:
            sentence = f'secret "{key}" not found for DAG "{dag}"'
            hint = f'Add it to the secrets file under ["{dag}"] or [global]'
        super().__init__(sentence, hint)
        self.key, self.dag, self.field = key, dag, field


class InvalidConnection(SecretsError):
    """A connection's URL names no database that Pit can use; never contains the URL."""

    exit_code = 33


class SecretRefused(SecretsError):
    """The secret exists, and this DAG or task may not have it."""

    exit_code = 34

    def __init__(self, key: str, sentence: str, hint: str = "") -> None:
        super().__init__(sentence, hint)
        self.key = key


class NoSecrets(SecretsError):
    """A secret was asked for in a run that was given no secrets file."""

    exit_code = 35

    def __init__(self, key: str) -> None:
        super().__init__(
            f'secret "{key}" is not available: there is no secrets file',
            "Give one with --secrets FILE, or put secrets.toml into the workspace",
        )
        self.key = key


class StubRefused(SecretsError):
    """SQL would not be executed for want of a secrets file, and `stub = false` forbids that."""

    exit_code = 35

    def __init__(self, tasks: Sequence[str]) -> None:
        more = f" and {len(tasks) - 1} more" if len(tasks) > 1 else ""
        super().__init__(
            f"there is no secrets file, so the SQL of {tasks[0]}{more} cannot be executed",
            "Create one with: pit secrets set global NAME   (or name one: --secrets, secrets_dir "
            "in pit_config.toml). stub = false makes such a run fail, stub = true shows its SQL",
        )


class CannotDecrypt(SecretsError):
    """An encrypted secrets file, and no identity or passphrase that opens it."""

    exit_code = 36


class CannotEncrypt(SecretsError):
    """The recipients are missing or wrong, or do not include the one who encrypts."""

    exit_code = 37


class SecretsNotWritten(SecretsError):
    """A file of secrets or keys was not changed; it is as it was."""

    exit_code = 38


class RunNotSuccessful(PitError):
    """The run was carried out and did not succeed; the summary has said why already."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class QueryFailed(PitError):
    """What a person sent to a database was refused there, or came to no end."""


class SdkError(PitError):
    """A request of a task over its socket that came to nothing; the text is what the task reads."""


class Refused(SdkError):
    """What was asked for cannot be granted: an unknown method, bad params, a path outside."""


class ConnectorFailed(SdkError):
    """The other side of a connector did not do what was asked; `retryable` if it yet might."""

    def __init__(self, sentence: str, hint: str = "", *, retryable: bool = False) -> None:
        super().__init__(sentence, hint)
        self.retryable = retryable


class MissingExtra(SdkError):
    """A library that Pit needs for this is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs a library that is not installed",
            f"pip install 'pit-orchestrator[{extra}]'",
        )
        self.extra = extra


def first_sentence(error: PitError | OSError) -> str:
    """What a failure says first, where one line of a list is all the room that it has."""
    if isinstance(error, InvalidConfig):
        return error.problems[0].sentence
    return str(error).partition("\n")[0]
