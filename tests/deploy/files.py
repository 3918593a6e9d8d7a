"""Where the files of deploy/ are, and what they share."""

from __future__ import annotations

import re
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
_CITATION = DEPLOY.with_name("CITATION.cff").read_text(encoding="utf-8")
IMAGE = f"fastdfkd:{re.search(r'(?m)^version: (.+)$', _CITATION)[1]}"  # type: ignore[index]
