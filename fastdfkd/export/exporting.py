"""Exports the student of a run: writes it, compares it with the network, then puts it in place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastdfkd.core.answers import output_of
from fastdfkd.core.evaluation import Predictor
from fastdfkd.export.compared_images import ComparedImages, calibration_images, compared_images
from fastdfkd.export.conformity import LEAST_AGREEMENT, Answer, Conformity, compared
from fastdfkd.export.deployed import DeployedNetwork, Pixels
from fastdfkd.export.export_report import ExportReport
from fastdfkd.export.export_request import ExportRequest
from fastdfkd.export.finished_student import FinishedStudent
from fastdfkd.export.formats import Content
from fastdfkd.export.model_card import model_card
from fastdfkd.export.placing import check_free, draft_of, size_of
from fastdfkd.export.provenance import provenance
from fastdfkd.export.quantisation import OnnxInt8
from fastdfkd.export.run_teacher import RunTeacher
from fastdfkd.recipe.source_texts import given
from fastdfkd.report.table import share
from fastdfkd.runs.folder import EXPORTS, read_json
from fastdfkd.runs.source_texts import sources_in
from fastdfkd.text.shown import reason, shown_name
from fastdfkd.tracking import RegisteredModel, register


def export_folder(folder: Path, request: ExportRequest) -> ExportReport:
    """Export the student of a run; see `fastdfkd.export_student`."""
    form, pixels = request.check(), request.read_pixels()
    form.require()
    target = folder / EXPORTS / (OnnxInt8 if request.int8 else form).file
    if request.out is not None:
        target = request.out.expanduser()
    check_free(target, request.overwrite)
    with given(sources_in(folder)):
        student = FinishedStudent.of(folder)
        teacher = RunTeacher(student.recipe, student.teacher_spec, folder)
        content = _content(student, pixels, request.licence)
        images = compared_images(
            student.recipe, folder, request.images, teacher=teacher, root=request.data_root
        )
        names = student.spec.kind.figures
        if request.int8:
            images, names = _labelled(images, student, teacher)
            form = OnnxInt8(*calibration_images(student.recipe, folder, teacher=teacher))
        with draft_of(target) as draft:
            form.write(content, draft)
            found = conformity(student, form.answer(content, draft), images)
            _check(found, request, images)
            registered = _registered(student, draft, request)
    return ExportReport(
        path=target,
        format=request.to,
        size_bytes=size_of(target),
        input=content.facts["input"],
        compared_on=images.what,
        conformity=found,
        tolerance=None if request.int8 else request.allowed,
        calibrated_on=form.calibrated_on if isinstance(form, OnnxInt8) else None,
        registered=registered,
        figure_names=names,
    )


def _labelled(
    images: ComparedImages, student: FinishedStudent, teacher: RunTeacher
) -> tuple[ComparedImages, Mapping[str, str]]:
    """Images with labels, those of the teacher if need be, and names of the figures on them.

    Figures before and after quantisation need labels. Without labels and without a teacher the
    images stay as they are.
    """
    names, network = student.spec.kind.figures, None if images.labelled else teacher()
    if network is None:
        return images, names
    normalise, output = student.teacher_spec.normalisation("cpu"), output_of(student.recipe.teacher)
    found = images.labelled_by(Predictor(network, normalise, "cpu", output), student.spec.kind)
    return found, {key: f"{name} against the teacher" for key, name in names.items()}


def _registered(
    student: FinishedStudent, model: Path, request: ExportRequest
) -> RegisteredModel | None:
    """Register a model in the store of the run if the request has a name for it.

    Raises:
        ValueError: the run's folder does not say where its MLflow run is, or the store refuses.
    """
    if request.name is None:
        return None
    state = student.folder / "state.json"
    try:
        facts = read_json(state)
        uri, run_id = str(facts["tracking_uri"]), str(facts["mlflow_run_id"])
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"--name: {shown_name(state)} should say which MLflow run the student is of: "
            f"{reason(error)}"
        ) from error
    about = f"Student of the recipe {student.result.recipe}, seed {student.result.seed}"
    experiment = student.recipe.tracking.experiment
    return register(
        uri, experiment, run_id, model, name=request.name, alias=request.used_alias, about=about
    )


def _content(student: FinishedStudent, pixels: Pixels, licence: str | None) -> Content:
    facts = provenance(student, pixels, licence)
    output = student.recipe.student.output
    return Content(
        student=student,
        network=DeployedNetwork(student.network, student.spec, pixels, output),
        facts=facts,
        card=model_card(student, facts, licence),
    )


def conformity(student: FinishedStudent, exported: Answer, images: ComparedImages) -> Conformity:
    """Compare a program with the student, as runs evaluate it.

    Args:
        student: the reference.
        exported: answers images (B, C, H, W) uint8.
        images: of the comparison.
    """
    spec = student.spec
    predictor = Predictor(
        student.network, spec.normalisation("cpu"), "cpu", student.recipe.student.output
    )
    with predictor.running(spec.kind) as network:
        return compared(network, exported, images.sized(spec), spec.kind)


def _check(found: Conformity, request: ExportRequest, images: ComparedImages) -> None:
    """Refuse a program that answers otherwise than the network.

    Raises:
        ValueError: the largest difference is above the tolerance, or an int8 program agrees on too
            few classes.
    """
    tolerance = request.allowed
    agrees = f"agrees on {share(found.top1_agreement)} of the classes"
    if request.int8:
        if found.top1_agreement < LEAST_AGREEMENT:
            raise ValueError(
                f"int8: on {found.images:,} {images.what} the program {agrees} with the network, "
                f"and at least {LEAST_AGREEMENT:.0%} are expected: nothing was written. Export "
                "without --int8"
            )
    elif not found.within(tolerance):
        raise ValueError(
            f"{request.to}: the exported program differs from the network by "
            f"{found.largest_difference:.3g} on {found.images:,} {images.what}, where "
            f"{tolerance:g} times the largest logit ({found.largest_logit:.3g}, at least 1) is "
            f"allowed, and {agrees}: nothing was written. Export to another format, or raise "
            "--tolerance"
        )
