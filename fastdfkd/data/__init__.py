"""Real images: teachers are trained on them, teachers and students are judged on them."""

from fastdfkd.data.cache import cache_folder, use_fallback_cache
from fastdfkd.data.images import DataSource, Images, LabelledImages, PartOfImages, Split
from fastdfkd.data.judge import Judge, NothingHeldOut, RealAndSynthetic, RealImages, images_at_once
from fastdfkd.data.stated import Stated, complete_spec
from fastdfkd.data.synthetic import DEFAULT_IMAGES, SyntheticImages, synthetic_images
from fastdfkd.data.table import DATASETS, WITHOUT_FILES, data_source

__all__ = [
    "DATASETS",
    "DEFAULT_IMAGES",
    "WITHOUT_FILES",
    "DataSource",
    "Images",
    "Judge",
    "LabelledImages",
    "NothingHeldOut",
    "PartOfImages",
    "RealAndSynthetic",
    "RealImages",
    "Split",
    "Stated",
    "SyntheticImages",
    "cache_folder",
    "complete_spec",
    "data_source",
    "images_at_once",
    "synthetic_images",
    "use_fallback_cache",
]
