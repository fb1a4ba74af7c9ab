"""The workspace: pit_config.toml, discovery of all projects, and what holds between them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pit.config.workspace import Workspace, discover, discover_one, load_workspace_config
from pit.errors import InvalidConfig, NoProjects, ProjectsUnreadable, UnknownDag
from pit.model import Overlap, Retention, WorkspaceConfig

TASK = '[[tasks]]\nname = "a"\nscript = "tasks/a.sh"\n'


def project(root: Path, name: str, text: str = TASK) -> Path:
    """A project with one script."""
    folder = root / "projects" / name
    (folder / "tasks").mkdir(parents=True)
    (folder / "tasks" / "a.sh").touch()
    (folder / "pit.toml").write_text(text)
    return folder


def found(root: Path) -> Workspace:
    return discover(load_workspace_config(root))


def said(workspace: Workspace) -> list[str]:
    return [f"{p.path}:{p.line}:{p.column}: {p.sentence}" for p in workspace.problems]


# ---------------------------------------------------------------- pit_config.toml


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    config = load_workspace_config(tmp_path)
    assert config == WorkspaceConfig(
        root=tmp_path, runs_dir=tmp_path / "runs", metadata_db=tmp_path / "pit_metadata.db"
    )
    assert config.retention == Retention(days=30, runs=20, snapshots=3, history_days=365)


def test_paths_are_relative_to_the_workspace_and_home_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "pit_config.toml").write_text(
        'runs_dir = "var/runs"\nmetadata_db = "/var/lib/pit.db"\nsecrets_dir = "~/secrets.toml"\n'
        "keep_artifacts = []\nretention = { days = 7, runs = 5 }\n"
    )
    monkeypatch.chdir(tmp_path.parent)
    config = load_workspace_config(Path(tmp_path.name))
    assert config.root == tmp_path
    assert config.runs_dir == tmp_path / "var/runs"
    assert config.metadata_db == Path("/var/lib/pit.db")
    assert config.secrets_file == Path("/home/me/secrets.toml")
    assert config.keep_artifacts == ()
    assert config.retention == Retention(days=7.0, runs=5)
    assert config.cache_dir == tmp_path / ".pit"


def test_all_that_is_wrong_with_the_configuration_is_said(tmp_path: Path) -> None:
    (tmp_path / "pit_config.toml").write_text(
        'run_dir = "x"\napi_token = "t"\nruns_dir = 3\nmetadata_db = ""\n'
        'keep_artifacts = ["log"]\n[retention]\ndays = -1\nruns = 2.5\nday = 1\n'
    )
    with pytest.raises(InvalidConfig) as caught:
        load_workspace_config(tmp_path)
    problems = caught.value.problems
    assert [f"{p.path}:{p.line}:{p.column}: {p.sentence}" for p in problems] == [
        'pit_config.toml:1:1: unknown key "run_dir" in pit_config.toml; did you mean "runs_dir"?',
        'pit_config.toml:2:1: key "api_token" is not yet supported by this version of Pit',
        "pit_config.toml:3:12: runs_dir must be a path in quotes, not 3",
        "pit_config.toml:4:15: metadata_db is empty",
        'pit_config.toml:5:19: each entry of keep_artifacts must be "logs", "project" or "data", '
        'not "log"; did you mean "logs"?',
        "pit_config.toml:7:8: days must be a number of at least 0, not -1",
        "pit_config.toml:8:8: runs must be a whole number of at least 0, not 2.5",
        'pit_config.toml:9:1: unknown key "day" in [retention]; did you mean "days"?',
    ]


def test_a_configuration_that_is_not_toml(tmp_path: Path) -> None:
    (tmp_path / "pit_config.toml").write_text("runs_dir = \n")
    with pytest.raises(InvalidConfig) as caught:
        load_workspace_config(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("pit_config.toml", 1)


# ---------------------------------------------------------------- discovery


def test_a_full_project(tmp_path: Path) -> None:
    folder = project(
        tmp_path,
        "claims",
        """
[dag]
name = "claims_pipeline"
description = "Claims"
owner = "data"
tags = ["nightly"]
schedule = "0 6 * * *"
timezone = "Australia/Sydney"
overlap = "wait"
timeout = "45m"
concurrency = 8
keep_artifacts = ["logs"]
env = { TZ = "UTC" }
sql.connection = "warehouse"
[dag.requires]
claims_pipeline_raw = { max_age = "24h" }
other = "1h"
third = {}
[dag.params]
date = { type = "date", default = "today", description = "Day" }
limit = { type = "int", default = 7 }
ratio = { type = "float", default = 1 }
dry = { type = "bool", default = false }
day = { type = "date", default = 2026-01-31 }
mode = { type = "choice", choices = ["full", "delta"], default = "full" }
name = {}

[[tasks]]
name = "extract"
script = "./tasks//a.sh"
runner = "$ env -i bash"
timeout = "15m"
retries = 2
retry_delay = "30s"
retry_backoff = 2
retry_max_delay = "10m"
inputs = ["./data/raw/*.csv", "{workspace}/./shared/x.csv", "/abs//y.csv"]
targets = ["out/./claims.parquet", "out/folder/"]
params = ["date"]
connection = "source"
env = { A = "1" }
description = "Extract"

[[tasks]]
name = "load"
script = "tasks/a.sh"
depends_on = ["extract"]
inputs = []
timeout = "0s"

[[outputs]]
name = "claims"
type = "table"
location = "warehouse.claims"
recipients = ["a", 1]
""",
    )
    for name in ("claims_pipeline_raw", "other", "third"):
        project(tmp_path, name)
    dag = found(tmp_path).dag("claims_pipeline")
    assert (dag.name, dag.project, dag.owner) == ("claims_pipeline", folder, "data")
    assert dag.schedules == ("0 6 * * *",)
    assert dag.overlap is Overlap.QUEUE
    assert (dag.timeout, dag.concurrency, dag.keep_artifacts) == (2700.0, 8, ("logs",))
    assert dag.requires == {"claims_pipeline_raw": 86400.0, "other": 3600.0, "third": math.inf}
    assert (dag.env, dag.connection) == ({"TZ": "UTC"}, "warehouse")
    assert {p.name: (p.type.value, p.default) for p in dag.params} == {
        "date": ("date", "today"),
        "limit": ("int", "7"),
        "ratio": ("float", "1.0"),
        "dry": ("bool", "false"),
        "day": ("date", "2026-01-31"),
        "mode": ("choice", "full"),
        "name": ("string", None),
    }
    extract, load = dag.tasks
    assert (extract.script, extract.runner) == ("tasks/a.sh", "$ env -i bash")
    assert extract.inputs == ("data/raw/*.csv", "{workspace}/shared/x.csv", "/abs/y.csv")
    assert extract.targets == ("out/claims.parquet", "out/folder/")
    assert (extract.timeout, extract.retries, extract.retry_delay) == (900.0, 2, 30.0)
    assert (extract.retry_backoff, extract.retry_max_delay) == (2.0, 600.0)
    assert (extract.params, extract.connection, extract.env) == (("date",), "source", {"A": "1"})
    assert (load.runner, load.inputs, load.params, load.timeout) == ("bash", (), None, None)
    (output,) = dag.outputs
    assert (output.name, output.extra) == ("claims", {"recipients": ["a", 1]})


def test_the_folder_names_the_dag_unless_it_names_itself(tmp_path: Path) -> None:
    project(tmp_path, "sales")
    assert found(tmp_path).dag("sales").task("a").runner == "bash"
    assert discover_one(load_workspace_config(tmp_path), "sales").project.name == "sales"


def test_a_folder_whose_name_is_no_dag_name(tmp_path: Path) -> None:
    project(tmp_path, "my project")
    project(tmp_path, "named", f'[dag]\nname = "good"\n{TASK}')
    os.rename(tmp_path / "projects/named", tmp_path / "projects/not a name")
    workspace = found(tmp_path)
    assert list(workspace.dags) == ["good"]
    (sentence,) = (problem.sentence for problem in workspace.problems)
    assert sentence == (
        'the folder gives the DAG its name, but "my project" is not a valid name; '
        'did you mean "my_project"?'
    )


def test_what_is_no_project_is_passed_over(tmp_path: Path) -> None:
    project(tmp_path, "good")
    (tmp_path / "projects/empty").mkdir()
    (tmp_path / "projects/file.txt").touch()
    project(tmp_path, ".hidden")
    workspace = found(tmp_path)
    assert (workspace.projects, workspace.problems) == (1, ())


def test_a_workspace_without_projects(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NoProjects) as caught:
            found(root).dag("x")
        assert caught.value.exit_code == 10


def test_the_workspace_around_is_looked_for_where_the_error_is_raised(tmp_path: Path) -> None:
    project(tmp_path, "sales")
    inside = tmp_path / "projects/sales"
    assert NoProjects(inside).around is None
    with pytest.raises(NoProjects, match="no projects found") as caught:
        found(inside).dag("x")
    assert caught.value.around == tmp_path
    assert "inside the workspace" in caught.value.hint


def test_projects_that_are_no_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "projects").touch()
    with pytest.raises(ProjectsUnreadable, match="projects cannot be read: not a directory"):
        found(tmp_path)


def test_an_unknown_dag_names_the_nearest(tmp_path: Path) -> None:
    project(tmp_path, "sales")
    with pytest.raises(UnknownDag) as caught:
        found(tmp_path).dag("slaes")
    assert caught.value.hint == 'Did you mean "sales"?'


def test_of_two_dags_with_one_name_both_are_refused_and_others_go_on(tmp_path: Path) -> None:
    project(tmp_path, "a", f'[dag]\nname = "same"\n{TASK}')
    project(tmp_path, "b", f'[dag]\nname = "Same"\n{TASK}')
    project(tmp_path, "good")
    workspace = found(tmp_path)
    assert list(workspace.dags) == ["good"]
    assert said(workspace) == [
        'projects/a/pit.toml:2:8: the DAG name "same" is also that of projects/b/pit.toml, '
        "but for case",
        'projects/b/pit.toml:2:8: the DAG name "Same" is also that of projects/a/pit.toml, '
        "but for case",
    ]
    with pytest.raises(InvalidConfig):
        workspace.dag("same")


def test_a_broken_namesake_still_counts(tmp_path: Path) -> None:
    project(tmp_path, "a", f'[dag]\nname = "same"\n{TASK}')
    project(tmp_path, "b", '[dag]\n# comment\nname = "same"\nowner = \n')
    workspace = found(tmp_path)
    assert not workspace.dags
    assert len(workspace.broken["same"]) == 3
    assert len(workspace.broken["b"]) == 2


def test_requirements_may_name_broken_dags_but_not_missing_ones(tmp_path: Path) -> None:
    project(tmp_path, "a", f'[dag]\nrequires = ["broken", "b"]\n{TASK}')
    project(tmp_path, "b", f'[dag.requires]\nbrokn = "1h"\n{TASK}')
    project(tmp_path, "broken", "x = \n")
    workspace = found(tmp_path)
    assert workspace.dag("a").requires == {"broken": math.inf, "b": math.inf}
    with pytest.raises(InvalidConfig) as caught:
        workspace.dag("b")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (2, 1)
    assert problem.sentence == 'requires unknown DAG "brokn"; did you mean "broken"?'


def test_a_named_pipe_in_place_of_a_file_is_reported(tmp_path: Path) -> None:
    project(tmp_path, "good")
    (tmp_path / "projects/pipe").mkdir()
    os.mkfifo(tmp_path / "projects/pipe/pit.toml")
    workspace = found(tmp_path)
    assert said(workspace) == ["projects/pipe/pit.toml:0:0: this is a named pipe, not a file"]
    assert list(workspace.dags) == ["good"]


def test_a_linked_project_is_a_project(tmp_path: Path) -> None:
    elsewhere = project(tmp_path / "elsewhere", "real")
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects/linked").symlink_to(elsewhere)
    assert found(tmp_path).dag("linked").project == tmp_path / "projects/linked"


@pytest.mark.skipif(sys.platform == "darwin", reason="file names there are text")
def test_a_folder_whose_name_is_not_text_can_be_reported(tmp_path: Path) -> None:
    project(tmp_path, os.fsdecode(b"caf\xe9"))
    (problem,) = found(tmp_path).problems
    assert problem.path == "projects/caf\ufffd/pit.toml"
    assert problem.sentence.encode()


# ---------------------------------------------------------------- cost


def test_a_valid_workspace_loads_nothing_heavy(tmp_path: Path) -> None:
    project(tmp_path, "plain")
    program = (
        "import sys, pathlib\n"
        "from pit.config import settings, workspace as declared\n"
        "workspace = declared.discover(settings.load_workspace_config(pathlib.Path(sys.argv[1])))\n"
        "heavy = {'tree_sitter', 'cronsim', 'zoneinfo', 'pydantic', 'doit', 'rich', 'pathspec'}\n"
        "print(workspace.projects, *workspace.problems, *heavy.intersection(sys.modules))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout == "1\n"
    project(tmp_path, "scheduled", f'[dag]\nschedule = "@daily"\n{TASK}')
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout == "2 cronsim\n"


def test_ten_thousand_tasks_load_quickly(tmp_path: Path) -> None:
    tasks = [
        f'[[tasks]]\nname = "t{i}"\nscript = "tasks/a.sh"\nretries = 2\n'
        f'inputs = ["data/*_{i}.csv", "out/x_{i - 1}.csv"]\ntargets = ["out/x_{i}.csv"]\n'
        for i in range(10_000)
    ]
    project(tmp_path, "big", "".join(tasks))
    start = time.process_time()
    dag = found(tmp_path).dag("big")
    seconds = time.process_time() - start
    assert len(dag.tasks) == 10_000
    assert seconds < 2.0  # 0.4 s where nothing else runs


def test_two_thousand_faults_are_all_said(tmp_path: Path) -> None:
    tasks = [
        f'[[tasks]]\nname = "t{i}"\nscript = "tasks/no.sh"\ndepends_on = ["u{i}"]\n'
        for i in range(1_000)
    ]
    project(tmp_path, "bad", "".join(tasks))
    assert len(found(tmp_path).problems) == 2_000
