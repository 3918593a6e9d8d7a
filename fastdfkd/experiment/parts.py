"""The parts of an experiment, built once in the driver and sent to every role."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import output_of
from fastdfkd.core.augment import Normalisation
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.interfaces import SharedGenerator, Synthesizer
from fastdfkd.core.map_losses import MapLosses
from fastdfkd.core.methods import build_shared_generator, build_synthesizer
from fastdfkd.core.network_contract import check_teacher
from fastdfkd.core.network_facts import NetworkFacts
from fastdfkd.core.network_trial import find_network_use
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.plausibility import NormalisationFinding, normalisation_finding
from fastdfkd.core.precision import resolve_precision
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.steady_answers import unsteady_answers
from fastdfkd.core.student_form import StudentForm
from fastdfkd.core.task import Task
from fastdfkd.core.task_kind import TaskKind
from fastdfkd.core.teacher_traits import resolve_auto
from fastdfkd.data import Judge
from fastdfkd.experiment.class_vectors import read_class_vectors
from fastdfkd.experiment.images import check_method, image_spec, student_spec
from fastdfkd.experiment.judges import judge_of
from fastdfkd.experiment.students import initial_student
from fastdfkd.models import (
    SourceFile,
    evenly_spaced_modules,
    same_modules,
    source_files,
    without_parametrisations,
)
from fastdfkd.recipe import Recipe, SynthesisSection

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExperimentFacts:
    """What can be said of an experiment before its first step."""

    teacher: NetworkFacts
    student: NetworkFacts
    normalisation: NormalisationFinding

    def log(self) -> None:
        """Log a line for each; a normalisation that cannot be right is a warning."""
        log.info("teacher %s", self.teacher.summary)
        log.info("student %s", self.student.summary)
        level = logging.INFO if self.normalisation.plausible else logging.WARNING
        log.log(level, "%s", self.normalisation.line)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What synthesizers and trainers are built from. The networks are in their initial state."""

    files: tuple[SourceFile, ...] = ()
    """Python files that define the networks' classes. They are unpickled first, because unpickling
    the networks needs them."""
    recipe: Recipe
    teacher: nn.Module
    student: nn.Module
    spec: ImageSpec
    student_spec: ImageSpec
    """The images as the student reads them."""
    judge: Judge
    """Evaluates teacher and student; nothing is trained on its images."""
    teacher_use: NetworkUse
    """How the teacher is run, as `core/network_trial.py` found."""
    student_use: NetworkUse
    """How the student is run."""
    synthesis: SynthesisSection
    """The recipe's section with a number for `bn: auto`."""
    choice: str
    """What `auto` means for this teacher; "" if the recipe has no `auto`."""
    class_vectors: Tensor | None = None
    """(K, D), of the file that the recipe names."""
    unsteady: str = ""
    """What the teacher's logits depend on besides the image; "" if on nothing."""

    @classmethod
    def of(
        cls, recipe: Recipe, teacher: nn.Module, device: str = "cpu", judge: Judge | None = None
    ) -> Experiment:
        """Build the parts of a recipe for a given teacher.

        Args:
            recipe: of the experiment.
            teacher: the network to compress. Its parametrisations are replaced by their values.
            device: kind of device that the roles use, `cpu` or `cuda`.
            judge: evaluates both networks; unset: that of the recipe.

        Raises:
            ValueError: the teacher or the student does not fit the images or the recipe.
        """
        spec, own, output = image_spec(recipe), student_spec(recipe), output_of(recipe.teacher)
        shape, kind, bn = spec.shape, spec.kind, recipe.synthesis.bn_weight
        check_teacher(teacher, shape, kind, bn, output=output)
        here = device if device != "cuda" or torch.cuda.is_available() else "cpu"
        check_method(recipe)
        if judge is None:
            judge = judge_of(recipe, teacher, device=here)
        teacher = without_parametrisations(teacher)
        student = initial_student(recipe, teacher)
        precision = recipe.platform.precision
        if device == "cpu":  # do not try bfloat16 if this processor will run in float32
            precision = resolve_precision(torch.device(device), precision)
        try_network = partial(find_network_use, spatial_axes=kind.spatial_axes, precision=precision)
        synthesis, choice = resolve_auto(recipe.synthesis, teacher, shape)
        teacher_use = try_network(teacher, shape, output=output)
        parts = cls(
            files=source_files(recipe),
            recipe=recipe,
            teacher=teacher,
            student=student,
            spec=spec,
            student_spec=own,
            judge=judge,
            teacher_use=teacher_use,
            student_use=try_network(student, own.shape, output=recipe.student.output, student=True),
            synthesis=synthesis,
            choice=choice,
            class_vectors=read_class_vectors(recipe),
            unsteady=unsteady_answers(teacher, teacher_use, shape),
        )
        for note in parts.notes:
            log.warning("%s", note)
        for key, line in parts.compared_maps.items():  # an error before anything starts
            log.info("distillation.%s: %s", key, line)
        return parts

    @property
    def compared_maps(self) -> dict[str, str]:
        """By key of `distillation`, which maps of the networks are compared, and which are not.

        Raises:
            ValueError: a key has a weight, and the networks have no maps for it.
        """
        return MapLosses(self.recipe.distillation, self.task("cpu", steps=False)).lines

    @property
    def kind(self) -> TaskKind:
        """What both networks answer."""
        return self.spec.kind

    @property
    def notes(self) -> list[str]:
        """What a user should know, one line each; none if nothing.

        How the classes of image files were matched and which files were skipped, what `auto` means
        here, what the teacher's logits depend on besides the image, and for each network what it
        runs without, and why.
        """
        lines = [
            use.line(f"{role} {type(network).__name__}")
            for role, network, use in (
                ("teacher", self.teacher, self.teacher_use),
                ("student", self.student, self.student_use),
            )
        ]
        name = f"teacher {type(self.teacher).__name__}"
        unsteady = f"{name}: {self.unsteady}" if self.unsteady else ""
        return [*self.judge.notes, *(line for line in (self.choice, unsteady, *lines) if line)]

    def facts(self, *, count_macs: bool = False) -> ExperimentFacts:
        """What the networks consist of, and whether the normalisation can be right.

        Args:
            count_macs: see `NetworkFacts.of`.
        """
        shape, of = self.spec.shape, partial(NetworkFacts.of, count_macs=count_macs)
        return ExperimentFacts(
            teacher=of(self.teacher, self.teacher_use, shape),
            student=of(self.student, self.student_use, self.student_spec.shape),
            normalisation=normalisation_finding(self.teacher, shape, self.normalisation("cpu")),
        )

    def normalisation(self, device: torch.device | str) -> Normalisation:
        """Maps images in 0..1 to the teacher's input, on `device`."""
        return self.spec.normalisation(device)

    def student_form(self, device: torch.device | str) -> StudentForm | None:
        """Maps the teacher's input to the student's, on `device`; None: they are the same."""
        if self.student_spec == self.spec:
            return None
        return StudentForm.of_teacher_input(self.spec, self.student_spec, device)

    def task(self, device: torch.device | str, *, steps: bool = True) -> Task:
        """The networks, the images' description and the settings that both roles need.

        Args:
            device: of the role.
            steps: whether synthesis steps or student updates are made with it.
        """
        wanted = self.recipe.platform.cuda_graphs
        on_cpu = torch.device(device).type == "cpu"
        capture = steps and bool(wanted) and not (on_cpu and wanted == "auto")
        if capture and on_cpu:
            log.warning("platform.cuda_graphs has no effect here: this role runs on the CPU")
        return Task(
            teacher=self.teacher,
            student=self.student,
            teacher_use=self.teacher_use,
            student_use=self.student_use,
            image_shape=self.spec.shape,
            kind=self.kind,
            normalisation=self.normalisation(device),
            student_form=self.student_form(device),
            student_origins=self._student_origins,
            class_vectors=self.class_vectors,
            seed=self.recipe.seed,
            device=device,
            precision=self.recipe.platform.precision,
            capture=capture,
            compile=steps and self.recipe.platform.compile,
            synthesizers=self.recipe.platform.synthesizers,
        )

    @property
    def _student_origins(self) -> dict[str, str]:
        """See `Task`."""
        if self.recipe.student.start_from != "teacher":
            return {}
        of = same_modules if self.recipe.student.width == 1 else evenly_spaced_modules
        return dict(of(self.student, self.teacher))

    def synthesizer(self, device: torch.device | str = "cpu", index: int = 0) -> Synthesizer:
        """A synthesizer in its initial state."""
        return build_synthesizer(self.synthesis, self.task(device), index)

    def shared_generator(self) -> SharedGenerator | None:
        """What several synthesizers train together, in its initial state, on the CPU; or None."""
        return build_shared_generator(self.synthesis, self.task("cpu", steps=False))

    def distiller(self, device: torch.device | str = "cpu", **worker: Any) -> StudentDistiller:
        """A distiller in its initial state; `worker` may set rank, world_size and together."""
        return StudentDistiller(
            self.recipe.distillation,
            self.task(device),
            total_updates=self.recipe.updates,
            warmup_rounds=self.synthesis.warmup_rounds,
            in_order=self.recipe.bank.draws == "in_order",
            **worker,
        )

    def buffer(
        self, device: torch.device | str = "cpu", started: Sequence[Tensor] = ()
    ) -> SampleBuffer:
        """A sample buffer with the bank's capacity.

        Args:
            device: where its images are.
            started: images of `bank.start_from`, (N, C, H, W) uint8 in parts.
        """
        return SampleBuffer(self.recipe.capacity, self.spec.shape, device, started)
