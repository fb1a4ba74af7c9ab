"""Who may have which secret: what the file grants, what the task declares, the audit, the masks.

The order is what matters: the verdict is recorded first, a granted secret is masked everywhere in
the run, the audit is on the disk, and only then does the value leave.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pit.errors import NoSecrets, SecretNotFound, SecretRefused, SecretsError, nearest
from pit.events import SecretRequested
from pit.model import Verdict
from pit.work.masking import Masks
from pit.work.socket.call import Caller, Secret
from pit.work.spellings import parts

if TYPE_CHECKING:
    from pit.state.secrets.secrets import Secrets

_MOST_KEYS = 1000
"""How many keys that were not granted the audit lists of an attempt; who asks for more guesses."""

_THE_REST = "…"

_COUNTED_EVERY = 0.1
"""Seconds; of what is asked for again and again, the audit hears the number now and then."""

_Attempt = tuple[str, int]


class _Grant:
    """A secret that an attempt has been given, and how often again since the audit heard of it."""

    def __init__(self, caller: Caller, key: str, value: Secret) -> None:
        self.caller, self.key, self.value = caller, key, value
        self.repeats = 0
        self.due = 0.0


class Access:
    """The secrets of one run as its tasks may have them; any thread."""

    def __init__(
        self,
        secrets: Secrets | None,
        emit: Callable[[SecretRequested], None],
        barrier: Callable[[], None],
        masks: Masks,
    ) -> None:
        self._secrets = secrets
        self._emit, self._barrier = emit, barrier
        self._masks = masks
        self._lock = threading.Lock()
        self._granted: dict[_Attempt, dict[str, _Grant]] = {}
        self._asked: dict[_Attempt, set[str]] = {}

    def secret(self, caller: Caller, key: str) -> Secret:
        """A secret for a task: audited durably and masked before it is returned.

        Raises SecretNotFound, SecretRefused or NoSecrets, each of which is audited as well.
        """
        known = self.granted_before(caller, key)
        if known is not None:
            return known
        secrets = self._known_to(caller, key)
        try:
            self._narrowed(caller, key)
            value = secrets.resolve(caller.dag, key)
        except SecretsError as error:
            self.record(caller, key, _verdict(error))
            if isinstance(error, SecretNotFound) and (near := _meant(caller, key, secrets)):
                error.hint = f'Did you mean "{near}"?'
            raise
        self._grant(caller, key, value)
        with self._lock:
            grants = self._granted.setdefault((caller.task, caller.attempt), {})
            grants.setdefault(key, _Grant(caller, key, value))
        return value

    def granted_before(self, caller: Caller, key: str) -> Secret | None:
        """What this attempt has been given before, counted once more; None if it has not.

        Never waits, and never looks further than at what is at hand.
        """
        grant = self._granted.get((caller.task, caller.attempt), {}).get(key)
        if grant is None:
            return None
        grant.repeats += 1
        if (now := time.monotonic()) >= grant.due:
            grant.due = now + _COUNTED_EVERY
            self._count(grant)
        return grant.value

    def _count(self, grant: _Grant) -> None:
        """Put the repeats since last time into the audit."""
        with self._lock:
            repeats, grant.repeats = grant.repeats, 0
        if repeats:
            self.record(grant.caller, grant.key, Verdict.GRANTED, repeats)

    def connection(self, caller: Caller, key: str) -> str:
        """The database URL that a secret holds or that its fields make; raises as `secret` does."""
        value = self.secret(caller, key)
        assert self._secrets is not None
        url = self._secrets.connection_url(caller.dag, key)
        self._mask_url(value, url)
        return url

    def check_connection(self, caller: Caller, key: str) -> None:
        """See that `connection` would give it, and mask it: Pit may tell of it from now on.

        It is not in the audit as long as nobody has it; what is wrong with it is. Raises as
        `connection` does.
        """
        secrets = self._known_to(caller, key)
        try:
            value, url = secrets.resolve(caller.dag, key), secrets.connection_url(caller.dag, key)
        except SecretsError:
            self.connection(caller, key)  # which has it in the audit, and raises the same
            raise
        self._masks.add(value)
        self._mask_url(value, url)

    def _mask_url(self, value: Secret, url: str) -> None:
        if isinstance(value, dict) and any(parts(value)):
            self._masks.add(url)  # for it holds what is secret

    def record(self, caller: Caller, key: str, verdict: Verdict, count: int = 1) -> None:
        """Put a request into the audit; who asks for a value in place of a name leaves no trace."""
        if verdict is not Verdict.GRANTED:
            key = self._masks.hide(key)
        self._emit(
            SecretRequested(
                run=caller.run,
                at=time.time(),
                dag=caller.dag,
                task=caller.task,
                attempt=caller.attempt,
                key=key if verdict is Verdict.GRANTED else self._listed(caller, key),
                verdict=verdict,
                count=count,
            )
        )

    def forget(self, task: str, attempt: int) -> None:
        """An attempt is over."""
        with self._lock:
            grants = self._granted.pop((task, attempt), {})
            self._asked.pop((task, attempt), None)
        for grant in grants.values():
            self._count(grant)

    # ------------------------------------------------------------------ steps

    def _known_to(self, caller: Caller, key: str) -> Secrets:
        if self._secrets is None:
            self.record(caller, key, Verdict.UNKNOWN)
            raise NoSecrets(key)
        return self._secrets

    def _narrowed(self, caller: Caller, key: str) -> None:
        """What the task's own `secrets = […]` leaves out is refused, whether it exists or not."""
        if caller.secrets is not None and key not in caller.secrets:
            raise SecretRefused(
                key,
                f'task "{caller.task}" may not read secret "{key}": '
                "its secrets = […] does not name it",
                "Add it to the task's secrets in pit.toml",
            )

    def _grant(self, caller: Caller, key: str, value: Secret) -> None:
        self._masks.add(value)
        self.record(caller, key, Verdict.GRANTED)
        self._barrier()

    def _listed(self, caller: Caller, key: str) -> str:
        """The key as the audit lists it: guesses without end must not fill the disk."""
        asked = self._asked.setdefault((caller.task, caller.attempt), set())
        if key in asked:
            return key
        if len(asked) >= _MOST_KEYS:
            return _THE_REST
        asked.add(key)
        return key


def _verdict(error: SecretsError) -> Verdict:
    return Verdict.UNKNOWN if isinstance(error, SecretNotFound) else Verdict.REFUSED


def _meant(caller: Caller, key: str, secrets: Secrets) -> str | None:
    """The name that was meant, among those that the task may have."""
    names = set(secrets.names(caller.dag))
    return nearest(key[:60], names if caller.secrets is None else names & {*caller.secrets})
