"""An age file for a passphrase that costs no time: Pit's own takes seconds, as it should."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

PASSPHRASE = "correct horse battery staple"
_FACTOR = 2  # log2 of the rounds; real files have 18 and more


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    extracted = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def sealed(plain: bytes, passphrase: str = PASSPHRASE) -> bytes:
    """`plain`, less than 64 kB of it, as age-encryption.org/v1 writes it with a passphrase."""
    file_key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    wrapping = hashlib.scrypt(
        passphrase.encode(), salt=b"age-encryption.org/v1/scrypt" + salt, n=1 << _FACTOR, r=8, p=1,
        dklen=32,
    )  # fmt: skip
    body = ChaCha20Poly1305(wrapping).encrypt(bytes(12), file_key, None)
    head = f"age-encryption.org/v1\n-> scrypt {_base64(salt)} {_FACTOR}\n{_base64(body)}\n---"
    mac = hmac.digest(_derived(file_key, b"", b"header"), head.encode(), "sha256")
    payload = ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))
    content = payload.encrypt(bytes(11) + b"\x01", plain, None)
    return f"{head} {_base64(mac)}\n".encode() + nonce + content
