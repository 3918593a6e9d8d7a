"""What users call from Python: `distill`, `resume`, `evaluate` and `train_teacher`."""

from fastdfkd.api.calls import distill, evaluate, resume, train_teacher, train_teacher_into

__all__ = ["distill", "evaluate", "resume", "train_teacher", "train_teacher_into"]
