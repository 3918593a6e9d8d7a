from __future__ import annotations

import pytest

from fastdfkd.tuning.objective import Objective, ObjectiveTracker, pareto_front, parse_objectives


def test_objectives_are_read() -> None:
    assert parse_objectives("accuracy") == (Objective("accuracy"),)
    two = parse_objectives("accuracy, synthesis_seconds")
    assert [objective.mode for objective in two] == ["max", "min"]
    assert parse_objectives("accuracy_at_seconds:30")[0].text == "accuracy_at_seconds:30"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("acuracy", "expected one of accuracy"),
        ("accuracy,accuracy", "two different"),
        ("accuracy,agreement,synthesis_seconds", "two different"),
        ("accuracy_at_seconds", "number of seconds above 0"),
        ("accuracy_at_seconds:-1", "number of seconds above 0"),
        ("accuracy:3", "takes no seconds"),
    ],
)
def test_bad_objectives_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_objectives(text)


def test_accuracy_at_seconds_is_the_last_within_the_budget() -> None:
    tracker = ObjectiveTracker(parse_objectives("accuracy_at_seconds:10,end_to_end_seconds"))
    values = [
        tracker({"accuracy": accuracy, "end_to_end_seconds": seconds})
        for accuracy, seconds in ((0.5, 5.0), (0.7, 9.9), (0.9, 10.1))
    ]
    assert [each["accuracy_at_seconds"] for each in values] == [0.5, 0.7, 0.7]
    assert values[-1]["end_to_end_seconds"] == 10.1


@pytest.mark.parametrize("objective", ["accuracy", "accuracy_at_seconds:10"])
def test_an_objective_that_the_runs_do_not_measure_is_refused(objective: str) -> None:
    tracker = ObjectiveTracker(parse_objectives(objective))
    with pytest.raises(
        ValueError,
        match=rf"--objective {objective}: .* do not measure accuracy.*synthesis_seconds",
    ):
        tracker({"synthesis_seconds": 1.0, "end_to_end_seconds": 2.0})


def test_the_front_holds_all_points_that_are_not_dominated() -> None:
    objectives = parse_objectives("accuracy,synthesis_seconds")
    values = [(0.9, 10.0), (0.8, 5.0), (0.8, 6.0), (0.95, 20.0), (0.9, 10.0), (0.7, 5.0)]
    assert pareto_front(values, objectives) == [0, 1, 3, 4]


def test_miou_within_seconds_is_the_newest_one_in_time() -> None:
    first, second = parse_objectives("mean_iou_at_seconds:10, accuracy_at_seconds:20")
    assert (first.figure, second.figure, first.mode) == ("mean_iou", "accuracy", "max")
    track = ObjectiveTracker([first])
    found = [
        track({"mean_iou": value, "end_to_end_seconds": seconds})[first.name]
        for value, seconds in ((0.2, 4.0), (0.5, 9.0), (0.8, 11.0))
    ]
    assert found == [0.2, 0.5, 0.5]
    with pytest.raises(ValueError, match="number of seconds above 0, as in mean_iou_at_seconds:30"):
        parse_objectives("mean_iou_at_seconds")
