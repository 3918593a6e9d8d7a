"""The load benchmarks: the sleeping roles, the texts of the tables, and small runs on Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import bank_throughput, load_results, overlap, scaling, scaling_nodes, scaling_run
from benchmarks.calibrated import SHAPE, CalibratedExperiment, Costs
from benchmarks.sleeping_actor import SleepingActor
from fastdfkd.core.clock import Clock
from fastdfkd.platform.accounting import BatchRecord
from fastdfkd.platform.cluster import connect
from fastdfkd.trainers.bank_loader import BankLoader


@pytest.fixture
def experiment() -> CalibratedExperiment:
    return CalibratedExperiment.make(overlap.recipe("async", 0, 5), Costs(0.05, 0.02))


def test_a_sleeping_synthesizer_takes_its_time(experiment: CalibratedExperiment) -> None:
    synthesizer = experiment.synthesizer()
    synthesizer.load_student({}, 3)
    began = time.time()
    batch = synthesizer.synthesize(1)
    assert time.time() - began >= 0.05
    assert batch.images.shape == (256, *SHAPE)
    assert batch.provenance.synthesis_seconds >= 0.05
    assert (batch.provenance.round, batch.provenance.student_version) == (1, 3)
    assert not torch.equal(batch.images, synthesizer.synthesize(2).images)
    other = experiment.synthesizer()
    other.load_state_dict(synthesizer.state_dict())
    assert other.made == 2


def test_a_sleeping_distiller_draws_and_takes_its_time(experiment: CalibratedExperiment) -> None:
    bank = experiment.buffer()
    distiller = experiment.distiller(rank=0, world_size=2)
    with pytest.raises(ValueError, match="nothing to draw"):
        distiller.update(bank)
    bank.insert(experiment.synthesizer().synthesize(0))
    began = time.time()
    distiller.update(bank)
    assert time.time() - began >= 0.02
    assert distiller.updates == 1
    assert distiller.batch_size == 128, "half of the batch: there are two workers"
    assert distiller.student_state().keys() == experiment.student.state_dict().keys()


def test_the_ideal_is_the_longer_role_or_the_sum() -> None:
    assert overlap.ideal("async", 10, 0.2, 0.4) == pytest.approx(4)
    assert overlap.ideal("lockstep", 10, 0.2, 0.4) == pytest.approx(6)


def test_the_notes_name_the_worst_async_row() -> None:
    rows = [
        {"schedule": schedule, "workers": 0, "rounds": 40, "over": over, "pace": over / 2}
        for schedule, over in (("async", 0.02), ("async", 0.07), ("lockstep", 0.3))
    ]
    assert "at most 7.0% above max" in overlap.notes(rows)[1]
    assert "half of any run at most 3.5%" in overlap.notes(rows)[1]


def test_a_sleeping_actor_returns_what_the_driver_records() -> None:
    actor = SleepingActor.__ray_metadata__.modified_class(None, 0.01, (4, 3, 8, 8))
    images, (record,) = asyncio.run(actor.synthesize([(7, 0)]))
    kept = BatchRecord.of(record, 0.0)
    assert (kept.round, kept.images) == (7, len(images)) == (7, 4)
    assert kept.synthesis_seconds >= 0.01


def test_the_counting_buffer_counts_what_a_loader_copies() -> None:
    buffer = scaling_run.CountingBuffer(8, (3, 2, 2))
    loader = BankLoader(None, buffer, Clock(), batch_size=4, leader=True)
    images = np.ones((4, 3, 2, 2), np.uint8)
    loader._fetch = lambda *_: torch.from_numpy(images)
    loader._take_in([0], [None])
    assert (len(buffer), buffer.copied) == (4, images.nbytes)


def scaling_row(synthesizers: int, processes: int, **parts: float) -> dict[str, Any]:
    defaults = dict.fromkeys(
        ("driver", "bank", "board", "trainer", "synthesizer", "raylet", "gcs", "start"), 1.0
    )
    return {"synthesizers": synthesizers, "processes": processes, **defaults, **parts}


def test_the_extrapolation_is_from_64_synthesizers_and_names_the_bottleneck() -> None:
    rows = [
        scaling_row(16, 16, bank=9.0),
        scaling_row(64, 8, driver=4.0),
        scaling_row(1000, 8, board=50.0),
    ]
    note = scaling.notes(rows)[1]
    assert "At the cost per batch of 64 synthesizers" in note
    assert "The bottleneck is the driver, at 250 batches/s" in note
    assert "if a batch takes 4.0 s or more" in note


def test_the_plan_takes_four_times_as_many_and_ends_at_a_thousand() -> None:
    planned = [(row[0], row[1]) for row in scaling.plan(64, 0.25, 32)]
    assert planned[:4] == [(n, n) for n in (1, 4, 16, 64)]
    assert planned[-1] == (1000, scaling.PROCESSES)


def test_the_bank_of_large_images_has_fewer_rounds_and_fewer_simulated_batches() -> None:
    assert scaling_run.capacity_of((256, 3, 32, 32)) == scaling_run.CAPACITY
    assert scaling_run.capacity_of((100, 3, 224, 224)) * 15_052_800 <= scaling_run.BANK_BYTES
    assert list(scaling.plan(1, 0.25, 224)) == [
        (1, 1, 32),
        (16, scaling.PROCESSES, 150),
        (64, scaling.PROCESSES, 300),
    ]


def test_further_tables_stand_below_the_first_one() -> None:
    record = {
        "date": "2026-01-01",
        "device": "a processor",
        "hardware": {"cores": 2, "gpus": []},
        "commit": "0123456789abcdef",
        "command": "python -m benchmarks.scaling",
        "seed": "seed 0",
        "versions": {"ray": "2"},
        "rows": [{"case": "a"}],
        "notes": ["What it means."],
    }
    more = load_results.Section("More", {"x": ("an x", ".2f")}, [{"x": 0.5}], ["And this."])
    lines = load_results.page("A title", record, {"case": ("case", "s")}, [more]).splitlines()
    assert lines.index("What it means.") < lines.index("## More") < lines.index("| 0.50 |")
    assert lines[-1] == "And this."


def test_a_page_contains_hardware_commit_command_and_versions(tmp_path: Any) -> None:
    record = {
        "date": "2026-01-01",
        "device": "a processor",
        "hardware": {"cores": 2, "gpus": []},
        "commit": "0123456789abcdef-dirty",
        "command": "python -m benchmarks.scaling",
        "seed": "seed 0, one run each",
        "versions": {"ray": "2"},
        "rows": [{"case": "a", "rate": 12.345}, {"case": "b", "rate": None}],
        "notes": ["What it means."],
    }
    columns = {"case": ("case", "s"), "rate": ("batches/s", ".1f")}
    page = load_results.page("A title", record, columns)
    for expected in (
        "a processor, 2 cores, no GPU; commit 0123456789ab-dirty; seed 0",
        "`python -m benchmarks.scaling`",
        "ray 2",
        "| a | 12.3 |",
        "| b |  |",
        "What it means.",
    ):
        assert expected in page


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with connect():
        yield


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.usefixtures("ray_here")
class TestOnRay:
    """Times are hardly checked, because the machine may be busy. Counts are."""

    def test_overlapping_roles_are_faster_than_roles_in_turn(self) -> None:
        rows = {how: overlap.row("1:1", 0, how, 6) for how in ("async", "lockstep")}
        assert rows["async"]["end_to_end"] < rows["lockstep"]["end_to_end"]
        assert rows["lockstep"]["over"] >= 0, "no run is faster than its seconds of sleep"

    def test_every_batch_is_copied_into_the_store_and_into_the_ring(self) -> None:
        shape = (8, 3, 64, 64)
        with scaling_run.roles(2, 0.01, shape) as started:
            row = scaling_run.measure(3, 2, 20, started)
        assert row["image_bytes"] == 2 * np.prod(shape)
        assert 1 <= row["references"] <= 20
        assert row["share"] <= 1
        assert all(row[part] >= 0 for part in ("driver", "bank", "board", "raylet", "gcs"))

    def test_all_methods_carry_the_same_batches(self) -> None:
        shape = (4, 3, 64, 64)
        with bank_throughput.roles(shape) as (producers, taker, trainer):
            for _ in range(2):
                counts = bank_throughput.through_bank(producers, trainer, 12)
                assert counts["copied"] == 12 * np.prod(shape)
                assert counts["storage_seconds"] > 0
            assert bank_throughput.plain(producers, taker, 12) > 0
        assert bank_throughput.put_get(shape, 12) > 0
        assert bank_throughput.reads_without_copy((256, 3, 32, 32))


@pytest.mark.slow
@pytest.mark.cluster
def test_images_go_from_node_to_node_and_not_to_the_drivers() -> None:
    load = scaling_nodes.Load(side=224, images=10, rounds=12)
    (figures,) = scaling_nodes.in_own_program([load])
    assert figures["bytes"] == 12 * 10 * 3 * 224**2
    for role in scaling_nodes.ROLES:
        assert figures[f"{role}_store_bytes"] >= figures["bytes"], figures
    assert figures["head_store_bytes"] < figures["bytes"] / 12, figures
