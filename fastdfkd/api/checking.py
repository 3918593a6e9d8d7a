"""Checks a recipe before a run: its networks, its images, and what a run would cost here."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fastdfkd.api.check_warnings import of_memory, of_teacher
from fastdfkd.api.estimate import Estimate, Roles, estimated
from fastdfkd.api.network_reports import network_reports
from fastdfkd.recipe import Recipe
from fastdfkd.report.check_report import CheckReport, HeldOut
from fastdfkd.runs.environment import commit, hardware, versions
from fastdfkd.runs.figures import REAL

if TYPE_CHECKING:
    from torch import nn

    from fastdfkd.core.image_spec import ImageSpec
    from fastdfkd.data import Judge
    from fastdfkd.experiment import Experiment, ExperimentFacts
    from fastdfkd.platform.placement import Plan
    from fastdfkd.trainers.bank_location import BankLocation
    from fastdfkd.trainers.teacher import Teacher

IMAGES = 1000
"""Held-out images on which the teacher is evaluated."""


def check_recipe(
    recipe: Recipe, *, model: nn.Module | None = None, images: int = IMAGES
) -> CheckReport:
    """The report of a recipe; see `fastdfkd.check`."""
    started = time.perf_counter()
    from fastdfkd.core.memory import peak_memory_bytes
    from fastdfkd.experiment import Experiment, check_method, initial_student, judge_of
    from fastdfkd.platform.object_store import use_here
    from fastdfkd.platform.placement import Plan, fitted
    from fastdfkd.trainers.started_images import StartedImages
    from fastdfkd.trainers.teacher import prepare_teacher

    resources = _resources()
    recipe = fitted(recipe, resources, resources["CPU"])
    plan = Plan.of(recipe, resources)
    check_method(recipe)
    initial_student(recipe)  # a student that does not fit is refused before images are read
    held_out = judge_of(recipe)
    judge = judge_of(recipe, most=images)
    teacher = prepare_teacher(recipe, model=model, device=plan.device, train=False, judge=judge)
    experiment = Experiment.of(recipe, teacher.model, plan.device, judge)
    share = ""
    if recipe.platform.synthesis_share == "auto":
        experiment, plan, share = _divided(experiment, plan, resources)
        recipe = experiment.recipe
    process_bytes = 0 if plan.device == "cuda" else peak_memory_bytes()
    facts = experiment.facts(count_macs=True)
    networks = network_reports(experiment, plan, facts, teacher)
    started_images = len(StartedImages.of(recipe, experiment.spec.shape))
    location = _bank_location(experiment, plan, started_images)
    store = use_here(recipe, math.prod(experiment.spec.shape))
    in_memory = location.place == "device" or (location.place, plan.device) == ("host", "cpu")
    estimate = _estimate(experiment, plan, resources, process_bytes, started_images, in_memory)
    figures = _held_out(teacher, judge, len(held_out))
    return CheckReport(
        recipe=recipe.name,
        images=_images(experiment.spec),
        teacher=networks["teacher"],
        student=networks["student"],
        held_out=figures,
        normalisation=_normalisation(facts),
        estimate=asdict(estimate),
        plan={
            **_plan(recipe, plan),
            **({"share": share} if share else {}),
            "bank_location": location.place,
            "bank": location.line,
            "store": store.line,
        },
        schedule={**_schedule(recipe), "started_images": started_images},
        compared_maps=experiment.compared_maps,
        machine={"hardware": hardware(), "versions": versions(), "commit": commit()},
        seconds=time.perf_counter() - started,
        warnings=[
            *of_teacher(teacher.description, facts, figures),
            *of_memory(plan, estimate),
            *([store.line] if store.spilled else []),
        ],
    )


def _images(spec: ImageSpec) -> dict[str, Any]:
    """What the images are."""
    return {
        "data": spec.name,
        "shape": spec.shape,
        "classes": spec.num_classes,
        "mean": spec.mean,
        "std": spec.std,
    }


def _normalisation(facts: ExperimentFacts) -> dict[str, Any]:
    """Whether the stated normalisation is plausible, and the figures that say so."""
    found = facts.normalisation
    return {**asdict(found), "plausible": found.plausible, "line": found.line}


def _resources() -> dict[str, float]:
    """What a Ray cluster that is started here would have."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cores = float(max(int(hardware()["cores"]), 1))
    return {"CPU": cores, "GPU": float(gpus)} if gpus else {"CPU": cores}


def _divided(
    experiment: Experiment, plan: Plan, resources: dict[str, float]
) -> tuple[Experiment, Plan, str]:
    """The experiment with the share of synthesis that is best here, its plan, and a line about it.

    Args:
        experiment: whose recipe has the share `auto`.
        plan: of its recipe with an equal share.
        resources: of this machine.
    """
    from fastdfkd.api.role_share import best_division
    from fastdfkd.platform.role_costs import RoleCosts

    costs = RoleCosts.measured(experiment, plan.device)
    best = best_division(experiment.recipe, costs, resources, resources["CPU"])
    return replace(experiment, recipe=best.recipe), best.plan, best.line


def _estimate(
    experiment: Experiment,
    plan: Plan,
    resources: dict[str, float],
    process_bytes: int,
    started_images: int,
    bank_in_memory: bool,
) -> Estimate:
    from fastdfkd.core.step_costs import synthesis_costs, update_costs

    recipe, workers = experiment.recipe, max(plan.workers, 1)
    synthesis = synthesis_costs(
        experiment.synthesis, experiment.task(plan.device), threads=plan.threads(plan.synthesizer)
    )
    update = update_costs(
        recipe.distillation,
        experiment.task(plan.device),
        workers=workers,
        threads=plan.threads(plan.worker),
    )
    kind = "GPU" if plan.device == "cuda" else "CPU"
    roles = Roles(
        synthesizers=plan.synthesizers,
        workers=workers,
        synthesizer_processors=math.ceil(plan.synthesizer[kind]),
        worker_processors=math.ceil(plan.worker[kind]),
        processors=resources[kind],
        process_bytes=process_bytes,
    )
    image_bytes = math.prod(experiment.spec.shape)
    return estimated(
        recipe,
        synthesis,
        update,
        roles,
        image_bytes,
        started_images,
        bank_in_memory=bank_in_memory,
    )


def _bank_location(experiment: Experiment, plan: Plan, started_images: int) -> BankLocation:
    """Where a trainer on this machine would keep the bank."""
    import torch

    from fastdfkd.trainers.bank_location import BankLocation, FreeSpace, scratch_folder

    bank = experiment.recipe.bank
    count = experiment.recipe.capacity + started_images
    space = FreeSpace.here(
        torch.device(plan.device),
        scratch_folder(bank),
        max(plan.workers, 1),
        plan.worker.get("GPU", 1.0),
    )
    return BankLocation.of(bank, count * math.prod(experiment.spec.shape), space)


def _held_out(teacher: Teacher, judge: Judge, of: int) -> HeldOut:
    about = teacher.description
    trained = about["source"] != "untrained"
    names = [name for name in REAL if name != "agreement"]
    figures = {name: about[name] for name in names if about.get(name) is not None}
    return HeldOut(
        judged_on=judge.judged_on, images=len(judge), of=of, figures=figures if trained else {}
    )


def _schedule(recipe: Recipe) -> dict[str, int]:
    synthesis, workers = recipe.synthesis, max(recipe.platform.workers, 1)
    return {
        "rounds": synthesis.rounds,
        "images": synthesis.rounds * synthesis.batch_size,
        "round_images": synthesis.batch_size,
        "updates": recipe.updates,
        "update_images": recipe.distillation.batch_size // workers,
    }


def _plan(recipe: Recipe, plan: Plan) -> dict[str, Any]:
    import torch

    from fastdfkd.core.precision import resolve_precision

    return {
        "device": plan.device,
        "synthesizers": plan.synthesizers,
        "workers": plan.workers,
        "schedule": recipe.platform.schedule,
        "precision": resolve_precision(torch.device(plan.device), recipe.platform.precision),
        "cuda_graphs": plan.device == "cuda" and bool(recipe.platform.cuda_graphs),
        "compile": recipe.platform.compile,
    }
