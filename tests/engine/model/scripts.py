"""Random pipelines on the disk: pit.toml, and scripts that do what the model computes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.engine.model.pipelines import AXES, BEYOND, HUGE, Pipeline, Step

IGNORED = "big/\n"

_SHELL = """\
# @comment@
set -e
export LC_ALL=C
MODE=@mode@
K=$PIT_MATRIX_K
BEYOND={workspace}
named() { printf '%s\\n' "${1/#"$PIT_WORKSPACE"/$BEYOND}"; }
files() {
  @files@
}
show() {
  case "$1" in
    *.db) python3 "$PIT_WORKSPACE/rows.py" "$1" ;;
    *.huge) head -n 1 "$1"; wc -c < "$1" ;;
    *) cat "$1" ;;
  esac
}
summary() {
  {
    printf '%s\\n' @salt@ "$EXTRA$MODE" @more@
    files | while read -r f; do named "$f"; show "$f"; done
  } | md5sum
}
heads() {
  files | while read -r f; do
    c=$(show "$f")
    named "$f" > "$1${c:0:1}$2"
  done
}
control=$PIT_WORKSPACE/control/$PIT_TASK_NAME
@spoil@
if [ -e "$control" ]; then . "$control"; fi
@make@
if [ -e "$control.after" ]; then . "$control.after"; fi
"""
"""A task spoils its target first, does what its control says, its work, and what is said for then.
"""

_GET = """\
"$(python3 -c 'from pit.sdk import get_value; print(get_value("n", "@up@", default="none"))')"\
"""
_MAKE = {
    "file": "summary > @target@",
    "huge": "summary > @target@\ntruncate -s @huge@ @target@",
    "pair": "summary > o/@n@.1\nsummary > o/deep/@n@.2",
    "folder": "rm -f o/@n@/all\nmkdir -p o/@n@/empty\nsummary > o/@n@/all\n"
    "ln -s all o/@n@/link\nheads o/@n@/n ''",
    "glob": "summary > o/@n@-all.txt\nheads o/@n@-n .txt",
    "none": "summary",
}
_SPOIL = {
    "file": "echo half > @target@",
    "huge": "echo half > @target@",
    "pair": "echo half > o/@n@.1",
    "folder": "mkdir -p o/@n@; echo half > o/@n@/all",
    "glob": "echo half > o/@n@-all.txt",
    "none": ":",
}

_PYTHON = """\
# @comment@
import glob, hashlib, os, sqlite3
@imports@
lines = [str(SALT), os.environ.get("EXTRA", "") + @mode@]
for name in @values@:
    lines.append(get_value("n", task=name, default="none"))
root = os.environ["PIT_WORKSPACE"]
def show(place):
    if place.endswith(".db"):
        link = sqlite3.connect(f"file:{place}?mode=ro", uri=True)
        return ",".join(str(row[0]) for row in link.execute("select a from t order by rowid"))
    if place.endswith(".huge"):
        with open(place) as file:
            return file.readline() + str(os.path.getsize(place))
    return open(place).read().rstrip("\\n")
for pattern in @patterns@:
    pattern = pattern.replace("{workspace}", root)
    found = glob.glob(pattern)
    if os.path.isdir(pattern):
        walk = os.walk(pattern, followlinks=True)
        found = [os.path.join(at, name) for at, _, names in walk for name in names]
    for place in sorted(found):
        if os.path.isfile(place):
            lines += [place.replace(root, "{workspace}"), show(place)]
text = "".join(line + "\\n" for line in lines)
digest = hashlib.md5(text.encode()).hexdigest()
"""
_WRITE = """\
for place in @targets@:
    open(place, "w").write(digest + "  -\\n")
"""
_SET = """\
set_value("n", digest)
for place in @targets@:
    open(place, "w").write("v\\n")
"""
_CALLS = {
    "module": "# @comment@\nimport subprocess, sys\n"
    'subprocess.run([sys.executable, "-m", "pkg_@n@"], check=True)\n',
    "text": "# @comment@\nimport subprocess\n"
    'subprocess.run("python3 -m pkg_@n@", shell=True, check=True)\n',
}

ROWS = """\
import sqlite3, sys
link = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(",".join(str(row[0]) for row in link.execute("select a from t order by rowid")))
"""
"""Prints the rows of a database."""


def write(pipeline: Pipeline, project: Path) -> None:
    """pit.toml and the scripts, where they are not as they should be."""
    _put(project / "pit.toml", toml(pipeline, project))
    _put(project / ".pitignore", IGNORED)
    _put(project.parent.parent / "rows.py", ROWS)
    for step in pipeline.steps:
        for place, text in _sources(step).items():
            _put(project / place, text)


def _sources(step: Step) -> dict[str, str]:
    """The files of a step's code."""
    name = step.name
    module = f"# {step.comment}\nSALT  =  {step.salt}\n"
    match step.code:
        case "shell":
            return {script(step): _shell(step)}
        case "runner":
            return {script(step): "read by nobody\n", f"code/run_{name}.sh": _shell(step)}
        case "lib" | "suffix":
            return {script(step): _python(step), f"code/lib_{name}.py": module}
        case "path":
            return {script(step): _python(step), f"lib/p/lib_{name}.py": module}
    package = f"src/pkg_{name}"
    return {
        script(step): _filled(_CALLS[step.code], comment="", n=name),
        f"{package}/__init__.py": "",
        f"{package}/__main__.py": _python(step, f"SALT = {step.salt}"),
    }


def script(step: Step) -> str:
    """Where its script lies."""
    suffix = {"shell": "sh", "runner": "txt", "suffix": "task"}.get(step.code, "py")
    return f"code/{step.base}.{suffix}"


def _shell(step: Step) -> str:
    target = step.targets[0].replace("{k}", "$K") if step.targets else ""
    more = ['"$K"'] if step.axis else []
    more += [_GET.replace("@up@", up) for up in step.depends_on if up.startswith("val")]
    text = _filled(
        _SHELL,
        make=_MAKE[step.kind],
        spoil=_SPOIL[step.kind],
        files=_files(step.inputs or ()),
        more=" ".join(more),
    )
    return _filled(
        text,
        comment=step.comment,
        salt=step.salt,
        mode="$PIT_PARAM_MODE" if step.mode else "",
        n=step.name,
        target=target,
        huge=HUGE,
    )


def _python(step: Step, salt: str = "") -> str:
    sdk = "from pit.sdk import get_value, set_value\n"
    return _filled(
        _PYTHON + (_SET if step.kind == "value" else _WRITE),
        comment=step.comment,
        imports=sdk + (salt or f"from lib_{step.name} import SALT"),
        mode='os.environ["PIT_PARAM_MODE"]' if step.mode else '""',
        patterns=repr(step.inputs or ()),
        values=repr([up for up in step.depends_on if up.startswith("val")]),
        targets=repr(step.targets),
    )


def _filled(text: str, **words: object) -> str:
    for name, word in words.items():
        text = text.replace(f"@{name}@", str(word))
    return text


def _files(patterns: Iterable[str]) -> str:
    """A shell function's body that prints the files that the patterns match, in order."""
    found = [
        f'for f in {at}; do if [ -f "$f" ]; then echo "$f"; '
        f'elif [ -d "{at}" ]; then find -L "${{f%/}}" -type f | sort; fi; done'
        for at in (_anchored(pattern) for pattern in patterns)
    ]
    return "\n  ".join(found) or ":"


def _anchored(pattern: str) -> str:
    return pattern.replace(BEYOND, "$PIT_WORKSPACE/").replace("{k}", "$K")


# ---------------------------------------------------------------- pit.toml


def toml(pipeline: Pipeline, project: Path) -> str:
    """The project's pit.toml."""
    tasks = "".join(_task(step) for step in pipeline.steps)
    params = '[dag.params]\nmode = { type = "string", default = "1" }\n'
    return f'[dag]\nname = "m"\n[dag.env]\nLIVE = "{project}"\n{params}{tasks}'


def _task(step: Step) -> str:
    lines = ["[[tasks]]", f'name = "{step.name}"', f'script = "{script(step)}"']
    runners = {"runner": f"$ bash code/run_{step.name}.sh", "suffix": "python"}
    lines += [f'runner = "{runners[step.code]}"'] if step.code in runners else []
    lines += [] if step.inputs is None else [f"inputs = {_listed(step.inputs)}"]
    lines += [f"targets = {_listed(step.targets)}"] if step.targets else []
    lines += [f"depends_on = {_listed(step.depends_on)}"] if step.depends_on else []
    lines += ["always = true"] if step.always else []
    lines += [f'timeout = "{step.timeout}s"', f"params = {_listed(_params(step))}"]
    env = [f'EXTRA = "{step.env}"'] if step.env else []
    env += ['PYTHONPATH = "lib/p"'] if step.code == "path" else []
    lines += [f"env = {{ {', '.join(env)} }}"] if env else []
    if step.axis:
        source = AXES[step.axis]
        kind = "glob" if "*" in source else "file"
        lines += ["[tasks.matrix]", f'k = {{ {kind} = "{source}" }}']
    return "\n".join(lines) + "\n"


def _params(step: Step) -> tuple[str, ...]:
    return ("mode",) if step.mode else ()


def _listed(texts: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
