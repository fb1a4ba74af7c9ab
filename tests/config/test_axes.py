"""Where the values of a matrix come from: patterns, files of lines, tables."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pit.config.axes import Reader, stem
from pit.config.toml.findings import Findings
from pit.fs.patterns import matches
from pit.model import MatrixSource, Task
from pit.project.selection import WatchedDisk


def read(root: Path, source: MatrixSource) -> tuple[tuple[str, ...], list[str]]:
    """The values of the key `airport`, and the sentences about what is wrong with them."""
    findings = Findings("pit.toml")
    reader = Reader(root, root.parent, WatchedDisk(), findings)
    task = Task(name="report", script="a.sh", matrix=(("airport", source),))
    (values,) = reader.axes(task, ("tasks", 0, "matrix")).values()
    said = [f"{found.sentence} | {found.hint}".rstrip(" |") for found in findings.problems()]
    return tuple(values), said


def values(root: Path, **source: str) -> tuple[str, ...]:
    found, said = read(root, MatrixSource(**source))
    assert said == []
    return found


def refusal(root: Path, **source: str) -> str:
    found, (sentence,) = read(root, MatrixSource(**source))
    assert found == ()
    return sentence


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def touch(root: Path, *places: str) -> None:
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


# ---------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("pattern", "place", "value"),
    [
        ("data/*.csv", "data/JFK.csv", "JFK"),
        ("data/raw_*.csv", "data/raw_JFK.csv", "JFK"),
        ("data/*", "data/JFK.csv", "JFK.csv"),
        ("data/*/", "data/JFK", "JFK"),
        ("data/*/flights.csv", "data/JFK/flights.csv", "JFK"),
        ("data/*/y_*.csv", "data/JFK/y_2013.csv", "JFK/y_2013"),
        ("src/**/*.c", "src/lib/zip.c", "lib/zip"),
        ("src/**/*.c", "src/main.c", "main"),
        ("**/pit.toml", "a/b/pit.toml", "a/b"),
        ("**/pit.toml", "pit.toml", "."),
        ("a/**/x.csv", "a/x.csv", "."),
        ("y[12]?.csv", "y13.csv", "13"),
    ],
)
def test_a_value_is_what_the_wildcards_stand_for(pattern: str, place: str, value: str) -> None:
    assert matches(pattern, place)
    assert stem(pattern, place) == value


def test_a_pattern_gives_a_value_for_each_file_in_their_order(project: Path) -> None:
    touch(project, "data/LGA.csv", "data/JFK.csv", "data/x.txt", "data/folder.csv/x", "other.csv")
    assert values(project, glob="data/*.csv") == ("JFK", "LGA")


def test_with_a_slash_at_its_end_a_pattern_means_folders(project: Path) -> None:
    touch(project, "data/JFK/x.csv", "data/LGA/y.csv", "data/file")
    assert values(project, glob="data/*/") == ("JFK", "LGA")
    assert values(project, glob="data/*") == ("file",)


def test_patterns_in_the_workspace_and_absolute_ones(project: Path) -> None:
    touch(project.parent, "shared/JFK.csv")
    assert values(project, glob="{workspace}/shared/*.csv") == ("JFK",)
    assert values(project, glob=f"{project.parent}/shared/*.csv") == ("JFK",)


def test_a_pattern_without_files_gives_nothing_to_make_tasks_for(project: Path) -> None:
    assert refusal(project, glob="data/*.csv") == (
        'no file matches "data/*.csv", so there are no matrix values | '
        "Values are read before the run begins: what its tasks make does not count"
    )
    assert refusal(project, glob="data/*/").startswith('no folder matches "data/*/"')


def test_file_names_that_cannot_be_values(project: Path) -> None:
    touch(project, "a/{x}.csv", "b/x[1].csv", "c/x\ny.csv", "d/Jfk.csv", "d/JFK.csv")
    assert refusal(project, glob="a/*.csv") == 'a/{x}.csv: the matrix value "{x}" has a brace in it'
    assert refusal(project, glob="b/*.csv") == (
        '"b/x[1].csv" has a wildcard in its name, so it cannot be a matrix value'
    )
    assert refusal(project, glob="c/*.csv").endswith('"x\\ny" has a control character in it')
    assert refusal(project, glob="d/*.csv") == (
        'matrix values "JFK" (d/JFK.csv) and "Jfk" (d/Jfk.csv) differ only in case'
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="file names there are text")
def test_a_file_name_that_is_not_text(project: Path) -> None:
    touch(project, os.fsdecode(b"caf\xe9.csv"))
    sentence = refusal(project, glob="*.csv")
    assert sentence.endswith("is not UTF-8")
    assert sentence.encode()


# ---------------------------------------------------------------- files


def test_a_file_has_a_value_per_line(project: Path) -> None:
    text = "\ufeff# airports\n\n  JFK \r\nLGA\n#EWR\nSão Paulo # one\nJFK\n"
    (project / "airports.txt").write_text(text, "utf-8")
    assert values(project, file="airports.txt") == ("JFK", "LGA", "São Paulo # one")
    assert values(project.parent, file="project/airports.txt")[0] == "JFK"
    assert values(project, file="{workspace}/project/airports.txt")[0] == "JFK"
    assert values(project, file=str(project / "airports.txt"))[0] == "JFK"


def test_a_table_has_its_values_in_a_column(project: Path) -> None:
    (project / "a.csv").write_text('name, airport,code\n"Kennedy, NY",JFK,1\nLaG,LGA\n\nx,,3\n')
    (project / "a.TSV").write_text("airport\tcode\nJFK\t7\nJFK\t8\n")
    assert values(project, file="a.csv") == ("JFK", "LGA")
    assert values(project, file="a.csv", column="code") == ("1", "3")
    assert values(project, file="a.csv", column="name") == ("Kennedy, NY", "LaG", "x")
    assert values(project, file="a.TSV") == ("JFK",)
    assert values(project, file="a.TSV", column="code") == ("7", "8")


def test_a_column_that_is_not_there(project: Path) -> None:
    (project / "a.csv").write_text("airports,code\nJFK,1\n")
    (project / "empty.csv").touch()
    assert refusal(project, file="a.csv") == (
        '"a.csv" has no column "airport"; did you mean "airports"?'
    )
    assert refusal(project, file="a.csv", column="xyz") == (
        '"a.csv" has no column "xyz" | It has: airports, code. Name one: column = …'
    )
    assert refusal(project, file="empty.csv") == '"empty.csv" has no column "airport"'


def test_files_that_give_no_values(project: Path) -> None:
    (project / "none.txt").write_text("# nothing\n\n")
    (project / "bad.txt").write_text("JFK\n{x}\n")
    (project / "binary.txt").write_bytes(b"JFK\n\xff\n")
    os.mkfifo(project / "pipe.txt")
    assert refusal(project, file="none.txt").startswith('file of values "none.txt" has none')
    assert refusal(project, file="gone.txt").startswith('file of values "gone.txt" not found')
    assert refusal(project, file="bad.txt") == 'bad.txt:2: the matrix value "{x}" has a brace in it'
    assert refusal(project, file="pipe.txt") == '"pipe.txt" is not a file'
    assert '"binary.txt" is not a file of values in UTF-8' in refusal(project, file="binary.txt")
    os.truncate(project / "none.txt", 1 << 30)
    assert refusal(project, file="none.txt") == '"none.txt" is too large for a file of values'


def test_a_file_with_too_many_values(project: Path) -> None:
    (project / "many.txt").write_text("\n".join(map(str, range(100_001))))
    assert refusal(project, file="many.txt") == '"many.txt" has over 100,000 values'


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(project: Path) -> None:
    (project / "closed.txt").touch(0)
    assert refusal(project, file="closed.txt") == (
        'file of values "closed.txt" cannot be read: Permission denied'
    )
