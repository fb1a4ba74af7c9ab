"""Tables that tasks share, for scripts that import `pit_sdk.data`."""

from pit.sdk import load_data as load_data
from pit.sdk import read_input as read_input
from pit.sdk import write_output as write_output
