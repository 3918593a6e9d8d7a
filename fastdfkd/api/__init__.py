"""What users call from Python."""

from fastdfkd.api.calls import (
    check,
    distill,
    evaluate,
    synthesize,
    train_teacher,
    train_teacher_into,
)
from fastdfkd.api.resuming import resume, resume_synthesis

__all__ = [
    "check",
    "distill",
    "evaluate",
    "resume",
    "resume_synthesis",
    "synthesize",
    "train_teacher",
    "train_teacher_into",
]
