"""The two methods that hand out secrets."""

from __future__ import annotations

from pit.errors import Refused, nearest
from pit.model import Record
from pit.work.socket.call import Call, Method, Secret


class GetSecret(Record):
    """Which secret."""

    key: str


class GetSecretField(Record):
    """Which secret, and which of its fields."""

    secret: str
    field: str


def get_secret(call: Call, params: GetSecret) -> str:
    """A secret's value; that of a structured one is a JSON object, its fields in order."""
    return whole(call.secret(params.key))


def get_secret_field(call: Call, params: GetSecretField) -> str:
    """One field of a structured secret."""
    return field_of(call.secret(params.secret), params)


def whole(value: Secret) -> str:
    """A secret as text."""
    if isinstance(value, str):
        return value
    import json  # as the predecessor wrote it: sorted, with a space after each colon

    return json.dumps(dict(sorted(value.items())), ensure_ascii=False)


def field_of(value: Secret, params: GetSecretField) -> str:
    """The field of a structured secret; Refused where there is none of that name."""
    if isinstance(value, str):
        raise Refused(
            f'secret "{params.secret}" is a plain value, it has no fields', "Use get_secret"
        )
    if params.field not in value:
        near = nearest(params.field[:60], value)
        raise Refused(
            f'field "{params.field[:60]}" not found in secret "{params.secret}"',
            f'Did you mean "{near}"?' if near else f"It has: {', '.join(sorted(value))}",
        )
    return value[params.field]


METHODS = {
    "get_secret": Method(params=GetSecret, serve=get_secret),
    "get_secret_field": Method(params=GetSecretField, serve=get_secret_field),
}
