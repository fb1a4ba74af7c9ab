"""`examples/reports` in a copy, by the real command: what runs after which change.

The tests share one workspace and stand in the order in which a person would do things.
"""

from __future__ import annotations

import csv
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from tests.builder import Pit
from tests.examples.test_flights import MADE_BY_PIT, executed

EXAMPLE = Path(__file__).parents[2] / "examples" / "reports"
DAG = "weather_reports"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Pit:
    """A copy of the example in which everything has been made once."""
    root = tmp_path_factory.mktemp("examples") / "reports"
    shutil.copytree(EXAMPLE, root, ignore=MADE_BY_PIT)
    pit = Pit(root).project(DAG)
    assert sum(ran(pit).values()) == 146
    return pit


def ran(reports: Pit) -> Counter[str]:
    """How many instances of each task a run executes."""
    return Counter(task.partition(":")[0] for task in executed(reports, DAG))


def edit(reports: Pit, path: str, old: str, new: str) -> None:
    """Replace a piece of one file of the project."""
    text = (reports.folder / path).read_text()
    assert text.count(old) == 1
    reports.file(path, text.replace(old, new))


def shown(reports: Pit, chart: str) -> list[str]:
    """The texts on a chart."""
    return [text.text or "" for text in ET.parse(reports.folder / chart).iter(f"{SVG}text")]


def test_a_second_run_finds_nothing_to_do(reports: Pit) -> None:
    assert "nothing to do: 146 tasks are current" in reports.run("run", DAG).ok().out


def test_each_chart_is_a_whole_svg_and_the_page_holds_them_all(reports: Pit) -> None:
    charts = sorted(reports.folder.glob("out/*/*.svg"))
    assert len(charts) == 108
    for chart in charts:
        assert ET.parse(chart).getroot().tag == f"{SVG}svg"
    assert (reports.folder / "out/index.html").read_text().count("<svg ") == 108


def test_a_chart_shows_what_the_source_says(reports: Pit) -> None:
    with (reports.folder / "build/weather.csv").open(newline="") as file:
        inches = sum(
            float(row["precip"])
            for row in csv.DictReader(file)
            if (row["origin"], row["month"]) == ("LGA", "6")
        )
    assert f"{inches * 25.4:.0f} mm" in shown(reports, "out/LGA/2013-06-rain.svg")


def test_a_chart_that_was_deleted_is_drawn_again_alone(reports: Pit) -> None:
    chart = reports.folder / "out/JFK/2013-07-wind.svg"
    before = chart.read_bytes()
    chart.unlink()
    assert ran(reports) == {"wind": 1}
    assert chart.read_bytes() == before


def test_code_counts_for_what_imports_it_and_comments_for_nothing(reports: Pit) -> None:
    edit(reports, "tasks/wind.py", 'GUST = "#e0784f"', 'GUST = "#e0784f"  # as bricks are')
    assert ran(reports) == {}
    edit(reports, "tasks/wind.py", 'GUST = "#e0784f"', 'GUST = "#d0483f"')
    assert ran(reports) == {"wind": 36, "index": 1}


def test_what_comes_out_as_it_was_stops_the_wave(reports: Pit) -> None:
    edit(reports, "tasks/month.py", "FASTEST = 200", "FASTEST = 2000")
    assert ran(reports) == {"month": 36, "temperature": 1, "wind": 1, "rain": 1, "index": 1}


def test_a_remark_concerns_the_page_alone(reports: Pit) -> None:
    edit(reports, "months.csv", "Calm and warm.", "Warm and calm.")
    assert ran(reports) == {"index": 1}
    assert "Warm and calm." in (reports.folder / "out/index.html").read_text()
