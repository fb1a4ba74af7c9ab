"""All problems of all projects at once, and the schema that prevents them."""

from __future__ import annotations

import json

from tests.builder import Pit

GOOD = '[[tasks]]\nname = "a"\nscript = "a.sh"\n'


def test_a_valid_workspace_says_how_much_was_checked(sales: Pit) -> None:
    assert sales.run("validate").ok().out == "1 project with 2 tasks: all valid.\n"
    assert sales.run("validate", "--json").ok().json == {
        "valid": True,
        "projects": 1,
        "dags": ["sales"],
        "problems": [],
        "warnings": [],
        "notes": [],
    }


def test_every_problem_of_every_project_with_line_and_caret(pit: Pit) -> None:
    pit.project("bad").toml(GOOD + "retrys = 2\n").file("a.sh", "")
    pit.project("good").toml(GOOD).file("a.sh", "")
    pit.project("worse").toml(GOOD.replace("a.sh", "gone.sh"))
    result = pit.run("validate").fails(11)
    assert result.err.splitlines()[:3] == [
        'projects/bad/pit.toml:4:1: unknown key "retrys" in [[tasks]]; did you mean "retries"?',
        "    retrys = 2",
        "    ^",
    ]
    assert "projects/worse/pit.toml:3:10: " in result.err
    assert "error: 2 problems found" in result.err
    assert "good" not in result.err
    found = pit.run("validate", "--json").fails(11).json
    assert found["valid"] is False
    assert found["dags"] == ["good"]
    first = found["problems"][0]
    assert (first["path"], first["line"], first["column"]) == ("projects/bad/pit.toml", 4, 1)
    assert first["source"] == "retrys = 2"


def test_words_of_other_tools_are_understood(pit: Pit) -> None:
    keys = 'command = "dbt run"\ncmd = "x"\nretry = 3\nneeds = ["b"]\n'
    pit.project("a").toml(GOOD + keys).file("a.sh", "")
    told = pit.run("validate").fails(11).err
    program = 'write the command into a script: script = "a.sh"'
    for key, meant in (
        ("command", program),
        ("cmd", program),
        ("retry", 'did you mean "retries"?'),
        ("needs", 'did you mean "depends_on"?'),
    ):
        assert f'unknown key "{key}" in [[tasks]]; {meant}' in told


def test_a_folder_that_is_no_project_is_noted(pit: Pit) -> None:
    pit.project("a").toml(GOOD).file("a.sh", "")
    pit.project("b").file("pit.tml", GOOD)
    pit.project("c").file("readme", "")
    out = pit.run("validate").ok().out
    assert "note: projects/b is not a project: it has pit.tml where pit.toml is looked for\n" in out
    assert "note: projects/c is not a project: it has no pit.toml\n" in out
    assert out.endswith("1 project with 1 task: all valid.\n")
    pit.run("run", "b").fails(2, 'DAG "b" not found', "projects/b has no pit.toml")


def test_a_target_outside_of_the_project_is_noted(pit: Pit) -> None:
    pit.project("a").toml(GOOD + 'targets = ["{workspace}/shared/x.csv"]\n').file("a.sh", "")
    assert "note: a/a writes {workspace}/shared/x.csv itself" in pit.run("validate").ok().out


def test_the_schema_is_printed_without_a_workspace(pit: Pit) -> None:
    result = pit.run("schema", "--project-dir", "/nonexistent").ok()
    schema = json.loads(result.out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "retries" in schema["properties"]["tasks"]["items"]["properties"]
