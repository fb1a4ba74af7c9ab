"""Certificates made on the spot: an authority, and servers on loopback that it vouches for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import trustme


class Certified(NamedTuple):
    """An authority's certificate as PEM text, and the files of a server's certificate and key."""

    authority: str
    certificate: str
    key: str

    @property
    def files(self) -> tuple[str, str]:
        """Certificate and key."""
        return self.certificate, self.key


def certified(folder: Path, *names: str) -> Certified:
    """A certificate for some names (127.0.0.1 and localhost without any), by a new authority."""
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("127.0.0.1", "localhost")))
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    return Certified(authority.cert_pem.bytes().decode(), str(certificate), str(key))
