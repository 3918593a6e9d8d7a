"""Tables of the documents that scripts write, and what stands beside measured ones."""

from __future__ import annotations

import re

import pytest

from docs import make_recipe_keys, make_reproducing
from tests.documents import (
    ROOT,
)


def test_the_tables_of_keys_are_those_of_the_sections() -> None:
    text = make_recipe_keys.PAGE.read_text(encoding="utf-8")
    assert make_recipe_keys.block() in text, "run .venv/bin/python docs/make_recipe_keys.py"


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_every_table_of_results_names_its_commit(page: str) -> None:
    """Accuracies and seconds are those of some code: a commit stands before each table."""
    paragraphs = (ROOT / page).read_text(encoding="utf-8").split("\n\n")
    before = [
        paragraphs[number - 1]
        for number, text in enumerate(paragraphs)
        if text.startswith("|") and re.search(r"\d(?: s| %|x) ", text)
    ]
    assert before
    assert all(re.search(r"(?i)\bcommit [0-9a-f]{7,12}\b", text) for text in before)


def test_the_page_of_the_papers_tables_is_what_its_script_writes() -> None:
    text = make_reproducing.PAGE.read_text(encoding="utf-8")
    block = make_reproducing.block(make_reproducing.results())
    assert block in text, "run .venv/bin/python docs/make_reproducing.py"


def test_a_measured_cell_stands_in_its_column_of_the_papers_tables() -> None:
    cell = {"row": "fast5", "pair": "wrn-40-2/wrn-16-1", "accuracy": 87.654, "accuracy_std": 0.1}
    files = [
        {"table": "cifar10", "cells": [{**cell, "data": {"root": root}}]}
        for root in ("data", "cifar10_jpeg_train.zip")
    ]
    files[1]["cells"][0] |= {"accuracy": 84.3, "accuracy_std": None}
    before = make_reproducing.block([]).splitlines()
    after = make_reproducing.block(files).splitlines()
    ((old, new),) = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert "cifar10-wrn-40-2-wrn-16-1-fast5" in new
    assert old.endswith("|  |  |")
    assert new.endswith("| 87.65 ± 0.10 | 84.30 |")


def test_an_estimate_is_the_measured_step_times_the_recipes_steps() -> None:
    """220 batches of 0.194 s, and 80,000 updates of 8.4 ms."""
    lines = make_reproducing.block([]).splitlines()
    line = next(line for line in lines if "distill cifar100-wrn-40-2-wrn-16-1-fast5`" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[5:7] == [f"{220 * 0.194 / 3600:.2f}", f"{80_000 * 0.0084 / 3600:.2f}"]
