"""`pit new` and `pit init`: workspaces and projects that validate and run as they are made."""

from __future__ import annotations

import keyword
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from pit.cli.options import Settings, command
from pit.config.settings import CONFIG_FILE, SECRETS_FILES, load_workspace_config
from pit.errors import BadArgument, ProjectExists

_PACKAGE = Path(__file__).parents[2]
_SCAFFOLD = _PACKAGE / "cli" / "scaffold"
_SHIPPED = _PACKAGE / "dodo_templates"  # in a wheel; in a checkout they lie beside the package
_FACES = _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent / "dodo_templates"
_FIRST = "sample_pipeline"
_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")
_RESERVED = ("global", "acl", "pit")
_STUB_OFF = "\n# stub = false  "
_LABELS = {"python": "Python", "sql": "SQL", "shell": "shell"}

type_option = click.option(
    "--type",
    "kind",
    type=click.Choice(list(_LABELS)),
    default="python",
    show_default=True,
    help="What the tasks are.",
)


@command("new", short_help="Make a workspace with a first project that runs.", workspace=False)
@click.argument("path", metavar="PATH")
@type_option
def new(settings: Settings, path: str, kind: str) -> None:
    """Make a workspace with a first project that runs as it is.

    PATH is a new or empty folder, or "." for the current one: what is in it stays as it is.
    """
    root = settings.root / Path(path).expanduser()
    here = Path(path) == Path()
    _check_free(root, here)
    root.parent.mkdir(parents=True, exist_ok=True)
    with _aside(root if here else root.parent) as made:
        _copy(_SCAFFOLD / "workspace", made, {"workspace_name": root.name})
        _copy(_FACES / "workspace", made, {})
        _write_schema(made)
        _copy_project(kind, made / "projects" / _FIRST, _FIRST)
        if kind == "sql":
            _wire_secrets(made)
        elif here and _secrets_of(root):
            _forbid_stubs(made / CONFIG_FILE)
        kept = _join(made, root) if here else []
        if not here:
            made.rename(root)
    versioned = _git_init(root)
    out = settings.console.out
    out(f'Created workspace "{root.name}" with the {_LABELS[kind]} project "{_FIRST}".')
    if versioned:
        out("It is a git repository; nothing is committed yet.")
    for name in kept:
        out(f"{name} was there already, and was not changed.")
    enter = "" if here else f"  cd {path}\n"
    out(f"\nNext:\n{enter}  pit validate\n  pit run {_FIRST}")


@command("init", short_help="Add a project to the workspace.")
@click.argument("name")
@type_option
def init(settings: Settings, name: str, kind: str) -> None:
    """Add a project to the workspace, in projects/NAME."""
    _check_name(name)
    _check_outside(settings)
    projects = settings.root / "projects"
    if twin := _twin(projects, name):
        raise ProjectExists(twin, "Choose another name")
    if not projects.exists():
        projects.mkdir()
        _ignore(_SCAFFOLD / "workspace/gitignore", settings.root)
    with _aside(settings.root) as made:
        _copy_project(kind, made, name)
        made.rename(projects / name)
    if not (settings.root / "pit.schema.json").exists():
        _write_schema(settings.root)
    if not os.path.lexists(settings.root / "dodo.py"):
        _copy(_FACES / "workspace", settings.root, {})
    out = settings.console.out
    place = os.path.relpath(projects / name)
    out(f'Created the {_LABELS[kind]} project "{name}" in {place}.')
    wired = kind != "sql" or _wire_secrets(settings.root)
    out("\nNext:")
    if not wired:
        out("  give the connection `warehouse` a database URL in your secrets file")
    out(f"  {settings.again('validate')}\n  {settings.again(f'run {name}')}")


# ---------------------------------------------------------------- places


def _check_free(root: Path, here: bool) -> None:
    """Refuse a folder that has something in it, the current one if it is a workspace already."""
    if here:
        for name in ("projects", "pit_config.toml"):
            if os.path.lexists(root / name):
                raise ProjectExists(root / name, "Add a project to it with: pit init NAME")
    elif os.path.lexists(root) and not _is_empty_folder(root):
        hint = "Choose another name; to make a workspace of a folder, go there: pit new ."
        raise ProjectExists(root, hint)


def _check_outside(settings: Settings) -> None:
    """Refuse to make a project while in another one, which is not where it would go."""
    here, projects = Path.cwd(), settings.root / "projects"
    inside = here.relative_to(projects).parts if here.is_relative_to(projects) else ()
    project = projects / inside[0] if inside else settings.root
    if (project / "pit.toml").exists():
        root = settings.root if inside else _above(project)
        raise BadArgument(
            f"{project} is a project, so another one cannot be made in it",
            f"Go to the workspace: cd {shlex.quote(str(root))}",
        )


def _above(project: Path) -> Path:
    """The workspace of a project that itself was named as one."""
    return project.parent.parent if project.parent.name == "projects" else project.parent


# ---------------------------------------------------------------- names


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadArgument(
            f'"{name}" cannot be the name of a project',
            "Use letters, digits, _ and -, beginning with a letter: my_pipeline",
        )
    if name.lower() in _RESERVED:
        raise BadArgument(f'"{name}" is reserved', "Choose another name")


def _twin(projects: Path, name: str) -> Path | None:
    """The folder that has this name already, whatever its letters' case."""
    if not projects.is_dir():
        return None
    return next((path for path in projects.iterdir() if path.name.lower() == name.lower()), None)


def package_name(name: str) -> str:
    """The Python package of a project: importable, and hiding no module of the standard library."""
    package = name.replace("-", "_").lower()
    taken = keyword.iskeyword(package) or package in sys.stdlib_module_names
    return f"{package}_pipeline" if taken else package


# ---------------------------------------------------------------- files


class _aside:
    """A temporary folder beside the place where it will be renamed to, gone if that fails."""

    def __init__(self, parent: Path) -> None:
        try:
            self._path = Path(tempfile.mkdtemp(prefix=".pit-new-", dir=parent))
        except (PermissionError, FileNotFoundError) as error:
            raise BadArgument(f"nothing can be made in {parent}: {error.strerror}") from error
        self._path.chmod(0o777 & ~_umask())

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _copy_project(kind: str, into: Path, name: str) -> None:
    _copy(_SCAFFOLD / kind, into, {"project_name": name, "package_name": package_name(name)})
    _copy(_FACES / "project", into, {})


def _copy(template: Path, into: Path, words: dict[str, str]) -> None:
    """Copy a template, its words replaced in paths and texts; `gitignore` gets its dot."""
    for source in sorted(template.rglob("*")):
        relative = _replaced(str(source.relative_to(template)), words)
        if source.is_dir() or source.suffix == ".pyc" or relative == "secrets.toml":
            continue
        target = into / (".gitignore" if relative == "gitignore" else relative)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_replaced(source.read_text("utf-8"), words), "utf-8")
        if target.suffix == ".sh":
            target.chmod(0o777 & ~_umask())


def _join(made: Path, root: Path) -> list[str]:
    """Move what was made into a folder that has files already; which of its own stayed."""
    kept = []
    for source in sorted(made.iterdir()):
        if not os.path.lexists(root / source.name):
            source.rename(root / source.name)
        elif source.name == ".gitignore":
            _ignore(source, root)
        else:
            kept.append(source.name)
    return kept


def _ignore(template: Path, root: Path) -> None:
    """Have git ignore what a template lists and the workspace's .gitignore does not."""
    target = root / ".gitignore"
    text = target.read_text("utf-8", "surrogateescape") if target.exists() else ""
    known = set(text.splitlines())
    lacking = [line for line in template.read_text("utf-8").splitlines() if line not in known]
    if text:
        lacking = ["", *filter(None, lacking)]
        text = text.rstrip("\n") + "\n"
    target.write_text(text + "\n".join(lacking) + "\n", "utf-8", "surrogateescape")


def _replaced(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _write_schema(root: Path) -> None:
    from pit.config.keys.schema import json_schema

    text = msgspec.json.format(msgspec.json.encode(json_schema())).decode()
    (root / "pit.schema.json").write_text(text + "\n", "utf-8")


def _wire_secrets(root: Path) -> bool:
    """Give the workspace a secrets file with the connection `warehouse`, unless it has its own.

    Of its configuration a line that `pit new` wrote is changed, and nothing else.
    """
    config = root / CONFIG_FILE
    if not config.exists():
        config.write_text((_SCAFFOLD / "workspace" / CONFIG_FILE).read_text("utf-8"), "utf-8")
    if _secrets_of(root):
        return False
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(root / SECRETS_FILES[0], flags, 0o600), "w", encoding="utf-8") as file:
        file.write((_SCAFFOLD / "sql/secrets.toml").read_text("utf-8"))
    _forbid_stubs(config)
    return True


def _secrets_of(root: Path) -> bool:
    """Whether a workspace has a secrets file, or names one."""
    return load_workspace_config(root).secrets_file is not None


def _forbid_stubs(config: Path) -> None:
    """Where there are secrets, SQL that is not executed is a failure."""
    text = config.read_text("utf-8")
    config.write_text(text.replace(_STUB_OFF, f"\n{_STUB_OFF[3:]}  ", 1), "utf-8")


def _git_init(root: Path) -> bool:
    """Make the workspace a git repository, if git is there and it is not inside one already."""
    git = shutil.which("git")
    inside = any((each / ".git").exists() for each in (root, *root.resolve().parents))
    if git is None or inside:
        return False
    from pit.state.secrets.identities import withheld
    from pit.work.process import launch

    code, _ = launch.capture((git, "init", "--quiet"), cwd=str(root), env=withheld(os.environ))
    return code == 0
