"""The comparison's page in a real browser: offline, on a phone, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdfkd.tuning.comparison import Comparison
from fastdfkd.tuning.comparison_pictures import draw_all
from fastdfkd.tuning.comparison_table import comparison_table, words
from fastdfkd.tuning.html_report import render
from tests.tuning.browser import Browser

PHONE = (390, 844)
READABLE = 7.0
"""Contrast of text: WCAG 2.2, level AAA."""


@pytest.fixture
def report(comparison: Comparison, tmp_path: Path) -> Path:
    draw_all(comparison, tmp_path)
    table = comparison_table(comparison)
    path = tmp_path / "report.html"
    path.write_text(render(comparison, table, words(comparison, table), tmp_path))
    return path


def test_the_report_opens_offline_on_a_phone_and_asks_for_nothing(
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
    assert width <= PHONE[0], "only the table moves sideways, not the page"
    assert browser.run("[...document.images].every(i => i.width <= innerWidth)")
    size = browser.run("parseFloat(getComputedStyle(document.querySelector('p')).fontSize)")
    assert size >= 15
    wide = "(e => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX === 'auto')"
    assert browser.run(f"{wide}(document.querySelector('.scroll'))")


def test_text_stands_out_in_light_and_in_dark(report: Path, browser: Browser) -> None:
    papers = []
    for dark in (False, True):
        browser.show(*PHONE, dark=dark)
        browser.open(report.as_uri())
        ink, paper = luminance(browser, "color"), luminance(browser, "backgroundColor")
        marked = luminance(browser, "backgroundColor", ".mark td")
        assert contrast(ink, paper) >= READABLE
        assert contrast(ink, marked) >= READABLE
        papers.append(paper)
    assert papers[0] > 0.8
    assert papers[1] < 0.1


def luminance(browser: Browser, name: str, element: str = "body") -> float:
    """Relative luminance of a colour, 0 to 1, as WCAG 2.2 defines it."""
    text = browser.run(f"getComputedStyle(document.querySelector('{element}')).{name}")
    shares = [int(part) / 255 for part in text.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: float, second: float) -> float:
    low, high = sorted((first, second))
    return (high + 0.05) / (low + 0.05)
