"""The names of the package, which are imported when they are first used."""

from __future__ import annotations

import importlib
import types

import pytest

import fastdfkd.models as package


@pytest.mark.parametrize("name", package.__all__)
def test_no_name_is_hidden_by_a_module_of_the_package(name: str) -> None:
    for module in sorted({*package._MODULES.values()}):
        importlib.import_module(module)  # becomes an attribute of the package
    assert not isinstance(getattr(package, name), types.ModuleType)


def test_every_public_name_has_a_module() -> None:
    assert sorted(package._MODULES) == sorted(package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # type: ignore[attr-defined]  # noqa: B018
