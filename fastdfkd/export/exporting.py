"""Exports the student of a run: writes it, compares it with the network, then puts it in place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fastdfkd.core.evaluation import Predictor
from fastdfkd.export.compared_images import ComparedImages, calibration_images, compared_images
from fastdfkd.export.conformity import LEAST_AGREEMENT, TOLERANCE, Answer, Conformity, compared
from fastdfkd.export.deployed import PIXELS, DeployedNetwork, Pixels
from fastdfkd.export.export_report import ExportReport
from fastdfkd.export.finished_student import FinishedStudent
from fastdfkd.export.formats import Content, Format
from fastdfkd.export.model_card import model_card
from fastdfkd.export.provenance import provenance
from fastdfkd.export.quantisation import OnnxInt8
from fastdfkd.export.run_teacher import RunTeacher
from fastdfkd.export.table import FORMATS
from fastdfkd.recipe.messages import unknown
from fastdfkd.recipe.source_texts import given
from fastdfkd.report.table import share
from fastdfkd.runs.folder import EXPORTS, read_json
from fastdfkd.runs.source_texts import sources_in
from fastdfkd.text.shown import reason, shown_name
from fastdfkd.tracking import RegisteredModel, check_names, register

ALIAS = "newest"
"""Alias of a registered student, if the user names no other."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is to be exported, and how."""

    to: str
    """A name of `FORMATS`."""
    pixels: str | None = None
    """What the program reads (`deployed.Pixels`); None: the format's default."""
    out: Path | None = None
    """File or folder to write; None: in the run's `export` folder."""
    overwrite: bool = False
    int8: bool = False
    """Quantise to 8 bits."""
    tolerance: float | None = None
    """Largest difference of a logit, in units of the largest logit (or 1); None: `TOLERANCE`."""
    name: str | None = None
    """Registers an `mlflow` model under this name, in the store of the run."""
    alias: str | None = None
    """Of the registered version; None: `ALIAS`."""
    images: int = 1000
    """Most images on which the export is compared with the network."""
    licence: str | None = None
    """Licence of the teacher, for the file's metadata and the model card."""
    data_root: Path | None = None
    """Folder of the real images, if it has moved."""

    def check(self) -> Format:
        """The format, without int8.

        Raises:
            ValueError: there is no format of that name, or it has no int8 programs.
        """
        if self.to not in FORMATS:
            raise ValueError(unknown("--to", self.to, list(FORMATS)))
        if self.int8 and self.to != "onnx":
            raise ValueError(f"--int8 is for --to onnx, got --to {self.to}")
        if self.int8 and self.tolerance is not None:
            raise ValueError(
                "--tolerance is for float32 programs: an int8 program is refused if it agrees with "
                f"the network on fewer than {LEAST_AGREEMENT:.0%} of the classes"
            )
        if self.name is None and self.alias is not None:
            raise ValueError("--alias is of a registered model: give its --name too")
        if self.name is not None:
            if self.to != "mlflow":
                raise ValueError(
                    f"--name registers a model, which is for --to mlflow, not {self.to}"
                )
            check_names(self.name, self.used_alias)
        return FORMATS[self.to]

    @property
    def used_alias(self) -> str:
        """Alias of the registered version."""
        return ALIAS if self.alias is None else self.alias

    @property
    def allowed(self) -> float:
        """Largest difference of a float32 program, in units of the largest logit (or 1)."""
        return TOLERANCE if self.tolerance is None else self.tolerance

    def read_pixels(self) -> Pixels:
        """What the program reads.

        Raises:
            ValueError: there is no such input, or the format cannot have it.
        """
        allowed = self.check().pixels
        if self.pixels is None:
            return allowed[0]
        for name in allowed:
            if name == self.pixels:
                return name
        if self.pixels in PIXELS:
            raise ValueError(
                f"--input {self.pixels}: {self.to} holds weights only, and the network reads "
                f"normalised pixels: leave --input out; mean and std are in the metadata"
            )
        raise ValueError(unknown("--input", self.pixels, list(PIXELS)))


def export_folder(folder: Path, request: ExportRequest) -> ExportReport:
    """Export the student of a run; see `fastdfkd.export_student`."""
    form, pixels = request.check(), request.read_pixels()
    form.require()
    target = request.out or folder / EXPORTS / (OnnxInt8 if request.int8 else form).file
    _check_free(target, request.overwrite)
    with given(sources_in(folder)):
        student = FinishedStudent.of(folder)
        teacher = RunTeacher(student.recipe, student.teacher_spec, folder)
        content = _content(student, pixels, request.licence)
        images = compared_images(
            student.recipe, folder, request.images, teacher=teacher, root=request.data_root
        )
        if request.int8:
            form = OnnxInt8(*calibration_images(student.recipe, folder, teacher=teacher))
        with _draft(target) as draft:
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
        figure_names=student.spec.kind.figures,
    )


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


def _check_free(target: Path, overwrite: bool) -> None:
    if os.path.lexists(target) and not overwrite:
        raise ValueError(
            f"{shown_name(target)} exists: name another file with --out, or replace it with "
            "--overwrite"
        )


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `target` if the block succeeds, else is removed."""
    made = [each for each in target.absolute().parents if not each.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
            draft = Path(folder) / target.name
            yield draft
            _remove(target)
            draft.rename(target)
    except BaseException:
        for each in made:
            with suppress(OSError):  # another process may have put something there
                each.rmdir()
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
