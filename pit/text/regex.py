"""Regular expressions that are compiled when they are first used.

A module that every command loads has patterns which most commands never ask: compiling them all
was a tenth of what a run takes to begin.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, AnyStr

if TYPE_CHECKING:

    def lazy(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
        """A pattern as from `re.compile`, which is compiled when it is first used."""

else:

    class lazy:
        """A pattern as from `re.compile`, which is compiled when it is first used."""

        def __init__(self, pattern: AnyStr, flags: int = 0) -> None:
            self._given = pattern, flags

        def __getattr__(self, name: str) -> Any:
            found = getattr(re.compile(*self._given), name)
            setattr(self, name, found)  # from now on it is found without coming here
            return found
