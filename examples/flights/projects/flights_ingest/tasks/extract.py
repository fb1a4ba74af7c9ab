"""Reads one table from the package and writes build/<table>.parquet.

By hand, from the project's folder:  PIT_MATRIX_TABLE=airlines uv run tasks/extract.py
"""

import os
from pathlib import Path

from flights_ingest import source
from flights_ingest.tables import TABLES

table = TABLES[os.environ["PIT_MATRIX_TABLE"]]
frame = source.read(table)

Path("build").mkdir(exist_ok=True)
frame.write_parquet(f"build/{table.name}.parquet")
print(f"{table.name}: {frame.height:,} rows, {frame.width} columns")
