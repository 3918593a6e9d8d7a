from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastdfkd.recipe import RecipeError
from fastdfkd.reproduction.request import interrupted_table, new_table
from fastdfkd.runs.folder_lock import FolderInUseError


def test_a_table_is_checked_before_a_folder_is_made(workplace: Path) -> None:
    with pytest.raises(ValueError, match="unknown"):
        new_table("cifar11").__enter__()
    with pytest.raises(ValueError, match="--seeds"):
        new_table("digits", seeds=0).__enter__()
    with pytest.raises(RecipeError, match=r"synthesis\.meta"):  # dafl has no such key
        new_table("digits", rows=["fast5", "dafl"], overrides=["synthesis.meta=none"]).__enter__()
    assert not (workplace / "runs").exists()


def test_a_table_is_read_back_as_it_was_begun(workplace: Path, tiny: list[str]) -> None:
    rows = ("fast5", "dafl")
    with new_table("digits", rows=rows, seeds=2, overrides=tiny, out="out") as begun:
        assert list(begun.recipes) == ["digits-dafl", "digits-fast5"]
        assert begun.recipes["digits-fast5"].synthesis.rounds == 3
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()} on "):
            interrupted_table("out").__enter__()
    with interrupted_table("out") as again:
        assert (again.request, again.recipes) == (begun.request, begun.recipes)
        assert again.request.overrides == tuple(tiny)


def test_recipes_that_share_images_and_teacher_are_one_sweep(workplace: Path) -> None:
    with new_table("cifar10", rows=["fast5", "dafl"], out="out") as run:
        groups = {folder.name: list(recipes) for folder, recipes in run.groups.items()}
    assert {name: len(recipes) for name, recipes in groups.items()} == {
        "0-resnet34": 2,
        "1-vgg11": 2,
        "2-wrn-40-2": 6,
    }
    assert groups["1-vgg11"] == ["cifar10-vgg11-resnet18-dafl", "cifar10-vgg11-resnet18-fast5"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no table: request.json is missing"),
        ("{", "not readable as JSON"),
        ('{"table": "digits", "rows": [], "pairs": []}', "damaged, or of another version .seeds"),
        (
            '{"table": "digits", "rows": ["x"], "pairs": [], "seeds": 1}',
            "--rows: 'x' in digits: unknown",
        ),
    ],
)
def test_a_folder_without_a_table_is_one_message(
    tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "request.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        interrupted_table(tmp_path).__enter__()
