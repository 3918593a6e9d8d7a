"""`report.html` in a real browser: offline, on a phone, in the light and the dark theme."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from fastdfkd.comparison.html_report import render
from fastdfkd.comparison.pictures import draw_all
from fastdfkd.comparison.records import Comparison
from fastdfkd.comparison.table import comparison_table, markdown_page, table_notes
from fastdfkd.runs.profile import Profile
from fastdfkd.runs.result import RunResult
from tests.browser import Browser
from tests.hostile import HEBREW, TEXTS
from tests.report.pages import contrast, luminance, plain, shown

PHONE = (390, 844)
READABLE = 7.0
"""Contrast ratio of text, WCAG 2.2 level AAA."""


@pytest.fixture
def report(comparison: Comparison, tmp_path: Path) -> Path:
    draw_all(comparison, tmp_path)
    table = comparison_table(comparison)
    path = tmp_path / "report.html"
    path.write_text(render(comparison, table, table_notes(comparison, table), tmp_path))
    return path


def test_the_report_opens_offline_on_a_phone_and_loads_nothing(
    report: Path, browser: Browser
) -> None:
    browser.show(*PHONE, offline=True)
    browser.open(report.as_uri())
    assert [url for url in browser.requests if not url.startswith("data:")] == [report.as_uri()]
    assert browser.run("document.title") == "Against <slow>"
    assert browser.run("document.querySelectorAll('tbody tr').length") == 3
    assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 300)")
    assert browser.run("document.images.length") == 3
    width = browser.run("document.documentElement.scrollWidth")
    assert width <= PHONE[0], "the table scrolls sideways, the page does not"
    assert browser.run("[...document.images].every(i => i.width <= innerWidth)")
    size = browser.run("parseFloat(getComputedStyle(document.querySelector('p')).fontSize)")
    assert size >= 15
    wide = "(e => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX === 'auto')"
    assert browser.run(f"{wide}(document.querySelector('.scroll'))")


def test_text_has_enough_contrast_in_both_themes(report: Path, browser: Browser) -> None:
    backgrounds = []
    for dark in (False, True):
        browser.show(*PHONE, dark=dark)
        browser.open(report.as_uri())
        text, background = colour(browser, "color"), colour(browser, "backgroundColor")
        marked = colour(browser, "backgroundColor", ".mark td")
        assert contrast(text, background) >= READABLE
        assert contrast(text, marked) >= READABLE
        backgrounds.append(luminance(background))
    assert backgrounds[0] > 0.8
    assert backgrounds[1] < 0.1


def colour(browser: Browser, name: str, element: str = "body") -> list[float]:
    """Red, green and blue, 0 to 255."""
    text = browser.run(f"getComputedStyle(document.querySelector('{element}')).{name}")
    return [float(part) for part in text.removeprefix("rgb(").removesuffix(")").split(",")]


def test_hostile_text_is_shown_as_text(
    comparison: Comparison, tmp_path: Path, browser: Browser
) -> None:
    """In the report, and in the Markdown table as a viewer renders it."""
    texts = [text.replace("\ud800", "") for text in TEXTS]  # UTF-8 files cannot contain it
    names = dict(zip(comparison.runs, [f"x {text}" for text in texts], strict=False))
    runs = {new: comparison.runs[old] for old, new in names.items()}
    for number, text in enumerate(texts[len(runs) :]):
        runs[f"{number} {text}"] = comparison.runs["quick"]
    runs = {
        label: [replace(run, label=label, result=_hostile(run.result, label)) for run in group]
        for label, group in runs.items()
    }
    hostile = Comparison(
        reference=names["slow"], runs=runs, target_accuracy=0.85, title=f"Against {names['slow']}"
    )
    table = comparison_table(hostile)
    notes = table_notes(hostile, table)
    (tmp_path / "report.html").write_text(render(hostile, table, notes, tmp_path))
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    page = "<meta charset=utf-8><title>table</title>" + reader.render(
        markdown_page(hostile, table, notes)
    )
    (tmp_path / "table.html").write_text(page)
    for name, title in (("report.html", shown(hostile.title)), ("table.html", "table")):
        browser.show(*PHONE)
        browser.open((tmp_path / name).as_uri())
        assert plain(browser.run("document.title")) == title
        injected = "script, a, em, del, code, td img, p img, li, h2, b, i"
        assert browser.run(f"document.querySelectorAll('{injected}').length") == 0
        cells = browser.run(
            "[...document.querySelectorAll('td:first-child')].map(e => e.innerText)"
        )
        for label, cell in zip(runs, cells, strict=True):
            assert plain(cell).startswith(shown(label))
        body = plain(browser.run("document.body.innerText"))
        for label in runs:
            assert f"processor of {shown(label)}" in body
        marks = browser.run(LEFT_EDGES.replace("HEBREW", HEBREW))
        assert marks == sorted(marks), "text beside right-to-left words keeps its place"


LEFT_EDGES = """
(() => {
  const cell = [...document.querySelectorAll('td:first-child')]
    .find(e => e.innerText.includes('HEBREW')).firstChild;
  const edge = word => {
    const range = document.createRange(), at = cell.data.indexOf(word);
    range.setStart(cell, at); range.setEnd(cell, at + word.length);
    return range.getBoundingClientRect().left;
  };
  return ['HEBREW', '12'].map(edge);
})()
"""


def _hostile(result: RunResult, label: str) -> RunResult:
    hardware = {"cores": 2, "processor": f"processor of {label}"}
    return result.model_copy(update={"hardware": hardware, "commit": label})


def test_the_report_has_a_table_for_each_profiled_setting(
    comparison: Comparison, tmp_path: Path
) -> None:
    table = comparison_table(comparison)
    before = render(comparison, table, [], tmp_path)
    assert "as they are deployed" not in before
    program = {
        "network": "student",
        "runtime": "torch",
        "numbers": "float32",
        "parameters": 1234,
        "macs": 5_600_000,
        "file_bytes": 250_000,
        "peak_memory_bytes": 3_000_000,
        "seconds": {1: 0.0012, 64: 0.25},
        "figures": {"accuracy": 0.875},
        "agreement": 0.75,
        "same_class": 1.0,
    }
    profile = Profile.model_validate(
        {
            "recipe": "quick",
            "programs": [program],
            "compared_on": "held-out real images",
            "images": 100,
            "figure_names": {"accuracy": "accuracy"},
            "threads": 2,
            "rounds": 9,
            "calibrated_on": None,
            "hardware": {"processor": "<b>", "cores": 2.0},
            "versions": {"torch": "2.13"},
            "commit": "unknown",
            "notes": ["left & out"],
        }
    )
    profile.save(comparison.runs["quick"][0].folder)
    page = render(comparison, table, [], tmp_path)
    assert page.count("as they are deployed</h2>") == 1
    assert "quick: teacher and student as they are deployed" in page
    cells = ("1,234", "5.6 M", "250 kB", "3 MB", "1.2 ms", "250 ms", "87.5%", "75.0%", "100.0%")
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    assert f"<td>student, torch, float32</td>{row}" in page
    assert "2 threads (&lt;b&gt;, 2 cores; torch 2.13" in page
    assert "left &amp; out" in page
