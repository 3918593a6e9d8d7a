"""What users call from Python: `check`, `distill`, `resume`, `evaluate` and `train_teacher`."""

from fastdfkd.api.calls import check, distill, evaluate, resume, train_teacher, train_teacher_into

__all__ = ["check", "distill", "evaluate", "resume", "train_teacher", "train_teacher_into"]
