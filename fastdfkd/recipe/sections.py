"""The sections of a recipe, each a frozen group of settings with its checks.

Symbols (`lr_g`, `lr_z`, `bn`, `oh`, `adv`) are the paper's: arXiv 2112.06253, Sec. 3 and 4.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from fastdfkd.addresses.credentials import taken_out


def _no_bool(value: Any) -> Any:
    """`true` is no number, although Python counts it as 1."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {str(value).lower()}")
    return value


_Whole = Annotated[int, BeforeValidator(_no_bool), Field(lt=2**31)]
_Real = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Positive = Annotated[_Whole, Field(ge=1)]
Count = Annotated[_Whole, Field(ge=0)]
Seed = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, lt=2**32)]
Rate = Annotated[_Real, Field(gt=0)]
Weight = Annotated[_Real, Field(ge=0)]
Share = Annotated[_Real, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A frozen, keyword-only group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataSection(Section):
    """Which real images judge the student (and train the sample teachers). Never distilled on."""

    name: str
    """`digits`, `glyphs`, `cifar10` or `cifar100`."""
    root: str | None = None
    """Folder that already holds CIFAR; `digits` and `glyphs` need none."""


class NetworkSection(Section):
    """What teacher and student share."""

    role: ClassVar[str]
    """The section's key in a recipe."""

    model: str
    """A name from the model table, or `package.module:builder` for your own network."""
    arguments: dict[str, JsonValue] = {}
    """Keyword arguments for the builder of your own network, beside `num_classes` and
    `in_channels`, which it gets where it takes them."""
    output: Literal[
        "logits", "probabilities", "log_probabilities", "binary_logit", "binary_probability"
    ] = "logits"
    """What the network returns for an image; all but `logits` is turned into logits. The binary
    ones are one number for the second of two classes."""

    def __hash__(self) -> int:
        """Over the values; a mapping has no hash of its own."""
        return hash(self.model_dump_json())

    @property
    def silent(self) -> set[str]:
        """Keys at their default that digests leave out: recipes had digests before these keys."""
        return {"arguments", "output"} - set(self.model_dump(exclude_defaults=True))


class TeacherSection(NetworkSection):
    """The network to compress. With `weights` it is opened, without it is trained (and cached)."""

    role = "teacher"
    weights: str | None = None
    """`.safetensors` file, or `.pt`/`.pth` state dict (opened with `weights_only=True`)."""
    epochs: Positive = 200
    """Passes over the training images when the teacher is trained here."""
    batch_size: Positive = 128
    lr: Rate = 0.1
    """Peak learning rate of SGD (Nesterov 0.9) on a one-cycle schedule."""
    weight_decay: Weight = 5e-4
    crop_padding: Count = 4
    """Pixels of zero padding before the random crop."""
    flip: bool = True
    """Random horizontal flips: off for digits and letters, which are not symmetric."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Autocast type of training; the teacher itself is float32. `auto`: bfloat16 where the machine
    multiplies in it, so that a machine which does not has another teacher."""


class StudentSection(NetworkSection):
    """The smaller network that learns from the teacher."""

    role = "student"


class DistillationSection(Section):
    """The student's updates on batches drawn from the whole bank."""

    updates_per_round: Positive = 400
    """Student updates after each batch that is past warm-up (kd_steps)."""
    batch_size: Positive = 256
    """Images of one update over all workers together."""
    lr: Rate = 0.2
    """SGD learning rate of the first round's updates; a cosine step each round towards `min_lr`."""
    min_lr: Weight = 2e-4
    warmup_updates: Count = 0
    """First updates, over which the learning rate rises to its cosine in equal steps; 0 as in the
    paper. Without them a short run at a high rate may learn nothing for hundreds of updates."""
    momentum: Share = 0.9
    weight_decay: Weight = 1e-4
    temperature: Rate = 20.0
    """Softmax temperature of the KL loss, which is scaled by its square."""
    crop_padding: Count = 4
    flip: bool = True
    invert: bool = False
    """Random inversion of the images that the student sees, as in `synthesis`."""
    teacher_cache: Annotated[_Whole, Field(ge=2)] | None = None
    """Updates that share a view (an augmented image) and the teacher's logits for it, on
    average; unset: every update draws new views and asks the teacher about all of them."""


class BankSection(Section):
    """What the sample bank keeps."""

    capacity: Positive | None = None
    """Most images kept, oldest out first; unset: every image of the run."""


class PlatformSection(Section):
    """What runs where, and how closely the two roles follow each other."""

    schedule: Literal["lockstep", "async"] = "async"
    """`lockstep`: the paper's order. `async`: both roles at once, within `tolerance_rounds`."""
    tolerance_rounds: Positive = 4
    """async: rounds that each synthesizer may be ahead of the paper's order."""
    synthesizers: Positive = 1
    """Synthesizer actors; where the recipe says nothing: `synthesis_share` of the GPUs."""
    workers: Count = 0
    """Ray Train worker processes of the student; 0 trains in the driver's own process. Where the
    recipe says nothing: the other GPUs, or 0 where there are none."""
    synthesis_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of what the cluster has that synthesis gets where the recipe does not say more."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: CUDA where the cluster has GPUs, else the CPU."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Autocast type of both roles; weights, statistics and losses stay float32. `auto`: bfloat16
    where a role's processor or GPU multiplies in it."""
    cuda_graphs: bool = False
    """Record a synthesis step (of `method: fast`) and a student update as CUDA graphs and replay
    them, which spares a GPU the wait for Python. Needs CUDA, has no effect where `device: auto`
    finds none, and networks that never ask the device for a value. With two or more `workers` the
    student's own forward and backward are not recorded; synthesis and the teacher still are.
    What a step needs of a GPU's memory stays taken by its graph. Not run on a GPU yet."""
    cpus_per_synthesizer: Rate = 1.0
    """Also its processor threads; where the recipe says nothing and there is no GPU,
    `synthesis_share` of the machine, and the student gets the rest. In lock-step, where they take
    turns, both get the whole machine."""
    gpus_per_synthesizer: Rate | None = None
    """A whole number or a fraction; unset: the cluster's GPUs are shared out evenly."""
    cpus_per_worker: Rate = 1.0
    gpus_per_worker: Rate | None = None
    publish_every: Positive | None = None
    """Student updates between two published versions; unset: `updates_per_round`."""
    max_staleness: Positive = 2
    """async: most student versions a batch's student may be behind the newest when inserted."""
    evaluations: Count = 10
    """Evaluations on held-out real images during the run; the last one is always made."""
    checkpoint_every: Positive | None = 10
    """Rounds between two checkpoints; null: none, and the run cannot be resumed."""
    most_worker_failures: Count = 3
    """Times that Ray Train restarts the group of workers before the run fails, and times that it
    starts anew a group that dies, or is not granted within `start_timeout_s`, while it starts."""
    start_timeout_s: Rate = 25.0
    """Seconds to wait for the cluster to grant what the run asks for."""
    autoscale_timeout_s: Rate | None = None
    """Seconds to wait for an autoscaler to add what the cluster lacks; unset: a cluster that is too
    small is refused at once."""

    @model_validator(mode="after")
    def _graphs_have_a_gpu(self) -> PlatformSection:
        if self.cuda_graphs and self.device == "cpu":
            raise ValueError(
                "cuda_graphs needs a GPU, and device is cpu: set device to auto or cuda, or "
                "cuda_graphs to false"
            )
        return self


class TrackingSection(Section):
    """Where MLflow writes."""

    experiment: str = "fastdfkd"
    uri: str | None = None
    """Unset: `MLFLOW_TRACKING_URI`, else a SQLite file in the folder of the runs. A user and a
    password in it never reach the recipe: this process keeps them
    (`fastdfkd/addresses/credentials.py`)."""

    @field_validator("uri")
    @classmethod
    def _no_credentials(cls, uri: str | None) -> str | None:
        return uri if uri is None else taken_out(uri)
