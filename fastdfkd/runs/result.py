"""What one run found: the object that `fastdfkd.distill` returns and `result.json` holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fastdfkd.runs.folder import figures_of, read_json


class RunResult(BaseModel):
    """Figures of one finished run. Seconds follow the time contract in ARCHITECTURE.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recipe: str
    """Name of the recipe."""
    recipe_digest: str
    """SHA-256 of everything in the recipe that can change the result."""
    seed: int
    accuracy: float | None
    """Share of held-out real images that the last student classifies rightly, 0 to 1; None: there
    are no such images."""
    teacher_accuracy: float | None
    """The same for the teacher."""
    teacher_digest: str = ""
    """SHA-256 of the teacher's weights; empty: unknown."""
    top5_accuracy: float | None = None
    """Share of held-out real images whose class is among the student's best five, 0 to 1.

    None: unknown, or no more than five classes.
    """
    agreement: float | None
    """Share of held-out real images where student and teacher say the same class, 0 to 1; None:
    there are no such images."""
    images: int
    """Images synthesised and inserted into the bank."""
    updates: int
    """Student updates made."""
    synthesis_seconds: float
    """Draw of z to finished uint8 batch, summed over batches."""
    storage_seconds: float
    """Finished batch to the trainer's device buffer, summed over batches."""
    distillation_seconds: float
    """Student updates with augmentation and the teacher's forward, on rank 0."""
    evaluation_seconds: float
    """Evaluation on held-out real images."""
    synthesizer_idle_seconds: float
    """Synthesizers waiting for the trainer, summed over synthesizers."""
    trainer_idle_seconds: float
    """Rank 0 waiting for images."""
    synthesizer_idle_ratio: float = 0.0
    """Waiting as a share of waiting and synthesis, 0 to 1."""
    trainer_idle_ratio: float = 0.0
    """Waiting as a share of waiting and distillation, 0 to 1."""
    end_to_end_seconds: float
    """First draw of z to last student update, evaluation left out."""
    wall_seconds: float
    """The whole run as the user waited for it: start-up, evaluation and all, teacher left out."""
    max_staleness: int
    """Most student versions that an inserted batch's student was behind the newest."""
    precision: str
    """Autocast type on the driver's kind of device: float32 or bfloat16."""
    versions: dict[str, str]
    """Python and the packages that matter."""
    hardware: dict[str, Any]
    """Processor, cores given, memory, accelerators."""
    commit: str
    """Git commit of the code, with `-dirty` for local changes; `unknown` outside a checkout."""
    notes: list[str] = []
    """What was done otherwise than usual for these networks, and why; a line each."""
    synthesizer_peak_memory_bytes: int = 0
    """Most memory that one synthesizer held: on its GPU, or resident on a CPU; 0: unknown."""
    trainer_peak_memory_bytes: int = 0
    """The same of one training worker (of the driver, with no worker)."""
    synthesis_speedup: float | None = None
    """Reference synthesis seconds for this many images / this run's."""
    end_to_end_speedup: float | None = None
    """Reference end-to-end seconds for this many images and updates / this run's."""
    directory: Path | None = Field(default=None, exclude=True)
    """Folder of the run; not part of `result.json`."""

    @property
    def synthesis_seconds_per_image(self) -> float:
        """Synthesis seconds a image cost."""
        return self.synthesis_seconds / self.images

    def save(self, path: Path) -> None:
        """Write `result.json`."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> RunResult:
        """Read the result of a finished run from its folder.

        Raises:
            FileNotFoundError: the folder holds no `result.json`, so no finished run.
            ValueError: it is damaged, or of another version.
        """
        path = Path(directory) / "result.json"
        if not path.is_file():
            raise FileNotFoundError(f"{directory} holds no finished run: {path.name} is missing")
        values = read_json(path)
        try:
            result = cls.model_validate(values, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(
                f"{path}: damaged, or of another version ({where:.60}: {first['msg']})"
            ) from None
        if strange := _impossible(result):
            raise ValueError(f"{path}: damaged, no run has such figures: {', '.join(strange)}")
        return result.model_copy(update={"directory": Path(directory)})


def _impossible(result: RunResult) -> list[str]:
    """Figures that are not finite, or that a run cannot end with."""
    given = {k: v for k, v in result.model_dump().items() if isinstance(v, int | float)}
    strange = set(given) - set(figures_of(given)) - {"seed"}
    shares = ("accuracy", "top5_accuracy", "teacher_accuracy", "agreement")
    strange |= {name for name in shares if not 0 <= given.get(name, 0) <= 1}
    strange |= {name for name in ("images",) if given[name] < 1}
    return sorted(strange)
