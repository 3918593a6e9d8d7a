"""What an experiment hands to both roles."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.data import DATASETS, NothingHeldOut
from fastdfkd.experiment import (
    Experiment,
    image_spec,
    initial_student,
    student_input,
)
from fastdfkd.models import build_network
from fastdfkd.recipe import Recipe, load_recipe


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Networks begin with the same weights in each test: what is found for them is found once."""
    torch.manual_seed(0)


@pytest.mark.parametrize("wanted", [False, True, "auto"])
def test_graphs_are_asked_of_cuda_and_a_cpu_says_that_it_has_none(
    tiny_recipe: Callable[..., Recipe], caplog: pytest.LogCaptureFixture, wanted: bool | str
) -> None:
    recipe = load_recipe(tiny_recipe(), {"platform.cuda_graphs": wanted})
    experiment = Experiment.of(recipe, build_network(recipe.teacher.model, 10, 1))
    with caplog.at_level(logging.WARNING):
        assert experiment.task("cpu").capture == (wanted is True)
        assert experiment.task("meta").capture == bool(wanted)
    assert [record.message for record in caplog.records] == [
        "platform.cuda_graphs has no effect here: this role runs on the CPU"
    ] * (wanted is True)


@pytest.mark.parametrize(("start", "how"), [("teacher", "channels"), (None, "regressor")])
def test_the_student_s_start_decides_how_maps_are_compared(
    tiny_recipe: Callable[..., Recipe],
    caplog: pytest.LogCaptureFixture,
    start: str | None,
    how: str,
) -> None:
    changes = {"student.start_from": start, "distillation.stage_maps": 1.0}
    recipe = load_recipe(tiny_recipe(student={"model": "resnet8-half"}), changes)
    with caplog.at_level(logging.INFO, "fastdfkd.experiment"):
        experiment = Experiment.of(recipe, build_network("resnet8", 10, 1))
    origins = experiment.task("cpu").student_origins
    assert origins.get("layer1.0.conv1") == ("layer1.0.conv1" if start else None)
    stages = {
        "channels": "16x16: layer1 with layer1 (8 of 16 channels)",
        "regressor": "16x16: layer1 with layer1 (a regressor from 8 to 16 channels)",
    }
    assert experiment.compared_maps["stage_maps"].startswith(stages[how])
    assert f"distillation.stage_maps: {experiment.compared_maps['stage_maps']}" in caplog.messages


def test_a_thinner_copy_is_the_network_of_half_the_channels(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    teacher = build_network("resnet8", 10, 1)
    start = {"student.start_from": "teacher", "distillation.stage_maps": 1.0}
    copied = {**start, "student.model": "teacher", "student.width": 0.5}
    recipe = tiny_recipe(teacher={"model": "resnet8"}, student={"model": "resnet8-half"})
    named, copy_ = (
        Experiment.of(load_recipe(recipe, changes), teacher) for changes in (start, copied)
    )
    expected = named.student.state_dict()
    assert copy_.student.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[k]) for k, value in copy_.student.state_dict().items())
    assert copy_.task("cpu").student_origins == named.task("cpu").student_origins
    assert copy_.compared_maps == named.compared_maps


def test_a_thinned_teacher_is_thinned_again(tiny_recipe: Callable[..., Recipe]) -> None:
    start = {"teacher.width": 0.5, "student.model": "teacher", "student.start_from": "teacher"}
    recipe = load_recipe(tiny_recipe(teacher={"model": "resnet8"}), {**start, "student.width": 0.5})
    teacher = build_network("resnet8-half", 10, 1)
    student = Experiment.of(recipe, teacher).student
    expected = teacher.state_dict()["layer1.0.conv1.weight"][[0, 2, 5, 7]][:, [0, 2, 5, 7]]
    assert torch.equal(student.state_dict()["layer1.0.conv1.weight"], expected)


def test_a_thinner_student_may_start_with_random_weights(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    changes = {"student.model": "teacher", "student.width": 0.5}
    recipe = load_recipe(tiny_recipe(teacher={"model": "resnet8"}), changes)
    first, second = (initial_student(recipe).state_dict() for _ in range(2))
    other = initial_student(load_recipe(recipe, {"seed": 1})).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
    with pytest.raises(RuntimeError, match="size mismatch"):  # it is no network of the table
        build_network("resnet8", 10, 1).load_state_dict(first)


def test_networks_without_maps_in_common_are_refused_before_a_run(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    recipe = load_recipe(tiny_recipe(), {"distillation.stage_maps": 1.0, "synthesis.bn": 0.0})
    with pytest.raises(ValueError, match=r"distillation.stage_maps is above 0.*teacher: none"):
        Experiment.of(recipe, teacher)


@pytest.mark.parametrize("wanted", [False, True, "auto"])
def test_only_tasks_of_steps_are_compiled(
    tiny_recipe: Callable[..., Recipe], wanted: bool | str
) -> None:
    changes = {"platform.compile": wanted, "platform.synthesizers": 2}
    recipe = load_recipe(tiny_recipe(), changes)
    experiment = Experiment.of(recipe, build_network(recipe.teacher.model, 10, 1))
    assert experiment.task("cpu").compile is wanted
    assert experiment.task("cpu").synthesizers == 2
    assert experiment.task("cpu", steps=False).compile is False


def test_a_data_set_says_what_the_images_are(tiny_recipe: Callable[..., Recipe]) -> None:
    recipe = tiny_recipe()
    spec = image_spec(recipe)
    assert (spec.name, spec.shape, spec.num_classes) == ("digits", (1, 16, 16), 10)
    experiment = Experiment.of(recipe, build_network(recipe.teacher.model, 10, 1))
    assert experiment.spec == experiment.student_spec == spec
    task = experiment.task("cpu")
    assert (task.image_shape, task.kind.num_classes) == (spec.shape, spec.num_classes)
    assert experiment.buffer().images.shape[1:] == spec.shape


def test_without_held_out_images_the_reference_loop_gives_the_same_student(
    tiny_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What students are judged on has no part in their training."""
    changes = {"synthesis.generator_width": 4, "synthesis.latent_dim": 8}
    changes["evaluation.synthetic_images"] = 0
    recipe = load_recipe(tiny_recipe(), {**changes, "platform.schedule": "lockstep"})
    teacher = build_network(recipe.teacher.model, 10, 1)
    judged = Experiment.of(recipe, copy.deepcopy(teacher))
    spec, read = DATASETS["digits"]
    monkeypatch.setitem(
        DATASETS,
        "digits",
        (spec, lambda split, root: None if split == "test" else read("train", root)),
    )
    unjudged = Experiment.of(recipe, copy.deepcopy(teacher))
    assert isinstance(unjudged.judge, NothingHeldOut)
    assert unjudged.spec == judged.spec
    expected, found = student_of(judged), student_of(unjudged)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    answers = [
        experiment.judge.answers(experiment.teacher, experiment.normalisation("cpu"), "cpu")
        for experiment in (judged, unjudged)
    ]
    figures = [e.judge.figures(a, a) for e, a in zip((judged, unjudged), answers, strict=True)]
    assert figures[0].keys() == {"accuracy", "top5_accuracy", "agreement"}
    assert figures[1] == {}


def student_of(experiment: Experiment) -> dict[str, Tensor]:
    recipe, distiller = experiment.recipe, experiment.distiller()
    sections = recipe.synthesis, recipe.distillation
    reference_loop(experiment.synthesizer(), experiment.buffer(), distiller, *sections)
    assert distiller.updates == recipe.updates
    return distiller.student_state()


def test_a_student_reads_the_same_images_in_its_own_form(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    """In the adversarial term, in distillation and where it is judged."""
    changes = {
        "synthesis.generator_width": 4,
        "synthesis.latent_dim": 8,
        "student.size": [20, 12],
        "student.normalisation": "half",
        "platform.schedule": "lockstep",
    }
    recipe = load_recipe(tiny_recipe(), changes)
    experiment = Experiment.of(recipe, build_network(recipe.teacher.model, 10, 1))
    assert experiment.spec == image_spec(recipe)
    assert experiment.student_spec.shape == (1, 20, 12)
    form = experiment.student_form("cpu")
    assert form is not None
    black, white = (
        experiment.normalisation("cpu")(torch.full((1, 1, 16, 16), x)) for x in (0.0, 1.0)
    )
    torch.testing.assert_close(form(black), torch.full((1, 1, 20, 12), -1.0))
    torch.testing.assert_close(form(white), torch.full((1, 1, 20, 12), 1.0))
    student = student_of(experiment)
    plain = student_of(Experiment.of(tiny_recipe(), build_network(recipe.teacher.model, 10, 1)))
    assert student.keys() == plain.keys()
    reads = student_input(recipe, "cpu")
    answers = experiment.judge.answers(experiment.student, reads, "cpu")
    assert len(answers.classes) == len(experiment.judge)


def test_a_students_form_is_checked(tiny_recipe: Callable[..., Recipe]) -> None:
    recipe = load_recipe(tiny_recipe(), {"student.normalisation": "imagenet"})
    with pytest.raises(
        ValueError, match=r"student.normalisation: expected 1 number,.*imagenet has 3"
    ):
        initial_student(recipe)


PROCESSOR = {
    "image_mean": [0.6, 0.5, 0.4],
    "image_std": [0.2, 0.25, 0.3],
    "size": {"height": 40, "width": 24},
}


def hugging_face(folder: Path) -> Path:
    """A classifier of three classes with its image processor, as `save_pretrained` writes them."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
        id2label={0: "ant", 1: "bee", 2: "cat"},
    )
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessor(**PROCESSOR).save_pretrained(folder)
    return folder


def of_hugging_face(folder: Path, **changes: Any) -> Recipe:
    values = {"name": "mine", "data": {"name": "none"}, "student": {"model": "resnet8-half"}}
    recipe = Recipe.model_validate({**values, "teacher": {"model": f"hf:{folder}"}})
    return load_recipe(recipe, {key.replace("__", "."): value for key, value in changes.items()})


def test_a_folder_of_transformers_says_what_its_images_are(tmp_path: Path) -> None:
    """A recipe without `input` gives the network the pixels that its own processor gives it."""
    folder = hugging_face(tmp_path)
    spec = image_spec(of_hugging_face(folder))
    assert spec.shape == (3, 40, 24)
    assert spec.class_names == ("ant", "bee", "cat")
    assert (spec.mean, spec.std) == ((0.6, 0.5, 0.4), (0.2, 0.25, 0.3))
    image = torch.randint(0, 256, (3, 40, 24), dtype=torch.uint8)
    processor = pytest.importorskip("transformers").AutoImageProcessor.from_pretrained(folder)
    expected = processor(image, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(spec.normalisation("cpu").from_uint8(image[None]), expected)


def test_what_the_recipe_says_wins_over_the_folder(tmp_path: Path) -> None:
    folder = hugging_face(tmp_path)
    spec = image_spec(
        of_hugging_face(
            folder,
            input__shape=[3, 32, 32],
            input__normalisation="half",
            input__classes=["x", "y", "z"],
        )
    )
    assert spec.shape == (3, 32, 32)
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.5,) * 3)
    assert spec.class_names == ("x", "y", "z")
    partly = image_spec(of_hugging_face(folder, input__normalisation="half"))
    assert (partly.shape, partly.class_names) == ((3, 40, 24), ("ant", "bee", "cat"))
