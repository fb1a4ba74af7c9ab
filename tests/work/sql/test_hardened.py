"""The SQL process that Pit starts: nobody else reads its memory, and its peak can still be told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pit.sql import protocol
from pit.sql.connection.urls import parse
from tests.sql.conftest import eventually

_AS_NOBODY = """
import ctypes, os, sys
sys.path.insert(0, sys.argv[1])
from pit.work.sql import hardened
from pit.sql import script
from pit.sql.drivers import duck
os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # setuid has made it private already
print("open", flush=True)
hardened.main()
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can become another user"
)
def test_its_memory_is_closed_to_the_same_user_and_its_peak_is_that_of_each_script(
    tmp_path: Path,
) -> None:
    root = str(Path(__file__).parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", _AS_NOBODY, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        memory = Path(f"/proc/{process.pid}/mem")
        eventually(lambda: memory.stat().st_uid == 0)  # the kernel's sign for "nobody's"
        peaks = []
        for query in ("SELECT strlen(repeat(repeat('x', 100000), 3000))", "SELECT 1"):
            request = protocol.Run(
                id=1, script="x.sql", text=query, database=parse(":memory:", tmp_path), variables={}
            )
            process.stdin.write(protocol.encode(request))
            process.stdin.flush()
            while not isinstance(reply := protocol.reply(process.stdout.readline()), protocol.Done):
                pass
            assert reply.failure is None
            peaks.append(reply.peak_memory or 0)
        assert peaks[0] > 250 * 1024**2 > peaks[1]
        process.stdin.close()
