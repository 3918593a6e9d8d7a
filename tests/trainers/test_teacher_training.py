import dataclasses
from collections.abc import Generator
from pathlib import Path

import pytest
import torch

from fastdfkd.data import DATASETS
from fastdfkd.data.scenes import SceneSettings, load_scenes
from fastdfkd.models import build_network, weights_digest
from fastdfkd.trainers.teacher_training import one_cycle, train_classifier

from .bright_rows import few, recipe, trained


def test_training_learns_and_reports():
    epochs = []
    section = recipe(epochs=12, batch_size=16).teacher
    network = trained(section, on_epoch=lambda *facts: epochs.append(facts))
    assert [(epoch, count) for epoch, count, _ in epochs] == [(i, 12) for i in range(1, 13)]
    assert epochs[-1][2] < 0.5 < epochs[0][2]
    assert network.training


def test_training_follows_its_seed_alone():
    torch.manual_seed(1)
    first = weights_digest(trained().state_dict())
    torch.manual_seed(2)
    assert weights_digest(trained().state_dict()) == first
    assert weights_digest(trained(seed=1).state_dict()) != first


@pytest.mark.parametrize("change", [{"lr": 0.05}, {"weight_decay": 0.1}, {"flip": True}])
def test_every_setting_counts(change):
    changed = trained(recipe(crop_padding=1, **change).teacher)
    kept = trained(recipe(crop_padding=1).teacher)
    assert weights_digest(changed.state_dict()) != weights_digest(kept.state_dict())


def test_fewer_images_than_a_batch():
    network = trained(data=few("train", 10))
    assert network.get_buffer("bn1.num_batches_tracked").item() == 1


def test_bfloat16_trains_float32_weights():
    network = trained(recipe(precision="bfloat16").teacher)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    other = trained()
    assert weights_digest(network.state_dict()) != weights_digest(other.state_dict())
    torch.testing.assert_close(network.conv1.weight, other.conv1.weight, rtol=0.1, atol=0.1)


def test_divergence_is_refused():
    with pytest.raises(ValueError, match=r"diverged in epoch \d of 3 .*lower teacher.lr"):
        trained(recipe(lr=1e30, epochs=3).teacher)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 160])
def test_the_learning_rate_is_torchs_one_cycle(steps: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=steps, cycle_momentum=False
    )
    expected = []
    for _ in range(steps):
        expected += theirs.get_last_lr()
        optimizer.step()
        theirs.step() if len(expected) < steps else None
    assert list(one_cycle(0.1, steps)) == pytest.approx(expected, rel=1e-9)


class LargerScenes:
    """Implements what training needs of `Images`: two sizes, both larger than the crop."""

    def __init__(self) -> None:
        scenes = load_scenes("train", SceneSettings(train=48, test=1))
        images, maps = scenes.images, scenes.labels.long()
        maps[:, :3] = 255
        wide = torch.cat([images, images.flip(3)], 3), torch.cat([maps, maps.flip(2)], 2)
        self.parts = [(images[:24], maps[:24]), (wide[0][24:], wide[1][24:])]

    def __len__(self) -> int:
        return 48

    def on(self, _: object) -> "LargerScenes":
        return self

    def batches(self, size: int, order: torch.Tensor) -> Generator[tuple[torch.Tensor, ...]]:
        assert len(order) == 48 // size * size
        for images, maps in self.parts:
            yield from zip(images.split(size), maps.split(size), strict=True)


def test_a_teacher_of_maps_learns_from_crops_of_images_of_several_sizes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path))
    spec = dataclasses.replace(DATASETS["scenes"][0], shape=(3, 16, 16))
    section = recipe(epochs=12, batch_size=16, crop_padding=2, flip=True, lr=0.2).teacher
    epochs: list[float] = []

    def once() -> str:
        torch.manual_seed(0)
        network = build_network("unet-half", 8)
        train_classifier(
            network,
            LargerScenes(),
            spec,
            section,
            seed=0,
            device="cpu",
            on_epoch=lambda _, __, loss: epochs.append(loss),
        )
        return weights_digest(network.state_dict())

    first = once()
    assert epochs[11] < 0.75 * epochs[0], "the void rows did not stop it"
    assert once() == first
