"""The recipe section `data`: where real images are and how they are prepared."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, JsonValue, model_validator

from fastdfkd.recipe.numbers import Positive, Share, refuse_bool
from fastdfkd.recipe.section import Section


def _pair(size: Any) -> Any:
    """A list of two numbers as the pair that it is in memory."""
    return tuple(size) if isinstance(refuse_bool(size), list) else size


Size = Annotated[Positive | tuple[Positive, Positive] | None, BeforeValidator(_pair)]


class DataSection(Section):
    """Real images: they evaluate the student and train sample teachers, never the student."""

    later: ClassVar[frozenset[str]] = frozenset(
        (
            *("train", "test", "columns", "arguments", "download"),
            *("resize", "crop", "interpolation", "broken_share"),
        )
    )

    name: str
    """`none`: there is no real image, `input` says what the images are, and the student is judged
    on synthetic ones. Or a data set: `digits`, `glyphs`, `scenes`, `cifar10`, `cifar100`. Or the
    form of your own files: `folder` (a folder for each class, or a zip file of that), `npz`, `npy`,
    `parquet`. Or `torchvision:` and the name of a class of `torchvision.datasets`. See
    [your own images](data.md)."""
    root: str | None = None
    """Folder or file of the images. `digits`, `glyphs` and `scenes` need none."""
    train: str | None = None
    """Folder or file of the training images, within `root`. Unset: `train` if it is there. Only
    training a teacher needs them."""
    test: str | None = None
    """Folder or file of the held-out images, within `root`. Unset: `test` or `val` if one is there,
    else all of `root`. For `torchvision:`, like `train`, the name of the split."""
    columns: tuple[str, str] | None = None
    """Names of the images and of the labels: columns of `parquet`, arrays of `npz`. Unset: usual
    names are looked for."""
    arguments: dict[str, JsonValue] = {}  # noqa: RUF012 (pydantic copies it)
    """Further arguments of the class of `torchvision:`, such as `split: letters` of EMNIST."""
    download: bool = False
    """Let torchvision download the files of `torchvision:`, `cifar10` or `cifar100` into `root`."""
    resize: Size = None
    """Length of the shorter side, or `[height, width]`, that images are resized to before the crop.
    Unset: they are scaled to cover the crop."""
    crop: Size = None
    """Side, or `[height, width]`, of the centre crop. Unset: the input's height and width. A crop
    of another size is then resized to them."""
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = (
        "bilinear"
    )
    """How images are resized, in Pillow's terms: with antialiasing."""
    broken_share: Share = 0.01
    """Share of the images that may be unreadable: they are named, counted and skipped."""

    @model_validator(mode="after")
    def _crop_fits(self) -> DataSection:
        resize, crop = _sides(self.resize), _sides(self.crop)
        if resize and crop and (crop[0] > resize[0] or crop[1] > resize[1]):
            raise ValueError(
                f"crop ({self.crop}) must not be larger than resize ({self.resize}), which comes "
                "first"
            )
        return self

    def split_path(self, split: Literal["train", "test"]) -> str | None:
        """`train` or `test`."""
        return self.train if split == "train" else self.test


def _sides(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else size
