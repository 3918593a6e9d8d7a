"""`report.html` of a run: what it shows of which files, and in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastdfkd.cli import commands as cli
from fastdfkd.recipe import load_recipe
from fastdfkd.report.map_samples import save_maps
from fastdfkd.report.run_page import run_page, write_run_page
from fastdfkd.report.samples import save_grid
from fastdfkd.runs.details import RunDetails
from fastdfkd.runs.folder import write_json
from tests.browser import Browser
from tests.hostile import TEXTS
from tests.report.pages import COLOURS, plain, shown, unreadable_texts

RELEASE = Path(__file__).parents[1] / "releases/083f766"
NAMES = [text.replace("\ud800", "") for text in TEXTS[:10]]
PHONE = (360, 740)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of ten classes with hostile names."""
    folder = tmp_path / "run"
    shutil.copytree(RELEASE / "finished", folder)
    save_grid(torch.randint(256, (20, 1, 16, 16), dtype=torch.uint8), folder / "samples.png")
    add_details(folder, NAMES)
    return folder


@pytest.fixture
def quick_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same; curves, which take a second, are not drawn."""
    monkeypatch.setattr("fastdfkd.report.run_page.draw_curves", lambda rows, teacher: [])
    return run


def add_details(folder: Path, names: Sequence[str], **changes: Any) -> None:
    last = len(names) - 1
    values = {
        "class_names": names,
        "shape": (1, 16, 16),
        "sample_classes": {
            "teacher": [number % 7 for number in range(20)],
            "student": [number % 7 for number in range(19)] + [6],
        },
        "confusions": [
            {
                "against": against,
                "judged_on": "held-out real images",
                "cells": [(0, 0, 1990), (0, last, 10), (last, last, 700), (last, 1, 300)],
            }
            for against in ("teacher", "labels")
        ],
    }
    RunDetails.model_validate({**values, **changes}).save(folder)


def test_the_page_has_every_part_of_a_finished_run(run: Path) -> None:
    page = run_page(run)
    text = plain(re.sub(r"<[^>]+>", " ", page))
    result = json.loads((run / "result.json").read_text())
    assert f"Accuracy {result['accuracy']:.1%} 99.2%" in text
    assert "2,690 of 3,000 (89.7%) on held-out real images" in text
    assert page.count("<svg") == 5, "one of the figures, losses, synthesis, images and updates"
    assert page.count('src="data:image/png') == 20
    assert page.count('<li class="differs">') == 1, "image 19 is of class 5, the student says 6"
    assert "fastdfkd distill digits-fast5 " in text
    assert f"{run}/recipe.yaml --out {run}-again" in text
    assert result["recipe_digest"] in text
    assert "<script" not in page
    assert not re.findall(r"\b(?:src|href)=\"(?!data:image|#)", page)


def test_each_mistake_is_named_with_its_share(quick_run: Path) -> None:
    run = quick_run
    add_details(run, ["cat", "dog", "fox"], sample_classes={})
    page = run_page(run)
    wanted = ("fox", "dog", "300", "30.0%"), ("cat", "fox", "10", "0.5%")
    rows = ["".join(f"<td>{cell}</td>" for cell in row) for row in wanted]
    assert f"<tr>{rows[0]}</tr>\n<tr>{rows[1]}</tr>" in page
    assert '<td class="s5">1990</td><td></td><td class="o1">10</td>' in page


def test_many_classes_are_a_picture(quick_run: Path) -> None:
    run = quick_run
    before = run_page(run).count("<img")
    add_details(run, [f"class {number}" for number in range(100)])
    page = run_page(run)
    assert page.count("<img") == before + 2
    assert "<td>class 0</td><td>class 99</td><td>10</td><td>0.5%</td>" in page


def test_without_real_images_no_accuracy_is_named(quick_run: Path) -> None:
    run = quick_run
    figures = {"synthetic_agreement": 0.875, "synthetic_kl": 0.5}
    result = json.loads((run / "result.json").read_text())
    unknown = dict.fromkeys(("accuracy", "teacher_accuracy", "agreement"))
    write_json(run / "result.json", {**result, **unknown, **figures})
    write_json(run / "teacher.json", {"source": "module"})
    rows = "updates,synthetic_agreement,end_to_end_seconds\n10,0.5,1\n20,0.875,2\n"
    (run / "metrics.csv").write_text(rows)
    text = plain(re.sub(r"<style.*?</style>|<[^>]+>", " ", run_page(run), flags=re.DOTALL))
    assert "the accuracy is unknown" in text
    assert re.findall("(?i)accuracy", text) == ["accuracy"]
    assert "Agreement on synthetic images 87.5%" in text
    assert "The teacher was given from Python" in text


def test_a_segmentation_run_shows_its_maps(quick_run: Path) -> None:
    run = quick_run
    images, maps = np.zeros((2, 3, 16, 16), np.uint8), np.zeros((2, 16, 16), np.int64)
    save_maps(images, {"teacher": maps, "student": maps}, ["sky", "sea"], run / "samples.png")
    result = json.loads((run / "result.json").read_text())
    ious = {"sky": 0.5, "sea": None}
    write_json(run / "result.json", {**result, "mean_iou": 0.5, "class_ious": ious})
    write_json(run / "teacher.json", {"class_ious": {"sky": 0.75, "sea": None}})
    add_details(run, ["sky", "sea"], sample_classes={}, shape=(3, 16, 16))
    page = run_page(run)
    assert "<td>sky</td><td>50.0%</td><td>75.0%</td>" in page
    assert "<td>sea</td><td>-</td><td>-</td>" in page
    assert "each beside the maps of both networks" in page
    assert page.count('src="data:image/png') == 1


def test_a_run_of_an_earlier_release_has_a_page_without_the_newer_parts() -> None:
    page = run_page(RELEASE / "finished")
    assert "Confusion" not in page
    assert page.count('src="data:image/png') == 1, "the picture of images as it is"
    assert "Left out" not in page


def test_a_run_that_goes_on_or_failed_has_a_page(tmp_path: Path) -> None:
    shutil.copytree(RELEASE / "interrupted", tmp_path / "run")
    (tmp_path / "run/metrics.csv").touch()
    assert "<p>running" in run_page(tmp_path / "run")
    write_json(tmp_path / "run/state.json", {"state": "failed", "error": "no <b>memory</b>"})
    page = run_page(tmp_path / "run")
    assert "<p>failed: no &lt;b&gt;memory&lt;/b&gt;. Page" in page
    assert "not evaluated yet" not in page
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/recipe.yaml").write_text(load_recipe("digits-fast5").to_yaml())
    assert "It is not evaluated yet." in run_page(tmp_path / "empty")


@pytest.mark.parametrize("name", ["details.json", "samples.png", "profile.json", "metrics.csv"])
def test_what_is_damaged_is_left_out_and_named(name: str, quick_run: Path) -> None:
    run = quick_run
    whole = run_page(run)
    (run / name).unlink(missing_ok=True)
    if name == "metrics.csv":
        (run / name).mkdir()
    else:
        (run / name).write_bytes(b"{")
    page = run_page(run)
    assert "Left out" not in whole
    assert ("Left out: " in page) == (name != "metrics.csv")
    assert "Repeat it" in page


def test_the_command_writes_the_page_into_the_run(
    quick_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = quick_run
    assert cli.run(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    assert cli.run(["report", str(run), "--out", str(run / "other.html")]) == 0
    assert (run / "other.html").is_file()
    assert cli.run(["report", str(run / "nothing")]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(OSError, match=r"^cannot write to .*no/x\.html: No such .*with --out$"):
        write_run_page(tmp_path, tmp_path / "no" / "x.html")


def test_credentials_are_not_on_the_page(quick_run: Path) -> None:
    run = quick_run
    recipe = (run / "recipe.yaml").read_text()
    recipe = re.sub(r"(?m)^  uri: .*$", "  uri: https://me:secret@host/x", recipe)
    assert "me:secret" in recipe
    (run / "recipe.yaml").write_text(recipe)
    assert "secret" not in run_page(run)


@pytest.mark.slow
def test_in_a_browser_on_a_phone_in_both_themes(run: Path, browser: Browser) -> None:
    page = write_run_page(run)
    for dark in (False, True):
        browser.show(*PHONE, dark=dark, offline=True)
        browser.open(page.as_uri())
        browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert browser.problems == []
        assert [url for url in browser.requests if not url.startswith("data:")] == [page.as_uri()]
        assert browser.run("document.documentElement.scrollWidth") <= PHONE[0]
        assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth)")
        assert browser.run("document.querySelectorAll('script, h1 b, td i').length") == 0
        texts = browser.run(COLOURS)
        assert len(texts) > 100
        assert unreadable_texts(texts) == []
    heads = browser.run("[...document.querySelectorAll('tbody th')].map(e => e.innerText)")
    assert [plain(head) for head in heads[:10]] == [shown(name) for name in NAMES]
    reached = (
        "[...document.querySelectorAll('a, summary, .scroll')].every(e => {"
        " e.focus(); return document.activeElement === e })"
    )
    assert browser.run(reached), "everything that is followed, opened or scrolled takes the focus"
    assert browser.run("document.querySelectorAll('[id]').length") == browser.run(
        "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
    )
