"""What was fetched leaves the outbox; what has come since stays for the next run."""

from pit.sdk import ftp_move, get_value

for name in get_value("names", "fetch"):
    ftp_move("insurers", f"outbox/{name}", "outbox/done/")
