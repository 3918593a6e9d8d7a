"""The model of a cluster: loads by hand, what is first, and how sizes and counts change it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import scaling_model, scaling_report
from benchmarks.scaling_cases import Case, calibration, case_of, costs_of, raylet_lines
from benchmarks.scaling_model import (
    Costs,
    Setup,
    gradient_bytes,
    limits,
    network_bytes,
    predict,
)

FREE = Costs(
    driver_idle=0.0,
    driver_round=0.0,
    driver_row=0.0,
    driver_row_record=0.0,
    checkpoint_byte=0.0,
    bank_round=0.0,
    bank_request=0.0,
    bank_wake=0.0,
    board_round=0.0,
    board_publication_byte=0.0,
    board_generator_byte=0.0,
    raylet_out_object=0.0,
    raylet_out_byte=0.0,
    raylet_in_object=0.0,
    raylet_in_byte=0.0,
    trainer_round=0.0,
)
RUN = Setup(
    synthesizers=64,
    trainers=16,
    side=32,
    batch=256,
    round_seconds=0.5,
    update_seconds=0.01,
    updates_per_round=10,
    publish_every=5,
    rounds=1000,
    capacity_rounds=500,
    teacher_bytes=10_000,
    student_bytes=1_000,
    generator_bytes=4_000,
    checkpoints=True,
)


def test_the_roles_set_the_pace() -> None:
    assert RUN.synthesis_rate == 128
    assert RUN.training_rate == pytest.approx(160)
    assert (RUN.round_bytes, RUN.publications) == (786_432, 2)
    assert (RUN.synthesis_nodes, RUN.training_nodes) == (8, 2)
    assert RUN.waiting == 16, "trainers wait for images"
    assert replace(RUN, trainers=8).waiting == 128, "synthesizers wait, two calls each"


@pytest.mark.parametrize(
    ("cost", "place", "expected"),
    [
        ({"driver_round": 2e-3}, "driver", 2e-3),
        ({"driver_row": 1e-3, "driver_row_record": 1e-6}, "driver", 2 * 2e-3),
        ({"checkpoint_byte": 1e-9}, "driver, checkpoints", 786_432e-9),
        ({"bank_round": 1e-3, "bank_request": 1e-3, "bank_wake": 1e-4}, "bank", 18.6e-3),
        ({"board_publication_byte": 1e-6}, "board", 2e-3),
        ({"board_generator_byte": 1e-6, "board_round": 1e-3}, "board", 5e-3),
        ({"raylet_in_byte": 1e-9}, "raylet of a training node", 786_432e-9),
        ({"raylet_in_object": 1e-3}, "raylet of a training node", 1e-3),
        ({"raylet_out_byte": 1e-9}, "raylet of a synthesis node", (3 * 786_432 + 4000) / 8e9),
        ({"raylet_out_object": 1e-3}, "raylet of a synthesis node", 4e-3 / 8),
        ({"raylet_in_object": 1e-3}, "raylet of the head", 4e-3),
        ({"raylet_out_object": 1e-3}, "raylet of the head", 2e-3),
        ({"trainer_round": 3e-3}, "trainer, copies", 3e-3),
    ],
)
def test_a_cost_is_at_its_place(cost: dict[str, float], place: str, expected: float) -> None:
    seconds = scaling_model.processor_seconds(replace(FREE, **cost), RUN)
    assert seconds[place] == pytest.approx(expected)


def test_bytes_on_the_network_by_hand() -> None:
    gradients = 10 * 2 * 15 / 16 * 1000
    assert network_bytes(RUN) == {
        "the head, out": 1000 + 4000,  # each round begins with a new student and generator
        "the head, in": 2 * 1000 + 4000 + 786_432,
        "a synthesis node, out": (3 * 786_432 + 4000) / 8,
        "a synthesis node, in": (1000 + 4000) / 8,
        "a training node, in": 786_432 + gradients,
        "a training node, out": gradients + 2 * 1000,
    }
    assert gradient_bytes(replace(RUN, trainers=8)) == 0, "they are on one node"


def test_without_checkpoints_and_generator_no_image_and_no_update_reaches_the_head() -> None:
    alone = network_bytes(replace(RUN, checkpoints=False, generator_bytes=0))
    assert alone["the head, in"] == 2 * 1000
    places = scaling_model.seconds_a_round(
        replace(FREE, driver_round=1e-3), replace(RUN, checkpoints=False), {}
    )
    assert "driver, checkpoints" not in places


def test_the_lowest_limit_is_first_and_bounds_the_run() -> None:
    costs = replace(FREE, driver_round=1e-3, board_round=1 / 100, driver_idle=0.1)
    found = limits(costs, RUN, {})
    assert found["driver"] == pytest.approx(900), "a tenth of it is gone when nothing happens"
    answer = predict(costs, RUN, "fast", 1e12)
    assert (answer.first, answer.wanted) == ("board", 128)
    assert answer.rate == pytest.approx(100)
    assert answer.load == pytest.approx(1.28)
    assert answer.synthesizers == pytest.approx(50)
    slow = predict(costs, RUN, "slow", 1e7)
    assert slow.first == "network of a training node, in (slow)"
    assert slow.rate == pytest.approx(1e7 / (786_432 + 18_750))
    assert slow.start_seconds == pytest.approx(10 * 11_000 / 1e7)


def test_larger_images_load_what_carries_bytes_and_nothing_else() -> None:
    costs = replace(FREE, driver_round=1e-3, bank_round=1e-3, board_round=1e-3, raylet_in_byte=1e-9)
    small, large = (
        scaling_model.processor_seconds(costs, replace(RUN, side=side)) for side in (32, 224)
    )
    changed = {place for place in small if small[place] != large[place]}
    assert changed == {"raylet of a training node", "raylet of the head"}
    assert large["raylet of a training node"] == pytest.approx(
        49 * small["raylet of a training node"]
    )


def test_with_fewer_updates_a_round_the_trainers_keep_up_and_send_as_many_gradients() -> None:
    assert scaling_model.at_the_synthesizers_pace(RUN) is RUN, "they keep up"
    slow = replace(RUN, updates_per_round=1000, publish_every=1000)
    fast = scaling_model.at_the_synthesizers_pace(slow)
    assert fast.training_rate == pytest.approx(fast.synthesis_rate) == 128
    assert fast.publications == 1
    before, after = (each.training_rate * gradient_bytes(each) for each in (slow, fast))
    assert before == pytest.approx(after)


def test_memory_is_of_the_rounds_that_the_bank_holds() -> None:
    answer = predict(replace(FREE, driver_round=1e-3), RUN, "any", 1e9)
    assert answer.ring_bytes == 8 * 500 * 786_432
    assert answer.store_bytes == 500 * 786_432 / 8


def test_sleepers_share_the_cores_of_one_machine() -> None:
    processor = {"driver": 0.01, "bank": 0.002, "board": 0.002, "trainer": 0.002, "raylet": 0.004}
    assert scaling_report.sleeping_rate(2, 1.0, processor, 2.0) == 4, "asleep: two calls each"
    assert scaling_report.sleeping_rate(1000, 1.0, processor, 2.0) == pytest.approx(100), (
        "the driver is full"
    )
    assert scaling_report.sleeping_rate(1000, 1.0, processor, 1.0) == pytest.approx(50), (
        "the cores are"
    )


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(32)


def test_the_small_case_is_the_papers_recipe_with_measured_seconds(case: Case) -> None:
    setup = case.setup
    assert (setup.synthesizers, setup.trainers, setup.round_bytes) == (64, 16, 786_432)
    assert (setup.round_seconds, setup.update_seconds) == (0.194, 0.0084)
    assert setup.updates_per_round == setup.publish_every == 400
    assert setup.student_bytes < setup.teacher_bytes < setup.generator_bytes


def test_a_prediction_lists_every_place_from_the_fullest_down(case: Case) -> None:
    costs = replace(FREE, driver_round=1e-3, board_generator_byte=1e-7)
    section = scaling_report.prediction(case, costs)
    loads = [row["load"] for row in section.rows]
    assert loads == sorted(loads, reverse=True)
    assert section.rows[0]["place"] == "board"
    assert "100 Gbit/s, 400 updates a round:** full first is the board" in section.notes[3]
    updates = 400 * (16 / (400 * 0.0084)) / (64 / 0.194)
    assert f"{updates:.3g} updates a round the trainers keep up" in section.notes[1]
    fast = {row["place"]: row["fast_load"] for row in section.rows}
    assert fast["driver"] == pytest.approx(64 / 0.194 * 1e-3)
    networks = [row for row in section.rows if "Gbit/s" in row["place"]]
    assert len(networks) == 12


def row(synthesizers: int, processes: int, driver: float) -> dict[str, float]:
    parts = dict.fromkeys(("bank", "board", "trainer", "synthesizer", "raylet", "gcs"), 1.0)
    rest = {"side": 32, "seconds": 0.25, "rate": 20.0, "others": 1.0, "driver": driver}
    return {"synthesizers": synthesizers, "processes": processes, "ahead": 500, **parts, **rest}


def test_the_check_predicts_the_row_that_it_was_calibrated_with(case: Case) -> None:
    rows = [row(1, 1, 9.0), row(64, 4, 3.0), row(1000, 4, 1.0)]
    assert calibration(rows)["driver"] == 3.0
    names = ("driver_idle", "driver_row", "driver_row_record", "bank_round", "bank_request")
    calls = dict.fromkeys((*names, "board_round"), 1e-3) | {"bank_wake": 1e-6}
    weights = dict.fromkeys(
        ("board_publication_byte", "board_generator_byte", "checkpoint_byte"), 1e-9
    )
    raylets = raylet_lines([{"bytes": 10.0, "rounds": 10, "synthesis": 1e-3, "training": 2e-3}])
    costs = costs_of(case, calls, weights, rows, raylets)
    checked = scaling_report.check(rows, {32: costs}, 2).rows
    assert checked[1]["driver_predicted"] == pytest.approx(3.0)
    assert checked[2]["driver_predicted"] == pytest.approx(3.0)
    assert checked[0]["bank_predicted"] == pytest.approx(2.001), "the trainer's call waits"
    assert checked[2]["bank_predicted"] == pytest.approx(2 + 1.501), "1,500 more wait"
    assert checked[0]["rate_predicted"] == pytest.approx(8.0)
    assert checked[1]["rate_predicted"] == pytest.approx(1e3 / sum((2.95, 2.001, 1, 1, 1, 1, 1)))


def test_a_raylet_is_a_line_through_two_sizes() -> None:
    small = {"bytes": 2e6, "rounds": 2, "synthesis": 2e-3, "training": 3e-3}
    large = {"bytes": 22e6, "rounds": 2, "synthesis": 12e-3, "training": 23e-3}
    lines = raylet_lines([large, small])
    assert lines["raylet_out_byte"] == pytest.approx(1e-9)
    assert lines["raylet_out_object"] == pytest.approx(1e-3)
    assert lines["raylet_in_byte"] == pytest.approx(2e-9)
    assert lines["raylet_in_object"] == pytest.approx(1e-3)
    alone = raylet_lines([small])
    assert (alone["raylet_in_object"], alone["raylet_in_byte"]) == pytest.approx((0, 3e-9))


def test_pieces_are_shown_in_the_units_of_their_headings() -> None:
    costs = replace(FREE, driver_round=2e-3, checkpoint_byte=3e-9, bank_wake=4e-6, driver_idle=0.05)
    (shown,) = scaling_report.pieces({224: costs}, []).rows
    assert shown["driver_round"] == pytest.approx(2)
    assert shown["checkpoint_byte"] == pytest.approx(3)
    assert shown["bank_wake"] == pytest.approx(4)
    assert (shown["side"], shown["driver_idle"]) == (224, 0.05)
