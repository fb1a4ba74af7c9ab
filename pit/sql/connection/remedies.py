"""What to do about a connection that cannot be made, by what its driver says."""

from __future__ import annotations

import re

_REMEDIES = (
    (r"28P01|28000|password authentication|login failed|authentication failed", "wrong user or "
     "password: correct it with pit secrets edit"),
    (r"3D000|database .* does not exist|cannot open database", "create the database, or correct "
     "its name in the secret"),
    (r"connection refused", "nothing listens there: is the server up, and host and port right?"),
    (r"could not translate host|name or service not known|name resolution|getaddrinfo|"
     r"unknown host", "no such host: correct it in the secret, or check DNS and VPN"),
    (r"timed? ?out|time-?out", "no answer: a firewall, a VPN that is down, or a wrong host"),
    (r"certificate|ssl|tls", "the encryption settings do not match: check sslmode or encrypt in "
     "the secret"),
    (r"no room|too many (clients|connections)", "the server has no connections left"),
    (r"not a (valid )?(duckdb )?database|file is not a database", "the file is not of this kind of "
     "database: correct the path in the secret"),
    (r"permission denied|access denied", "this user lacks a permission: see what it was granted"),
    (r"can't open lib|data source name not found", "that ODBC driver is not installed: correct its "
     "name, or see odbcinst -q -d for those that are"),
    (r"options? .*not recognized|invalid connection option", "no such option: correct what stands "
     "behind the ? of the URL, or the secret's field"),
)  # fmt: skip


def remedy(kind: str, message: str) -> str:
    """The next step for an error of this kind and message, in a few words; empty if unknown."""
    told = f"{kind} {message}"
    return next((hint for words, hint in _REMEDIES if re.search(words, told, re.IGNORECASE)), "")
