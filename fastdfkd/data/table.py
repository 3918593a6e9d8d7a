"""The data sets that `data.name` of a recipe may be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.cifar import load_cifar
from fastdfkd.data.digits import load_digits
from fastdfkd.data.glyph_drawing import LETTERS
from fastdfkd.data.glyphs import load_glyphs
from fastdfkd.data.images import DataSource, Images, LabelledImages, Split
from fastdfkd.data.own_files import FORMS, form_of, own_images
from fastdfkd.data.scene_drawing import CLASSES
from fastdfkd.data.scenes import load_scenes
from fastdfkd.data.stated import Stated
from fastdfkd.recipe import NORMALISATIONS, DataSection
from fastdfkd.recipe.messages import RecipeError, unknown
from fastdfkd.text.shown import shown

_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""

_SPECS = (
    ImageSpec(
        name="digits",
        num_classes=10,
        shape=(1, 16, 16),
        mean=(0.305,),
        std=(0.318,),
        class_names=tuple("0123456789"),
        caution=(
            "Digits is an easy data set: it shows how the system works and what it costs, not "
            "which method makes better images. It says nothing about accuracy on CIFAR."
        ),
    ),
    ImageSpec(
        name="glyphs",
        num_classes=26,
        shape=(3, 32, 32),
        mean=(0.499, 0.499, 0.500),
        std=(0.288, 0.309, 0.286),
        class_names=tuple(LETTERS),
    ),
    ImageSpec(
        name="scenes",
        task="segmentation",
        num_classes=len(CLASSES),
        shape=(3, 32, 32),
        mean=(0.461, 0.490, 0.468),
        std=(0.221, 0.228, 0.263),
        class_names=CLASSES,
    ),
    ImageSpec(
        name="cifar10",
        num_classes=10,
        shape=(3, 32, 32),
        mean=NORMALISATIONS["cifar10"][0],
        std=NORMALISATIONS["cifar10"][1],
        class_names=tuple(_CIFAR10.split()),
    ),
    ImageSpec(
        name="cifar100",
        num_classes=100,
        shape=(3, 32, 32),
        mean=NORMALISATIONS["cifar100"][0],
        std=NORMALISATIONS["cifar100"][1],
        class_names=tuple(_CIFAR100.split()),
    ),
)

Reader = Callable[[Split, DataSection], LabelledImages | None]
"""Maps a split and the data section to the images; None if there is no such split."""

_READERS: dict[str, Reader] = {
    "digits": lambda split, _: load_digits(split),
    "glyphs": lambda split, _: load_glyphs(split),
    "scenes": lambda split, _: load_scenes(split),
    "cifar10": load_cifar,
    "cifar100": load_cifar,
}

DATASETS: dict[str, tuple[ImageSpec | Stated, Reader]] = {
    **{spec.name: (spec, _READERS[spec.name]) for spec in _SPECS},
    "none": (Stated(name="none"), lambda split, _: None),
}
"""What is known of the images, and how they are read, by `data.name`."""
WITHOUT_FILES = ("none", "digits", "glyphs", "scenes")
"""Those for which `data.root` has no meaning."""


def data_source(section: DataSection) -> DataSource:
    """The data source that a recipe's data section describes. No file is opened.

    Raises:
        RecipeError: there is no such data set. The message lists the names.
    """
    name, form = section.name, form_of(section.name)
    if form is not None:
        return DataSource(form.stated(section), partial(own_images, section))
    if name not in DATASETS:
        names = [*DATASETS, *(f"{form}CLASS" if form[-1] == ":" else form for form in FORMS)]
        raise RecipeError(unknown(f"data.name: data set {shown(name)}", name, names))
    known, read = DATASETS[name]

    def load(split: Split, spec: ImageSpec) -> Images | None:
        if split not in get_args(Split):
            raise ValueError(f"split: expected train or test, got {shown(split)}")
        images = read(split, section)
        if images is not None:
            images.check_fits(spec)
        return images

    return DataSource(known, load)
