"""Checks build/*.parquet against the rules in flights_ingest.tables; what holds goes to out/.

By hand, after the extracts:  uv run tasks/validate.py
"""

import shutil
import sys
from pathlib import Path

import polars as pl

from flights_ingest.tables import TABLES, Table


def broken_rules(table: Table, frames: dict[str, pl.DataFrame]) -> list[str]:
    """One sentence for each rule that the table's rows break."""
    frame = frames[table.name]
    broken = []
    if frame.height < table.least_rows:
        broken.append(f"{frame.height:,} rows, expected at least {table.least_rows:,}")
    if missing := frame.select(pl.any_horizontal(pl.col(table.key).is_null()).sum()).item():
        broken.append(f"{missing:,} rows lack a part of the key {table.key}")
    if doubled := frame.height - frame.select(table.key).n_unique():
        broken.append(f"{doubled:,} rows repeat the key {table.key}")
    for column, (other, key) in table.references.items():
        unknown = set(frame[column].drop_nulls()) - set(frames[other][key])
        if unknown:
            broken.append(f"{column} has values unknown to {other}: {sorted(unknown)}")
    return broken


frames = {name: pl.read_parquet(f"build/{name}.parquet") for name in TABLES}
failed = False
for table in TABLES.values():
    broken = broken_rules(table, frames)
    failed |= bool(broken)
    print(f"{table.name:10} {frames[table.name].height:>9,} rows  {'; '.join(broken) or 'ok'}")
if failed:
    sys.exit("the data breaks rules; nothing is published")

Path("out").mkdir(exist_ok=True)
for name in TABLES:
    shutil.copy(f"build/{name}.parquet", f"out/{name}.parquet")
