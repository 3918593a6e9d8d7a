"""The rows of the priors' table: each prior alone, where it means something."""

from __future__ import annotations

import pytest

from benchmarks.priors import SHORTER, page, priors_of
from fastdfkd.recipe import load_recipe
from fastdfkd.recipe.methods.section import InversionSection


@pytest.mark.parametrize("name", SHORTER)
def test_each_row_has_one_prior_and_no_statistics(name: str) -> None:
    found = []
    for changes in priors_of(name).values():
        section = load_recipe(name, {**SHORTER[name], **changes}).synthesis
        assert isinstance(section, InversionSection)
        assert section.bn == "auto"
        found.append(tuple(section.priors))
    transformers_only = [("patch_drop",)] if "vit" in name else []
    rest = [("confidence",), ("balance",), ("activation",), ("tv",)]
    assert found == [(), *rest, *transformers_only]


def test_the_page_has_a_line_for_each_setting() -> None:
    rows = [
        {"setting": label, "seed": seed, "accuracy": accuracy, "agreement": 0.5}
        for seed in (0, 1)
        for label, accuracy in [("no prior", 0.9), ("balance 0.5", 0.6 + 0.2 * seed)]
    ]
    text = page("digits-gn-teacher", rows)
    assert "| no prior | 90.0 ± 0.0 % | 50.0 ± 0.0 % |" in text
    assert "| balance 0.5 | 70.0 ± 14.1 % | 50.0 ± 0.0 % |" in text
