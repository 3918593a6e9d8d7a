"""Images in files of the user's own, in the forms that `data.name` may be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.arrays import read_npy, read_npz
from fastdfkd.data.decoding import Geometry
from fastdfkd.data.examples import EXAMPLES
from fastdfkd.data.folder import folder_classes, read_folder
from fastdfkd.data.images import Images, Split
from fastdfkd.data.map_folder import read_maps
from fastdfkd.data.nyuv2 import NYUV2, read_nyuv2
from fastdfkd.data.parquet import parquet_classes, read_parquet
from fastdfkd.data.records import Found
from fastdfkd.data.stated import Stated
from fastdfkd.data.streaming import IN_MEMORY_BYTES, StreamedImages
from fastdfkd.data.torchvision_sets import PREFIX, read_torchvision, torchvision_classes
from fastdfkd.recipe import DataSection, TaskName

Read = Callable[[DataSection, Split, ImageSpec], Found | None]


@dataclass(frozen=True)
class Form:
    """How one form of files is read, by what the networks predict for them."""

    readers: Mapping[TaskName, Read]
    classes: Mapping[TaskName, Callable[[DataSection], tuple[str, ...]]] = field(
        default_factory=dict
    )
    """Names of the classes as the files state them; empty if they do not."""
    known: Stated | None = None
    """What is known of the images of a published data set."""

    def stated(self, section: DataSection) -> Stated:
        """What a data section of this form states about its images. No file is opened."""
        if self.known is not None:
            return self.known

        def read_classes(task: TaskName) -> tuple[str, ...]:
            read = self.classes.get(task)
            return () if read is None else read(section)

        return Stated(name=section.name, read_classes=read_classes)


FORMS: dict[str, Form] = {
    "folder": Form(
        {"classification": read_folder, "segmentation": read_maps},
        {"classification": folder_classes},
    ),
    "npz": Form({"classification": read_npz}),
    "npy": Form({"classification": read_npy}),
    "parquet": Form({"classification": read_parquet}, {"classification": parquet_classes}),
    PREFIX: Form({"classification": read_torchvision}, {"classification": torchvision_classes}),
    "nyuv2": Form({"segmentation": read_nyuv2}, known=NYUV2),
}
"""By `data.name`; a name that ends with `:` stands for all names that begin with it."""


_opened: OrderedDict[str, Images] = OrderedDict()
_MOST_OPENED = 2


def form_of(name: str) -> Form | None:
    """The form of a `data.name`; None if it is none of these."""
    prefix, colon, _ = name.partition(":")
    return FORMS.get(prefix + colon)


def own_images(section: DataSection, split: Split, spec: ImageSpec) -> Images | None:
    """The images of a split, as the networks read them; None if there is no such split.

    Small sets are decoded at once and kept in memory; others are decoded in each pass.

    Args:
        section: whose `name` is one of the forms.
        split: which images.
        spec: size, channels and classes of the networks.

    Raises:
        ValueError: files are missing or damaged, or do not fit `spec`.
    """
    form = form_of(section.name)
    assert form is not None
    if spec.task not in form.readers:
        names = [name for name, other in FORMS.items() if spec.task in other.readers]
        raise ValueError(
            f"data.name: {section.name} holds no labels for input.task: {spec.task}; expected "
            f"{' or '.join(names)}"
        )
    found = form.readers[spec.task](section, split, spec)
    if found is None:
        return None
    geometry = _geometry(section, spec, found)
    streamed = StreamedImages(
        examples=EXAMPLES[spec.task](found.records, spec.channels, geometry),
        broken_share=section.broken_share,
        where=found.where,
        said=found.notes,
    )
    return _opened_before(streamed)


def _opened_before(streamed: StreamedImages) -> Images:
    """The same images if this process has opened them already: a run opens them several times."""
    key = repr((streamed.where, streamed.digest(), streamed.broken_share, streamed.said))
    if key not in _opened:
        small = streamed.examples.nbytes <= IN_MEMORY_BYTES
        _opened[key] = streamed.in_memory() if small else streamed
        if len(_opened) > _MOST_OPENED:
            _opened.popitem(last=False)
    _opened.move_to_end(key)
    return _opened[key]


def _geometry(section: DataSection, spec: ImageSpec, found: Found) -> Geometry:
    """How the files' images become those that the networks read.

    Where there is a class for each pixel, images keep the size that `data.resize` or `data.crop`
    gives them, if it is larger than the input's.

    Raises:
        ValueError: they would be too small for the networks.
    """
    crop = (section.crop, section.crop) if isinstance(section.crop, int) else section.crop
    resize = section.resize if section.resize or section.crop else found.resize
    size = spec.shape[1], spec.shape[2]
    if spec.kind.spatial_axes:
        size = crop or (resize if isinstance(resize, tuple) else size)
        if not spec.kind.reads((spec.channels, *size), spec.shape):
            key = "crop" if crop else "resize"
            raise ValueError(
                f"data.{key}: expected a height and width of at least {spec.shape[1]} x "
                f"{spec.shape[2]}, those of input.shape, got {size[0]} x {size[1]}"
            )
    return Geometry(size=size, resize=resize, crop=crop, interpolation=section.interpolation)
