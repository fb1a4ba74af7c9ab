"""The keys of loads and saves: what they are read into, what is refused, what is implied."""

from __future__ import annotations

from pathlib import Path

import pytest

from pit.config import project
from pit.model import ColumnRule, CsvFormat, Load, LoadMode, MissingColumns, TaskType

HEAD = '[dag]\nname = "d"\n[dag.sql]\nconnection = "db"\n'
LOAD = '[[tasks]]\nname = "load"\ntype = "load"\nsource = "a.csv"\ntable = "mart.t"\n'
SAVE = '[[tasks]]\nname = "save"\ntype = "save"\nscript = "q.sql"\noutput = "out/a.parquet"\n'


def _read(tmp_path: Path, text: str) -> project.Project:
    folder = tmp_path / "projects" / "d"
    folder.mkdir(parents=True)
    (folder / "pit.toml").write_text(HEAD + text)
    (folder / "q.sql").write_text("select 1")
    return project.read_project(folder, tmp_path)


def _problems(tmp_path: Path, text: str) -> list[tuple[int, str]]:
    found = _read(tmp_path, text).findings.problems()
    return [(one.line - HEAD.count("\n"), one.sentence) for one in found]


def test_a_save_may_have_its_query_here(tmp_path: Path) -> None:
    found = _read(tmp_path, SAVE.replace('script = "q.sql"', 'query = "select 1"'))
    assert not found.findings.problems()
    assert found.dag is not None
    assert (found.dag.tasks[0].query, found.dag.tasks[0].runner) == ("select 1", "sql")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("select '{day}'", ["{day}"]),
        ("select '{city}' as a, '{day}' as b", ["{city}"]),
        ("select {'day': 1}, '{other}', '${day}'", []),
    ],
)
def test_a_name_in_braces_in_a_query_is_a_mistake(
    tmp_path: Path, query: str, names: list[str]
) -> None:
    task = SAVE.replace('script = "q.sql"', f'query = """{query}"""').replace("out/a", "{city}")
    text = f'{task}[tasks.matrix]\ncity = ["x"]\n[dag.params]\nday = {{ default = "1" }}\n'
    found = [sentence for _, sentence in _problems(tmp_path, text)]
    assert found == [f'query has "{name}" in it, which is not replaced' for name in names]


def test_a_load_is_one_record(tmp_path: Path) -> None:
    text = LOAD + (
        'mode = "upsert"\nkey = ["id"]\nmax_rejects = 3\nmissing_columns = "null"\nformat = "csv"\n'
        'csv = { delimiter = ";", header = false, max_line_size = 5_000_000 }\n'
        'columns = { a = "b", c = { name = "d", type = "date" }, e = false }\n'
    )
    dag = _read(tmp_path, text).dag
    assert dag is not None
    assert dag.tasks[0].type is TaskType.LOAD
    assert dag.tasks[0].runner == "sql"
    assert dag.tasks[0].load == Load(
        source="a.csv",
        table="mart.t",
        mode=LoadMode.UPSERT,
        key=("id",),
        columns={
            "a": ColumnRule(name="b"),
            "c": ColumnRule(name="d", type="date"),
            "e": ColumnRule(skip=True),
        },
        format="csv",
        csv=CsvFormat(delimiter=";", header=False, max_line_size=5_000_000),
        max_rejects=3,
        missing_columns=MissingColumns.NULL,
    )


def test_a_load_waits_for_whoever_makes_its_source(tmp_path: Path) -> None:
    other = '[[tasks]]\nname = "other"\nscript = "q.sql"\ntargets = ["x.csv"]\n'
    text = LOAD.replace("a.csv", "out/*.parquet") + SAVE + other
    dag = _read(tmp_path, text).dag
    assert dag is not None
    assert dag.tasks[0].depends_on == ("save",)


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ('[[tasks]]\nname = "l"\ntype = "load"\ntable = "t"\n', 1, "a load has no source"),
        ('[[tasks]]\nname = "l"\ntype = "load"\nsource = "a.csv"\n', 1, "a load has no table"),
        (LOAD + 'script = "q.sql"\n', 6, "a load has no script"),
        (
            LOAD + "csv = { max_line_size = 0 }\n",
            6,
            "max_line_size must be a whole number from 1",
        ),
        (LOAD + 'mode = "upsert"\n', 6, 'mode = "upsert" needs a key'),
        (LOAD + 'key = ["id"]\n', 6, 'key is only for mode = "upsert"'),
        (LOAD + 'output = "x.csv"\n', 6, 'output is only for type = "save"'),
        (SAVE + 'table = "t"\n', 6, 'table is only for type = "load"'),
        (SAVE.replace(".parquet", ".xlsx"), 5, 'output "out/a.xlsx" must end in .parquet'),
        (SAVE.replace("out/a", "/tmp/a"), 5, 'output "/tmp/a.parquet" is not inside the data'),
        (SAVE.replace('output = "out/a.parquet"\n', ""), 1, "a save has no output"),
        (SAVE.replace('script = "q.sql"\n', ""), 1, '[[tasks]] has no "script" or "query"'),
        (SAVE + 'query = "select 1"\n', 6, "a save has a script or a query, not both"),
        ('[[tasks]]\nname = "x"\nscript = "q.sql"\nmode = "append"\n', 4, "mode is only for type"),
        (LOAD + "columns = { a = 3 }\n", 6, 'column "a" must be a new name, false, or'),
        (LOAD + 'columns = { a = { typ = "x" } }\n', 6, 'unknown key "typ" in columns'),
        (LOAD + 'source2 = "x"\n', 6, 'unknown key "source2"'),
    ],
)
def test_what_is_refused_and_where(tmp_path: Path, text: str, line: int, sentence: str) -> None:
    found = _problems(tmp_path, text)
    assert [at for at, said in found if said.startswith(sentence)] == [line], found
