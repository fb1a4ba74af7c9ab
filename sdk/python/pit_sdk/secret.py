"""Secrets, for scripts that import `pit_sdk.secret`."""

from pit.sdk import get_secret as get_secret
from pit.sdk import get_secret_field as get_secret_field
