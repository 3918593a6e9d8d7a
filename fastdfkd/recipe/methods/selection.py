"""The type of `synthesis` in a recipe: the section that `METHODS` has for its `method`.

pydantic fixes a union of classes when `Recipe` is defined. The table can grow after that, so the
union is built when a recipe is read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Union

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, SerializeAsAny, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from fastdfkd.recipe.methods.section import SynthesisSection
from fastdfkd.recipe.methods.table import METHODS, DefaultMethod


class _ByMethod:
    """Validates, and describes in JSON schema, as the union of the sections in the table."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_section, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(_union().core_schema)


AnyMethod = Annotated[SerializeAsAny[SynthesisSection], _ByMethod()]
"""A section of any method."""


def _section(value: Any) -> SynthesisSection:
    if isinstance(value, SynthesisSection):
        return value
    if isinstance(value, dict) and "method" not in value:
        value = {**value, "method": DefaultMethod.method_name()}
    section: SynthesisSection = _union().validate_python(value)
    return section


def _union() -> TypeAdapter[Any]:
    return _union_of(tuple(METHODS.items()))


@lru_cache(maxsize=8)
def _union_of(methods: tuple[tuple[str, type[SynthesisSection]], ...]) -> TypeAdapter[Any]:
    for name, section in methods:
        _check(name, section)
    sections: Any = Union[tuple(section for _, section in methods)]  # noqa: UP007
    return TypeAdapter(Annotated[sections, Field(discriminator="method")])


def _check(name: str, section: type[SynthesisSection]) -> None:
    """Check a line of the table.

    Raises:
        TypeError: the section lacks something.
    """
    field = section.model_fields.get("method")
    if field is None or section.method_name() != name:
        raise TypeError(f"METHODS[{name!r}]: {section.__name__} needs `method: Literal[{name!r}]`")
    if not field.is_required() and section is not DefaultMethod:
        raise TypeError(
            f"METHODS[{name!r}]: `method` of {section.__name__} must have no default value"
        )
    if not hasattr(section, "implementation"):
        raise TypeError(
            f"METHODS[{name!r}]: {section.__name__} needs `implementation: ClassVar[str]`, "
            '"package.module:Class" of its synthesizer'
        )
