"""Where a trainer keeps its bank, and that the place changes no student."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastdfkd.core.batch import Provenance, SyntheticBatch
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.recipe import BankSection, DistillationSection
from fastdfkd.trainers.bank_location import BankLocation, FreeSpace, located_buffer, scratch_folder
from fastdfkd.trainers.sent_images import NONE_SENT
from tests.core import parts

CPU = torch.device("cpu")
GB = 10**9


def student_with(buffer: SampleBuffer) -> dict[str, torch.Tensor]:
    """A student after updates on a ring that wraps round."""
    section = DistillationSection(updates_per_round=3, batch_size=8)
    distiller = StudentDistiller(section, parts.task(), total_updates=12)
    for round in range(4):
        draws = torch.Generator().manual_seed(round)
        made = torch.randint(256, (8, *parts.IMAGE_SHAPE), dtype=torch.uint8, generator=draws)
        batch = SyntheticBatch(images=made, labels=None, provenance=Provenance(round=round))
        buffer.insert(batch)
        for _ in range(3):
            distiller.update(buffer)
    return distiller.student_state()


@pytest.mark.parametrize("location", ["host", "disk", "auto"])
def test_the_student_is_the_same_bit_for_bit(location: str, tmp_path: Path) -> None:
    expected = student_with(SampleBuffer(24, parts.IMAGE_SHAPE))
    section = BankSection(location=location, scratch=str(tmp_path))
    buffer, where = located_buffer(section, 24, parts.IMAGE_SHAPE, CPU)
    ours = student_with(buffer)
    assert all(torch.equal(ours[name], tensor) for name, tensor in expected.items())
    assert f"bank.location: {'device' if location == 'auto' else location}" in where.line
    assert list(tmp_path.iterdir()) == [], "the file has no name"


def space(device: int, host: int, disk: int, file_system: str = "ext4") -> FreeSpace:
    return FreeSpace(device * GB, host * GB, disk * GB, Path("/scratch"), file_system)


@pytest.mark.parametrize(
    ("free", "place"),
    [
        (space(80, 200, 500), "device"),
        (space(60, 200, 500), "host"),
        (space(60, 60, 500), "disk"),
        (space(60, 67, 1), "host"),
    ],
)
def test_auto_takes_the_first_place_with_room(free: FreeSpace, place: str) -> None:
    where = BankLocation.of(BankSection(location="auto"), 40 * GB, free)
    assert where.place == place
    assert f"{place}, chosen by auto: 40.0 GB of images; free: device" in where.line


def test_auto_without_room_is_an_error_with_the_figures() -> None:
    auto = BankSection(location="auto")
    with pytest.raises(ValueError, match=r"no place for the bank's 40.0 GB.*disk 44.0 GB are free"):
        BankLocation.of(auto, 40 * GB, space(10, 10, 44))
    with pytest.raises(ValueError, match="no place"):  # a tmpfs is memory
        BankLocation.of(auto, 40 * GB, space(10, 10, 500, "tmpfs"))


def test_a_named_place_is_taken_and_a_tmpfs_is_named() -> None:
    where = BankLocation.of(BankSection(location="disk"), 40 * GB, space(0, 0, 0, "tmpfs"))
    assert where.place == "disk"
    assert "which is a tmpfs: it takes memory" in where.line


def test_a_missing_scratch_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"bank.scratch: .* is no folder on this machine"):
        scratch_folder(BankSection(scratch=str(tmp_path / "none")))


def test_this_machine_has_room() -> None:
    here = FreeSpace.here(CPU, scratch_folder(BankSection()))
    assert min(here.device, here.host, here.disk) > 0
    assert here.device == here.host
    half = FreeSpace.here(CPU, here.folder, trainers=2)
    assert half.disk < 0.6 * here.disk


def test_nothing_is_sent_by_default() -> None:
    assert list(NONE_SENT.fetched()) == []
