from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from fastdfkd.report.terminal_table import common_prefix, print_table
from tests.hostile import TEXTS

HEADS = ["setting", "seeds", "accuracy", "images", "synthesis / image", "end-to-end speed-up"]
HEADS += ["time to 78%", "synthesizer memory", "trainer memory", "speed-up at that accuracy"]
FIGURES = ["3 (2 re-used)", "78.9 % ± 2.1 %", "1,536", "784 ms ± 10 ms", "1.0x ± 0.00x *"]
FIGURES += ["1 of 3 seeds", "650 MiB ± 71 MiB", "900 MiB ± 0 MiB", "2.4x"]
NAMES = [f"glyphs-big-pair-of-networks-{kind}" for kind in ("slow (1x)", "fast10 10x", "fast2")]
FRAME = re.compile("[│┃┏┓┗┛┡┩┳┻╇╋━─┼└┘┴├┤\\s]")


def shown(names: list[str], *, width: int = 80, terminal: bool = True) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    print_table(HEADS, [[name, *FIGURES] for name in names], title="Against", console=console)
    return re.sub("\x1b\\[[0-9;]*m", "", file.getvalue()).splitlines()


def letters(text: str) -> str:
    return FRAME.sub("", text)


@pytest.mark.parametrize("width", [80, 100, 120, 130, 150])
def test_the_common_prefix_is_removed_and_no_figure_is_cut(width: int) -> None:
    lines = shown(NAMES, width=width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    for differing in ("…slow (1x)", "…fast10 10x", "…fast2"):
        assert differing in text
    assert "… stands for glyphs-big-pair-of-networks-" in text
    for word in " ".join([*HEADS, *FIGURES]).split():
        assert word in text
    for figure in FIGURES:
        whole = figure in text
        assert whole or all(part in text for part in figure.split(" ± "))


@pytest.mark.parametrize("width", [20, 40, 80, 150])
def test_names_without_a_common_prefix_are_wrapped_and_complete(width: int) -> None:
    names = ["a" * 100, "another-name/with:many_parts-" * 4]
    lines = shown(names, width=width)
    assert max(map(cell_len, lines)) <= max(width, 40)
    column = [line.split("│")[1] for line in lines if line.startswith("│")]
    assert letters(names[0] + names[1]) in letters("".join(column))


def test_without_a_terminal_each_row_is_one_complete_line() -> None:
    lines = shown(NAMES, width=80, terminal=False)
    rows = [line for line in lines if line.startswith("│")]
    assert len(rows) == len(NAMES)
    for row, name in zip(rows, NAMES, strict=True):
        assert [cell.strip() for cell in row.strip("│").split("│")] == [name, *FIGURES]


def test_a_common_prefix_ends_between_words_or_settings() -> None:
    for names, prefix in (
        (["net-fast10", "net-fast2"], "net-"),
        (["fast10", "fast2"], ""),
        (["steps=5 lr=0.015", "steps=5 lr=0.02"], "steps=5 "),
        (["steps=5", "steps=50"], ""),
        (["pair-x steps=5", "pair-x steps=2"], "pair-x "),
        (["long-shared-a", "long-shared-b", "teacher"], "long-shared-"),
        (["same-name", "same-name"], ""),
        (["one"], ""),
    ):
        assert common_prefix(names) == prefix


def test_hostile_text_is_shown_as_text() -> None:
    lines = shown(list(TEXTS), terminal=False)
    text = "\n".join(lines)
    assert len([line for line in lines if line.startswith("│")]) == len(TEXTS)
    assert "\x1b" not in text
    assert "\u202e" not in text
    for words in ("[red]not red[/red]", "[link=https://example.org]", "\\x1b[31mred", ":smile:"):
        assert words in text
