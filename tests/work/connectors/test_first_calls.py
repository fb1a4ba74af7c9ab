"""The first calls of all connectors, at the same moment: none meets a module half imported."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from pit.work.socket import methods
from tests.builder import Pit

CALLS = """
import json, os, socket, threading

once = {"retries": 0}
asked = [
    ("http_request", {"url": "http://127.0.0.1:1/", "retries": 0}),
    ("s3_list", {"secret": "lake", "retries": 0}),
    ("s3_head", {"secret": "lake", "key": "a", "retries": 0}),
    ("send_mail", {"secret": "mail", "to": "a@b.example", "subject": "x", "text": "x"} | once),
    ("notify", {"secret": "chat", "body": "x"}),
    ("ftp_list", {"secret": "files", "retries": 0}),
    ("ftp_list", {"secret": "sftp", "retries": 0}),
    ("save_query", {"connection": "db", "query": "select 1 as a", "file": "FILE.parquet"}),
    ("load_data", {"connection": "db", "file": "in.csv", "table": "t"}),
    ("set_value", {"name": "a", "value": 1}),
    ("get_value", {"name": "none", "default": 2}),
    ("progress", {"done": 1}),
]
with open(os.path.join(os.environ["PIT_DATA_DIR"], "in.csv"), "w") as file:
    file.write("a\\n1\\n")
moment, answers = threading.Barrier(60), [None] * 60

def ask(at):
    method, params = asked[at % len(asked)]
    line = json.dumps({"method": method, "params": params}).replace("FILE", f"out{at}")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(os.environ["PIT_SOCKET"])
        moment.wait()
        sock.sendall(line.encode() + b"\\n")
        answers[at] = [method, sock.makefile().readline()]

threads = [threading.Thread(target=ask, args=(at,)) for at in range(60)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("answers", json.dumps(answers))
"""

SECRETS = """
[global]
lake = { endpoint = "http://127.0.0.1:1", bucket = "store" }
mail = { host = "127.0.0.1", port = "1", from = "a@b.example", security = "none" }
chat = "json://127.0.0.1:1/"
files = { host = "127.0.0.1", port = "1", user = "me", password = "some horse", protocol = "ftp" }
sftp = { host = "127.0.0.1", port = "1", user = "me", password = "some horse", protocol = "sftp" }
db = "sqlite:///ROOT/some.sqlite"
"""

WANTED = {
    "http_request": "connection refused",
    "s3_list": "http://127.0.0.1:1 cannot be reached",
    "s3_head": "http://127.0.0.1:1 cannot be reached",
    "send_mail": "connection refused",
    "notify": "nobody received the message",
    "ftp_list": "refused",
}
"""What a connector says of a server that is not there; the others have an answer."""


def test_sixty_first_calls_of_all_connectors_at_once(pit: Pit) -> None:
    pit.file("secrets.toml", SECRETS.replace("ROOT", str(pit.root)), mode=0o600)
    toml = '[dag]\nname = "shop"\n[[tasks]]\nname = "all"\nscript = "all.py"\n'
    pit.project("shop").toml(toml).file("all.py", CALLS)
    pit.run("run", "shop", "--secrets", "secrets.toml").ok()
    line = next(line for line in pit.log("all").splitlines() if line.startswith("answers"))
    for method, text in json.loads(line.removeprefix("answers")):
        answer = json.loads(text)
        assert WANTED.get(method, "") in answer.get("error", ""), (method, answer)
        assert ("error" in answer) == (method in WANTED), (method, answer)


SLOW = """
import threading
begun, go = threading.Event(), threading.Event()
begun.set()
go.wait(60)
from pit.work.socket.call import Method
from pit.work.socket.answers.task_values import Progress
METHODS = {"slowly": Method(params=Progress, serve=lambda call, params: "served", quick=True)}
"""


def test_a_method_is_none_while_its_module_is_half_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_methods.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(methods, "MODULES", {"slowly": "slow_methods"})
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(methods.find("slowly"))) for _ in range(8)
    ]
    threads[0].start()
    while not hasattr(half := sys.modules.get("slow_methods"), "begun"):
        pass
    for thread in threads[1:]:
        thread.start()
    assert not methods.quick("slowly"), "it is not there, and not waited for"
    assert half is not None
    half.go.set()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert methods.quick("slowly")
    methods._found.pop("slowly")
