"""The other side of the example: five servers on this machine, `python servers.py` starts them.

It writes `secrets.toml` with their ports, passwords, certificate and host key, shows what arrives,
and ends them with Ctrl-C. They are those that the tests use, from a checkout with `./dev setup`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.servers import ftp, s3, sftp, smtp  # noqa: E402
from tests.servers.certificate import certified  # noqa: E402

TOKEN = "rates-token-9f27c1"
RATES = {"base": "EUR", "rates": {"EUR": 1, "USD": 1.25, "GBP": 0.8}}
CLAIMS = {
    "claims-north.csv": "claim,amount,currency\nN-1,100.00,EUR\nN-2,125.00,USD\n",
    "claims-south.csv": "claim,amount,currency\nS-1,40.00,GBP\n",
}


class Web(BaseHTTPRequestHandler):
    """`GET /rates` for those who have the token, `POST /team` for everybody."""

    messages: list[str]

    def do_GET(self) -> None:
        """The rates."""
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, {"error": "who are you?"})
        else:
            self._answer(200, RATES)

    def do_POST(self) -> None:
        """A message to the team."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.messages.append(f"{body['title']}: {body['message']}")
        self._answer(200, {})

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """What arrives is shown elsewhere."""


class Neighbours:
    """All that the example talks to: what has arrived there, and the secrets that open it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        certificate = certified(folder)
        self.outbox, self.inbox = folder / "insurers" / "outbox", folder / "bank" / "inbox"
        (self.outbox / "done").mkdir(parents=True)
        self.messages: list[str] = []
        web = stack.enter_context(_web(self.messages))
        lake = stack.enter_context(s3.signed())
        self.post = stack.enter_context(smtp.serving(certificate, login=True))
        insurers = stack.enter_context(ftp.serving(folder / "insurers", certificate))
        bank = stack.enter_context(sftp.serving(folder / "bank"))
        self.secrets = {
            "rates_api": {"endpoint": f"http://127.0.0.1:{web}", "token": TOKEN},
            "team": f"json://127.0.0.1:{web}/team",
            "lake": lake.secret(),
            "mail": self.post.login(ca=certificate.authority),
            "insurers": insurers.secret(tls="explicit", ca=certificate.authority),
            "bank": bank.secret(),
        }

    def new_claims(self) -> None:
        """Puts files into the insurers' outbox."""
        for name, text in CLAIMS.items():
            (self.outbox / name).write_text(text)

    def write_secrets(self, path: Path) -> None:
        """A secrets file for the example, readable by its owner alone."""
        lines = ["[global]"]
        for key, secret in self.secrets.items():
            if isinstance(secret, str):
                lines.append(f"{key} = {json.dumps(secret)}")
        for key, secret in self.secrets.items():
            if isinstance(secret, dict):
                lines += ["", f"[global.{key}]"]
                lines += [f"{field} = {json.dumps(value)}" for field, value in secret.items()]
        path.touch(0o600)
        path.write_text("\n".join(lines) + "\n")
        os.chmod(path, 0o600)

    def arrived(self) -> list[str]:
        """One line for each thing that has come."""
        mails = [f"mail: {letter.message['Subject']}" for letter in self.post.letters]
        files = [f"bank: {path.name}" for path in sorted(self.inbox.glob("[!.]*"))]
        return [*mails, *(f"team: {message}" for message in self.messages), *files]


@contextmanager
def _web(messages: list[str]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Web,), {"messages": messages}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def neighbours() -> Iterator[Neighbours]:
    """The servers, for the length of a block."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        yield Neighbours(Path(folder), stack)


def main() -> None:
    """Start everything, and show what arrives until Ctrl-C or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with neighbours() as them:
        them.new_claims()
        them.write_secrets(HERE / "secrets.toml")
        print(f"insurers' outbox: {them.outbox}\nbank's inbox:     {them.inbox}")
        print(
            "secrets.toml is written; in another terminal: pit run claims\nCtrl-C ends the servers"
        )
        shown: list[str] = []
        pause = threading.Event()
        try:
            while not pause.wait(0.5):
                arrived = them.arrived()
                for line in arrived:
                    if line not in shown:
                        print(line, flush=True)
                shown = arrived
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
