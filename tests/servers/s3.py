"""S3-compatible storage on loopback: nanio, which checks every signature, and moto, which knows
more of the protocol and checks none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import ports

ACCESS_KEY = "AKIAPITTESTS"
SECRET_KEY = "s3cr3t/with+signs=ofAllKinds"
BUCKET = "store"


class S3:
    """A running server, which has an empty bucket; `folder` is the bucket's, where it is one."""

    def __init__(self, port: int, folder: Path | None = None) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.folder = folder

    def secret(self, **fields: str) -> dict[str, str]:
        """The fields of a secret for this server, some of them put otherwise."""
        own = {"endpoint": self.endpoint, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        return {**own, "bucket": BUCKET, **fields}


@contextmanager
def signed() -> Iterator[S3]:
    """nanio: buckets are folders, and a wrong signature is refused."""
    port = ports.free()
    keys = {"NANIO_ACCESS_KEY": ACCESS_KEY, "NANIO_SECRET_KEY": SECRET_KEY}
    with tempfile.TemporaryDirectory() as folder:
        bucket = Path(folder, BUCKET)
        bucket.mkdir()
        command = [sys.executable, "-m", "nanio", "serve", "--data-dir", folder]
        with _running([*command, "--host", "127.0.0.1", "--port", str(port)], port, keys):
            yield S3(port, bucket)


@contextmanager
def complete() -> Iterator[S3]:
    """moto, with a bucket made by a plain PUT."""
    import http.client

    port = ports.free()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, {}):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("PUT", f"/{BUCKET}", headers={"Content-Length": "0"})
        assert connection.getresponse().status == 200
        connection.close()
        yield S3(port)


@contextmanager
def _running(command: list[str], port: int, variables: dict[str, str]) -> Iterator[None]:
    """A server process that accepts connections; ended with the block."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(process, port)
        yield
    finally:
        process.kill()
        process.wait()


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "the server has ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)  # nothing to wait for: the server tells nobody that it is ready
    raise AssertionError("the server does not accept connections")
