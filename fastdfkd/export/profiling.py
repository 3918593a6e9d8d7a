"""Profiles a run: its teacher and its student in each runtime and type of numbers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from fastdfkd.core.answers import output_of
from fastdfkd.core.step_costs import torch_threads
from fastdfkd.export.compared_images import ComparedImages, calibration_images, compared_images
from fastdfkd.export.finished_student import FinishedStudent
from fastdfkd.export.measurements import Answered, call_seconds, peak_memory
from fastdfkd.export.onnx_file import require_onnx
from fastdfkd.export.programs import MeasuredNetwork, Program, onnx_programs, torch_programs
from fastdfkd.export.run_teacher import RunTeacher
from fastdfkd.models import without_parametrisations
from fastdfkd.recipe import RecipeError
from fastdfkd.recipe.source_texts import given
from fastdfkd.report.profile_table import markdown_page
from fastdfkd.runs.environment import commit, hardware, usable_cores, versions
from fastdfkd.runs.folder import PROFILE_FILES, write_text
from fastdfkd.runs.profile import Profile, ProgramProfile
from fastdfkd.runs.source_texts import sources_in
from fastdfkd.text.shown import shown_name

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ProfileRequest:
    """How a run is profiled."""

    threads: int | None = None
    """Of torch and onnxruntime; None: as many as this process may use cores."""
    images: int = 1000
    """Most images on which the programs are compared."""
    seconds: float = 20.0
    """How long calls are timed, roughly."""
    data_root: Path | None = None
    """Folder of the real images, if it has moved."""

    @property
    def used_threads(self) -> int:
        """Number of threads."""
        return max(int(usable_cores()), 1) if self.threads is None else self.threads


def profile_folder(folder: Path, request: ProfileRequest) -> Profile:
    """Profile a run and write `profile.json` and `profile.md`; see `fastdfkd.profile_student`."""
    notes: list[str] = []
    with given(sources_in(folder)), torch_threads(request.used_threads):
        student = FinishedStudent.of(folder)
        teacher = RunTeacher(student.recipe, student.teacher_spec, folder)
        images = compared_images(
            student.recipe, folder, request.images, teacher=teacher, root=request.data_root
        )
        calibration, calibrated_on = _calibration(student, teacher, notes)
        with tempfile.TemporaryDirectory() as scratch:
            programs = [
                program
                for network in _networks(student, teacher, notes)
                for program in _programs(network, Path(scratch), request, calibration, notes)
            ]
            rows, rounds = _measured(programs, images, request.seconds)
    int8 = any(row.numbers == "int8" for row in rows)
    profile = Profile(
        recipe=student.result.recipe,
        programs=rows,
        compared_on=images.what,
        images=len(images),
        figure_names=dict(student.spec.kind.figures) if images.labelled else {},
        threads=request.used_threads,
        rounds=rounds,
        calibrated_on=calibrated_on if int8 else None,
        hardware=hardware(),
        versions=_versions(),
        commit=commit(),
        notes=notes,
    )
    _keep(profile, folder)
    return profile


def _keep(profile: Profile, folder: Path) -> None:
    """Write the files of a profile. Where that fails, a warning says so: measuring took long."""
    try:
        profile.save(folder)
        write_text(folder / PROFILE_FILES[1], markdown_page(profile))
    except OSError as error:
        names = " and ".join(PROFILE_FILES)
        log.warning("%s cannot be written to %s: %s", names, shown_name(folder), error.strerror)


def _versions() -> dict[str, str]:
    """Versions of what runs the programs."""
    found = {name: versions()[name] for name in ("fastdfkd", "python", "torch")}
    with suppress(PackageNotFoundError):
        found["onnxruntime"] = version("onnxruntime")
    return found


def _networks(
    student: FinishedStudent, teacher: RunTeacher, notes: list[str]
) -> Iterator[MeasuredNetwork]:
    network, note = teacher.found
    if network is None:
        notes.append(f"The teacher is left out: {note}.")
    else:
        yield MeasuredNetwork(
            role="teacher",
            network=without_parametrisations(network).eval().requires_grad_(False),
            spec=student.teacher_spec,
            output=output_of(student.recipe.teacher),
        )
    yield MeasuredNetwork(
        role="student",
        network=student.network,
        spec=student.spec,
        output=student.recipe.student.output,
    )


def _programs(
    network: MeasuredNetwork,
    folder: Path,
    request: ProfileRequest,
    calibration: Tensor | None,
    notes: list[str],
) -> Iterator[Program]:
    yield from torch_programs(network, folder, notes)
    try:
        require_onnx("the profile of onnxruntime")
    except RecipeError as error:
        if str(error) not in notes:
            notes.append(str(error))
        return
    yield from onnx_programs(network, folder, request.used_threads, calibration, notes)


def _calibration(
    student: FinishedStudent, teacher: RunTeacher, notes: list[str]
) -> tuple[Tensor | None, str | None]:
    try:
        return calibration_images(student.recipe, student.folder, teacher=teacher)
    except ValueError as error:
        notes.append(f"int8 is left out: {error}")
        return None, None


def _measured(
    programs: list[Program], images: ComparedImages, seconds: float
) -> tuple[list[ProgramProfile], int]:
    """What was measured of each program, and the rounds of the timing."""
    facts = {program.of.role: program.of.facts() for program in programs}
    with torch.inference_mode():
        memory = [peak_memory(program) for program in programs]
        answers = [program.open() for program in programs]
        times, rounds = call_seconds(programs, answers, seconds)
        answered = [
            Answered.of(program, answer, images, program.of.spec.kind)
            for program, answer in zip(programs, answers, strict=True)
        ]
    plain = {
        program.of.role: found
        for program, found in zip(programs, answered, strict=True)
        if (program.runtime, program.numbers) == ("torch", "float32")
    }
    rows = [
        ProgramProfile(
            network=program.of.role,
            runtime=program.runtime,
            numbers=program.numbers,
            parameters=facts[program.of.role].parameters,
            macs=facts[program.of.role].macs,
            file_bytes=program.file.stat().st_size,
            peak_memory_bytes=memory[number],
            seconds=times[number],
            figures=answered[number].figures,
            agreement=answered[number].agreement(plain["teacher"]) if "teacher" in plain else None,
            same_class=answered[number].agreement(plain[program.of.role]),
        )
        for number, program in enumerate(programs)
    ]
    return rows, rounds
