"""Images in files of the user's own, in the forms that `data.name` may be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.arrays import read_npy, read_npz
from fastdfkd.data.decoding import Geometry
from fastdfkd.data.folder import folder_classes, read_folder
from fastdfkd.data.images import Images, Split
from fastdfkd.data.parquet import parquet_classes, read_parquet
from fastdfkd.data.records import Found
from fastdfkd.data.streaming import IN_MEMORY_BYTES, StreamedImages
from fastdfkd.data.torchvision_sets import PREFIX, read_torchvision, torchvision_classes
from fastdfkd.recipe import DataSection


class Form(NamedTuple):
    """How one form of files is read."""

    read: Callable[[DataSection, Split, ImageSpec], Found | None]
    classes: Callable[[DataSection], tuple[str, ...]]
    """Names of the classes as the files state them; empty if they do not."""


def _no_names(_: DataSection) -> tuple[str, ...]:
    return ()


FORMS: dict[str, Form] = {
    "folder": Form(read_folder, folder_classes),
    "npz": Form(read_npz, _no_names),
    "npy": Form(read_npy, _no_names),
    "parquet": Form(read_parquet, parquet_classes),
    PREFIX: Form(read_torchvision, torchvision_classes),
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
    found = form.read(section, split, spec)
    if found is None:
        return None
    streamed = StreamedImages(
        records=found.records,
        channels=spec.channels,
        geometry=_geometry(section, spec),
        broken_share=section.broken_share,
        where=found.where,
        said=found.notes,
    )
    return _opened_before(streamed)


def _opened_before(streamed: StreamedImages) -> Images:
    """The same images if this process has opened them already: a run opens them several times."""
    key = repr((streamed.where, streamed.digest(), streamed.broken_share, streamed.said))
    if key not in _opened:
        small = streamed.nbytes <= IN_MEMORY_BYTES
        _opened[key] = streamed.in_memory() if small else streamed
        if len(_opened) > _MOST_OPENED:
            _opened.popitem(last=False)
    _opened.move_to_end(key)
    return _opened[key]


def _geometry(section: DataSection, spec: ImageSpec) -> Geometry:
    crop = section.crop
    return Geometry(
        size=(spec.shape[1], spec.shape[2]),
        resize=section.resize,
        crop=(crop, crop) if isinstance(crop, int) else crop,
        interpolation=section.interpolation,
    )
