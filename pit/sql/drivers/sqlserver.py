"""The SQL Server driver: pyodbc with the best ODBC driver that is to be had.

GO separates the batches of a script. Each batch is sent as it is, and each statement in it commits
by itself unless the script says BEGIN TRANSACTION, as with sqlcmd.
"""

from __future__ import annotations

import datetime
import importlib.util
import platform
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pit.model import Record
from pit.sql.connection import odbc_string
from pit.sql.connection.urls import Database
from pit.sql.driver import Statement, Tell, Unavailable
from pit.sql.drivers import odbc
from pit.sql.drivers.odbc_errors import OdbcSource
from pit.sql.drivers.pool import Pool

if TYPE_CHECKING:
    import pyodbc

_RESET_CONNECTION = 1246
"""SQL_COPT_SS_RESET_CONNECTION: Microsoft's driver resets the session with the next batch."""
_DATETIMEOFFSET = -155
_MICROSOFT = re.compile(r"ODBC Driver (\d+)(?:\.\d+)? for SQL Server\Z")
_INSTALL = (
    "SQL Server needs an ODBC driver: install Microsoft's (msodbcsql18), "
    "or pip install 'pit-orchestrator[sqlserver]', or apt-get install tdsodbc (FreeTDS)"
)


class Choice(Record, frozen=True):
    """An ODBC driver: what to write behind Driver=, its name for people, whether Microsoft's."""

    driver: str
    name: str
    microsoft: bool


def choose(database: Database, installed: Sequence[str], carried: Path | None) -> Choice:
    """The best driver: the one asked for, Microsoft's newest, one that a package carries, FreeTDS.

    Raises Unavailable.
    """
    asked = database.options.get("odbc_driver") or database.options.get("driver")
    if asked:
        microsoft = bool(_MICROSOFT.match(asked)) or "msodbcsql" in asked
        return Choice(driver=asked, name=asked, microsoft=microsoft)
    ours = [(int(match[1]), match[0]) for name in installed if (match := _MICROSOFT.match(name))]
    if ours:
        return Choice(driver=max(ours)[1], name=max(ours)[1], microsoft=True)
    if carried is not None:
        name = f"Microsoft's driver in mssql-python, {carried.name}"
        return Choice(driver=str(carried), name=name, microsoft=True)
    if "FreeTDS" in installed:
        return Choice(driver="FreeTDS", name="FreeTDS", microsoft=False)
    raise Unavailable(_INSTALL)


def carried_driver() -> Path | None:
    """Microsoft's driver as the package mssql-python carries it, for this system."""
    spec = importlib.util.find_spec("mssql_python_odbc") or importlib.util.find_spec("mssql_python")
    if spec is None or spec.origin is None:
        return None
    libraries = Path(spec.origin).parent / "libs"
    system = _family() if platform.system() == "Linux" else ""
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    place = libraries / "linux" / system if system else libraries / "macos"
    found = sorted((place / machine).glob("lib/libmsodbcsql*"))
    return found[-1] if found else None


def _family() -> str:
    """The family of Linux that this is, as the package's folders are called."""
    try:
        known = platform.freedesktop_os_release()
    except OSError:
        known = {}
    like = f"{known.get('ID', '')} {known.get('ID_LIKE', '')}"
    for words, family in (
        (("alpine",), "alpine"),
        (("suse", "sles"), "suse"),
        (("rhel", "fedora", "centos"), "rhel"),
    ):
        if any(word in like for word in words):
            return family
    return "debian_ubuntu"


_YES = frozenset(("true", "yes", "1", "mandatory"))
_NAMES = {
    "encrypt": "Encrypt",
    "trustservercertificate": "TrustServerCertificate",
    "trusted_connection": "Trusted_Connection",
    "integrated security": "Trusted_Connection",
    "app name": "APP",
    "app": "APP",
    "applicationname": "APP",
    "hostnameincertificate": "HostNameInCertificate",
    "applicationintent": "ApplicationIntent",
    "authentication": "Authentication",
    "multisubnetfailover": "MultiSubnetFailover",
}
_SWITCHES = ("Encrypt", "TrustServerCertificate", "Trusted_Connection", "MultiSubnetFailover")
_TIMEOUTS = ("connect_timeout", "connection timeout", "dial timeout")
_NOT_OURS = frozenset((*_TIMEOUTS, "driver", "odbc_driver", "log", "keepalive"))
"""Options of other drivers, as a URL that was written for them may have."""


def connection_text(database: Database, choice: Choice) -> str:
    """The ODBC connection string; it holds the password."""
    keywords = {"Driver": choice.driver, **_place(database, choice)}
    if database.database:
        keywords["Database"] = database.database
    if database.user:
        keywords |= {"UID": database.user, "PWD": database.password}
    keywords |= _options(database.options, choice)
    if not database.user and "Authentication" not in keywords:
        keywords.setdefault("Trusted_Connection", "yes")
    return odbc_string.join(keywords)


def _place(database: Database, choice: Choice) -> dict[str, str]:
    if choice.microsoft:
        port = f",{database.port}" if database.port else ""
        return {"Server": f"{database.host}{port}", "APP": "pit"}
    place = {"Server": database.host, "TDS_Version": "7.4", "ClientCharset": "UTF-8", "APP": "pit"}
    if "\\" in database.host:
        return place
    return place | {"Port": database.port or "1433"}


def _options(options: Mapping[str, str], choice: Choice) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in options.items():
        if name in _NOT_OURS:
            continue
        keyword = _NAMES.get(name, name)
        if keyword in _SWITCHES:
            value = _switch(value)
        if choice.microsoft or keyword not in ("Encrypt", "TrustServerCertificate"):
            found[keyword] = value
        elif keyword == "Encrypt":
            found["Encryption"] = "require" if value == "yes" else "request"
    return found


def _switch(value: str) -> str:
    low = value.lower()
    if low in _YES or low == "sspi":
        return "yes"
    return low if low == "strict" else "no"


class SQLServer:
    """The driver: keeps connections between scripts where it can reset them."""

    def __init__(self) -> None:
        self._pool: Pool[pyodbc.Connection] = Pool(_close)

    def parse(self, text: str, database: Database) -> list[Statement]:
        """The batches of a script."""
        return odbc.batched(text)

    def connect(
        self, database: Database, script: Sequence[Statement], tell: Tell
    ) -> odbc.OdbcSession:
        """A session on a connection that is as good as new."""
        choice = choose(database, odbc.library().drivers(), carried_driver())
        source = OdbcSource(driver=choice.name, place=database.display)
        connection = self._pool.take(database.key)
        if connection is None or not _lives(connection):
            text = connection_text(database, choice)
            connection = odbc.open_connection(text, source, database.hide, _timeout(database))
            connection.add_output_converter(_DATETIMEOFFSET, datetimeoffset)

        def release(clean: bool) -> None:
            if clean and choice.microsoft and _reset(connection):
                self._pool.give(database.key, connection)
            else:
                _close(connection)

        return odbc.session(connection, source, script, tell, release)


def _timeout(database: Database) -> int:
    """Seconds to wait for the server; Microsoft's driver knocks until they are over."""
    given = [database.options.get(name, "") for name in _TIMEOUTS]
    return next((int(text) for text in given if text.isdecimal()), odbc.CONNECT)


def _close(connection: pyodbc.Connection) -> None:
    import pyodbc

    try:
        connection.close()
    except pyodbc.Error:
        return  # it was broken already


def _lives(connection: pyodbc.Connection) -> bool:
    import pyodbc

    try:
        connection.execute("SELECT 1").close()
    except pyodbc.Error:
        return False
    return True


def _reset(connection: pyodbc.Connection) -> bool:
    """Have the server forget settings, temporary tables and locks, at once."""
    import pyodbc

    try:
        connection.set_attr(_RESET_CONNECTION, 1)
        connection.execute("SELECT 1").close()
    except pyodbc.Error:
        return False
    return True


def datetimeoffset(data: bytes) -> str:
    """SQL Server's datetimeoffset, which ODBC hands over as a struct; years to 9999."""
    year, month, day, hour, minute, second, nanos, hours, minutes = struct.unpack("<6hI2h", data)
    sign = "-" if hours < 0 or minutes < 0 else "+"
    moment = datetime.datetime(year, month, day, hour, minute, second)
    return f"{moment}.{nanos // 100:07d} {sign}{abs(hours):02d}:{abs(minutes):02d}"
