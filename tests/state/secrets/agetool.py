"""Debian's age and OpenSSH's ssh-keygen, for files that Pit did not write itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_age = pytest.mark.skipif(shutil.which("age") is None, reason="needs the program age")
needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")


def keygen(path: Path) -> str:
    """Make a key file with age-keygen; returns the public key."""
    subprocess.run(["age-keygen", "-o", str(path)], capture_output=True, check=True)
    path.chmod(0o600)
    done = subprocess.run(["age-keygen", "-y", str(path)], capture_output=True, check=True)
    return done.stdout.decode().strip()


def ssh_keygen(path: Path, kind: str = "ed25519", passphrase: str = "") -> str:
    """Make an SSH key; returns the public key."""
    words = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)]
    subprocess.run(words, check=True, capture_output=True)
    return path.with_name(path.name + ".pub").read_text().strip()


def encrypt(plain: bytes, *words: str) -> bytes:
    """What age makes of `plain`."""
    done = subprocess.run(["age", *words], input=plain, capture_output=True, check=True)
    return done.stdout


def decrypt(path: Path, identity: Path) -> bytes:
    """The content of an encrypted file, by age."""
    words = ["age", "--decrypt", "--identity", str(identity), str(path)]
    done = subprocess.run(words, capture_output=True, check=True)
    return done.stdout
