"""Every mistake with a network or its weights is one message with what to do, and exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.cli import commands as cli
from fastdfkd.recipe import load_recipe

from .bad_sources import BAD, TEACHER


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_mistake_is_one_message_and_nothing_is_written(
    workplace: Path,
    tiny_recipe: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    bad = BAD[name]
    if bad.needs:
        pytest.importorskip(bad.needs)
    if bad.lacks:
        monkeypatch.setitem(sys.modules, bad.lacks, None)
    settings = {"teacher.model": TEACHER, **bad.settings}
    bad.files(workplace)
    if bad.weights is not None:
        bad.weights(workplace / "weights")
        settings.setdefault("teacher.weights", "weights")
        if "weights" in settings["teacher.model"]:
            del settings["teacher.weights"]
    recipe = load_recipe(tiny_recipe(), settings)
    (workplace / "tiny.yaml").write_text(recipe.to_yaml())
    before = sorted(workplace.rglob("*"))
    assert cli.run(["distill", "tiny.yaml", "--out", "run"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fastdfkd: ")
    assert err.count("fastdfkd: ") == 1, "one message"
    assert "Traceback" not in err
    assert all(part in err for part in bad.says), err
    assert sorted(workplace.rglob("*")) == before, "nothing is written"
