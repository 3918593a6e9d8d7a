from __future__ import annotations

import csv
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fastdfkd.report.table import csv_text, markdown_table
from fastdfkd.runs.metrics import RowFile, read_rows
from fastdfkd.text.safe_text import (
    csv_cell,
    file_name,
    lines,
    markdown,
    metric_name,
    printable,
    run_name,
    visible,
)
from tests.hostile import HEBREW, TEXTS

ISOLATES = str.maketrans("", "", "\u2068\u2069")
anything = st.one_of(st.sampled_from(TEXTS), st.text(max_size=40))


class Words(HTMLParser):
    """The text of a page, and the tags that are in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)


@given(anything)
def test_visible_text_is_one_printable_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text
    assert visible(text).translate(ISOLATES) == shown


def test_control_and_direction_characters_are_escaped() -> None:
    assert printable("\x1b[31mred\u202e\n") == "\\x1b[31mred\\u202e\\n"
    assert lines("one\ntwo\x07") == "one\ntwo\\x07", "line breaks stay"


def test_right_to_left_words_do_not_reorder_the_text_next_to_them() -> None:
    assert visible(f"{HEBREW} 12 (1x)") == f"\u2068{HEBREW}\u2069 12 (1x)"
    assert visible(f"a {HEBREW} b {HEBREW}") == f"a \u2068{HEBREW}\u2069 b \u2068{HEBREW}\u2069"


@given(anything)
def test_markdown_shows_the_text_in_paragraph_heading_and_cell(text: str) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    wanted = " ".join(visible(text).split())
    for source, allowed in (
        (f"{markdown(text)} end", {"p"}),
        (f"# {markdown(text)} end", {"h1"}),
        (markdown_table(["a", "b"], [["x", text]]), {"table", "thead", "tbody", "tr", "th", "td"}),
    ):
        page = Words(reader.render(source))
        assert page.tags <= allowed, source
        assert wanted in " ".join(page.text.split()), source


@given(anything)
def test_no_cell_of_a_csv_is_a_formula_and_numbers_stay(text: str) -> None:
    text = text.encode(errors="replace").decode()  # pandas refuses lone surrogates
    table = pd.DataFrame({"setting": [text, "b"], "value": [-0.5, 2.0], "count": [-1, 3]})
    rows = list(csv.DictReader(io.StringIO(csv_text(table).removeprefix("\ufeff"))))
    assert len(rows) == 2
    cell = rows[0]["setting"]
    assert cell.removeprefix("'") == printable(text).removeprefix("'")
    assert not re.match("[=+@\t\r\uff1d\uff0b\uff20\uff0d-]", cell) or float(cell) is not None
    assert [row["value"] for row in rows] == ["-0.5", "2.0"]
    assert [row["count"] for row in rows] == ["-1", "3"]


def test_a_csv_with_non_ascii_text_has_a_byte_order_mark_and_pandas_reads_it() -> None:
    table = pd.DataFrame({"setting": [HEBREW, "=1"], "value": [1.0, 2.0]})
    assert csv_text(table).encode().startswith(b"\xef\xbb\xbf")
    assert list(pd.read_csv(io.BytesIO(csv_text(table).encode()))["setting"]) == [HEBREW, "'=1"]
    assert csv_cell("-0.5") == "-0.5"
    assert not csv_text(table[1:]).startswith("\ufeff")


def test_progress_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    with RowFile(tmp_path / "metrics.csv") as rows:
        rows.append({"updates": 1, "loss": -0.5, "adv_loss": float("-inf")})
    assert read_rows(tmp_path / "metrics.csv") == [
        {"updates": 1.0, "loss": -0.5, "adv_loss": float("-inf")}
    ]


@given(anything, st.integers(1, 400))
def test_file_names_stay_in_their_folder_and_within_its_limits(text: str, times: int) -> None:
    name = file_name(text * times)
    assert re.fullmatch(r"[A-Za-z0-9_=,+][A-Za-z0-9._=,+-]{0,119}", name)
    assert os.path.basename(name) == name


@pytest.mark.parametrize("text", TEXTS)
def test_mlflow_accepts_the_names(text: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(metric_name(f"{text}.accuracy"))
    assert len(run_name(text * 100)) <= 250
    assert run_name(text).isprintable()
