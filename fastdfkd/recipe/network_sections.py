"""The sections of a recipe that describe its two networks.

The docstring of a key is its text in `docs/recipes.md`. "The paper" is arXiv 2112.06253.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, JsonValue, model_validator

from fastdfkd.recipe.numbers import Count, Positive, Rate, Weight, Width, refuse_bool
from fastdfkd.recipe.pixel_form import PixelForm
from fastdfkd.recipe.section import Section


class NetworkSection(Section):
    """Keys of both networks."""

    later: ClassVar[frozenset[str]] = frozenset({"arguments", "positional", "output", "width"})
    role: ClassVar[str]
    """The section's key in a recipe."""

    model: str
    """A name from the model table (`fastdfkd/models/table.py`), or `SOURCE:NAME`:
    `package.module:builder`, `file.py:builder`, `torchvision:NAME`, `timm:NAME`, `hf:FOLDER`,
    `torchscript:FILE`, `pt2:FILE`."""
    arguments: dict[str, JsonValue] = {}  # noqa: RUF012, pydantic copies it
    """Keyword arguments for the builder. `num_classes` and `in_channels` are passed in addition if
    the builder has such parameters."""
    positional: list[JsonValue] = []  # noqa: RUF012, pydantic copies it
    """Positional arguments for the builder."""
    width: Width = 1.0
    """Share of the channels of every layer of `model` that the network has; the outputs stay whole.
    Below 1 the network is built and then thinned with Torch-Pruning, which follows a forward pass:
    any network built in Python, not `torchscript:` and `pt2:`."""
    output: Literal[
        "logits", "probabilities", "log_probabilities", "binary_logit", "binary_probability"
    ] = "logits"
    """What the network returns for an image. Anything but `logits` is converted to logits. A binary
    output is one number, for the second of two classes."""

    @property
    def shown(self) -> str:
        """The network in words: its `model`, and its `width` if it has not all channels."""
        return f"{self.model} at {self.width:g} of its width" if self.width < 1 else self.model


class TeacherSection(NetworkSection):
    """The network to compress: with the given weights, or else trained here and cached."""

    later = frozenset({"entry", "output_slice"})
    role = "teacher"
    output_slice: tuple[Count, Positive] | None = None
    """`[start, stop]`: the outputs from `start` to before `stop` are the classes. `[1, 1001]`
    leaves out the background of an ImageNet network with 1,001 outputs."""
    weights: str | None = None
    """A file that holds tensors by name: safetensors, the index.json of its shards, a file of
    `torch.save`, or a pickle. Its kind is detected from its content, and nothing in it is executed.
    Unset: the teacher is trained here, unless its source has weights."""
    entry: str | None = None
    """Which state of the file to load, if two fit the network. The message about it lists them."""
    epochs: Positive = 200
    """Passes over the training images, if the teacher is trained here."""
    batch_size: Positive = 128
    """Images of a training step."""
    lr: Rate = 0.1
    """Peak learning rate of SGD (Nesterov 0.9) on a one-cycle schedule."""
    weight_decay: Weight = 5e-4
    """L2 penalty of SGD."""
    crop_padding: Count = 4
    """Pixels of zero padding before the random crop."""
    flip: bool = True
    """Random horizontal flips. Turn them off for digits and letters, which are not symmetric."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Autocast type of training; the weights are float32. `auto`: bfloat16 on hardware that
    multiplies in it, else float32; teachers of the two kinds of machines differ. If the recipe does
    not set it and the teacher is trained on a GPU: `auto`."""

    @model_validator(mode="after")
    def _slice_is_not_empty(self) -> TeacherSection:
        if self.output_slice is None:
            return self
        start, stop = self.output_slice
        if stop <= start:
            raise ValueError(
                f"output_slice is [start, stop] with start below stop, got [{start}, {stop}]"
            )
        if self.output.startswith("binary"):
            raise ValueError(
                f"output_slice does not apply to output: {self.output}, which is one number: "
                "remove it"
            )
        return self


def _side_by_side(size: Any) -> Any:
    """Height and width of a size that is given as one number."""
    return (size, size) if isinstance(refuse_bool(size), int) else size


class StudentSection(PixelForm, NetworkSection):
    """The smaller network, which learns from the teacher.

    `model: teacher` stands for the teacher's own network: its `model`, `arguments`, `positional`
    and `output`. With a `width` below 1 the student is a thinner copy of the teacher.

    It sees the teacher's images. Where it is used may want them in another form than the teacher
    does: with another normalisation (unset: the teacher's) or in another size.
    """

    later = frozenset({"size", "start_from"})
    role = "student"
    start_from: Literal["teacher"] | None = None
    """`teacher`: the initial weights are evenly spaced elements of the teacher's tensors of equal
    names, for a student of its architecture that is thinner or has fewer blocks (weight selection,
    not in the paper). With a `width` they are those of the channels that are kept. Unset: random
    weights, which follow from the seed."""
    size: Annotated[tuple[Positive, Positive] | None, BeforeValidator(_side_by_side)] = None
    """Height and width of the student's images, as one number if they are equal. Images are resized
    bilinearly, with antialiasing. Unset: those of `input.shape`."""
