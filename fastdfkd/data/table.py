"""The data sets that a recipe may name."""

from __future__ import annotations

from pathlib import Path

from fastdfkd.data.cifar import CIFAR_FOLDERS, load_cifar
from fastdfkd.data.digits import load_digits
from fastdfkd.data.glyph_drawing import LETTERS
from fastdfkd.data.glyphs import load_glyphs
from fastdfkd.data.images import DataSpec, LabelledImages, Split
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
    DataSpec(
        name="digits",
        num_classes=10,
        image_shape=(1, 16, 16),
        mean=(0.305,),
        std=(0.318,),
        class_names=tuple("0123456789"),
    ),
    DataSpec(
        name="glyphs",
        num_classes=26,
        image_shape=(3, 32, 32),
        mean=(0.499, 0.499, 0.500),
        std=(0.288, 0.309, 0.286),
        class_names=tuple(LETTERS),
    ),
    DataSpec(  # mean and std of the checkpoints in common use; the true std is (.247, .243, .262)
        name="cifar10",
        num_classes=10,
        image_shape=(3, 32, 32),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        class_names=tuple(_CIFAR10.split()),
    ),
    DataSpec(
        name="cifar100",
        num_classes=100,
        image_shape=(3, 32, 32),
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
        class_names=tuple(_CIFAR100.split()),
    ),
)

DATASETS: dict[str, DataSpec] = {spec.name: spec for spec in _SPECS}


def data_spec(name: str) -> DataSpec:
    """What is known of the data set `name`.

    Raises:
        RecipeError: no such data set; the message lists the names and the nearest one.
    """
    if name not in DATASETS:
        raise RecipeError(unknown(f"data.name: data set {shown(name)}", name, list(DATASETS)))
    return DATASETS[name]


def load_split(name: str, split: Split, root: str | Path | None = None) -> LabelledImages:
    """The real images of a data set.

    Args:
        name: a key of `DATASETS`.
        split: `train` trains the sample teachers, `test` judges teachers and students. Neither
            is ever distilled on.
        root: the folder that holds CIFAR; `digits` and `glyphs` need none.

    Raises:
        RecipeError: no such data set.
        ValueError: CIFAR is not under `root`, or `split` is neither `train` nor `test`.
    """
    data_spec(name)
    if split not in ("train", "test"):
        raise ValueError(f"split: expected train or test, got {shown(split)}")
    if name in CIFAR_FOLDERS:
        return load_cifar(name, split, root)
    return load_digits(split) if name == "digits" else load_glyphs(split)
