"""sdk/PROTOCOL.md against the server: its table of methods, and its examples, word by word."""

from __future__ import annotations

import json
import re

import pytest

from pit.work.socket import methods, server, wire
from pit.work.socket.answers import task_values
from pit.work.socket.connection import IDLE, WHOLE_WITHIN
from pit.work.socket.methods import Description, Param
from tests.builder import Pit
from tests.docs.pages import ROOT, blocks, sections

PAGE = ROOT / "sdk" / "PROTOCOL.md"

TYPES = {
    "str": "text",
    "LoadMode": "text",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "Any": "JSON",
    "list": "list",
    "dict": "object",
}


def rendered(param: Param) -> str:
    """A param as the table has it: `retries: integer = 3`."""
    words = re.sub(r"typing\.Literal\[.*\]", "str", param.type)
    words = re.sub(r"\b(list|dict)\[[^\]]*\]", r"\1", words)
    kinds = [TYPES[word] for word in words.split(" | ") if word != "None"]
    default = "" if param.required else f" = {param.default or 'absent'}"
    return f"{param.name}: {' or '.join(kinds)}{default}"


def table() -> dict[str, list[str]]:
    """The params of each method, as the page has them."""
    found = {}
    for line in sections(PAGE)["Methods"].splitlines():
        if line.startswith("| `"):
            name, params, _ = (cell.strip() for cell in line.strip("|").split(" | "))
            found[name.strip("`")] = re.findall(r"`([^`]+)`", params)
    return found


@pytest.mark.parametrize("method", list(methods.described()), ids=lambda method: method.name)
def test_each_method_stands_in_the_table_as_it_is(method: Description) -> None:
    ordered = sorted(method.params, key=lambda param: not param.required)
    assert table()[method.name] == [rendered(param) for param in ordered]


def test_the_table_has_every_method_and_no_other() -> None:
    assert list(table()) == list(methods.MODULES)


def test_the_limits_are_those_of_the_server() -> None:
    text = " ".join(sections(PAGE)["Limits"].split())
    for limit in (
        f"{wire.LONGEST:,} bytes",
        f"{WHOLE_WITHIN:.0f} seconds",
        f"{IDLE / 60:.0f} minutes",
        f"{server.MOST_OF_A_TASK} connections",
        f"{server.MOST_OF_A_RUN} connections",
        f"{task_values.LONGEST_VALUE:,} bytes",
        f"{task_values.MOST_VALUES:,} values",
    ):
        assert limit in text, limit


def exchanges() -> list[list[str]]:
    """What is sent (`→`) and what comes back (`←`), in the order of the page."""
    lines = [line for block in blocks(PAGE.read_text(), "text") for line in block.splitlines()]
    sent = [line.removeprefix("→ ") for line in lines if line.startswith("→ ")]
    back = [line.removeprefix("← ") for line in lines if line.startswith("← ")]
    assert len(sent) == len(back)
    return [list(pair) for pair in zip(sent, back, strict=True)]


REPLAY = """
import json, os, socket
for sent, expected in json.load(open("examples.json")):
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answers:
        connection.connect(os.environ["PIT_SOCKET"])
        connection.sendall(sent.encode() + b"\\n")
        answer = answers.readline().decode()
    if json.loads(answer) != json.loads(expected):
        print("sent:", sent, "expected:", expected, "got:", answer, sep="\\n")
"""

HALF_CLOSE = """
import json, os, socket
request = b'{"method": "get_value", "params": {"name": "x", "default": 1}}'

def opened():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["PIT_SOCKET"])
    return connection

with opened() as one:
    one.sendall(request)
    one.shutdown(socket.SHUT_WR)
    assert one.recv(100) == b'{"result":"1"}\\n' and one.recv(100) == b""
with opened() as many, many.makefile("rb") as answers:
    many.sendall(b"\\n".join([request, b"", request]) + b"\\n")
    assert [json.loads(answers.readline()) for _ in range(2)] == [{"result": "1"}] * 2
with opened() as long:
    try:
        long.sendall(b'{"method": "log", "params": {"message": "' + b"x" * (1 << 20) + b'"}}\\n')
    except BrokenPipeError:
        pass
    print(json.loads(long.makefile("rb").readline())["error"])
"""

SECRETS = """
[global]
claims_api = "s3cr3t-token"
[global.claims_db]
driver = "postgres"
host = "db.example"
user = "etl"
password = "correct-horse"
"""


def run(pit: Pit, script: str) -> str:
    """The log of a task that runs this script."""
    pit.file("secrets.toml", SECRETS, 0o600)
    pit.project("claims").toml(
        '[dag]\nname = "claims"\n[[tasks]]\nname = "load"\nscript = "load.py"\n'
    )
    pit.file("examples.json", json.dumps(exchanges())).file("load.py", script)
    pit.run("run", "claims", "--secrets", "secrets.toml").ok()
    return pit.log("load")


def test_the_examples_are_what_the_server_says(pit: Pit) -> None:
    assert len(exchanges()) > 15
    log = run(pit, REPLAY)
    assert "sent:" not in log, log


def test_framing_is_as_the_page_says(pit: Pit) -> None:
    assert "1,048,576" in run(pit, HALF_CLOSE)
