"""A call without a socket: an honest stand-in for the one seam between connectors and Pit."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from pit.errors import SecretNotFound
from pit.work.masking import Masks
from pit.work.socket.call import Call, Caller, Facts, Method, Secret
from pit.work.socket.files import resolved


@contextmanager
def logging_everything() -> Iterator[io.StringIO]:
    """What a root logger hears that was told to write all; not caplog, which listens deeper."""
    root, heard = logging.getLogger(), io.StringIO()
    handler, level = logging.StreamHandler(heard), root.level
    root.addHandler(handler)
    root.setLevel(1)
    try:
        yield heard
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class _Notes:
    """The one small fact that a connector tells: which files it has left for others."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files

    def saved(self, caller: Caller, path: Path) -> None:
        """Note a file."""
        self._files.append(path)


class DirectCall(Call):
    """A caller with a real data folder and some secrets; `leave()` ends its attempt."""

    def __init__(self, data: Path, secrets: dict[str, Secret] | None = None) -> None:
        self.data = data
        self.secrets = secrets or {}
        self.lines: list[str] = []
        self.saved: list[Path] = []
        self.gone = threading.Event()
        self._masks = Masks()
        self._stops: list[Callable[[], object]] = []
        self._caller = Caller(run="run", dag="dag", task="task", attempt=1, data=data)

    def ask(self, asked: Method, /, **params: Any) -> Any:
        """Call a method as the socket does: params converted, the result as JSON makes it."""
        record = msgspec.convert(params, asked.params, strict=False)
        result = asked.serve(self, record)
        return msgspec.json.decode(msgspec.json.encode(result))

    def leave(self) -> None:
        """The attempt is over."""
        self.gone.set()
        for stop in list(self._stops):
            stop()

    @property
    def caller(self) -> Caller:
        return self._caller

    @property
    def facts(self) -> Facts:
        return cast(Facts, _Notes(self.saved))

    def secret(self, key: str) -> Secret:
        if key not in self.secrets:
            raise SecretNotFound(key, "dag")
        self._masks.add(self.secrets[key])
        return self.secrets[key]

    def connection(self, key: str) -> str:
        raise SecretNotFound(key, "dag")

    def path(self, name: str, *, exists: bool = False) -> Path:
        return resolved(self.data, name, exists=exists)

    def wait(self, seconds: float) -> bool:
        return not self.gone.wait(seconds)

    @contextmanager
    def ending(self, stop: Callable[[], object]) -> Iterator[None]:
        self._stops.append(stop)
        if self.gone.is_set():
            stop()
        try:
            yield
        finally:
            self._stops.remove(stop)

    def reveals(self, text: str) -> bool:
        return self._masks.reveals(text)

    def conceal(self, text: str) -> None:
        self._masks.add(text)

    def log(self, text: str) -> None:
        self.lines.append(text)
