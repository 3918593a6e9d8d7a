"""Large sets are decoded by worker processes in each pass, and nothing is left behind."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch import nn

from fastdfkd.core.evaluation import merged
from fastdfkd.core.task_kind import Classification
from fastdfkd.data import RealImages, images_at_once, own_files, streaming
from fastdfkd.data.images import Images, LabelledImages, PartOfImages
from fastdfkd.data.own_files import own_images
from fastdfkd.data.streaming import StreamedImages
from fastdfkd.models import build_network
from fastdfkd.recipe import DataSection, TeacherSection
from fastdfkd.trainers.teacher_training import train_classifier
from tests.data.image_files import NAMES, content, spec_of, tree, zipped


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No set is small enough for memory, and each is worth two workers."""
    monkeypatch.setattr(own_files, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(own_files, "_opened", type(own_files._opened)())
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 3 * 8 * 8 * 4)
    monkeypatch.setattr(streaming, "_workers", lambda chunks, pixels: 2)
    yield
    assert not [child for child in psutil.Process().children() if "pt_data" in child.name()]


def noisy(root: Path, each: int = 7) -> Path:
    rng = np.random.default_rng(0)
    tree(root, each=0)
    for name in NAMES:
        for number in range(each):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            (root / name / f"{number}.png").write_bytes(content(Image.fromarray(pixels)))
    return root


def opened(root: Path, split: Any = "test", **keys: Any) -> Images:
    found = own_images(DataSection(name="folder", root=str(root), **keys), split, spec_of())
    assert found is not None
    return found


@pytest.fixture
def both(tmp_path: Path, workers: None) -> tuple[LabelledImages, StreamedImages]:
    """The same 21 images in memory and streamed, from a zip file."""
    streamed = opened(zipped(noisy(tmp_path / "tree"), tmp_path / "images.zip"))
    assert isinstance(streamed, StreamedImages)
    return streamed.in_memory(), streamed


@pytest.mark.parametrize("size", [1, 4, 5, 21, 100])
def test_batches_are_those_of_memory(
    both: tuple[LabelledImages, StreamedImages], size: int
) -> None:
    order = torch.randperm(21, generator=torch.Generator().manual_seed(0))[:17]
    for rows in (None, order):
        batches = [list(images.batches(size, rows)) for images in both]
        assert [len(labels) for _, labels in batches[1]] == [
            len(labels) for _, labels in batches[0]
        ]
        for expected, found in zip(*batches, strict=True):
            assert all(map(torch.equal, expected, found))


def test_evaluation_is_that_of_memory(both: tuple[LabelledImages, StreamedImages]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    answers = [
        RealImages(images, Classification(3), 8).answers(network, lambda x: x, "cpu")
        for images in both
    ]
    assert torch.equal(answers[0].classes, answers[1].classes)
    assert answers[0].figures == answers[1].figures
    assert len(answers[0].classes) == 21


@pytest.mark.parametrize("of", [1, 2, 4, pytest.param(30, marks=pytest.mark.slow)])
def test_shares_together_are_the_whole(
    both: tuple[LabelledImages, StreamedImages], of: int
) -> None:
    torch.manual_seed(0)
    network, kind = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), Classification(3)
    for images in (*both, PartOfImages.of(both[0], 17)):
        judge, seen = RealImages(images, kind, 4), list[int]()
        whole = judge.answers(network, lambda x: x, "cpu", watch=seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == len(images)
        shares = [judge.share(index, of) for index in range(of)]
        assert sum(map(len, shares)) == len(images)
        found = merged([each.answers(network, lambda x: x, "cpu") for each in shares], kind)
        assert torch.equal(found.classes, whole.classes)
        assert found.figures == whole.figures
        assert found.confusion is not None
        assert whole.confusion is not None
        assert torch.equal(found.confusion, whole.confusion)


def test_a_share_skips_what_cannot_be_read_and_cannot_be_divided_again(
    both: tuple[LabelledImages, StreamedImages],
) -> None:
    whole = both[1]
    broken = replace(whole, broken={3: "damaged", 20: "damaged"}, broken_share=0.5)
    parts = [broken.share(index, 2) for index in (0, 1)]
    assert [len(part) for part in parts] == [10, 9]
    labels = torch.cat([found for part in parts for _, found in part.batches(4)])
    kept = [row for row in range(21) if row not in (3, 20)]
    assert torch.equal(labels, both[0].labels[kept])
    with pytest.raises(ValueError, match="divide the whole"):
        parts[0].share(0, 2)


def test_a_teacher_trained_on_a_stream_is_that_of_memory(
    both: tuple[LabelledImages, StreamedImages],
) -> None:
    section = TeacherSection(
        model="resnet8-half", epochs=2, batch_size=5, crop_padding=1, precision="float32"
    )
    found = []
    for images in both:
        torch.manual_seed(0)
        network = build_network("resnet8-half", 3, 3)
        train_classifier(network, images, spec_of(), section, seed=3, device="cpu")
        found.append(network.state_dict())
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_random_numbers_of_the_networks_are_not_used(
    both: tuple[LabelledImages, StreamedImages],
) -> None:
    before = torch.get_rng_state()
    list(both[1].batches(4))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_pass_that_is_given_up_ends_its_workers(
    both: tuple[LabelledImages, StreamedImages],
) -> None:
    batches = both[1].batches(4)
    next(batches)
    names = [child.name() for child in psutil.Process().children()]
    assert len(names) >= 2, names
    batches.close()


def test_no_shared_memory_is_used(both: tuple[LabelledImages, StreamedImages]) -> None:
    if not os.path.isdir("/dev/shm"):
        pytest.skip("no /dev/shm")

    def ours() -> set[str]:
        return {name for name in os.listdir("/dev/shm") if name.startswith("torch_")}

    before = ours()
    for _ in both[1].batches(4):
        assert ours() <= before


def test_it_can_be_sent_to_another_process(both: tuple[LabelledImages, StreamedImages]) -> None:
    list(both[1].batches(4))
    again = pickle.loads(pickle.dumps(both[1]))
    assert torch.equal(next(again.batches(21))[0], both[0].images)
    assert again.digest() == both[1].digest()


def test_unreadable_images_are_skipped_in_every_pass(tmp_path: Path, workers: None) -> None:
    noisy(tmp_path)
    (tmp_path / "green" / "3.png").write_bytes(b"no image")
    images = opened(tmp_path, broken_share=0.05)
    passes = [torch.cat([labels for _, labels in images.batches(4)]) for _ in range(2)]
    assert torch.equal(*passes)
    assert len(passes[0]) == len(images) == 20
    assert "1 of 21 images cannot be read and are skipped: green/3.png" in images.notes[-1]
    order = torch.arange(20).flip(0)
    assert torch.cat([labels for _, labels in images.batches(4, order)]).tolist() == sorted(
        passes[0].tolist(), reverse=True
    )


def test_too_many_unreadable_images_end_the_pass(tmp_path: Path, workers: None) -> None:
    noisy(tmp_path)
    for number in range(7):
        (tmp_path / "green" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"At most 10.00% may be unreadable"):
        list(opened(tmp_path, broken_share=0.1).batches(4))


def test_a_changed_file_gives_another_digest(tmp_path: Path, workers: None) -> None:
    noisy(tmp_path)
    before = opened(tmp_path).digest()
    assert opened(tmp_path).digest() == before
    (tmp_path / "red" / "9.png").write_bytes((tmp_path / "red" / "1.png").read_bytes())
    assert opened(tmp_path).digest() != before
    assert opened(tmp_path, interpolation="box").digest() != opened(tmp_path).digest()


def test_fewer_large_images_at_once() -> None:
    assert images_at_once((3, 32, 32)) == 500
    assert images_at_once((3, 224, 224)) == 13
    assert images_at_once((3, 4096, 4096)) == 1
