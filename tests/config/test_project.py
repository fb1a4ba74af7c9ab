"""One project's pit.toml: whatever stands in it, reading ends with a DAG or with problems."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pit.config.keys.keys import DAG, OUTPUT, PARAM, TASK
from pit.config.project import read_project

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=True)
    | st.text(max_size=6)
    | st.sampled_from(["a", "tasks/a.sh", "30s", "date", "choice", "@daily", "*", "out/", ".."])
    | st.dates()
    | st.just(datetime.time(1, 2))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(list(PARAM.keys)), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def tables(keys: dict[str, Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from([*keys, "unknown", "always"])
    return st.dictionaries(names, values, max_size=6) | values


files = st.fixed_dictionaries(
    {},
    optional={
        "dag": tables(DAG.keys),
        "tasks": st.lists(tables(TASK.keys), max_size=4) | values,
        "outputs": st.lists(tables(OUTPUT.keys), max_size=2) | values,
        "other": values,
    },
)


def written(value: Any) -> str:
    """A value as TOML text, tables inline."""
    if isinstance(value, dict):
        inner = ", ".join(f"{written(k)} = {written(v)}" for k, v in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, str):
        escaped = "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08x}" for c in value)
        return f'"{escaped}"'
    if isinstance(value, bool):
        return str(value).lower()
    return '"none"' if value is None else str(value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(files)
def test_no_content_is_too_broken(tmp_path: Path, content: dict[str, Any]) -> None:
    folder = tmp_path / "projects" / "p"
    (folder / "tasks").mkdir(parents=True, exist_ok=True)
    (folder / "tasks" / "a.sh").touch()
    text = "\n".join(f"{name} = {written(value)}" for name, value in content.items())
    tomli.loads(text)
    (folder / "pit.toml").write_text(text)
    project = read_project(folder, tmp_path)
    problems = project.findings.problems()
    lines = text.split("\n")
    assert project.dag is not None
    assert problems or project.dag.tasks
    for problem in problems:
        assert problem.sentence
        assert 1 <= problem.line <= len(lines)
        assert problem.source == lines[problem.line - 1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_no_typing_error_is_too_odd(tmp_path: Path, data: st.DataObject) -> None:
    text = '[dag]\nname = "p"\n[dag.env]\nA = "1"\n[[tasks]]\nname = "a"\nscript = "tasks/a.sh"\n'
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 9)))
    typed = data.draw(st.text(alphabet="ab=[]{}\".,#\n ' é\\", max_size=5))
    folder = tmp_path / "projects" / "p"
    (folder / "tasks").mkdir(parents=True, exist_ok=True)
    (folder / "tasks" / "a.sh").touch()
    (folder / "pit.toml").write_text(text[:start] + typed + text[end:])
    project = read_project(folder, tmp_path)
    problems = project.findings.problems()
    assert problems or project.dag
    for problem in problems:
        assert problem.path == "projects/p/pit.toml"
        assert problem.line >= 1


def test_without_a_runner_the_extension_rules(tmp_path: Path) -> None:
    scripts = {"a.py": "python", "b.sh": "bash", "c.sql": "sql"}
    text = '[dag.sql]\nconnection = "db"\n'
    for name in scripts:
        (tmp_path / name).touch()
        text += f'[[tasks]]\nname = "{name}"\nscript = "{name}"\n'
    (tmp_path / "pit.toml").write_text(text)
    project = read_project(tmp_path, tmp_path)
    assert not project.findings
    assert project.dag
    assert {task.script: task.runner for task in project.dag.tasks} == scripts


def test_a_dag_name_is_found_in_a_file_with_a_syntax_error(tmp_path: Path) -> None:
    for text, name in (
        ('[dag]\nname = "x"\nowner = \n', "x"),
        ("[dag]\n# c\nowner = 'me'\n  name = 'y' # c\n[[tasks]]\nname =\n", "y"),
        ('[[tasks]]\nname = "a"\n[x\n', None),
        ('[dag]\n[dag.env]\nname = "a"\n= 3\n', None),
    ):
        (tmp_path / "pit.toml").write_text(text)
        project = read_project(tmp_path, tmp_path)
        assert (project.name, project.dag) == (name, None)
