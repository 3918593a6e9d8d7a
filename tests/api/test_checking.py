"""`check` on tiny recipes: what it says, that it writes nothing, and that its estimate holds."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch.nn.modules.module import register_module_forward_pre_hook

import fastdfkd
from fastdfkd.cli import commands as cli
from fastdfkd.core.clock import Clock
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.core.teacher_traits import WEAKER
from fastdfkd.experiment import Experiment
from fastdfkd.models import build_network, save_weights
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.report.check_report import CheckReport
from fastdfkd.report.check_screen import rows, show
from fastdfkd.trainers.teacher import prepare_teacher

SMALL = {
    "synthesis": {
        "rounds": 6,
        "warmup_rounds": 1,
        "batch_size": 16,
        "steps": 2,
        "latent_dim": 8,
        "generator_width": 4,
        "bn": 1.0,
    },
    "distillation": {"updates_per_round": 6, "batch_size": 16},
    "platform": {
        "schedule": "lockstep",
        "device": "cpu",
        "cpus_per_synthesizer": 1,
        "cpus_per_worker": 1,
    },
    "student": {"model": "resnet8-half"},
}


@pytest.fixture
def recipe(workplace: Path, tiny_recipe: Callable[..., Recipe]) -> Recipe:
    """Its teacher has weights in a file, with statistics of digits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network("resnet8-half", 10, 1)
    save_weights(workplace / "teacher.safetensors", network)
    teacher = {"model": "resnet8-half", "weights": str(workplace / "teacher.safetensors")}
    return tiny_recipe(**SMALL, teacher=teacher)


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_the_report_of_a_recipe(recipe: Recipe, workplace: Path) -> None:
    before, started = files_in(workplace), time.perf_counter()
    report = fastdfkd.check(recipe, images=50)
    assert 0 < report.seconds <= time.perf_counter() - started
    written = {path for path in files_in(workplace) - before if "cache" not in str(path)}
    assert not {path for path in written if path.suffix not in (".npz",)}
    assert report.plan["store"] not in report.warnings
    assert report.teacher.source == "weights"
    assert report.teacher.opened["file"].endswith("teacher.safetensors")
    assert report.teacher.opened["matched"] > 0
    assert report.teacher.logits == (10,)
    assert report.teacher.statistics["BatchNorm2d"] > 0
    assert report.teacher.macs == report.student.macs  # the same network
    assert report.teacher.fast_paths["cuda_graphs"] == "steps run on the CPU"
    assert (report.held_out.images, report.held_out.of) == (50, 500)
    assert 0 <= report.held_out.figures["accuracy"] <= 1
    assert report.schedule["updates"] == 30
    assert report.estimate["bank_bytes"] == 6 * 16 * 16 * 16
    assert report.estimate["end_to_end_seconds"] > 0
    assert report.estimate["synthesizer_peak_memory_bytes"] > 0
    assert json.loads(json.dumps(report.facts()))["recipe"] == "tiny"
    shown = dict(rows(report))
    assert "50 of 500 held-out real images" in shown["held-out images"]
    assert "30 updates" in shown["  distillation"]


def test_images_that_the_bank_starts_with_are_opened_and_counted(
    recipe: Recipe, workplace: Path
) -> None:
    (workplace / "images").mkdir()
    for number in range(5):
        Image.new("L", (16, 16), number).save(workplace / f"images/{number}.png")
    changes = {"bank.start_from": "images", "synthesis.warmup_rounds": 0}
    report = fastdfkd.check(load_recipe(recipe, changes), images=1)
    assert report.schedule["started_images"] == 5
    assert report.estimate["bank_bytes"] == (6 * 16 + 5) * 16 * 16
    assert "5 images before the first round" in dict(rows(report))["  bank"]
    (workplace / "images/0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"0\.png"):
        fastdfkd.check(load_recipe(recipe, changes), images=1)


@pytest.fixture
def work_as_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks count the pixels that convolutions of both networks have read, in thousands."""
    done = 0.0

    def count(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal done
        if isinstance(module, torch.nn.Conv2d):
            done += inputs[0].numel() / 1000

    monkeypatch.setattr(Clock, "now", lambda _: done)
    hook = register_module_forward_pre_hook(count)
    yield
    hook.remove()


@pytest.mark.usefixtures("work_as_time")
def test_the_estimate_holds_for_the_paper_s_order(recipe: Recipe) -> None:
    """Work stands in for seconds, so that a busy machine changes nothing."""
    estimate = fastdfkd.check(recipe, images=1).estimate
    experiment = Experiment.of(recipe, prepare_teacher(recipe).model)
    clock = Clock()
    reference_loop(
        experiment.synthesizer(),
        experiment.buffer(),
        experiment.distiller(),
        recipe.synthesis,
        recipe.distillation,
        clock,
    )
    found = dict(clock.seconds)
    assert found["synthesis"] > 0
    assert found["distillation"] > 0
    for name in ("synthesis", "distillation"):
        assert estimate[f"{name}_seconds"] == pytest.approx(found[name], rel=0.05), name
    assert estimate["end_to_end_seconds"] == pytest.approx(sum(found.values()), rel=0.05)


def test_a_teacher_that_is_not_trained_yet_is_not_trained(
    workplace: Path, tiny_recipe: Callable[..., Recipe]
) -> None:
    report = fastdfkd.check(tiny_recipe(**SMALL, teacher={"model": "resnet14", "epochs": 999}))
    assert report.teacher.source == "untrained"
    assert report.held_out.figures == {}
    assert report.normalisation["contrast"] is None
    assert any("not trained yet" in warning for warning in report.warnings)


def test_a_bank_that_the_object_store_cannot_hold_is_a_warning(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES", "10000")
    report = fastdfkd.check(recipe, images=20)
    assert report.plan["store"] in report.warnings
    assert report.plan["store"].startswith(
        "Ray's object store: at most 24.6 kB of the bank's 24.6 kB are in it at a time; it has "
        "10 kB. Ray writes what does not fit, at least 16.6 kB, to "
    )


def test_a_teacher_without_statistics_is_said_to_cost_accuracy(
    workplace: Path, tiny_recipe: Callable[..., Recipe]
) -> None:
    recipe = tiny_recipe(**{**SMALL, "synthesis": {**SMALL["synthesis"], "bn": "auto"}})
    report = fastdfkd.check(recipe, teacher=build_network("resnet14-gn", 10, 1), images=20)
    assert any(warning.endswith(WEAKER) for warning in report.warnings)


def test_a_network_from_python_and_its_wrong_normalisation(recipe: Recipe) -> None:
    """Statistics 255 times too large are a warning, not an error."""
    network = build_network("resnet8-half", 10, 1)
    first = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    first.running_mean += 50.0
    first.running_var *= 255.0**2
    report = fastdfkd.check(recipe, teacher=network, images=20)
    assert report.teacher.source == "module"
    assert report.teacher.opened == {}
    assert not report.normalisation["plausible"]
    assert any("cannot be right" in warning for warning in report.warnings)


def test_the_command_prints_a_screen_or_json(
    recipe: Recipe, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "tiny.yaml").write_text(recipe.to_yaml())
    words = ["check", "tiny.yaml", "--images", "20", "--json", "distillation.stage_maps=1"]
    assert cli.run(words) == 0
    values = json.loads(capsys.readouterr().out)
    report = _report(values)
    assert report.facts()["teacher"] == values["teacher"] | {
        "logits": tuple(values["teacher"]["logits"])
    }
    assert (
        "layer3 with layer3 (a regressor from 32 to 32 channels)"
        in dict(rows(report))["  stage_maps"]
    )
    console = Console(record=True, width=80, force_terminal=True)
    show(report, console)
    text = console.export_text()
    assert "end to end" in text
    assert "multiply-accumulates" in text
    pipe = io.StringIO()
    show(report, Console(file=pipe, force_terminal=False))
    piped = pipe.getvalue().splitlines()
    assert any(line.startswith("  end to end ") for line in piped)
    assert not [line for line in piped if line.endswith(" ")]


def _report(values: dict[str, Any]) -> CheckReport:
    from fastdfkd.report.check_report import HeldOut, NetworkReport

    networks = {
        role: NetworkReport(**{**values[role], "logits": tuple(values[role]["logits"])})
        for role in ("teacher", "student")
    }
    return CheckReport(**{**values, **networks, "held_out": HeldOut(**values["held_out"])})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such-recipe"], "no recipe no-such-recipe"),
        (["digits-fast5", "teacher.weights=absent.pt"], "no such file"),
        (["digits-fast5", "student.model=resnet9"], "resnet9"),
        (["digits-fast5", "platform.device=cuda"], "no GPU"),
    ],
)
def test_unusable_input_is_one_message_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert cli.run(["check", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
