"""Build the parts of a recipe once, in the driver: images, judge, networks, and what uses them."""

from fastdfkd.experiment.class_vectors import read_class_vectors
from fastdfkd.experiment.images import (
    by_class,
    check_method,
    image_spec,
    real_images,
    student_input,
    student_spec,
)
from fastdfkd.experiment.judges import compared_by, judge_of
from fastdfkd.experiment.parts import Experiment, ExperimentFacts
from fastdfkd.experiment.students import initial_student

__all__ = [
    "Experiment",
    "ExperimentFacts",
    "by_class",
    "check_method",
    "compared_by",
    "image_spec",
    "initial_student",
    "judge_of",
    "read_class_vectors",
    "real_images",
    "student_input",
    "student_spec",
]
