"""What a Python script uses: never less than Python itself loads, and no more than could be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from itertools import takewhile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pit.project.files import DiskFiles
from pit.project.python import imports, source, words
from pit.project.python.source import Finder, Sources


class Project:
    """A project folder to fill."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, place: str, text: str = "") -> None:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def sources(self, script: str = "tasks/run.py", *sites: str) -> Sources:
        return source.python_sources(script, self.root, sites or ("src",))

    def files(self, script: str = "tasks/run.py", *sites: str) -> list[str]:
        return list(self.sources(script, *sites).files)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_only_what_is_imported_counts(project: Project) -> None:
    project.file("tasks/run.py", "import json, pandas\nimport used\nfrom pkg import part\n")
    project.file("src/used.py", "def f():\n    import deeper\n")
    project.file("src/deeper.py")
    project.file("src/unused.py")
    project.file("src/pkg/__init__.py")
    project.file("src/pkg/part.py", "from .sister import x\n")
    project.file("src/pkg/sister.py", "x = 1\n")
    project.file("src/pkg/other.py")
    project.file("tasks/another.py")

    assert project.sources() == Sources(
        files=(
            "tasks/run.py",
            "src/deeper.py",
            "src/pkg/__init__.py",
            "src/pkg/part.py",
            "src/pkg/sister.py",
            "src/used.py",
        )
    )


def test_the_scripts_own_folder_comes_first_but_both_count(project: Project) -> None:
    project.file("tasks/run.py", "import shared\n")
    project.file("tasks/shared.py")
    project.file("src/shared.py")

    assert project.files() == ["tasks/run.py", "src/shared.py", "tasks/shared.py"]


def test_all_packages_around_a_module_count(project: Project) -> None:
    project.file("tasks/run.py", "import a.b.c\n")
    project.file("src/a/__init__.py", "import first\n")
    project.file("src/a/b/__init__.py")
    project.file("src/a/b/c.py", "from ... import nothing\nfrom .. import sister\n")
    project.file("src/a/sister.py")
    project.file("src/first.py")

    assert project.files()[1:] == [
        "src/a/__init__.py",
        "src/a/b/__init__.py",
        "src/a/b/c.py",
        "src/a/sister.py",
        "src/first.py",
    ]


def test_a_star_import_may_load_every_part_of_a_package(project: Project) -> None:
    project.file("tasks/run.py", "from pkg import *\n")
    project.file("src/pkg/__init__.py", "__all__ = ['one', 'two']\n")
    project.file("src/pkg/one.py")
    project.file("src/pkg/two/__init__.py")

    assert project.files()[1:] == [
        "src/pkg/__init__.py",
        "src/pkg/one.py",
        "src/pkg/two/__init__.py",
    ]


def test_namespace_packages_are_made_of_all_their_folders(project: Project) -> None:
    project.file("tasks/run.py", "import space.one\n")
    project.file("src/space/one.py", "from . import two\nfrom .three import x\n")
    project.file("lib/space/two.py")
    project.file("tasks/space/three.py")
    project.file("lib/space/four.py")

    assert project.files("tasks/run.py", "src", "lib")[1:] == [
        "lib/space/two.py",
        "src/space/one.py",
        "tasks/space/three.py",
    ]


def test_files_in_an_imported_package_that_are_not_python_count(project: Project) -> None:
    project.file("tasks/run.py", "import pkg\n")
    project.file("src/pkg/__init__.py")
    project.file("src/pkg/templates/page.html", "x")
    project.file("src/pkg/inner/__init__.py")
    project.file("src/pkg/inner/table.csv", "x")
    project.file("src/pkg/__pycache__/junk.pyc", "x")
    project.file("src/pkg/cache.sqlite", "x")
    project.file("src/pkg.egg-info/PKG-INFO", "x")
    project.file("src/elsewhere/page.html", "x")
    project.file("tasks/data.csv", "x")

    assert project.files()[1:] == [
        "src/pkg/__init__.py",
        "src/pkg/inner/table.csv",
        "src/pkg/templates/page.html",
    ]


def test_a_compiled_module_counts(project: Project) -> None:
    project.file("tasks/run.py", "import fast\n")
    project.file("src/fast.cpython-311-x86_64-linux-gnu.so", "binary")

    assert project.files()[1:] == ["src/fast.cpython-311-x86_64-linux-gnu.so"]


def test_a_module_that_hides_one_of_the_standard_library_always_counts(project: Project) -> None:
    project.file("tasks/run.py", "import requests\n")
    project.file("tasks/queue.py", "import helper\n")
    project.file("src/sitecustomize.py")
    project.file("src/helper.py")

    assert project.files()[1:] == ["src/helper.py", "src/sitecustomize.py", "tasks/queue.py"]


@pytest.mark.parametrize(
    "code",
    [
        "import importlib\nimportlib.import_module(name)",
        "from importlib import import_module\nimport_module('.x', package)",
        "from importlib import import_module as load\nload('x')",
        "import importlib as i\ni.reload(x)",
        "import importlib\nload = importlib.import_module",
        "import importlib\nf(importlib)",
        "import importlib.util",
        "from importlib import util",
        "__import__(name)",
        "__import__('pkg', fromlist=['part'])",
        "f = __import__",
        "getattr(x, '__import__')",
        "import pkgutil",
        "import runpy",
        "exec(open('x').read())",
        "eval(text)",
        "import pickle",
        "import logging.config",
        "from logging import config",
        "import numpy\nnumpy.load(x, allow_pickle=True)",
        "import pandas as pd\npd.read_pickle(x)",
        "from importlib.metadata import entry_points",
        "run(f'tasks/s_{n}.py')",
        "run('tasks/s_' + n + '.py')",
        "run('tasks/s_%s.py' % n)",
        "run('tasks/s_{}.py'.format(n))",
        "Path('tasks').glob('*.py')",
        "path.with_suffix('.py')",
        "import pytest\npytest.main(['tests'])",
        "run([exe, '-m', 'pytest'])",
        "unittest.TestLoader().discover('tests')",
        "os.system('python3 -m unittest discover -s tests')",
        "run([exe, '-m', name])",
        "run(f'{exe} -m {name}')",
        "run([exe, '-c', f'import {name}'])",
        "run([exe, '-c', 'import pickle'])",
        "this is no Python",
        "x = '\0'",
    ],
)
def test_code_that_may_load_anything_uses_all_that_there_is(project: Project, code: str) -> None:
    project.file("tasks/run.py", "import loader\n")
    project.file("src/loader.py", code)
    project.file("src/plugin.py")
    project.file("src/deep/er/plugin.py")
    project.file("src/words.txt", "x")
    project.file("tasks/neighbour.py")
    project.file("tasks/table.csv", "x")
    project.file("data/table.csv", "x")

    found = project.sources()

    assert found.dynamic
    assert len(found.because) == 1
    assert found.because[0].startswith("src/loader.py: ")
    assert found.files == (
        "tasks/run.py",
        "src/deep/er/plugin.py",
        "src/loader.py",
        "src/plugin.py",
        "src/words.txt",
        "tasks/neighbour.py",
    )


@pytest.mark.parametrize(
    "code",
    [
        "import importlib\nimportlib.import_module('plugin')",
        "from importlib import import_module\nimport_module('plugin')",
        "__import__('plugin')",
        "SETTINGS = 'plugin:main'",
        "run([sys.executable, '-m', 'plugin'])",
        "run(['python', 'src/plugin.py'])",
        "run('python plugin.py --fast')",
        "run(f'{here}/plugin.py')",
        "load = 'plugin'",
        "load(['plugin', 'other_'])",
        "f'{exe} -m plugin --fast'",
        "os.system('python3 '\n    '-m plugin')",
        "os.system(b'python3 -mplugin')",
        "run([exe, '-c', 'import json, plugin; plugin.main()'])",
        "run('bash -c \"python3 -c \\'from plugin import (main)\\'\"', shell=True)",
        "run([exe, '-c', '__import__(\"plugin\")'])",
        "run([exe, HERE / 'src' / 'plugin.py'])",
        "run([exe, os.path.join(HERE, 'plugin.py')])",
        "run([exe, '../src/plugin.py'])",
        "run(['uvicorn', 'plugin:app'])",
    ],
)
def test_a_module_that_is_named_by_text_counts(project: Project, code: str) -> None:
    project.file("tasks/run.py", code)
    project.file("src/plugin.py", "import helper\n")
    project.file("src/helper.py")
    project.file("src/other.py")

    assert project.sources() == Sources(files=("tasks/run.py", "src/helper.py", "src/plugin.py"))


@pytest.mark.parametrize(
    "code",
    [
        "import re\nre.compile('x')",
        "frame.eval('a + b')",
        "session.exec(query)",
        "import importlib.resources\nimportlib.resources.files('pkg')",
        "from importlib import metadata\nmetadata.version('pandas')",
        "from importlib.metadata import version",
        "import os\nos.path.join('a', 'b')\nfrom os import path",
        "import sys\nprint(sys.argv, file=sys.stderr)\nsys.modules['x']",
        "'''Runs load.py with importlib.'''",
        "open('load.csv')\nout = 'data.load.csv'",
        "frame['load'] = frame[('load', 'x')]",
        "if kind == 'load' or kind in ('load', 'x'): pass",
        "match kind:\n    case 'load': pass",
        "query = 'select * from load'",
        "raise ValueError('cannot load it')",
    ],
)
def test_what_looks_like_loading_but_is_not_uses_nothing(project: Project, code: str) -> None:
    project.file("tasks/run.py", code)
    project.file("tasks/load.py")
    project.file("src/other.py")

    assert project.sources() == Sources(files=("tasks/run.py",))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("run(['bash', 'tools/run.sh'])", "tools/run.sh"),
        ("ctypes.CDLL('./tools/fast.so')", "tools/fast.so"),
        ("run('tools/job --fast')", "tools/job"),
        ("run([exe, 'tools'])\nrun([exe, './tools'])", "tools/__main__.py"),
        ("exec(open('tools/job.txt').read())", "tools/job.txt"),
        ("runpy.run_path('tools/job.txt')", "tools/job.txt"),
        ("Path(__file__).with_name('x.yml')", "tasks/x.yml"),
        ("(Path(__file__).parents[1] / 'tools/x.yml').read_text()", "tools/x.yml"),
        ("import sys, zipimport\nsys.path.append('x.zip')", "tools/x.zip"),
        ("site.addsitedir('tools')", "tools/x.pth"),
        ("site.addsitedir('tools')", "src/named.py"),
        ("run([exe, '-m', 'lib.tool'])", "lib/near.py"),
        ("run([exe, 'tools/main.py'])", "tools/beside.py"),
        ("run([exe, '-m', 'beside'], cwd='tools')", "tools/beside.py"),
    ],
)
def test_what_is_started_counts_with_what_it_starts(
    project: Project, code: str, found: str
) -> None:
    project.file("tasks/run.py", code)
    project.file("tasks/x.yml")
    for name in ("run.sh", "fast.so", "job", "job.txt", "x.yml", "x.zip", "beside.py"):
        project.file(f"tools/{name}", "x = 1")
    project.file("tools/__main__.py")
    project.file("tools/main.py", "import beside\n")
    project.file("tools/x.pth", "import named\n")
    project.file("src/named.py")
    project.file("lib/tool.py", "import lib.near\n")
    project.file("lib/near.py")
    project.file("data/elsewhere.csv")

    files = project.files()

    assert found in files
    assert "data/elsewhere.csv" not in files


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nsys.path.insert(0, 'lib/python')",
        "from sys import path\npath.append('lib/python')",
        "import sys as s\ns.path += ['lib/python']",
        "import os\nos.sys.path.append('x')",
        "import site\nsite.addsitedir('lib/python')",
        "__path__ = ['x']",
        "import sys\nfor module in [sys]: pass",
        "os.environ['PYTHONPATH'] = 'lib/python'",
    ],
)
def test_a_changed_import_path_makes_every_folder_count(project: Project, code: str) -> None:
    project.file("tasks/run.py", f"{code}\nimport helper\n")
    project.file("lib/python/helper.py", "import deeper\n")
    project.file("lib/python/deeper.py")
    project.file("lib/python/unused.py")
    project.file("more/vendor/helper/__init__.py")

    found = project.sources()

    assert found.dynamic
    assert found.files == (
        "tasks/run.py",
        "lib/python/deeper.py",
        "lib/python/helper.py",
        "more/vendor/helper/__init__.py",
    )


def test_what_is_loaded_by_a_made_up_name_may_itself_change_the_import_path(
    project: Project,
) -> None:
    project.file("tasks/run.py", "import importlib\nimportlib.import_module(name)\n")
    project.file("src/plugin.py", "import sys\nsys.path.append('lib')\nimport helper\n")
    project.file("lib/helper.py")

    assert "lib/helper.py" in project.files()


def test_a_script_in_the_project_folder_does_not_use_its_data(project: Project) -> None:
    project.file("run.py", "import pickle\nfrom lib import part\n")
    project.file("lib/part.py")
    project.file("pkg/__init__.py")
    project.file("pkg/words.txt", "x")
    project.file("out/table.csv", "x")
    project.file(".venv/pyvenv.cfg")
    project.file(".venv/lib/thing.py")

    assert project.files("run.py", ".", "src") == [
        "run.py",
        "lib/part.py",
        "pkg/__init__.py",
        "pkg/words.txt",
    ]


def test_a_script_that_is_a_link_has_two_folders(project: Project) -> None:
    project.file("lib/real.py", "import beside\nimport before\n")
    project.file("lib/beside.py")
    project.file("tasks/before.py")
    (project.root / "tasks" / "run.py").symlink_to("../lib/real.py")

    assert project.files()[1:] == ["lib/beside.py", "tasks/before.py"]


def test_linked_packages_count_by_their_name_and_circles_end(project: Project) -> None:
    project.file("tasks/run.py", "import linked.part\n")
    project.file("vendor/real/__init__.py")
    project.file("vendor/real/part.py")
    project.file("vendor/real/data.txt", "x")
    (project.root / "src").mkdir()
    (project.root / "src" / "linked").symlink_to("../vendor/real")
    (project.root / "vendor" / "real" / "again").symlink_to(".")
    (project.root / "src" / "self").symlink_to("self")

    assert project.files()[1:] == [
        "src/linked/__init__.py",
        "src/linked/data.txt",
        "src/linked/part.py",
    ]


def test_folders_outside_the_project_are_not_its_own(project: Project, tmp_path: Path) -> None:
    inner = Project(tmp_path / "project")
    inner.file("tasks/run.py", "import helper\n")
    project.file("outside/helper.py")

    assert inner.files("tasks/run.py", "../outside", str(tmp_path / "outside"), "missing") == [
        "tasks/run.py"
    ]


def test_a_new_file_that_would_be_imported_instead_counts_at_once(project: Project) -> None:
    project.file("tasks/run.py", "import helper\n")
    project.file("src/helper.py")
    before = project.files()
    project.file("tasks/helper/__init__.py")

    assert project.files() == [*before, "tasks/helper/__init__.py"]


def test_an_edit_in_the_same_instant_is_seen(project: Project) -> None:
    project.file("src/a.py")
    project.file("src/b.py")
    for name in "abab" * 10:
        project.file("tasks/run.py", f"import {name}\n")
        os.utime(project.root / "tasks" / "run.py", ns=(0, 0))

        assert project.files()[1:] == [f"src/{name}.py"]


def test_a_missing_script_is_named(project: Project) -> None:
    with pytest.raises(FileNotFoundError, match=r"tasks/run\.py"):
        project.sources()


def test_many_scripts_of_one_finder_share_what_they_import(project: Project) -> None:
    project.file("src/pkg/__init__.py")
    for number in range(50):
        project.file(f"src/pkg/part{number}.py", f"from . import part{max(number - 1, 0)}\n")
        project.file(f"tasks/run{number}.py", f"import pkg.part{number}\n")
    finder = Finder(DiskFiles(project.root))

    sizes = [len(finder.sources(f"tasks/run{number}.py", ("src",)).files) for number in range(50)]

    assert sizes == [number + 3 for number in range(50)]


def test_what_was_read_is_kept_for_the_next_process(project: Project, tmp_path: Path) -> None:
    unique = f"import helper_{os.getpid()}\n"
    project.file("tasks/run.py", unique)
    project.sources()
    kept = tmp_path / "imports"
    imports.save(kept)

    code = (
        "import sys; from pathlib import Path; from pit.project.python import imports;"
        "from pit.project import digest;"
        "imports.load(Path(sys.argv[1])); imports.load(Path('/missing'));"
        "key = digest.digest_file(sys.argv[2]).digest;"
        "print(imports.of(key, bytes).imports[0].module)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(kept), str(project.root / "tasks" / "run.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == unique.removeprefix("import ")


def test_a_damaged_cache_is_no_matter(tmp_path: Path) -> None:
    kept = tmp_path / "imports"
    kept.write_bytes(b"\x93garbage")
    imports.load(kept)
    imports.save(tmp_path / "missing" / "imports")


def test_what_another_reader_has_read_is_not_believed(project: Project, tmp_path: Path) -> None:
    project.file("tasks/run.py", "import plugin_of_old\n")
    project.sources()
    kept = tmp_path / "imports"
    imports.save(kept)
    code = (
        "import sys; from pathlib import Path; from pit.project.python import imports, words;"
        "words.__file__ = sys.argv[2]; imports.load(Path(sys.argv[1])); print(len(imports._known))"
    )
    for reader, known in ((words.__file__, True), (source.__file__, False)):
        argv = [sys.executable, "-c", code, str(kept), reader]
        found = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        assert (found != "0") == known


# ---------------------------------------------------------------- against Python itself

NAMES = ["a", "b", "c", "queue", "colorsys"]
FOLDERS = ["tasks", "src", "lib"]

dotted = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(".".join)
name = st.sampled_from(NAMES)
dots = st.sampled_from([".", "..", "..."])
statement = st.one_of(
    st.builds("import {}".format, dotted),
    st.builds("import {} as other".format, dotted),
    st.builds("from {} import {}".format, dotted, name),
    st.builds("from {} import *".format, dotted),
    st.builds("from {} import {}".format, dots, name),
    st.builds("from {}{} import {}, {}".format, dots, dotted, name, name),
    st.builds("exec('import {}')".format, dotted),
    st.builds("__import__('{}')".format, dotted),
    st.builds("__import__('{}', fromlist=['{}'])".format, dotted, name),
    st.builds("import importlib; importlib.import_module('{}')".format, dotted),
    st.builds("import importlib; importlib.import_module('{}', __package__)".format, dots),
    st.builds("from importlib import import_module as f; f('{}'[:])".format, dotted),
    st.builds("import runpy; runpy.run_module('{}', alter_sys=True)".format, dotted),
    st.just("import sys; sys.path.insert(0, ROOT + '/lib')"),
    st.just("import sys; sys.path.append(ROOT)"),
    st.just("import colorsys, queue"),
    st.just("import concurrent.futures.thread"),
)
common = st.one_of(
    st.builds("import {}".format, dotted),
    st.builds("from {} import {}".format, dotted, name),
    st.builds("from {} import {}".format, dots, name),
)
place = st.builds(
    lambda folder, parts, init: "/".join([folder, *parts]) + ("/__init__.py" if init else ".py"),
    st.sampled_from(FOLDERS),
    st.lists(name, min_size=1, max_size=3),
    st.booleans(),
)
body = st.lists(st.one_of(common, common, common, statement), max_size=3)
graph = st.dictionaries(place, body, min_size=1, max_size=12)


@st.composite
def woven(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[str]]:
    """Modules whose imports mostly lead to one another, and the lines of a script."""
    places = st.tuples(
        st.sampled_from(["tasks", "src", "src"]),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple),
        st.booleans(),
    )
    made = draw(st.lists(places, min_size=4, max_size=16, unique_by=lambda each: each[:2]))
    targets = st.sampled_from([parts for _, parts, _ in made])
    modules = {}
    for folder, parts, is_package in made:
        package = parts if is_package else parts[:-1]
        lines = [
            draw(statements_to(draw(targets), package)) for _ in range(draw(st.integers(0, 3)))
        ]
        end = "/__init__.py" if is_package else ".py"
        modules["/".join((folder, *parts)) + end] = lines
    return modules, [draw(statements_to(draw(targets), ())) for _ in range(draw(st.integers(1, 3)))]


def statements_to(target: tuple[str, ...], package: tuple[str, ...]) -> st.SearchStrategy[str]:
    """The ways in which a module of `package` may import `target`."""
    *above, last = target
    ways = [f"import {'.'.join(target)}", f"from {'.'.join(target)} import *"]
    if above:
        ways += [f"from {'.'.join(above)} import {last}", f"from {'.'.join(above)} import *"]
    common = list(takewhile(lambda each: each[0] == each[1], zip(above, package, strict=False)))
    if package:
        start = "." * (len(package) - len(common) + 1) + ".".join(above[len(common) :])
        ways += [f"from {start} import {last}", f"from {start} import *"] * 2
    return st.sampled_from(ways)


AT_END = """
import atexit, sys as _sys, json as _json
def _tell():
    files = [getattr(each, "__file__", None) for each in list(_sys.modules.values())]
    with open(ROOT + "/loaded.json", "w") as file:
        _json.dump([each for each in files if each], file)
atexit.register(_tell)
"""


def module(root: Path, lines: list[str], indent: int, all_names: bool) -> str:
    """A module in which each line may fail; some lines stand in a function that is called."""
    text = f"ROOT = {str(root)!r}\n" + (f"__all__ = {NAMES!r}\n" if all_names else "")
    for number, line in enumerate(lines):
        star = "*" in line
        if indent and not star:
            text += f"def f{number}():\n    {line}\n"
            line = f"f{number}()"
        text += f"try:\n    {line}\nexcept Exception:\n    pass\n"
    return text


def check(modules: dict[str, list[str]], script: list[str], indent: int, all_names: bool) -> None:
    """Holds the answer against what Python has loaded when the script ends."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(os.path.realpath(made))
        for folder in FOLDERS:
            (root / folder).mkdir()
        for place, lines in modules.items():
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(module(root, lines, indent, all_names))
        (root / "tasks/run.py").write_text(
            f"ROOT = {str(root)!r}\n{AT_END}{module(root, script, indent, False)}"
        )
        answer = set(source.python_sources("tasks/run.py", root, ("src",)).files)
        env = {"PYTHONPATH": f"{root}/src", "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run(
            [sys.executable, "-S", f"{root}/tasks/run.py"],
            env=env, cwd=root, capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        loaded = json.loads((root / "loaded.json").read_text())
        own = {os.path.relpath(os.path.realpath(each), root) for each in loaded}
        assert {each for each in own if not each.startswith("..")} <= answer


random_graphs = settings(
    max_examples=int(os.environ.get("PIT_TEST_GRAPHS", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@random_graphs
@given(graph, body, st.integers(0, 1), st.booleans())
def test_python_loads_nothing_that_is_not_in_the_answer(
    modules: dict[str, list[str]], script: list[str], indent: int, all_names: bool
) -> None:
    check(modules, script, indent, all_names)


@random_graphs
@given(woven(), st.booleans())
def test_plain_imports_are_followed_as_python_does(
    project: tuple[dict[str, list[str]], list[str]], all_names: bool
) -> None:
    check(*project, 0, all_names)
