"""What the scripts that write `recipes/paper/` share: the platform of every row, and the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PAPER = Path(__file__).parent / "paper"

PLATFORM = """\
platform:
  schedule: lockstep    # the paper's order; on a cluster, platform.schedule=async is faster
  synthesizers: 1{synthesizers}
  workers: 1
  device: auto
  precision: float32
{more}"""
"""`synthesizers`: a comment. `more`: further keys."""


def platform(more: str = "", comment: str = "") -> str:
    """The platform of a row in the paper's order.

    Args:
        more: further lines of the section.
        comment: stands beside the number of synthesizers.
    """
    return PLATFORM.format(more=more, synthesizers=comment)


def write(texts: Mapping[str, str]) -> None:
    """Write recipes.

    Args:
        texts: path below `recipes/paper/` to YAML text.
    """
    for name, text in texts.items():
        file = PAPER / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
