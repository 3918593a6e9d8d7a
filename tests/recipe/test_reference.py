"""The page of recipe keys is what its script writes from the sections."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.recipe import METHODS, load_recipe
from tests.platform.own_method import OneImageSynthesis

ROOT = Path(__file__).parents[2]


def written() -> str:
    page: Any = runpy.run_path(str(ROOT / "recipes/make_reference.py"))["page"]
    return str(page())


def test_the_committed_page_is_current() -> None:
    committed = (ROOT / "docs/recipe-keys.md").read_text(encoding="utf-8")
    assert committed == written(), "run recipes/make_reference.py"


@pytest.mark.parametrize("name", ["digits-fast5", "digits-deep-inversion"])
def test_it_has_every_key(name: str) -> None:
    page = written()
    for key in load_recipe(name).flat():
        assert f"| `{key.split('.')[-1]}` |" in page or key.startswith("student.arguments")


@pytest.mark.parametrize(
    "row",
    [
        "| `name` | text | required |  |",
        "| `steps` | whole number | `5` | ≥ 1, < 2^31 |",
        "| `meta` | `fomaml`, `reptile`, `sequential`, `none` | `fomaml` |  |",
        "| `meta_lr` | number or null | `null` | > 0 |",
        "| `jitter` | number | `0.125` | ≥ 0, < 1 |",
        "| `synthesis_share` | number | `0.5` | > 0, < 1 |",
        "| `teacher_cache` | whole number or null | `null` | ≥ 2, < 2^31 |",
        "| `arguments` | mapping | `{}` |  |",
    ],
)
def test_a_row_says_type_default_and_range(row: str) -> None:
    assert row in written()


def test_a_methods_keys_come_from_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    heading = "## `synthesis`: `method: one_image`"
    assert heading not in written()
    monkeypatch.setitem(METHODS, "one_image", OneImageSynthesis)
    own = written().partition(heading)[2].partition("\n## ")[0]
    assert "| `lr` | number | `0.1` | > 0 | Learning rate of the image. |" in own
    assert "`bn`" not in own
