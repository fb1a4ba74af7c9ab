"""Databases, for scripts that import `pit_sdk.db`."""

from pit.sdk import output_sql as output_sql
from pit.sdk import read_sql as read_sql
