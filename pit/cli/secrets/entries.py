"""`pit secrets set`, `get`, `list` and `remove`: single entries of the secrets file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from pit.cli.complete import complete_dag
from pit.cli.options import Settings, command, json_option
from pit.cli.secrets import typed
from pit.cli.secrets.context import Context, apply, structured
from pit.cli.terminal.console import Column, count
from pit.errors import BadArgument, SecretNotFound, UnknownDag
from pit.state.secrets import recipients
from pit.state.secrets.edit import Edit
from pit.state.secrets.secretfile import ACL, GLOBAL, Place, Secret
from pit.state.secrets.secrets import Secrets
from pit.views.secrets import RecipientView, SecretView, secret_views

# What is no secret by itself, and may well be typed on the command line.
_OPEN_FIELDS = frozenset({"host", "port", "user", "database", "schema", "driver", "path"})

_scope = click.argument("scope", metavar="SCOPE", shell_complete=complete_dag)
_key = click.argument("key", metavar="KEY")


@command("set", short_help="Set a secret, or some of its fields.")
@_scope
@_key
@click.argument("value", required=False)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Set this field of a structured secret, and keep the others (repeatable).",
)
@click.option(
    "--only",
    multiple=True,
    metavar="DAG",
    help="Only this DAG may have the entry of [global] (repeatable).",
)
@click.option("--everybody", is_flag=True, help="Every DAG may have the entry of [global] again.")
def set_secret(
    settings: Settings,
    scope: str,
    key: str,
    value: str | None,
    fields: Sequence[str],
    only: Sequence[str],
    everybody: bool,
) -> None:
    """Set a secret, or some of its fields.

    The value is asked for, and not shown; `-` or a pipe takes it from standard input. A VALUE on
    the command line works too, and stands in the shell's history and the list of processes.

    \b
    pit secrets set global api_key
    pit secrets set sales warehouse --field host=db.example.org --field password
    base64 < key.p12 | pit secrets set sales certificate -
    """
    context = Context.of(settings)
    _check_scope(context, scope, key)
    _check_access(context, scope, only, everybody)
    place = context.place()
    edit = Edit(place.path)
    nothing_else = bool(only or everybody) and value is None and not fields
    if nothing_else and key in _present(place, scope):
        change = partial(_access, edit, key=key, only=only)
    elif fields:
        if value is not None:
            raise BadArgument("give a value or fields, not both")
        given = _fields(settings, f"{scope}.{key}", fields)
        change = partial(_changed, edit, scope, key, given, only, everybody)
    else:
        text = _value(settings, f"{scope}.{key}", value)
        change = partial(_changed, edit, scope, key, text, only, everybody)
    apply(context, place, change)
    where = f"[{scope}]" if scope == GLOBAL else f'["{scope}"]'
    settings.console.out(f'Secret "{key}" set in {where} of {place.path}')


def _changed(
    edit: Edit,
    scope: str,
    key: str,
    given: Secret,
    only: Sequence[str],
    everybody: bool,
    plain: bytes,
) -> bytes:
    if isinstance(given, dict):
        made = edit.put_fields(plain, scope, key, given)
    elif isinstance(old := edit.entries(plain, scope).get(key), dict):
        raise BadArgument(
            f'"{key}" in [{scope}] has fields ({", ".join(old)}), which one value would replace',
            f"Set one of them with --field, or first: pit secrets remove {scope} {key}",
        )
    else:
        made = edit.put(plain, scope, key, given)
    return _access(edit, made, key=key, only=only) if only or everybody else made


def _access(edit: Edit, plain: bytes, *, key: str, only: Sequence[str]) -> bytes:
    return edit.restrict(plain, key, list(dict.fromkeys(only)) or None)


def _check_scope(context: Context, scope: str, key: str) -> None:
    if scope == ACL:
        raise BadArgument(
            f"[{ACL}] holds no secrets",
            f"Say who may have one: pit secrets set {GLOBAL} KEY --only DAG",
        )
    if not scope.strip() or not key.strip() or not f"{scope}{key}".isprintable():
        raise BadArgument("scope and key must be names")
    if scope != GLOBAL:
        _warn_of_unknown(context, [scope])


def _warn_of_unknown(context: Context, dags: Sequence[str]) -> None:
    workspace = context.settings.workspace()
    known = {*workspace.dags, *workspace.broken}
    for dag in dags:
        if known and dag not in known:
            hint = UnknownDag(dag, sorted(known)).hint
            context.settings.console.warning(f'there is no DAG "{dag}" in this workspace', hint)


def _check_access(context: Context, scope: str, only: Sequence[str], everybody: bool) -> None:
    if (only or everybody) and scope != GLOBAL:
        raise BadArgument(
            f"--only and --everybody are for entries of [{GLOBAL}]",
            "The table of a DAG is for that DAG alone as it is",
        )
    if only and everybody:
        raise BadArgument("--only and --everybody say opposite things")
    if only:
        _warn_of_unknown(context, only)


def _present(place: Place, scope: str) -> set[str]:
    if not place.path.exists():
        return set()
    return set(structured(place.path, place.read().plain).scopes.get(scope, {}))


def _value(settings: Settings, what: str, given: str | None) -> str:
    if given is None or given == "-":
        return typed.value(settings.console, what, piped=given == "-")
    _warn_of_argv(settings)
    return _checked(given, what)


def _checked(value: str, what: str) -> str:
    """A value of the command line; BadArgument for what a variable that is not set leaves there."""
    if not value:
        raise BadArgument(
            f"the value of {what} is empty, and nothing was changed",
            "To remove it: pit secrets remove",
        )
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise BadArgument(f"the value of {what} is not UTF-8 text; encode it, as with base64")
    return value


def _fields(settings: Settings, what: str, given: Sequence[str]) -> dict[str, str]:
    names = [field.partition("=")[0] for field in given]
    asked = [field for field in given if "=" not in field]
    if not all(name.strip() and name.isprintable() for name in names):
        raise BadArgument("--field has no name", "Write --field NAME, or --field NAME=VALUE")
    if len(set(names)) < len(names):
        raise BadArgument("a field is given twice")
    if any("=" in each and each.partition("=")[0] not in _OPEN_FIELDS for each in given):
        _warn_of_argv(settings)
    if len(asked) > 1 and typed.is_piped():
        raise BadArgument(
            f"{len(asked)} fields have no value, and one can be piped in",
            "Set them one by one, or at a terminal",
        )
    found = {}
    for field in given:
        name, is_given, value = field.partition("=")
        of = f"{what}.{name}"
        found[name] = _checked(value, of) if is_given else typed.value(settings.console, of)
    return found


def _warn_of_argv(settings: Settings) -> None:
    settings.console.warning(
        "a value on the command line stays in the shell's history and can be seen by other users",
        "Leave it out to be asked for it, or pipe it in",
    )


# ---------------------------------------------------------------------------------------- looking


@command("get", short_help="Print a secret, as a DAG would get it.")
@_scope
@_key
@click.option("--field", metavar="NAME", help="Print this field of a structured secret.")
@json_option
def get(settings: Settings, scope: str, key: str, field: str | None, as_json: bool) -> None:
    """Print a secret, as the DAG called SCOPE would get it: its own, else that of [global].

    A structured one is printed as JSON.
    """
    context = Context.of(settings)
    content = context.read()
    found = structured(content.path, content.plain)
    # [acl] is about DAGs: it keeps nobody from the table itself.
    rules = {} if scope == GLOBAL else found.acl
    value = Secrets(content.path, found.scopes, rules).resolve(scope, key)
    if field is not None:
        if not isinstance(value, dict) or field not in value:
            raise SecretNotFound(key, scope, field)
        value = value[field]
    context.record([("read", scope, key)], content.path)
    if as_json or isinstance(value, dict):
        settings.console.json(value)
    else:
        settings.console.out(value)


@command("list", short_help="List names, never values.")
@click.argument("scope", required=False)
@click.option("--recipients", "people", is_flag=True, help="List who can read the file instead.")
@json_option
def list_secrets(settings: Settings, scope: str | None, people: bool, as_json: bool) -> None:
    """List the names of the secrets, of one SCOPE or all, and who may have them; never a value."""
    context = Context.of(settings)
    if people:
        return _list_recipients(settings, context, as_json)
    content = context.read()
    listed = list(secret_views(structured(content.path, content.plain), scope))
    if as_json:
        settings.console.json(listed)
    elif not listed:
        within = f" in [{scope}]" if scope else ""
        settings.console.out(f"There are no secrets{within} in {content.path}.")
    else:
        columns = [Column("SCOPE"), Column("NAME"), Column("KIND", flexible=True), Column("FOR")]
        settings.console.table(columns, [_row(each) for each in listed])
    return None


def _row(listed: SecretView) -> tuple[str, str, str, str]:
    kind = ", ".join(listed.fields) or listed.kind
    if listed.scope != GLOBAL:
        return listed.scope, listed.name, kind, listed.scope
    allowed = "every DAG" if listed.only is None else ", ".join(listed.only) or "nobody"
    return listed.scope, listed.name, kind, allowed


def _list_recipients(settings: Settings, context: Context, as_json: bool) -> None:
    path = recipients.file_for(context.config, context.path)
    found = recipients.read(path)
    if as_json:
        settings.console.json([RecipientView(key=each.key, name=each.comment) for each in found])
    elif not found:
        settings.console.out(f"There are no recipients in {path}.")
    else:
        settings.console.table([Column(""), Column("")], [(r.key, r.comment) for r in found])


# --------------------------------------------------------------------------------------- removing


@command("remove", short_help="Remove a secret, or some of its fields.")
@_scope
@_key
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME",
    help="Remove this field of a structured secret, and keep the others (repeatable).",
)
def remove(settings: Settings, scope: str, key: str, fields: Sequence[str]) -> None:
    """Remove a secret, or some of its fields, and what [acl] says of it."""
    context = Context.of(settings)
    place = context.place()
    _must_exist(context, place.path)
    edit = Edit(place.path)
    apply(context, place, lambda plain: edit.remove(plain, scope, key, fields))
    what = f'{count(len(fields), "field")} of secret "{key}"' if fields else f'Secret "{key}"'
    settings.console.out(f"{what} removed from [{scope}] of {place.path}")


def _must_exist(context: Context, path: Path) -> None:
    if not path.exists():
        context.read()  # says what is wrong
