"""The base class of all sections of a recipe."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen group of settings. It takes keyword arguments only and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    later: ClassVar[frozenset[str]] = frozenset()
    """Keys that the section did not always have. A class may list only its own: those of its base
    classes are added."""

    def __hash__(self) -> int:
        """Hash of the values as JSON, because Python cannot hash the mappings among them."""
        return hash(self.model_dump_json())

    @property
    def silent(self) -> set[str]:
        """Keys of `later` at their default. Digests leave them out: older recipes keep theirs."""
        every: set[str] = set()
        for base in type(self).__mro__:
            every |= vars(base).get("later", frozenset())
        return every - set(self.model_dump(exclude_defaults=True))
