"""Base class of the sections of the methods that optimise each batch through a generator."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from fastdfkd.recipe.image_input import TaskName
from fastdfkd.recipe.methods.section import InversionSection
from fastdfkd.recipe.numbers import Positive, Share


class GeneratorSection(InversionSection):
    """Keys of the methods that optimise each batch through a copy of a generator."""

    later: ClassVar[frozenset[str]] = frozenset(
        {"channel_exchange", "codes", "class_vectors", "class_vector_size"}
    )
    channel_exchange: Share = 0.0
    """Probability that an image of a finished batch is replaced by one that the generator decodes
    from its own feature map with half of the channels of another image's map (SpaceshipNet). 0.7
    there; 0: no image. It keeps its label."""
    codes: Literal["noise", "classes"] = "noise"
    """What the generator reads: random latent codes z, or the vector of an image's class through a
    random linear layer, as NAYER does. `classes` needs `balanced_labels`."""
    class_vectors: str | None = None
    """Path of an .npy or .safetensors file with a vector for each class, (classes, length), in the
    order of the classes; for `codes: classes`. Unset: random vectors that follow from the seed. It
    must stay as it is while the run can be resumed."""
    class_vector_size: Positive = 512
    """Length of these random vectors, that of CLIP's by default."""

    def misfit(self, task: TaskName) -> str:
        """Vectors of classes need one class for each image."""
        if task == "classification" or self.codes == "noise":
            return ""
        return (
            f"synthesis.method {self.method_name()} with codes: classes needs one class for each "
            f"image, and {task} has one for each pixel: set synthesis.codes to noise, or use the "
            "method fast, dafl or dfad"
        )

    @model_validator(mode="after")
    def _labels_fit(self) -> GeneratorSection:
        if self.codes == "classes" and self.labels == "teacher":
            raise ValueError(
                "codes: classes makes images of drawn classes: set labels to drawn, or codes to "
                "noise"
            )
        return self

    @property
    def vectors_file(self) -> str | None:
        """`class_vectors`."""
        return self.class_vectors

    @model_validator(mode="after")
    def _codes_fit(self) -> GeneratorSection:
        if self.codes == "noise" and self.class_vectors is not None:
            raise ValueError(
                "class_vectors has no effect with codes: noise: set codes to classes, or leave "
                "class_vectors out"
            )
        if self.codes == "classes" and not self.balanced_labels:
            raise ValueError(
                "codes: classes needs balanced_labels: true: two images of one class would share a "
                "random layer and be equal"
            )
        return self

    @model_validator(mode="after")
    def _images_differ(self) -> GeneratorSection:
        needs = {"codes: classes": self.codes == "classes"}
        needs["channel_exchange"] = self.channel_exchange > 0
        for key, needed in needs.items():
            if needed and self.batch_size < 2:
                raise ValueError(
                    f"{key} needs at least two images in a batch: batch_size is {self.batch_size}"
                )
        return self
