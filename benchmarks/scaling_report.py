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
    gradient_bytes,
    limits,
    predict,
    sleeping_rate,
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
    "load_of_synthesis": ("load at the synthesizers' pace", ".2f"),
    "synthesizers": ("synthesizers that fill it at their pace", ",.0f"),
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
        "the rows. Processor time hardly depends on that; rates and shares do."
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
        "an insertion and a request for each batch. At high rates several batches share them. The "
        "rate is the least of what the sleep allows, one core for each part, and the part of the "
        f"{cores:g} cores that other processes left during the row."
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


def _waiting(row: Mapping[str, Any]) -> int:
    """Calls that wait at the bank: the trainer's, and those that may not be ahead of it."""
    return 1 + max(CALLS_QUEUED * row["synthesizers"] - row["ahead"], 0)


def prediction(case: Case, costs: Costs) -> Section:
    """Limit and load of every place of a run."""
    setup = case.setup
    pace = min(setup.synthesis_rate, setup.training_rate)
    rows = [
        {
            "place": place,
            "milliseconds": 1e3 / limit,
            "limit": limit,
            "load": pace / limit,
            "load_of_synthesis": setup.synthesis_rate / limit,
            "synthesizers": limit * setup.round_seconds,
        }
        for place, limit in sorted(limits(costs, setup, NETWORKS).items(), key=lambda at: at[1])
    ]
    predictions = {name: predict(costs, setup, name, at) for name, at in NETWORKS.items()}
    paces = (
        f"{setup.synthesizers} synthesizers can make {setup.synthesis_rate:.3g} rounds/s, "
        f"{setup.trainers} trainers can use {setup.training_rate:.3g}. In async the run goes at "
        "the lower pace. In warm-up, or with fewer updates a round, it goes at the synthesizers'. "
        f"Gradients between training nodes: {gradient_bytes(setup) / 1e6:,.0f} MB a round."
    )
    notes = [f"Assumed: {case.text}.", paces, *map(_sentence, predictions.items())]
    roles = f"{setup.synthesizers} synthesizers, {setup.trainers} trainers"
    title = f"Predicted: {roles}, {setup.side} pixels"
    return Section(title, PLACES, rows, [*notes, _memory(predictions)])


def _sentence(named: tuple[str, Prediction]) -> str:
    name, found = named
    breaks = "stays below its limit" if found.load <= 1 else "**cannot keep it**"
    return (
        f"**{name}:** full first is {found.first}, at {found.limit:.3g} rounds/s. The run wants "
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
