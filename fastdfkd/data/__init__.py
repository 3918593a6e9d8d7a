"""Real images: they judge the student and train the sample teachers, and are never distilled on."""

from fastdfkd.data.cache import cache_folder, cache_somewhere
from fastdfkd.data.images import DataSpec, LabelledImages, Split
from fastdfkd.data.table import DATASETS, data_spec, load_split

__all__ = [
    "DATASETS",
    "DataSpec",
    "LabelledImages",
    "Split",
    "cache_folder",
    "cache_somewhere",
    "data_spec",
    "load_split",
]
