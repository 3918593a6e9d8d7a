"""The student before its first update, as a thinner copy of the teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fastdfkd.experiment import initial_student
from fastdfkd.experiment.images import student_spec
from fastdfkd.models import open_network, without_parametrisations
from fastdfkd.recipe import Recipe, load_recipe

NETS = """
from torch import nn
from torch.nn.utils.parametrizations import weight_norm


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = weight_norm(nn.Conv2d(1, 8, 3))
        self.extra, self.linear = nn.Conv2d(8, 8, 1), nn.Linear(8, 10)

    def forward(self, x):
        maps = self.first(x).relu()
        return self.linear(self.extra(maps).mean((2, 3)))


class Branching(Net):
    def forward(self, x):
        maps = self.first(x).relu()
        if x.abs().sum() > 0:
            maps = self.extra(maps)
        return self.linear(maps.mean((2, 3)))
"""


@pytest.fixture
def copied(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Recipe]:
    """A recipe whose student is a copy of a network of `NETS`, of half of its channels."""
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS)

    def recipe(name: str) -> Recipe:
        student = {"model": f"nets.py:{name}", "width": 0.5, "start_from": "teacher"}
        teacher = {"teacher.model": f"nets.py:{name}"}
        return load_recipe(tiny_recipe(student=student), teacher)

    return recipe


def test_a_copy_of_parametrised_layers_has_plain_ones_with_the_teacher_s_weights(
    copied: Callable[[str], Recipe],
) -> None:
    recipe = copied("Net")
    teacher = without_parametrisations(open_network(recipe.teacher, student_spec(recipe)))
    student = initial_student(recipe, teacher)
    kept = [0, 2, 5, 7]
    mine, theirs = student.get_submodule("first").weight, teacher.get_submodule("first").weight
    assert torch.equal(mine, theirs[kept])  # type: ignore[arg-type, index]


def test_a_copy_that_fails_says_that_it_is_thinned(copied: Callable[[str], Recipe]) -> None:
    with pytest.raises(ValueError, match=r"thinned to a width of 0\.5: .* remove `width`"):
        initial_student(copied("Branching"))
