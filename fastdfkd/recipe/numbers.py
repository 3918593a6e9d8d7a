"""Types of numbers in recipes. `true` and `false` are no numbers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def refuse_bool(value: Any) -> Any:
    """Refuse `true` and `false` for numbers: Python would take them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {str(value).lower()}")
    return value


Whole = Annotated[int, BeforeValidator(refuse_bool), Field(lt=2**31)]
Real = Annotated[float, BeforeValidator(refuse_bool), Field(allow_inf_nan=False)]
Positive = Annotated[Whole, Field(ge=1)]
Count = Annotated[Whole, Field(ge=0)]
Seed = Annotated[int, BeforeValidator(refuse_bool), Field(ge=0, lt=2**32)]
Rate = Annotated[Real, Field(gt=0)]
Weight = Annotated[Real, Field(ge=0)]
Share = Annotated[Real, Field(ge=0, lt=1)]
Width = Annotated[Real, Field(gt=0, le=1)]
