"""The result of a run: what `fastdfkd.distill` returns and `result.json` contains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fastdfkd.runs.figures import SHARES
from fastdfkd.runs.folder import figures_of, how_to_finish, read_json


class RunResult(BaseModel):
    """Figures of one finished run. Seconds follow the time contract in ARCHITECTURE.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recipe: str
    """Name of the recipe."""
    recipe_digest: str
    """SHA-256 of all recipe values that can change the result."""
    seed: int
    accuracy: float | None
    """Accuracy of the final student on held-out real images, 0 to 1; None without such images."""
    teacher_accuracy: float | None
    """The same for the teacher."""
    teacher_digest: str = ""
    """SHA-256 of the teacher's weights; empty if unknown."""
    top5_accuracy: float | None = None
    """Share of held-out real images whose class is among the student's best five, 0 to 1.

    None: unknown, or no more than five classes.
    """
    mean_iou: float | None = None
    """Mean intersection over union of the final student on held-out real images, 0 to 1.

    This and the next three are for segmentation only.
    """
    teacher_mean_iou: float | None = None
    """The same for the teacher."""
    pixel_accuracy: float | None = None
    """Share of their pixels that the student classifies correctly, 0 to 1."""
    class_ious: dict[str, float | None] = {}
    """Intersection over union of each class, by its name or number, 0 to 1; None: absent."""
    agreement: float | None
    """Share of held-out real images, or of their pixels, for which student and teacher predict one
    class, 0 to 1.

    None without such images.
    """
    synthetic_agreement: float | None = None
    """Share of held-out synthetic images for which student and teacher predict one class, 0 to 1.

    This and the figures below are None for a run without such images.
    """
    synthetic_agreement_mixed: float | None = None
    """The same on mixtures of two such images."""
    synthetic_agreement_augmented: float | None = None
    """The same on shifted and flipped ones."""
    synthetic_kl: float | None = None
    """Mean KL(T || S) at temperature 1 on held-out synthetic images, in nats."""
    synthetic_teacher_confidence: float | None = None
    """The teacher's mean largest probability on them, 0 to 1."""
    synthetic_coverage: float | None = None
    """Entropy of the classes that the student predicts for them / log of their number, 0 to 1."""
    synthetic_unseen_classes: float | None = None
    """Classes that the student predicts for none of them."""
    input: dict[str, Any] = {}
    """What the images are: `data`, `shape`, `classes`, `mean` and `std`; empty if unknown."""
    images: int
    """Images synthesised and inserted into the bank."""
    started_images: int = 0
    """Images with which the bank started (`bank.start_from`). They are not counted in `images`."""
    started_synthesis_seconds: float | None = None
    """Seconds of synthesis that they cost; None: unknown, or there were none."""
    updates: int
    """Student updates made."""
    synthesis_seconds: float
    """From the draw of z to the finished uint8 batch, summed over batches."""
    storage_seconds: float
    """From the finished batch to the trainer's device buffer, summed over batches."""
    distillation_seconds: float
    """Student updates including augmentation and the teacher's forward pass, on rank 0."""
    evaluation_seconds: float
    """Evaluation on held-out images."""
    synthesizer_idle_seconds: float
    """Time that synthesizers waited for the trainer, summed over synthesizers."""
    trainer_idle_seconds: float
    """Time that rank 0 waited for images."""
    synthesizer_idle_ratio: float = 0.0
    """Waiting / (waiting + synthesis), 0 to 1."""
    trainer_idle_ratio: float = 0.0
    """Waiting / (waiting + distillation), 0 to 1."""
    end_to_end_seconds: float
    """From the first draw of z to the last student update, without evaluation."""
    wall_seconds: float
    """Wall time of the whole run, with start-up and evaluation, without the teacher's training."""
    max_staleness: int
    """Most versions by which the student of an inserted batch was older than the newest one."""
    precision: str
    """Autocast type on the driver's kind of device: float32 or bfloat16."""
    cuda_graphs: str = "off"
    """`on`: steps of the trainer (or, if only images were made, of synthesis) were replayed as CUDA
    graphs; what ran without, and why, is in `notes`. Else `off`."""
    versions: dict[str, str]
    """Versions of Python and the main packages."""
    hardware: dict[str, Any]
    """Processor, usable cores, memory and GPUs."""
    commit: str
    """Git commit of the code, with `-dirty` for local changes; `unknown` outside a checkout."""
    notes: list[str] = []
    """Deviations from the default treatment of these networks, with reasons; one line each."""
    warnings: list[str] = []
    """What went wrong with the images or the student, with likely causes; one line each."""
    synthesizer_peak_memory_bytes: int = 0
    """Peak memory of one synthesizer: on its GPU, or resident on a CPU; 0 if unknown."""
    trainer_peak_memory_bytes: int = 0
    """Peak memory of one training worker (without workers: of the driver); 0 if unknown."""
    synthesis_speedup: float | None = None
    """Synthesis seconds of the reference for as many images / those of this run."""
    end_to_end_speedup: float | None = None
    """End-to-end seconds of the reference for as many images and updates / those of this run."""
    directory: Path | None = Field(default=None, exclude=True)
    """Folder of the run; not part of `result.json`."""

    def of_teacher(self, figure: str) -> float | None:
        """The teacher's value of a student's figure; None: unknown, or teachers have none."""
        return {"accuracy": self.teacher_accuracy, "mean_iou": self.teacher_mean_iou}.get(figure)

    @property
    def synthesis_seconds_per_image(self) -> float:
        """Synthesis seconds per image."""
        return self.synthesis_seconds / self.images

    def save(self, path: Path) -> None:
        """Write `result.json`."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> RunResult:
        """Read the result of a finished run from its folder.

        Raises:
            FileNotFoundError: the folder has no `result.json`, so the run has not finished.
            ValueError: `result.json` is damaged, or of another version.
        """
        path = Path(directory) / "result.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"{directory} holds no finished run: {path.name} is missing"
                f"{how_to_finish(path.parent)}"
            )
        values = read_json(path)
        try:
            result = cls.model_validate(values, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(
                f"{path}: damaged, or of another version ({where:.60}: {first['msg']})"
            ) from None
        if impossible := _impossible_figures(result):
            raise ValueError(f"{path}: damaged, no run has such figures: {', '.join(impossible)}")
        return result.model_copy(update={"directory": Path(directory)})


def _impossible_figures(result: RunResult) -> list[str]:
    """Names of figures that are not finite, or outside the range that a run can have."""
    figures = {k: v for k, v in result.model_dump().items() if isinstance(v, int | float)}
    impossible = set(figures) - set(figures_of(figures)) - {"seed"}
    shares = (*SHARES, "teacher_accuracy", "teacher_mean_iou")
    impossible |= {name for name in shares if not 0 <= figures.get(name, 0) <= 1}
    impossible |= {name for name in ("images",) if figures[name] < 1}
    return sorted(impossible)
