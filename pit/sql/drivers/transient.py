"""Which errors are worth trying again: by SQLSTATE, by a product's own numbers, by what is said.

Transient is what another attempt may well not meet: a deadlock, a serialisation failure, a lost
connection, a lock time-out, throttling, a server that starts or stops or has no room. Everything
else comes again however often the script is sent, and is not tried again unless the task asks.
"""

from __future__ import annotations

import re

_CLASSES = ("08", "40", "53")
"""Connection exceptions, transaction rollbacks, insufficient resources."""
_NEVER = frozenset(
    (
        "08P01",  # protocol violation
        "53100",  # disk full
        "40002",  # transaction rollback by an integrity constraint
    )
)
_STATES = frozenset(
    (
        "55P03",  # lock not available
        "55006",  # object in use
        "57P01",  # the administrator shuts down
        "57P02",  # another server process crashed
        "57P03",  # starting up, or shutting down
        "57P05",  # idle session time-out
        "58000",  # system error
        "58030",  # I/O error
        "72000",  # snapshot too old
        "25P03",  # idle in transaction time-out
        "HYT00",  # ODBC: time-out
        "HYT01",  # ODBC: connection time-out
    )
)


def by_sqlstate(state: str, message: str = "") -> bool:
    """Whether an error with this SQLSTATE is transient."""
    if state in _STATES or (state[:2] in _CLASSES and state not in _NEVER):
        return True
    return state in _RACES and _RACE.search(message) is not None


_RACES = ("23505", "XX000")
_RACE = re.compile(r"\bpg_(class|type|namespace)_\w+_index\b|tuple concurrently (updated|deleted)")
"""What Postgres says where two transactions make or change one table, type or schema."""


_SQLSERVER = frozenset(
    (
        # deadlock, lock time-out, out of locks, snapshot and in-memory conflicts
        *(1205, 1222, 1204, 3960, 3961, 41301, 41302, 41305, 41325, 41839),
        # no memory now, no workers now
        *(701, 802, 8628, 8645, 8651, 10060, 17189),
        # throttling and moves in the cloud
        *(10928, 10929, 10936, 40143, 40166, 40197, 40501, 40540, 40544, 40549, 40550, 40551),
        *(40552, 40553, 40613, 40615, 42108, 42109, 49918, 49919, 49920, 4221),
        # shutting down, starting up, paused, being recovered or moved
        *(6005, 17142, 18401, 18451, 921, 922, 927, 945, 983, 978),
        # the connection broke
        *(64, 121, 232, 233, 10053, 10054, 10061, 11001, 596),
    )
)


def by_sqlserver(number: int) -> bool:
    """Whether an error with this number of SQL Server's is transient."""
    return number in _SQLSERVER


_ROLLED_BACK = frozenset(("40001", "40P01", "1205", "3960", "3961"))
"""Serialisation failures and deadlocks."""
THERE_NOW = frozenset(("42P06", "42P07", "2714", "2759"))
"""A schema or table is there that was looked for and not found."""


def collides(kind: str, message: str) -> bool:
    """Whether what failed has met another transaction, is undone for certain, and may do now.

    It holds for work that makes what it does not find.
    """
    if kind in _ROLLED_BACK or kind in THERE_NOW:
        return True
    if kind == "TransactionContext Error":
        return "onflict" in message
    return kind in _RACES and by_sqlstate(kind, message)


_UNREACHED = re.compile(
    r"connection refused|connection reset|connection timed out|timeout expired|timed out"
    r"|could not translate host name|temporary failure in name resolution"
    r"|server closed the connection|terminating connection|is starting up|is shutting down"
    r"|in recovery mode|too many clients|too many connections|remaining connection slots"
    r"|no route to host|network is unreachable|broken pipe|connection has been closed"
    r"|ssl syscall error|eof detected|no such file or directory\s+is the server running"
    r"|unexpected eof|unable to connect: adaptive server|login timeout",
    re.IGNORECASE,
)


def by_words(message: str) -> bool:
    """Whether an error without a code, as of a failed connection, is transient."""
    return _UNREACHED.search(message) is not None


LOST = re.compile(
    r"server closed the connection|connection reset|broken pipe|terminating connection"
    r"|communication link failure|connection not open|eof detected|connection is (closed|dead)"
    r"|connection has been closed|no connection to the server|could not receive data"
    r"|(read from|write to) the server failed|unexpected eof|dbprocess is dead",
    re.IGNORECASE,
)
UNKNOWN_END = "the connection was lost; whether the database has done the statement is not known"
"""What must be said when a statement was under way, since it may have been committed."""


def leaves_open(sqlstate: str, message: str) -> bool:
    """Whether a COMMIT that failed so may have been carried out: its answer was lost."""
    return sqlstate.startswith(("08", "57P")) or LOST.search(message) is not None
