"""Checks a recipe before a run: its networks, its images, and what a run would cost here."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fastdfkd.api.estimate import Estimate, Roles, estimated
from fastdfkd.recipe import Recipe
from fastdfkd.report.check_report import CheckReport, HeldOut, NetworkReport
from fastdfkd.runs.environment import commit, hardware, versions
from fastdfkd.runs.figures import REAL

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fastdfkd.core.network_facts import NetworkFacts
    from fastdfkd.core.network_use import NetworkUse
    from fastdfkd.data import Judge
    from fastdfkd.experiment import Experiment, ExperimentFacts
    from fastdfkd.platform.placement import Plan
    from fastdfkd.trainers.bank_location import BankLocation
    from fastdfkd.trainers.teacher import Teacher

IMAGES = 1000
"""Held-out images on which the teacher is evaluated."""
_GIB = 1024**3
_LOW_ACCURACY = 2.0
"""A teacher whose accuracy is below this multiple of chance is worth a warning."""


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
    paths = {role: _fast_paths(experiment, plan, role) for role in ("teacher", "student")}
    started_images = len(StartedImages.of(recipe, experiment.spec.shape))
    location = _bank_location(experiment, plan, started_images)
    store = use_here(recipe, math.prod(experiment.spec.shape))
    in_memory = location.place == "device" or (location.place, plan.device) == ("host", "cpu")
    estimate = _estimate(experiment, plan, resources, process_bytes, started_images, in_memory)
    figures = _held_out(teacher, judge, len(held_out))
    about = teacher.description
    return CheckReport(
        recipe=recipe.name,
        images={
            "data": experiment.spec.name,
            "shape": experiment.spec.shape,
            "classes": experiment.spec.num_classes,
            "mean": experiment.spec.mean,
            "std": experiment.spec.std,
        },
        teacher=_network(
            str(about["model"]),
            str(about["source"]),
            _opened(teacher),
            facts.teacher,
            paths["teacher"],
        ),
        student=_network(
            recipe.student.model,
            "selected" if recipe.student.start_from else "initial",
            {},
            facts.student,
            paths["student"],
        ),
        held_out=figures,
        normalisation={
            **asdict(facts.normalisation),
            "plausible": facts.normalisation.plausible,
            "line": facts.normalisation.line,
        },
        estimate=asdict(estimate),
        plan={
            **_plan(recipe, plan),
            **({"share": share} if share else {}),
            "bank_location": location.place,
            "bank": location.line,
            "store": store.line,
        },
        schedule={**_schedule(recipe), "started_images": started_images},
        machine={"hardware": hardware(), "versions": versions(), "commit": commit()},
        seconds=time.perf_counter() - started,
        warnings=[
            *_of_teacher(about, facts, figures),
            *_of_memory(plan, estimate),
            *([store.line] if store.spilled else []),
        ],
    )


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


def _fast_paths(experiment: Experiment, plan: Plan, role: str) -> dict[str, str]:
    import torch

    from fastdfkd.core.network_facts import fast_paths

    student, platform = role == "student", experiment.recipe.platform
    network = experiment.student if student else experiment.teacher
    use = experiment.student_use if student else experiment.teacher_use
    graphs = "platform.cuda_graphs is false"
    if plan.device == "cpu":
        graphs = "steps run on the CPU"
    elif platform.cuda_graphs:
        graphs = _capture_trouble(network, use, experiment, torch.device(plan.device), student)
    found = fast_paths(
        network,
        use,
        device=torch.device(plan.device),
        precision=platform.precision,
        graphs=graphs,
        student=student,
    )
    return {str(change): reason for change, reason in found.items()}


def _capture_trouble(
    network: nn.Module, use: NetworkUse, experiment: Experiment, device: torch.device, student: bool
) -> str:
    """Why steps with a network cannot be captured; "" if they can."""
    from fastdfkd.core.capture_trial import capture_trouble
    from fastdfkd.core.network_use import copied

    twin = copied(network)
    recipe = experiment.recipe
    if student:
        twin = use.placed(twin, device).train(not recipe.distillation.frozen_norms)
    else:
        twin = use.frozen(twin, device)
    precision = recipe.platform.precision
    return capture_trouble(twin, use, experiment.spec.shape, device, precision) or ""


def _network(
    model: str, source: str, opened: dict[str, Any], facts: NetworkFacts, paths: dict[str, str]
) -> NetworkReport:
    return NetworkReport(
        model=model, source=source, opened=opened, **asdict(facts), fast_paths=paths
    )


def _opened(teacher: Teacher) -> dict[str, Any]:
    """Which file became the teacher's weights, and what of it matched; empty without a file."""
    about = teacher.description
    if "opened" in about:
        return dict(about["opened"])
    if "weights" not in about or about["source"] == "untrained":
        return {}
    return {"file": about["weights"], "matched": len(teacher.model.state_dict())}


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
    }


def _of_teacher(about: dict[str, Any], facts: ExperimentFacts, held_out: HeldOut) -> Iterator[str]:
    """Warnings about the teacher."""
    from fastdfkd.core.teacher_traits import WEAKER

    if about["source"] == "untrained":
        yield (
            "the teacher is not trained yet: distill trains it first, and accuracy and "
            "normalisation cannot be checked before. Run `fastdfkd teacher`, or set teacher.weights"
        )
    if not facts.normalisation.plausible:
        yield facts.normalisation.line
    if not facts.teacher.statistics:
        yield (
            "no layer of the teacher that runs has running statistics: images are synthesised "
            f"without L_bn. {WEAKER}"
        )
    accuracy, chance = held_out.figures.get("accuracy"), 1 / facts.teacher.logits[0]
    mean_iou = held_out.figures.get("mean_iou")
    if mean_iou is not None and mean_iou < chance:
        yield (
            f"the teacher's mIoU of {mean_iou:.1%} is that of a teacher which knows one class at "
            "most: check its weights, the order of the classes and the normalisation"
        )
    if accuracy is not None and accuracy < min(_LOW_ACCURACY * chance, 0.5 * (1 + chance)):
        yield (
            f"the teacher's accuracy of {accuracy:.1%} is hardly above chance ({chance:.1%}): "
            "check its weights, the order of the classes and the normalisation"
        )


def _of_memory(plan: Plan, estimate: Estimate) -> Iterator[str]:
    """Warnings about memory, for roles that all run here on the CPU."""
    if plan.device == "cuda":
        return
    needed = (
        plan.synthesizers * estimate.synthesizer_peak_memory_bytes
        + max(plan.workers, 1) * estimate.trainer_peak_memory_bytes
        + estimate.bank_bytes
    )
    available = hardware()["memory_gib"] * _GIB
    if needed > available:
        yield (
            f"the run needs about {needed / 1e9:,.1f} GB of memory, this machine has "
            f"{available / 1e9:,.1f} GB: lower synthesis.batch_size, distillation.batch_size or "
            "bank.capacity"
        )
