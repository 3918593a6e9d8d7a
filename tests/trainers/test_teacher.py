import json

import pytest
import torch
from torch import nn

from fastdfkd.data import DATASETS
from fastdfkd.models import build_network, save_weights, weights_digest
from fastdfkd.recipe import load_recipe
from fastdfkd.trainers import teacher as teachers
from fastdfkd.trainers.teacher import prepare_teacher

from .bright_rows import READ, SPEC, few, recipe, trained


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(DATASETS, "digits", (SPEC, lambda split, root: few(split)))
    return tmp_path / "home"


def test_a_trained_teacher_is_ready_and_described():
    teacher = prepare_teacher(recipe())
    assert not any(module.training for module in teacher.model.modules())
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    facts = json.loads(json.dumps(teacher.description))
    assert facts["source"] == "trained"
    assert facts["cached"] is False
    assert facts["parameters"] == 19_810
    assert facts["accuracy"] == teacher.accuracy
    assert facts["digest"] == teacher.digest == weights_digest(teacher.model.state_dict())
    assert facts["training"]["epochs"] == 1
    assert facts["seconds"] > 0


def test_the_second_run_takes_the_first_ones_teacher(home, monkeypatch):
    first = prepare_teacher(recipe())

    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(teachers, "train_classifier", refuse)
    other_run = recipe().model_copy(update={"seed": 7, "name": "another"})
    second = prepare_teacher(other_run)
    assert second.description["cached"] is True
    assert (second.digest, second.accuracy) == (first.digest, first.accuracy)
    images = torch.randn(4, 1, 16, 16)
    assert torch.equal(first.model(images), second.model(images))


@pytest.mark.parametrize(
    "change",
    [
        {"teacher": {"lr": 0.01}},
        {"teacher": {"model": "resnet8"}},
        {"teacher": {"precision": "bfloat16"}},
        {"seed": 1},
    ],
)
def test_other_teachers_have_entries_of_their_own(home, change):
    prepare_teacher(recipe())
    prepare_teacher(recipe(**change.get("teacher", {})), seed=change.get("seed", 0))
    assert len(list((home / "teachers").iterdir())) == 2


def test_auto_is_the_entry_of_the_precision_that_it_means(home):
    automatic = prepare_teacher(recipe(precision="auto"))
    meant = automatic.description["training"]["precision"]
    assert meant in ("float32", "bfloat16")
    assert prepare_teacher(recipe(precision=meant)).description["cached"] is True


def test_other_images_have_an_entry_of_their_own(home, monkeypatch):
    prepare_teacher(recipe())
    monkeypatch.setitem(DATASETS, "digits", (SPEC, lambda split, root: few(split, 64)))
    assert prepare_teacher(recipe()).description["cached"] is False


def test_a_damaged_entry_is_trained_again(home):
    first = prepare_teacher(recipe())
    (entry,) = (home / "teachers").iterdir()
    content = entry.read_bytes()
    entry.write_bytes(content[:-40])
    again = prepare_teacher(recipe())
    assert again.description["cached"] is False
    assert again.digest == first.digest
    assert entry.read_bytes() == content


def test_weights_are_opened_not_trained(tmp_path, home):
    network = trained()
    save_weights(tmp_path / "net.safetensors", network)
    teacher = prepare_teacher(recipe(weights=str(tmp_path / "net.safetensors")))
    assert teacher.digest == weights_digest(network.state_dict())
    assert teacher.description["source"] == "weights"
    assert teacher.description["weights"] == str(tmp_path / "net.safetensors")
    assert not home.exists()


def test_accuracy_is_that_of_the_held_out_images():
    class Reader(nn.Module):
        """Right on `few`: finds the bright row; wrong on every class below 3."""

        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, x):
            rows = self.norm(x).mean((1, 3))[:, 3:13]
            return torch.cat([rows[:, :3] - 100, rows[:, 3:]], 1)

    teacher = prepare_teacher(recipe(), model=Reader())
    labels = few("test").labels
    assert teacher.accuracy == pytest.approx((labels >= 3).double().mean().item())


def test_a_given_module_wins_and_is_not_altered():
    network = build_network("resnet8", 10, 1).train()
    before = weights_digest(network.state_dict())
    teacher = prepare_teacher(recipe(weights="/nowhere.pt"), model=network)
    assert teacher.description["source"] == "module"
    assert teacher.description["model"] == "ResidualNetwork"
    assert teacher.model is not network
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert weights_digest(network.state_dict()) == before == teacher.digest


def test_a_half_precision_module_becomes_float32():
    teacher = prepare_teacher(recipe(), model=build_network("resnet8-half", 10, 1).half())
    assert {parameter.dtype for parameter in teacher.model.parameters()} == {torch.float32}


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = build_network("resnet8-half", 10, 1)

    def forward(self, x):
        return f"{self.inner(x).argmax(1)}"


def poisoned():
    network = build_network("resnet8-half", 10, 1)
    nn.init.constant_(network.linear.bias, float("nan"))
    return network


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build_network("resnet8-half", 9, 1), r"expected \(2, 10\)"),
        (lambda: build_network("resnet8-half", 10, 3), "cannot read images of shape"),
        (Words, "returns str"),
        (poisoned, "not finite"),
    ],
)
def test_unfit_teachers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        prepare_teacher(recipe(), model=make())


def without(split):
    """Digits that have every split but this one."""
    return SPEC, lambda asked, root: None if asked == split else few(asked)


def test_a_teacher_is_trained_without_a_test_split(monkeypatch):
    judged = prepare_teacher(recipe())
    monkeypatch.setitem(DATASETS, "digits", without("test"))
    teacher = prepare_teacher(load_recipe(recipe(), {"evaluation.synthetic_images": 16}))
    assert teacher.digest == judged.digest
    assert (teacher.accuracy, teacher.description["accuracy"]) == (None, None)


def test_a_teacher_cannot_be_trained_without_a_train_split(monkeypatch, tmp_path):
    monkeypatch.setitem(DATASETS, "digits", without("train"))
    with pytest.raises(
        ValueError, match=r"teacher\.weights: unset.* digits, which has no training images"
    ):
        prepare_teacher(recipe())
    save_weights(tmp_path / "net.safetensors", build_network("resnet8-half", 10, 1))
    teacher = prepare_teacher(recipe(weights=str(tmp_path / "net.safetensors")))
    assert 0 <= teacher.accuracy <= 1


def no_batch_norm(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(256, num_classes))


def test_unfit_teachers_are_refused_before_they_are_trained(monkeypatch):
    monkeypatch.setattr(teachers, "train_classifier", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match=r"no BatchNorm"):
        prepare_teacher(recipe(model=f"{__name__}:no_batch_norm"))


@pytest.mark.slow
def test_digits_teacher_reaches_99_percent(monkeypatch):
    monkeypatch.setitem(DATASETS, "digits", (SPEC, READ))
    section = {"model": "resnet14", "epochs": 8, "batch_size": 64, "crop_padding": 1}
    assert prepare_teacher(recipe(**section)).accuracy >= 0.99
