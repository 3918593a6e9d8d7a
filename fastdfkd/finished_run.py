"""The former place of `Evaluation`, kept for those who import it from here."""

from fastdfkd.api.evaluation import Evaluation

__all__ = ["Evaluation"]
