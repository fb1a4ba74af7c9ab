"""What Pit and its SQL process say to each other: JSON, one message a line, over the child's pipes.

Pit asks:     {"op":"run","id":1,"script":"marts.sql","text":"select …","database":{…},
               "variables":{"pit_run_id":"…"}}
              {"op":"check",…}  {"op":"ask",…}  {"op":"query",…}  {"op":"probe",…}, as below
              {"op":"share","database":{…}}  its file has so much of the machine now
              {"op":"interrupt","id":1}      the run with that id shall end soon; it still answers
              {"op":"end"}                   interrupt everything and exit, as at end of file
Child tells:  {"say":"begun","id":1}         first: from now on a crash may be its doing
              {"say":"log","id":1,"text":"…"}      lines for the task's log, in order
              {"say":"data","id":1,"text":"…"}     a piece of what a query returns
              {"say":"done","id":1,"failure":null,"statements":3,"rows":42,"cpu_seconds":0.1,
               "peak_memory":50000000}              exactly once per run, and last

Several runs may be under way at once, told apart by their id. Lines keep the format readable with
`strace` and without a length to get wrong; text is never so long that it matters (log text is
bounded per statement, a script is a file that a person wrote).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import field

import pit.model as model
from pit.model import Expect, Record
from pit.order import Templated
from pit.sql.connection.urls import Database
from pit.sql.driver import Failure


class Run(Record, frozen=True, tag_field="op", tag="run"):
    """Execute a script; `script` is its name for messages."""

    id: int
    script: str
    text: str
    database: Database
    variables: dict[str, str] = field(default_factory=dict)
    template: Template | None = None
    watch: Watch | None = None


class Template(Record, frozen=True):
    """What a template has in scope; `root` is the only folder that it may include from.

    `rendered` is the file in which its text is kept.
    """

    root: str
    rendered: str
    scope: Templated


class Watch(Record, frozen=True):
    """Tables of which the log says how a script has changed them, beside those it is seen to write.

    `max_change` is the share by which the number of rows of any may change; None for any. `base`
    is the file for the numbers to compare with, kept from the first attempt until one succeeds.
    """

    tables: tuple[str, ...] = ()
    max_change: float | None = None
    base: str = ""


class Check(Record, frozen=True, tag_field="op", tag="check"):
    """Hold the result of one query against `expect`; rows that fail are kept as Parquet.

    `keep` is the file for them, `kept` what it is called to people.
    """

    id: int
    script: str
    text: str
    database: Database
    keep: str
    kept: str
    expect: Expect | None = None
    variables: dict[str, str] = field(default_factory=dict)
    template: Template | None = None


class Load(Record, frozen=True, tag_field="op", tag="load"):
    """Files into a table. `roots` are the folders in which its source is looked for, in order.

    `aside` is the file for rows that cannot be loaded, `kept` what it is called to people.
    """

    id: int
    script: str
    database: Database
    work: model.Load
    roots: tuple[str, ...]
    aside: str
    kept: str
    max_change: float | None = None


class Save(Record, frozen=True, tag_field="op", tag="save"):
    """The rows of one query into a file, whose path is absolute."""

    id: int
    script: str
    text: str
    database: Database
    path: str
    variables: dict[str, str] = field(default_factory=dict)
    template: Template | None = None


class Ask(Record, frozen=True, tag_field="op", tag="ask"):
    """Whether tables are there, and what a query returns, as `Answer`; nothing is changed.

    `look`: from outside a run, so that nothing may be made or waited for.
    """

    id: int
    database: Database
    tables: tuple[str, ...] = ()
    query: str = ""
    look: bool = False


class Answer(Record, frozen=True):
    """`there` are those of the tables that exist, `digest` is that of the query's result.

    `failure` says why it cannot be known.
    """

    there: tuple[str, ...] = ()
    digest: str = ""
    failure: str = ""


class Query(Record, frozen=True, tag_field="op", tag="query"):
    """Send what a person typed, and give all that it returns in a form: table, csv, json, parquet.

    `limit` is the most rows that are given, None for all; `width` is the room for a table, None
    where nobody knows; `path` is the Parquet file to write.
    """

    id: int
    text: str
    database: Database
    form: str = "table"
    limit: int | None = None
    width: int | None = None
    path: str = ""


class Probe(Record, frozen=True, tag_field="op", tag="probe"):
    """Try whether a database can be reached, as `Reached`."""

    id: int
    database: Database


class Reached(Record, frozen=True):
    """What answers, through which library and driver; how long it takes, in seconds.

    `seconds` is the time of one question and its answer, `opening` that of the connection.
    """

    driver: str
    server: str
    opening: float = 0.0
    seconds: float = 0.0
    remark: str = ""


class Interrupt(Record, frozen=True, tag_field="op", tag="interrupt"):
    """End a run: its statement is interrupted, its transaction rolled back."""

    id: int


class Share(Record, frozen=True, tag_field="op", tag="share"):
    """A database gets by with the memory and processors of its options, from now on."""

    database: Database


class End(Record, frozen=True, tag_field="op", tag="end"):
    """Interrupt every run and exit."""


class Begun(Record, frozen=True, tag_field="say", tag="begun"):
    """A run was heard of, and begins."""

    id: int


class Log(Record, frozen=True, tag_field="say", tag="log"):
    """Text for a run's log; may be many lines, without a newline at its end."""

    id: int
    text: str


class Data(Record, frozen=True, tag_field="say", tag="data"):
    """A piece of what a query returns, in the form that was asked for."""

    id: int
    text: str


class Done(Record, frozen=True, tag_field="say", tag="done"):
    """A run is over and has let go of its database.

    `rows` counts what its statements changed. CPU seconds and peak memory (bytes) are those of the
    whole process, so they are told only when no other run was under way meanwhile. `answer` is what
    a request asked for, as JSON, `warning` what a success found that somebody should know.
    """

    id: int
    failure: Failure | None = None
    warning: str = ""
    statements: int = 0
    rows: int = 0
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    answer: Any = None


Work = Run | Check | Load | Save | Ask | Query | Probe
"""What is done in a session, each with an answer of its own."""
Request = Work | Share | Interrupt | End
Told = Log | Data | Done
Reply = Begun | Told

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """A message as one line, its newline included."""
    return msgspec.json.encode(message) + b"\n"


def request(line: bytes) -> Request:
    """What Pit asks; msgspec.DecodeError for anything else."""
    return _requests.decode(line)


def reply(line: bytes) -> Reply:
    """What the child tells; msgspec.DecodeError for anything else."""
    return _replies.decode(line)
