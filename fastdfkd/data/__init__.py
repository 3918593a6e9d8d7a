"""Real images: teachers are trained on them, teachers and students are judged on them."""

from fastdfkd.data.cache import cache_folder, cache_somewhere
from fastdfkd.data.images import DataSource, Images, LabelledImages, Split
from fastdfkd.data.judge import Judge, NothingHeldOut, RealImages
from fastdfkd.data.table import DATASETS, data_source

__all__ = [
    "DATASETS",
    "DataSource",
    "Images",
    "Judge",
    "LabelledImages",
    "NothingHeldOut",
    "RealImages",
    "Split",
    "cache_folder",
    "cache_somewhere",
    "data_source",
]
