"""Trying a connection: what answers, by way of what, and how fast; or what is wrong."""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec

from pit.sql import protocol
from pit.sql.changes import asked
from pit.sql.driver import Busy, Driver, Failure, SqlFailure
from pit.sql.script import Execution, Report

_TIMES = 3


class Probing(Execution):
    """One connection being tried; nothing is made, and nobody is waited for."""

    def __init__(self, driver: Driver, order: protocol.Probe) -> None:
        super().__init__(driver, order.database, "", "", {}, lambda text: None)
        self._found: protocol.Reached | None = None

    def run(self) -> Report:
        """Try it; `answer` is a Reached where there is no failure."""
        report = super().run()
        if report.failure is not None:
            return report
        return Report(answer=msgspec.to_builtins(self._found))

    def _whole(self) -> None:
        database = self._database
        begun = time.monotonic()
        try:
            path = database.path
            if path and not database.in_memory and not os.path.exists(path):
                folder = os.path.dirname(path)
                remark = "there is no such file yet; the first task that writes makes it"
                if os.path.isdir(folder) and not os.access(folder, os.W_OK):
                    remark = f"there is no such file, and {folder} cannot be written"
                self._found = protocol.Reached(
                    driver=library(database.kind), server="", remark=remark
                )
                return
            session = self._session = self._driver.connect(database, (), lambda text: None)
        except Busy as busy:
            in_use = protocol.Reached(driver=library(database.kind), server="", remark=str(busy))
            self._found = in_use
            return
        opening = time.monotonic() - begun
        try:
            native = session.native
            self._found = protocol.Reached(
                driver=driver_of(native, database.kind),
                server=server_of(native, database.kind),
                opening=opening,
                seconds=min(_timed(native) for _ in range(_TIMES)),
            )
        finally:
            self._session = None
            session.close()


def _timed(native: Any) -> float:
    begun = time.monotonic()
    if asked(native, "SELECT 1") is None:
        raise SqlFailure(Failure(message="the connection opens, but SELECT 1 fails"))
    return time.monotonic() - begun


def library(kind: str) -> str:
    """The library that speaks with a kind of database, and its version."""
    match kind:
        case "duckdb":
            import duckdb

            return f"duckdb {duckdb.__version__}"
        case "sqlite":
            import sqlite3

            return f"sqlite3 of Python, SQLite {sqlite3.sqlite_version}"
        case "postgres":
            import psycopg

            return f"psycopg {psycopg.__version__}"
    import pyodbc

    return f"pyodbc {pyodbc.version}"


def driver_of(native: Any, kind: str) -> str:
    """The library, and with ODBC the driver that it has loaded."""
    if kind not in ("sqlserver", "odbc"):
        return library(kind)
    import pyodbc

    name = _info(native, pyodbc.SQL_DRIVER_NAME)
    return f"{library(kind)}, {name} {_info(native, pyodbc.SQL_DRIVER_VER)}".rstrip()


def server_of(native: Any, kind: str) -> str:
    """What the server says that it is."""
    match kind:
        case "duckdb":
            return f"DuckDB {_first(native, 'SELECT version()')}"
        case "sqlite":
            return f"SQLite {_first(native, 'SELECT sqlite_version()')}"
        case "postgres":
            return f"Postgres {_first(native, 'SHOW server_version')}"
    import pyodbc

    name = _info(native, pyodbc.SQL_DBMS_NAME)
    return f"{name} {_info(native, pyodbc.SQL_DBMS_VER)}".strip()


def _first(native: Any, query: str) -> str:
    rows = asked(native, query)
    return str(rows[0][0]) if rows else ""


def _info(native: Any, number: int) -> str:
    import pyodbc

    try:
        return str(native.getinfo(number))
    except pyodbc.Error:
        return ""
