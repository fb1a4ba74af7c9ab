"""A Postgres of the suite's own: a throw-away cluster on loopback, from the system's package.

All processes of one run of the suite share it: whoever asks first has it started by a keeper, a
process of its own (this module as a program), which ends it when the suite has ended, however.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.servers import ports

ROOT = Path(__file__).parents[2]
_WORK = f"work_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
USER, PASSWORD = "pit", "s3cret;p@ss/{word}'"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "max_connections": "80",
    "shared_buffers": "16MB",
    "deadlock_timeout": "100ms",
}


def binaries() -> Path | None:
    """The folder of initdb and postgres, the newest if there are several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _version(path: Path) -> int:
    name = path.parts[-3]
    return int(name) if name.isdecimal() else 0


WANTED = "needs Postgres: apt-get install postgresql"


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    host: str = "127.0.0.1"
    user: str = USER
    password: str = PASSWORD

    def url(self, database: str = "postgres", options: str = "") -> str:
        login = f"{self.user}:{quote(self.password, safe='')}"
        return f"postgres://{login}@{self.host}:{self.port}/{database}{options}"

    def fresh(self) -> str:
        """The name of a database that is empty, and whose last users are gone.

        Always the same one in each process of the suite: a new one for each test would be a
        thousand files each time.
        """
        others = f"FROM pg_stat_activity WHERE datname = '{_WORK}'"
        self.ask(f"SELECT pg_terminate_backend(pid) {others}")
        if not self.ask(f"SELECT 1 FROM pg_database WHERE datname = '{_WORK}'"):
            self.ask(f"CREATE DATABASE {_WORK}")
        for (name,) in self.ask(
            "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^(pg_|information_)'",
            _WORK,
        ):
            self.ask(f"DROP SCHEMA {name} CASCADE", _WORK)
        self.ask("CREATE SCHEMA public", _WORK)
        self.ask("GRANT USAGE ON SCHEMA public TO PUBLIC", _WORK)
        return _WORK

    def ask(self, query: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Send one statement; its rows."""
        import psycopg

        with psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []


_keepers: list[subprocess.Popen[bytes]] = []


def shared(folder: Path) -> Server:
    """The server of this run of the suite; `folder` is one that all its processes have in common.

    Raises LookupError where there is no Postgres.
    """
    programs = binaries()
    if programs is None:
        raise LookupError(WANTED)
    place = folder / "postgres"
    with (folder / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            place.write_text(_kept(programs))
    return Server(int(place.read_text()))


def _kept(programs: Path) -> str:
    """Have a server started; its port."""
    worker = "PYTEST_XDIST_WORKER" in os.environ
    suite = os.getppid() if worker else os.getpid()
    keeper = subprocess.Popen(
        (sys.executable, "-m", __name__, programs, str(suite)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    _keepers.append(keeper)
    assert keeper.stdout is not None
    with keeper.stdout as told:
        port = told.readline().decode().strip()
    assert port, "Postgres did not start"
    return port


def _keep(programs: Path, suite: int) -> None:
    """Run a server and say its port; end it after that process."""
    # Ctrl-C is for the suite, whose end is waited for.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with running(programs) as server:
        print(server.port, flush=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _until_gone(suite)


def _until_gone(pid: int) -> None:
    with suppress(ProcessLookupError):
        if hasattr(os, "pidfd_open"):
            select.select([os.pidfd_open(pid)], [], [])
            return
        while True:
            os.kill(pid, 0)
            time.sleep(0.1)


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    """A server with an empty cluster; it is gone with the `with`."""
    # Not below pytest's folder, which is closed to the user that a server may run as.
    with tempfile.TemporaryDirectory(prefix="pit-postgres-") as folder:
        home = Path(folder)
        who = _nobody(home)
        (home / "password").write_text(PASSWORD)
        (home / "password").chmod(0o644)
        subprocess.run(
            (
                programs / "initdb",
                *("--pgdata", home / "data", "--username", USER, "--pwfile", home / "password"),
                *("--auth", "scram-sha-256", "--no-sync", "--encoding", "UTF8"),
                *("--locale", "C.UTF-8"),
            ),
            check=True,
            capture_output=True,
            cwd=home,
            **who,
        )
        port = ports.free()
        settings = [
            part
            for name, value in (_SETTINGS | {"port": str(port)}).items()
            for part in ("-c", f"{name}={value}")
        ]
        server = subprocess.Popen(
            (programs / "postgres", "-D", home / "data", *settings),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=home,
            **who,
        )
        try:
            _until_ready(server)
            yield Server(port)
        finally:
            server.send_signal(3)  # SIGQUIT: at once; nothing of it is kept
            server.communicate(timeout=30)


def _nobody(home: Path) -> dict[str, object]:
    """Whom to run as: Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    import pwd

    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}


def _until_ready(server: subprocess.Popen[bytes]) -> None:
    assert server.stderr is not None
    said = b""
    for line in server.stderr:
        said += line
        if b"ready to accept connections" in line:
            # Else it would stop once the pipe is full.
            _discard(server.stderr)
            return
    raise RuntimeError(f"Postgres did not start:\n{said.decode(errors='replace')}")


def _discard(stream: object) -> None:
    import threading

    threading.Thread(target=lambda: [None for _ in stream], daemon=True).start()


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), int(sys.argv[2]))
