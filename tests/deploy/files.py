"""Where the files of deploy/ are, and what they share."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
IMAGE = f"fastdfkd:{version('fastdfkd')}"
