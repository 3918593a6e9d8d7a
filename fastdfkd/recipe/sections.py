"""The sections of a recipe, each a frozen group of settings with its checks.

Those of the networks are in `network_sections.py`. The section `synthesis` depends on the method:
`fastdfkd/recipe/methods/`. The docstring of a key is its text in `docs/recipes.md`. "The paper" is
arXiv 2112.06253.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from fastdfkd.addresses.credentials import strip_credentials
from fastdfkd.recipe.numbers import Count, Positive, Rate, Share, Weight, Whole
from fastdfkd.recipe.section import Section


class DistillationSection(Section):
    """The student's updates, on batches drawn from the bank."""

    later: ClassVar[frozenset[str]] = frozenset(
        {
            "loss",
            "attention",
            "stage_maps",
            "random_shapes",
            "mixup",
            "crop_area",
            "frozen_norms",
        }
    )

    updates_per_round: Positive = 400
    """Student updates after each round past warm-up."""
    batch_size: Positive = 256
    """Images of one update, summed over the workers."""
    lr: Rate = 0.2
    """SGD learning rate of the first round. It follows a cosine, one step a round, to `min_lr`."""
    min_lr: Weight = 2e-4
    """Learning rate at the end of the cosine."""
    warmup_updates: Count = 0
    """First updates, over which the learning rate rises in equal steps to its cosine; 0 in the
    paper. Without them a short run at a high rate may learn nothing for hundreds of updates."""
    momentum: Share = 0.9
    """Momentum of SGD."""
    weight_decay: Weight = 1e-4
    """L2 penalty of SGD."""
    loss: Literal["kl", "l1"] = "kl"
    """`kl`: T squared times KL(teacher || student) at temperature T. `l1`: mean absolute difference
    of the logits, without a temperature (DFAD)."""
    attention: Weight = 0.0
    """Weight of the attention term (ZSKT): the mean square difference of the normalised maps of
    teacher and student, summed over the stages whose maps have the same height and width."""
    stage_maps: Weight = 0.0
    """Weight of the distance of the student's maps from the teacher's, summed over the stages whose
    maps have the same height and width (as the hints of FitNets, not in the paper). Try
    1. A student that starts from its teacher is compared channel by channel; otherwise a learned
    1x1 convolution comes between ([maps of stages](methods.md#maps-of-stages))."""
    temperature: Rate = 20.0
    """Softmax temperature T of the KL loss, which is multiplied by T squared."""
    crop_padding: Count = 4
    """Pixels of zero padding before the random crop."""
    crop_area: Annotated[float, Field(gt=0, le=1)] | None = None
    """Instead of that crop: a random part of each image of at least this share of its area,
    resized to the whole size. 0.08 in usual training on ImageNet. Needs `crop_padding: 0`. Unset:
    the crop with padding."""
    flip: bool = True
    """Random horizontal flips."""
    invert: bool = False
    """Replace random images x in [0, 1] by 1 - x in each update (not in the paper)."""
    random_shapes: Share = 0.0
    """Share of the images that the teacher sees in each update which are random coloured shapes,
    drawn anew, in place of images of the bank (not in the paper). Cheap images of another kind."""
    mixup: Share = 0.0
    """Probability that an image is mixed with another one of the update, pixel by pixel with a
    weight drawn uniformly from 0 to 1, before the teacher sees it (mixup, not in the paper)."""
    frozen_norms: bool = False
    """Train the student in evaluation mode: its BatchNorm layers use the statistics with which it
    starts, which stay as they are, and dropout is off (not in the paper). For a student that starts
    from its teacher, if few or strange images would spoil the teacher's statistics."""
    teacher_cache: Annotated[Whole, Field(ge=2)] | None = None
    """Average number of updates that use the same view (augmented image) and the teacher's logits
    for it. Unset: every update draws new views, and the teacher's forward pass runs on each."""

    @model_validator(mode="after")
    def _one_crop(self) -> DistillationSection:
        if self.crop_area is not None and self.crop_padding:
            raise ValueError(
                "crop_area takes the place of the crop with padding: set crop_padding to 0, or "
                "leave crop_area out"
            )
        return self

    @model_validator(mode="after")
    def _cached_views_have_no_maps(self) -> DistillationSection:
        if self.attention and self.teacher_cache:
            raise ValueError(
                "attention needs the teacher's maps of every view, and teacher_cache keeps its "
                "logits only: unset one of the two"
            )
        return self

    @property
    def suspects(self) -> list[str]:
        """Unusual values of the section that may keep the student from learning."""
        if 1e-3 <= self.lr <= 1:
            return []
        return [f"distillation.lr is {self.lr:g}: set it to 0.1"]


class BankSection(Section):
    """Limits of the sample bank, what it starts with, and how the student draws from it."""

    later: ClassVar[frozenset[str]] = frozenset({"draws", "start_from", "location", "scratch"})

    capacity: Positive | None = None
    """Images of the run kept at most; the oldest are removed first. Unset: every image of the run.
    """
    start_from: str | None = None
    """Images that the bank has from the beginning and keeps: the folder of a run or of
    `fastdfkd synthesize` (what its newest checkpoint holds), or a folder or zip file of images,
    which are resized to `input.shape`. They are not counted in `capacity`. Needs `draws: uniform`.
    """
    draws: Literal["uniform", "in_order"] = "uniform"
    """`uniform`: an update draws from the whole bank, with replacement. `in_order`: the updates of
    a round share its images, each takes the next ones, starting again after the last. For methods
    that train on fresh images. Rounds that left the bank are skipped: in async runs it should hold
    `platform.tolerance_rounds` and one more of each synthesizer."""

    location: Literal["device", "host", "disk", "auto"] = "device"
    """Where each trainer keeps its copy of the bank. `device`: in the memory of its GPU, or of the
    process on a CPU. `host`: in the memory of its machine, page-locked; batches are copied to the
    GPU while it works. `disk`: in a file on its machine, read through the page cache. `auto`: the
    first of these with enough free space when the run starts. The student is the same in all places
    ([a bank larger than a device](usage.md#a-bank-larger-than-a-device))."""
    scratch: str | None = None
    """Folder for the file of `location: disk`, on a local disk of every machine with a trainer.
    Unset: the folder for temporary files (`TMPDIR`)."""

    @model_validator(mode="after")
    def _the_start_is_drawn(self) -> BankSection:
        if self.start_from is not None and self.draws == "in_order":
            raise ValueError(
                "start_from needs draws: uniform, because draws: in_order takes the newest round "
                "alone"
            )
        return self


class EvaluationSection(Section):
    """What the student is judged on besides real images."""

    later: ClassVar[frozenset[str]] = frozenset({"synthetic_images"})

    synthetic_images: Count | None = None
    """Held-out images that are synthesised from the teacher alone, before the run, to compare the
    student with it. They never enter the bank. Unset: 2000 if there are no real test images, else
    none."""


class PlatformSection(Section):
    """Which processes run where, and how far synthesis and training may drift apart."""

    later: ClassVar[frozenset[str]] = frozenset({"use_idle", "compile"})
    schedule: Literal["lockstep", "async"] = "async"
    """`lockstep`: the paper's order, a round, then its student updates. `async`: synthesizers and
    trainer run at the same time, within `tolerance_rounds`."""
    tolerance_rounds: Positive = 4
    """async: rounds that each synthesizer may be ahead of the paper's order."""
    use_idle: bool = False
    """async, methods with `synthesis.steps`: a synthesizer that would wait for the student makes
    more steps on each batch instead, up to 10 times as many."""
    synthesizers: Positive = 1
    """Synthesizer actors. If the recipe does not set it and the cluster has several GPUs:
    `synthesis_share` of them, one actor each."""
    workers: Count = 0
    """Ray Train worker processes of the student; 0 trains in the driver's process. If the recipe
    does not set it: 1 with one GPU; with several, as many of those without a synthesizer as divide
    `distillation.batch_size`."""
    synthesis_share: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] = 0.5
    """Share of the cluster's GPUs (without GPUs: of its cores) for synthesis, where other keys do
    not decide it. `auto`: both roles' steps are measured before the run, for a few seconds, and the
    share with which it ends first is taken. The run keeps that number."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of synthesizers and workers. `auto`: CUDA if the cluster has GPUs, else the CPU."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Autocast type of synthesis and distillation; weights, statistics and losses stay float32.
    `auto`: bfloat16 on hardware that multiplies in it, decided for each process. If the recipe does
    not set it and the run is on GPUs: `auto`."""
    cuda_graphs: bool | Literal["auto"] = False
    """Record the steps of synthesis (where the method supports it) and the student updates as CUDA
    graphs and replay them: the GPU no longer waits for Python. `true` needs CUDA (no effect where
    `device: auto` finds none); `auto` means wherever a role runs on CUDA. If the recipe does not
    set it and the run is on GPUs: `auto`. If it sets `false`, the precisions that it leaves open
    are float32 there too. A network whose forward pass reads a value back from the device runs
    without graphs; the run's notes and `fastdfkd check` say why. With two or more `workers` a
    recorded update includes the exchange of gradients (NCCL); if one worker cannot record it, none
    does. A graph keeps the GPU memory of its step."""
    compile: bool | Literal["auto"] = False
    """Compile parts of a step with torch's compiler, on a CPU or a GPU: augmentation, teacher and
    student of an update, teacher, student and generator of synthesis. `auto`: each part that could
    save 10 s is compiled once at the start, compared with itself and timed; it stays compiled if
    that saves more time in the rest of the run than compiling took. `true`: all, for the whole run.
    What cannot be compiled runs as ever. The run's notes have the seconds and what was decided
    ([compiled steps](measuring.md#compiled-steps)). Compiling takes seconds to minutes for each
    part, in every process. Results equal those of `false` within rounding only, in lock-step too:
    a resumed or repeated run may differ by as much."""
    cpus_per_synthesizer: Rate = 1.0
    """Ray CPUs of a synthesizer, and its threads. If the recipe does not set it and there is no
    GPU: `synthesis_share` of the machine, the student gets the rest. In lock-step the two take
    turns, and each gets the whole machine."""
    gpus_per_synthesizer: Rate | None = None
    """A whole number or a fraction. Unset: `synthesis_share` of a single GPU; several are divided
    evenly."""
    cpus_per_worker: Rate = 1.0
    """Ray CPUs of a worker, and its threads; see `cpus_per_synthesizer`."""
    gpus_per_worker: Rate | None = None
    """A whole number or a fraction. Unset: the rest of a single GPU; several are divided evenly."""
    publish_every: Positive | None = None
    """Student updates between two published versions. Unset: `distillation.updates_per_round`."""
    max_staleness: Positive = 2
    """async: most versions that the student which a batch was made with may be behind the newest
    one when the batch is inserted."""
    evaluations: Count = 10
    """Evaluations on held-out images during the run. The one at the end is always made."""
    checkpoint_every: Positive | None = 10
    """Rounds between two checkpoints. `null`: none, and the run cannot be resumed."""
    most_worker_failures: Count = 3
    """How often Ray Train restarts the group of workers before the run fails; also how often it
    starts again a group that dies while it starts or does not get its resources within
    `start_timeout_s`."""
    start_timeout_s: Rate = 25.0
    """Seconds to wait until the cluster grants the resources of the run."""
    autoscale_timeout_s: Rate | None = None
    """Seconds to wait for an autoscaler to add missing resources. Unset: a cluster that is too
    small is an error at once."""

    @model_validator(mode="after")
    def _graphs_have_a_gpu(self) -> PlatformSection:
        if self.cuda_graphs is True and self.device == "cpu":
            raise ValueError(
                "cuda_graphs needs a GPU, and device is cpu: set device to auto or cuda, or "
                "cuda_graphs to false"
            )
        return self


class TrackingSection(Section):
    """Where MLflow stores the run."""

    experiment: str = "fastdfkd"
    """Name of the MLflow experiment."""
    uri: str | None = None
    """Address of the MLflow store. Unset: `MLFLOW_TRACKING_URI`, else a SQLite file in the folder
    of the runs. A user and password in the address are taken out and kept in this process's memory
    only (`fastdfkd/addresses/credentials.py`)."""

    @field_validator("uri")
    @classmethod
    def _no_credentials(cls, uri: str | None) -> str | None:
        return uri if uri is None else strip_credentials(uri)
