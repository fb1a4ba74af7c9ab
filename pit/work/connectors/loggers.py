"""The loggers of libraries: they tell URLs, names and what was sent, to whoever listens to all."""

from __future__ import annotations

import logging


def silence(*names: str) -> None:
    """Nothing of these loggers, and of those below them, goes on to handlers that are not theirs.

    A handler that hears everything (`logging.basicConfig`, at any level) would get secrets that
    travel in a URL: a query parameter, the path of a webhook.
    """
    for name in names:
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            # Without one, Python itself would write warnings to standard error.
            logger.addHandler(logging.NullHandler())
