"""The seam between the socket and the methods behind it: who asks, and what a method may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from pit.model import Load, Record, Save

Secret = str | dict[str, str]


class Caller(Record):
    """The attempt on whose socket a request came, so the address itself says who asks.

    `data` is the run's data folder; `secrets` is the task's `secrets = […]`, None without one.
    """

    run: str
    dag: str
    task: str
    attempt: int
    data: Path
    secrets: tuple[str, ...] | None = None


class Facts(Protocol):
    """The small facts of one run: what its tasks tell each other, and whoever watches."""

    def set_value(self, caller: Caller, name: str, value: str) -> None:
        """Keep a JSON text under a name of the caller's task; the last one stands."""

    def value(self, caller: Caller, name: str, task: str) -> str | None:
        """The JSON text that a task has set, "" for any that the caller's depends on; or None.

        Raises Refused where several of these have set it, or no task is called so.
        """

    def saved(self, caller: Caller, path: Path) -> None:
        """Note that the caller has written a file of the data folder, a path, for others."""

    def progress(self, caller: Caller, done: float, total: float | None, message: str) -> None:
        """Tell how far the caller is; may be called ever so often, the last one is told."""

    def logged(self, caller: Caller, level: str, message: str, fields: dict[str, Any]) -> None:
        """Tell an event of the caller's."""

    def settle(self, task: str) -> None:
        """Tell what is still held back of a task, before its attempt ends."""


class Call(Protocol):
    """One request while it is served; nothing of it may be used once the method has returned."""

    @property
    def caller(self) -> Caller:
        """Who asks."""

    @property
    def facts(self) -> Facts:
        """The small facts of the run."""

    def secret(self, key: str) -> Secret:
        """A secret that the caller may have; the request is in the audit before this returns.

        Raises SecretNotFound, SecretRefused, or NoSecrets where the run has no secrets file.
        """

    def connection(self, key: str) -> str:
        """The database URL that a secret holds or that its fields make; raises as `secret` does."""

    def path(self, name: str, *, exists: bool = False) -> Path:
        """The file called `name` in the run's data folder, symbolic links resolved.

        Raises Refused for what lies outside, for what is no regular file or folder, and where
        `exists` asks for a file that is absent. The file's parent folders exist afterwards.
        """

    def move(self, work: Load | Save, url: str) -> int:
        """Move rows between a file and the database with this URL; how many.

        Raises ConnectorFailed with what the database said; ends when the attempt does.
        """

    def wait(self, seconds: float) -> bool:
        """Sleep; False at once when the attempt is over, or the caller has hung up."""

    def ending(self, stop: Callable[[], object]) -> AbstractContextManager[None]:
        """While the block lasts, `stop` is called, by another thread, when `wait` would say False.

        For what blocks without `wait`: let it close the connection that the block waits for.
        """

    def reveals(self, text: str) -> bool:
        """Whether a text contains a secret that this run has handed out, in any known form."""

    def conceal(self, text: str) -> None:
        """Mask a text, in all that this run writes, as if it were a secret of the file."""

    def log(self, text: str) -> None:
        """Write a line of Pit's own to the task's log."""


class Method(Record):
    """One thing that can be asked for: its params as a Record, and the function that serves it.

    `serve` is called with the call and the params in a thread of the run; it returns the result,
    text as it is, anything else as JSON. It raises PitError for what the caller should read. One
    that is `quick` never waits for anything and is served without a change of threads.
    """

    params: type[Record]
    serve: Callable[[Call, Any], Any]
    doc: str = ""
    quick: bool = False


Methods = Mapping[str, Method]
