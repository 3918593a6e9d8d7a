"""Which classes a run's synthetic images are of, for its page."""

from __future__ import annotations

from collections.abc import Sequence

MOST_ROWS = 40
"""Classes of a table that has all of them; of more classes the rarest and the commonest are shown.
"""


def coverage_line(made: Sequence[int]) -> str:
    """How many classes came, and how evenly; "" where nothing was counted.

    Args:
        made: images, or pixels, of each class.
    """
    total, seen = sum(made), sum(1 for count in made if count)
    if not total:
        return ""
    even = total / len(made)
    return (
        f"The teacher assigned them to {seen:,} of {len(made):,} classes. The rarest class has "
        f"{min(made) / even:.2f} of its even share, the commonest {max(made) / even:.2f}."
    )


def coverage_rows(made: Sequence[int], names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Name, number and share of each class, the rarest first.

    Of more than `MOST_ROWS` classes the rarest and the commonest are given, as many of each.

    Args:
        made: images, or pixels, of each class.
        names: of the classes.
    """
    total = max(sum(made), 1)
    order = sorted(range(len(made)), key=lambda number: (made[number], number))
    if len(order) > MOST_ROWS:
        order = [*order[: MOST_ROWS // 2], *order[-MOST_ROWS // 2 :]]
    return [(names[n], f"{made[n]:,}", f"{made[n] / total:.2%}") for n in order]
