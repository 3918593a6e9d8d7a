"""What `fastdfkd check` says of the teacher and of the student."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastdfkd.report.check_report import NetworkReport

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fastdfkd.core.network_use import NetworkUse
    from fastdfkd.experiment import Experiment, ExperimentFacts
    from fastdfkd.platform.placement import Plan
    from fastdfkd.trainers.teacher import Teacher


def network_reports(
    experiment: Experiment, plan: Plan, facts: ExperimentFacts, teacher: Teacher
) -> dict[str, NetworkReport]:
    """The reports of `teacher` and `student`.

    Args:
        experiment: of the recipe.
        plan: of the run on this machine.
        facts: of the experiment.
        teacher: of the experiment.
    """
    student, about = experiment.recipe.student, teacher.description
    return {
        "teacher": NetworkReport(
            model=str(about["model"]),
            source=str(about["source"]),
            opened=_opened(teacher),
            **asdict(facts.teacher),
            fast_paths=_fast_paths(experiment, plan, "teacher"),
        ),
        "student": NetworkReport(
            model=student.shown,
            source="selected" if student.start_from else "initial",
            opened={},
            **asdict(facts.student),
            fast_paths=_fast_paths(experiment, plan, "student"),
        ),
    }


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


def _opened(teacher: Teacher) -> dict[str, Any]:
    """Which file became the teacher's weights, and what of it matched; empty without a file."""
    about = teacher.description
    if "opened" in about:
        return dict(about["opened"])
    if "weights" not in about or about["source"] == "untrained":
        return {}
    return {"file": about["weights"], "matched": len(teacher.model.state_dict())}
