"""The insurers' files, as soon as both are there and nobody writes to them any more."""

from pit.sdk import ftp_get, ftp_wait, log, progress, set_value

names = ftp_wait("insurers", "outbox", "claims-*.csv", at_least=2, stable="1s", timeout="2m")
for done, name in enumerate(names):
    progress(done, len(names), name)
    (path,) = ftp_get("insurers", f"outbox/{name}", to="raw")
    log("info", "fetched", file=name, bytes=path.stat().st_size)

# Not what is in the outbox now, but what this run has taken from it.
set_value("names", names)
