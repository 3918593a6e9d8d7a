"""What users call from Python."""

from fastdfkd.api.calls import (
    check,
    distill,
    evaluate,
    resume,
    resume_synthesis,
    synthesize,
    train_teacher,
    train_teacher_into,
)

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
