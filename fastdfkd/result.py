"""The former place of `RunResult`, kept for those who import it from here."""

from fastdfkd.runs.result import RunResult

__all__ = ["RunResult"]
