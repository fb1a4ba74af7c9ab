"""All claims in one file, in euros."""

import csv
import json
from decimal import Decimal

from pit.sdk import data_dir, set_value

rates = json.loads((data_dir() / "rates.json").read_text(), parse_float=Decimal)["rates"]
claims, total = 0, Decimal(0)
with (data_dir() / "claims.csv").open("w", newline="") as target:
    writer = csv.writer(target)
    writer.writerow(["insurer", "claim", "euros"])
    for path in sorted((data_dir() / "raw").glob("claims-*.csv")):
        with path.open(newline="") as source:
            for row in csv.DictReader(source):
                euros = round(Decimal(row["amount"]) / Decimal(rates[row["currency"]]), 2)
                writer.writerow([path.stem.removeprefix("claims-"), row["claim"], euros])
                claims, total = claims + 1, total + euros

print(f"{claims} claims, {total} euros")
set_value("claims", claims)
set_value("euros", str(total))
