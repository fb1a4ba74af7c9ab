"""Puts all charts on one page, out/index.html, month by month.

By hand, after the charts:  uv run tasks/index.py
"""

import calendar
import csv
from html import escape
from pathlib import Path

from weather_reports.readings import names

STYLE = """
body { margin: 0 auto; padding: 2rem; max-width: 1760px; background: #f2f4f7; color: #1d2733;
       font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif }
h1 { margin: 0 0 .3rem } h2 { margin: 2.5rem 0 .2rem } p { margin: 0 0 1rem; color: #4f5b69 }
nav a { margin-right: .8rem; color: inherit }
section div { display: grid; gap: 1rem;
              grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)) }
svg { width: 100%; box-shadow: 0 1px 3px #0002; border-radius: 10px }
"""

with Path("months.csv").open(newline="") as file:
    months = {row["month"]: row["remark"] for row in csv.DictReader(file)}
airports = names()


def title(month: str) -> str:
    """A month as people say it."""
    year, number = month.split("-")
    return f"{calendar.month_name[int(number)]} {year}"


def section(month: str, remark: str) -> str:
    """One month with its charts, a row for each airport."""
    found = [
        path
        for airport in airports
        for path in sorted(Path(f"out/{airport}").glob(f"{month}-*.svg"))
    ]
    charts = "\n".join(path.read_text() for path in found)
    heading = f'<h2 id="{month}">{title(month)}</h2><p>{escape(remark)}</p>'
    return f"<section>{heading}<div>\n{charts}</div></section>\n"


sections = "".join(section(month, remark) for month, remark in months.items())
links = "".join(f'<a href="#{month}">{title(month).split()[0]}</a>' for month in months)
page = (
    f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Weather in New York</title>\n'
    f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>\n'
    f"<h1>The weather at New York's airports</h1>\n<p>{escape(', '.join(airports.values()))}</p>\n"
    f"<nav>{links}</nav>\n{sections}</html>\n"
)
Path("out").mkdir(exist_ok=True)
Path("out/index.html").write_text(page)
print(f"{page.count('<svg '):,} charts, {len(page.encode()):,} bytes")
