"""In which table of the secrets file a connection is that a person names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pit.errors import BadArgument, SecretNotFound, SecretRefused

if TYPE_CHECKING:
    from pit.state.secrets.secrets import Secrets


def scope_of(secrets: Secrets, name: str, dag: str | None) -> str:
    """The table in which a connection is: that of `dag`, else [global], else the only one."""
    from pit.state.secrets.secretfile import GLOBAL

    if dag is not None:
        return dag
    having = [scope for scope in secrets.scopes if name in secrets.entries(scope)]
    if name in secrets.acl and GLOBAL in having:
        raise SecretRefused(
            name,
            f'secret "{name}" is for some DAGs only',
            f"Say for which: --dag {secrets.acl[name][0] if secrets.acl[name] else 'NAME'}",
        )
    if GLOBAL in having or not having:
        if not having:
            raise SecretNotFound(name, GLOBAL)
        return GLOBAL
    if len(having) > 1:
        dags = ", ".join(having)
        raise BadArgument(f'several DAGs have a secret "{name}": {dags}', "Say which: --dag NAME")
    return having[0]
