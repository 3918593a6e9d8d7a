"""The tables of the scaling benchmark's model: pieces, check against the rows, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.load_results import Section
from benchmarks.scaling_cases import NETWORKS, Case, calibration
from benchmarks.scaling_model import (
    CALLS_QUEUED,
    Costs,
    Prediction,
    at_the_synthesizers_pace,
    gradient_bytes,
    limits,
    predict,
)

Rows = Sequence[Mapping[str, Any]]
ALL_PARTS = ("driver", "bank", "board", "trainer", "synthesizer", "raylet", "gcs")

PIECES = {
    "side": ("pixels", "d"),
    "driver_idle": ("driver, idle load", ".3f"),
    "driver_round": ("driver, ms a round", ".2f"),
    "driver_row": ("progress row, us", ".1f"),
    "driver_row_record": ("and each earlier round, us", ".2f"),
    "checkpoint_byte": ("checkpoint, ns a byte", ".2f"),
    "bank_round": ("bank, ms an insertion", ".2f"),
    "bank_request": ("bank, ms a request", ".2f"),
    "bank_wake": ("bank, us a waiting call", ".1f"),
    "board_round": ("board, ms a round", ".2f"),
    "board_publication_byte": ("board, ns a published byte", ".2f"),
    "board_generator_byte": ("board, ns a byte of the generator", ".2f"),
    "raylet_out_object": ("raylet that sends, ms an object", ".2f"),
    "raylet_out_byte": ("and ns a byte", ".2f"),
    "raylet_in_object": ("raylet that receives, ms an object", ".2f"),
    "raylet_in_byte": ("and ns a byte", ".2f"),
    "trainer_round": ("trainer, ms a round", ".2f"),
}
UNITS = {"us": 1e6, "ns": 1e9, "ms": 1e3}

CHECK = {
    "side": ("pixels", "d"),
    "synthesizers": ("synthesizers", "d"),
    "processes": ("processes", "d"),
    "others": ("cores that others used", ".1f"),
    "rate": ("batches/s", ".1f"),
    "rate_predicted": ("predicted", ".1f"),
    **{
        key: value
        for part in ("driver", "bank", "board", "trainer")
        for key, value in {
            part: (f"{part}, ms", ".2f"),
            f"{part}_predicted": ("predicted", ".2f"),
        }.items()
    },
}

PLACES = {
    "place": ("place", "s"),
    "milliseconds": ("ms a round", ".3g"),
    "limit": ("limit, rounds/s", ".3g"),
    "load": ("load at the run's pace", ".2f"),
    "fast_milliseconds": ("fewer updates: ms a round", ".3g"),
    "fast_load": ("load at the synthesizers' pace", ".2f"),
    "synthesizers": ("synthesizers that fill it", ",.0f"),
}


def pieces(costs: Mapping[int, Costs], nodes: Rows) -> Section:
    """The measured costs, a row for each image side."""
    rows = []
    for side, found in costs.items():
        row = {"side": side, **asdict(found)}
        for name, (heading, _) in PIECES.items():
            unit = next((word for word in heading.replace(",", "").split() if word in UNITS), None)
            row[name] *= UNITS[unit] if unit else 1
        rows.append(row)
    return Section("Pieces, processor time", PIECES, rows, [_of_nodes(nodes)])


def _of_nodes(nodes: Rows) -> str:
    each = "; ".join(
        f"{node['side']} pixels: {node['rounds']} rounds, {node['bytes'] / 1e6:,.0f} MB, "
        f"{node['rate']:.1f} rounds/s; bytes written into the object store of the synthesizers' "
        f"node {node['synthesis_store_bytes'] / 1e6:,.0f} MB, of the trainer's "
        f"{node['training_store_bytes'] / 1e6:,.0f} MB, of the driver's "
        f"{node['head_store_bytes'] / 1e6:,.0f} MB"
        for node in nodes
    )
    return (
        "Bank, board, rows and checkpoints are measured alone (`scaling_pieces.py`). Driver and "
        "trainer are from the row with 64 synthesizers above. Raylets are from three Ray nodes on "
        "this machine, with the loopback between them (`scaling_nodes.py`): a line through rounds "
        f"of both sizes. {each}."
    )


def busy(rows: Rows) -> str:
    """How busy the machine was with other work."""
    others = [row["others"] for row in rows]
    return (
        f"Other processes used {min(others):.1f} to {max(others):.1f} cores of this machine during "
        "the rows. Rates and shares depend on that, processor time less."
    )


def check(rows: Rows, costs: Mapping[int, Costs], cores: float) -> Section:
    """What the rows measured, beside what the pieces predict for them."""
    found = [
        {**row, **_expected(row, costs[row["side"]], calibration(_of_side(rows, row)), cores)}
        for row in rows
    ]
    note = (
        "The rows with 64 synthesizers are the source of all pieces except bank and board; "
        "those of the other rows, and bank and board of all rows, are predicted. All pieces are of "
        "calls in close succession. At low rates, with pauses between the calls, a call costs two "
        "to four times as much: the model says too little, where the load is low anyway. It counts "
        "an insertion and a request for each batch. At high rates several batches share them. Of "
        "1,000 synthesizers half wait for room: each round then takes a further call of driver and "
        "bank, which is not in the model. The rate is the least of what the sleep allows, one core "
        f"for each part, and the part of the {cores:g} cores that other processes left during the "
        "row."
    )
    return Section("The model beside the rows", CHECK, found, [note])


def _of_side(rows: Rows, like: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["side"] == like["side"]]


def _expected(
    row: Mapping[str, Any], costs: Costs, calibrated: Mapping[str, Any], cores: float
) -> dict[str, float]:
    """Rate, and milliseconds of each part, that the pieces predict for a row with one trainer."""
    processor = {part: 1e-3 * calibrated[part] for part in ALL_PARTS}
    processor |= {
        "driver": costs.driver_round,
        "bank": costs.bank_round + costs.bank_request + costs.bank_wake * _waiting(row),
        "board": costs.board_round,
    }
    left = max(cores - row["others"], 0.0)
    rate = sleeping_rate(row["synthesizers"], row["seconds"], processor, left)
    idle = costs.driver_idle / row["rate"]
    predicted = {part: 1e3 * processor[part] for part in ("bank", "board", "trainer")}
    return {
        "rate_predicted": rate,
        "driver_predicted": 1e3 * (processor["driver"] + idle),
        **{f"{part}_predicted": value for part, value in predicted.items()},
    }


def sleeping_rate(
    synthesizers: int, seconds: float, processor: Mapping[str, float], cores: float
) -> float:
    """Rounds a second of `scaling.py`, whose roles share the cores of one machine.

    A sleeping synthesizer sleeps for all its queued calls at the same time.

    Args:
        synthesizers: number of them.
        seconds: sleep of a round.
        processor: processor seconds a round of every part; the driver, bank, board and trainer use
            one core at most.
        cores: that other processes leave.
    """
    asleep = CALLS_QUEUED * synthesizers / seconds
    serial = ("driver", "bank", "board", "trainer")
    full = min(1 / processor[part] for part in serial if processor[part] > 0)
    return min(asleep, full, cores / sum(processor.values()))


def _waiting(row: Mapping[str, Any]) -> int:
    """Calls that wait at the bank: the trainer's, and those that may not be ahead of it."""
    return 1 + max(CALLS_QUEUED * row["synthesizers"] - row["ahead"], 0)


def prediction(case: Case, costs: Costs) -> Section:
    """Limit and load of every place of a run: as it is, and with fewer updates a round."""
    setup, fast = case.setup, at_the_synthesizers_pace(case.setup)
    pace = min(setup.synthesis_rate, setup.training_rate)
    fast_limits = limits(costs, fast, NETWORKS)
    rows = [
        {
            "place": place,
            "milliseconds": 1e3 / limit,
            "limit": limit,
            "load": pace / limit,
            "fast_milliseconds": 1e3 / fast_limits[place],
            "fast_load": fast.synthesis_rate / fast_limits[place],
            "synthesizers": fast_limits[place] * fast.round_seconds,
        }
        for place, limit in sorted(limits(costs, setup, NETWORKS).items(), key=lambda at: at[1])
    ]
    roles = f"{setup.synthesizers} synthesizers, {setup.trainers} trainers"
    title = f"Predicted: {roles}, {setup.side} pixels"
    return Section(title, PLACES, rows, _of_prediction(case, costs))


def _of_prediction(case: Case, costs: Costs) -> list[str]:
    """The notes below a prediction."""
    setup, fast = case.setup, at_the_synthesizers_pace(case.setup)
    paces = (
        f"{setup.synthesizers} synthesizers can make {setup.synthesis_rate:.3g} rounds/s, "
        f"{setup.trainers} trainers can use {setup.training_rate:.3g}. In async the run goes at "
        f"the lower pace. Gradients between training nodes: {gradient_bytes(setup) / 1e6:,.0f} MB "
        f"a round. With {fast.updates_per_round:.3g} updates a round the trainers keep up: the "
        "last three columns are of that run. It has a trainer for each "
        f"{setup.synthesizers / setup.trainers:.3g} synthesizers also where they are more or fewer."
    )
    found = {name: predict(costs, setup, name, at) for name, at in NETWORKS.items()}
    sentences = [
        f"**{name}, {kind.updates_per_round:.3g} updates a round:** "
        f"{_sentence(predict(costs, kind, name, at))}"
        for kind in dict.fromkeys((setup, fast))
        for name, at in NETWORKS.items()
    ]
    return [f"Assumed: {case.text}.", paces, *sentences, _memory(found)]


def _sentence(found: Prediction) -> str:
    breaks = "stays below its limit" if found.load <= 1 else "**cannot keep it**"
    return (
        f"full first is the {found.first}, at {found.limit:.3g} rounds/s. The run wants "
        f"{found.wanted:.3g} and {breaks} (load {found.load:.2f}): predicted {found.rate:.3g} "
        "rounds/s."
    )


def _memory(predictions: Mapping[str, Prediction]) -> str:
    found = next(iter(predictions.values()))
    starts = ", ".join(f"{each.start_seconds:.2g} s at {at}" for at, each in predictions.items())
    return (
        f"Memory at the end: {found.store_bytes / 1e9:.3g} GB of images in the object store of a "
        f"synthesis node if no checkpoint is written, {found.ring_bytes / 1e9:.3g} GB in the rings "
        f"of a training node. Teacher and student leave the head in {starts}."
    )


ASSUMPTIONS = (
    "**Assumptions of the predictions.** Nodes have eight GPUs and one role. Each node gets an "
    "object once, from the node that made it. A network carries its whole bandwidth in both "
    "directions at once. The processor of the head is as fast as this one. A trainer's share of an "
    "update takes its part of the seconds, and gradients go round a ring of all trainers while "
    "the backward pass runs. Each trainer asks once a round, and an insertion holds one round. A "
    "shared generator is new for each round. Not in it: queues near load 1, evaluation, MLflow, "
    "the states in a checkpoint, the start of actors, faults."
)
"""What `scaling_model.py` and `scaling_cases.py` take for granted."""
