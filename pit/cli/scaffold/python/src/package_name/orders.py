"""Orders: reading, cleaning, totalling and writing them."""

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

Row = dict[str, str]


def read(path: str) -> list[Row]:
    """The rows of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: str, rows: list[Row]) -> None:
    """Write rows as CSV; missing folders are created."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def clean(rows: Iterable[Row]) -> list[Row]:
    """The orders that have an amount, without duplicates, with uniform region names."""
    seen: dict[str, Row] = {}
    for row in rows:
        if row["amount"]:
            seen[row["order_id"]] = row | {"region": row["region"].strip().title()}
    return list(seen.values())


def totals(rows: Iterable[Row]) -> list[Row]:
    """Orders and amount per region, the largest first."""
    amounts: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        amounts[row["region"]].append(float(row["amount"]))
    largest_first = sorted(amounts.items(), key=lambda item: -sum(item[1]))
    return [
        {"region": region, "orders": str(len(found)), "amount": f"{sum(found):.2f}"}
        for region, found in largest_first
    ]
