"""How each kind of database writes names: quoting, folding, and tables of several parts.

Whatever comes from a file or from pit.toml goes into SQL through here alone. A name is quoted,
never checked for danger: a column called `x"); DROP TABLE t; --` is a column.
"""

from __future__ import annotations

from pit.model import Record


class BadName(ValueError):
    """A name that the database cannot have; its text is a sentence for people."""


class Table(Record, frozen=True):
    """A table's name in parts, each as the database stores it; empty: not given.

    `shown` is how people know it, where the parts say more than they wrote.
    """

    name: str
    schema: str = ""
    catalog: str = ""
    server: str = ""
    shown: str = ""

    def __str__(self) -> str:
        return self.shown or ".".join(part for part in self.parts() if part)

    def parts(self) -> tuple[str, str, str, str]:
        """Server, catalog, schema, name."""
        return self.server, self.catalog, self.schema, self.name


class Dialect(Record, frozen=True):
    """The naming rules of one kind of database.

    `quotes` are the opening and closing character that quoted names are written with, `reads` all
    pairs that a person may write in pit.toml. `folds` says that a name without quotes means its
    lower-case form. `longest` is the limit of a name, in bytes or in characters (`in_bytes`), and
    `parts` how many a table's name has at most. `schema` is where a table goes that names none.
    `marker` is how a statement's parameter is written.
    """

    name: str
    title: str
    quotes: tuple[str, str] = ('"', '"')
    reads: tuple[tuple[str, str], ...] = (('"', '"'),)
    folds: bool = False
    longest: int = 0
    in_bytes: bool = False
    parts: int = 3
    schema: str = ""
    marker: str = "?"

    def quote(self, name: str) -> str:
        """One name, quoted so that it is that name whatever it holds; raises BadName."""
        self._check(name)
        opening, closing = self.quotes
        return f"{opening}{name.replace(closing, closing * 2)}{closing}"

    def quoted(self, table: Table) -> str:
        """A table's whole name, quoted; a part that is missing in between stays empty (`db..t`)."""
        given = list(table.parts())
        while not given[0]:
            del given[0]
        return ".".join(self.quote(part) if part else "" for part in given)

    def literal(self, text: str) -> str:
        """A text as a string constant."""
        if "\0" in text:
            raise BadName("a text with a NUL character cannot stand in a statement")
        quoted = text.replace("'", "''")
        if self.name == "postgres" and "\\" in quoted:
            # Right whatever standard_conforming_strings says.
            return " E'" + quoted.replace("\\", "\\\\") + "'"
        return f"N'{quoted}'" if self.name == "sqlserver" else f"'{quoted}'"

    def table(self, text: str) -> Table:
        """The table that a person wrote: `t`, `mart.t`, `"Odd name".t`, `[db].[dbo].[t]`.

        A part without quotes is folded as the database would. Raises BadName.
        """
        parts = self._split(text.strip())
        if len(parts) > self.parts:
            raise BadName(
                f'the table name "{text}" has {len(parts)} parts; '
                f"{self.title} tables have at most {self.parts}"
            )
        if not parts[-1] or not parts[0]:
            raise BadName(f'the table name "{text}" lacks a part')
        if "" in parts[1:-1] and self.name != "sqlserver":
            raise BadName(f'the table name "{text}" lacks a part')
        for part in filter(None, parts):
            self._check(part)
        server, catalog, schema, name = ["", "", "", ""][len(parts) :] + parts
        return Table(name=name, schema=schema, catalog=catalog, server=server)

    def in_schema(self, table: Table) -> Table:
        """The table with the schema that it is in by default, where the kind has a fixed one."""
        if table.schema or not self.schema:
            return table
        return Table(
            name=table.name, schema=self.schema, catalog=table.catalog, server=table.server
        )

    def _split(self, text: str) -> list[str]:
        closers = dict(self.reads)
        parts: list[str] = []
        at = 0
        while True:
            if at < len(text) and text[at] in closers:
                part, at = _quoted_part(text, at, closers[text[at]])
            else:
                end = text.find(".", at)
                end = len(text) if end < 0 else end
                part, at = self._bare_part(text, at, end), end
            parts.append(part)
            if at == len(text):
                return parts
            if text[at] != ".":
                raise BadName(f'the table name "{text}" goes on after a quoted part')
            at += 1

    def _bare_part(self, text: str, start: int, end: int) -> str:
        part = text[start:end].strip()
        marks = {mark for pair in self.reads for mark in pair} | {"'", ";"}
        if any(char in marks for char in part):
            raise BadName(f'the table name "{text}" has a quote or semicolon in an unquoted part')
        return _folded(part) if self.folds else part

    def _check(self, name: str) -> None:
        if not name:
            raise BadName("a name is empty")
        if "\0" in name:
            raise BadName("a name contains a NUL character")
        try:
            size = len(name.encode()) if self.in_bytes else len(name)
        except UnicodeEncodeError:
            raise BadName("a name is not valid Unicode") from None
        if self.longest and size > self.longest:
            unit = "bytes" if self.in_bytes else "characters"
            # Postgres would cut it without a word, and two columns could become one.
            raise BadName(
                f'the name "{name[:40]}…" is {size} {unit} long; '
                f"{self.title} takes at most {self.longest}"
            )


def _quoted_part(text: str, start: int, closing: str) -> tuple[str, int]:
    """The name between quotes that open at `start`, and where the text goes on."""
    part: list[str] = []
    at = start + 1
    while at < len(text):
        if text[at] != closing:
            part.append(text[at])
            at += 1
        elif text[at + 1 : at + 2] == closing:
            part.append(closing)
            at += 2
        else:
            return "".join(part), at + 1
    raise BadName(f'the table name "{text}" has a quote that is not closed')


def _folded(part: str) -> str:
    """As Postgres folds: ASCII letters alone, so that the result does not hang on a locale."""
    return "".join(char.lower() if char.isascii() else char for char in part)


_DOUBLE, _BRACKETS, _BACKTICKS = ('"', '"'), ("[", "]"), ("`", "`")

DUCKDB = Dialect(name="duckdb", title="DuckDB", schema="main")
POSTGRES = Dialect(
    name="postgres",
    title="Postgres",
    folds=True,
    longest=63,
    in_bytes=True,
    parts=2,
    marker="%s",
)
SQLSERVER = Dialect(
    name="sqlserver",
    title="SQL Server",
    quotes=_BRACKETS,
    reads=(_DOUBLE, _BRACKETS),
    longest=128,
    parts=4,
    schema="dbo",
)
SQLITE = Dialect(
    name="sqlite",
    title="SQLite",
    reads=(_DOUBLE, _BRACKETS, _BACKTICKS),
    parts=2,
    schema="main",
)
MYSQL = Dialect(
    name="mysql",
    title="MySQL",
    quotes=_BACKTICKS,
    reads=(_DOUBLE, _BACKTICKS),
    longest=64,
    parts=2,
)
ANSI = Dialect(name="ansi", title="ODBC")
"""For a database behind ODBC of which nothing more is known."""

_BY_KIND = {one.name: one for one in (DUCKDB, POSTGRES, SQLSERVER, SQLITE)} | {"odbc": ANSI}
_BY_PRODUCT = {
    "duckdb": DUCKDB,
    "postgres": POSTGRES,
    "microsoft sql server": SQLSERVER,
    "sql server": SQLSERVER,
    "sqlite": SQLITE,
    "mysql": MYSQL,
    "mariadb": MYSQL,
}


def of_kind(kind: str) -> Dialect:
    """The dialect of a `Database.kind`."""
    return _BY_KIND[kind]


def of_product(name: str) -> Dialect:
    """The dialect of a product as an ODBC driver names it (SQL_DBMS_NAME)."""
    low = name.lower()
    return next((one for start, one in _BY_PRODUCT.items() if low.startswith(start)), ANSI)
