"""A model of a run on a cluster: which place is full first, at how many rounds a second.

A *place* is something of which a run has one, or one a node: the driver's interpreter, the board,
the bank, a node's raylet, a node's network. Each round costs a place some seconds, measured
(`scaling_pieces.py`, `scaling_nodes.py`) or bytes divided by an assumed bandwidth. So

    load of a place = rounds a second x its seconds a round
    its limit       = 1 / its seconds a round

The driver also has a load when nothing happens, because it polls. The model knows no queues: a
place near load 1 is slower than it says. Pure functions, no Ray.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

GPUS_A_NODE = 8
"""Synthesizers or trainers of a node, each with one GPU. Nodes have one role only."""
CALLS_QUEUED = 2
"""Of a synthesizer, as in `platform.dispatcher`."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Measured processor seconds of the places, for rounds of one size."""

    driver_idle: float
    """Load of the driver without rounds."""
    driver_round: float
    """Reserve, call, insert and history of a round."""
    driver_row: float
    """A progress row of the trainer, without what grows."""
    driver_row_record: float
    """A progress row, for each round so far: it sums over the records of all rounds."""
    checkpoint_byte: float
    """Reading a byte of images into a checkpoint, in the driver's monitor thread."""
    bank_round: float
    """An insertion with one round, and the answer with the next one."""
    bank_request: float
    """A trainer's request."""
    bank_wake: float
    """Each call that waits at the bank, at each insertion."""
    board_round: float
    """`begin` and `finish`, without weights."""
    board_publication_byte: float
    """A byte of a published student."""
    board_generator_byte: float
    """A byte of a shared generator, each round: its update arrives, is learned, and is sent."""
    raylet_out_object: float
    """An object that a raylet sends to another node, without its bytes."""
    raylet_out_byte: float
    """A byte of it."""
    raylet_in_object: float
    """An object that a raylet receives, without its bytes."""
    raylet_in_byte: float
    """A byte of it."""
    trainer_round: float
    """Request and copy into the trainer's ring."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A run. Seconds are of one GPU that does nothing else."""

    synthesizers: int
    trainers: int
    side: int
    """Pixels of an image's side."""
    batch: int
    """Images of a round."""
    round_seconds: float
    """Synthesis of a round."""
    update_seconds: float
    """A student update of the whole batch on one GPU. A trainer's share takes its part of it."""
    updates_per_round: float
    publish_every: float
    """Updates between two published students and progress rows."""
    rounds: int
    """Of the whole run. Progress rows are counted at its end, where they cost most."""
    capacity_rounds: int
    """Rounds that the bank holds."""
    teacher_bytes: int
    student_bytes: int
    generator_bytes: int
    """0 if the synthesizers share none."""
    checkpoints: bool
    """Whether `platform.checkpoint_every` is set: the driver then reads each round."""

    @property
    def round_bytes(self) -> int:
        """Images of a round, uint8 with three channels."""
        return 3 * self.side**2 * self.batch

    @property
    def publications(self) -> float:
        """Published students a round."""
        return self.updates_per_round / self.publish_every

    @property
    def synthesis_nodes(self) -> int:
        """Nodes with synthesizers."""
        return math.ceil(self.synthesizers / GPUS_A_NODE)

    @property
    def training_nodes(self) -> int:
        """Nodes with trainers."""
        return math.ceil(self.trainers / GPUS_A_NODE)

    @property
    def synthesis_rate(self) -> float:
        """Rounds a second that the synthesizers can make."""
        return self.synthesizers / self.round_seconds

    @property
    def training_rate(self) -> float:
        """Rounds a second that the trainers can use, if gradients took no time."""
        return self.trainers / (self.updates_per_round * self.update_seconds)

    @property
    def waiting(self) -> int:
        """Calls that wait at the bank: the slower role never waits."""
        if self.synthesis_rate <= self.training_rate:
            return self.trainers
        return CALLS_QUEUED * self.synthesizers


def processor_seconds(costs: Costs, setup: Setup) -> dict[str, float]:
    """Processor seconds a round of each serial place."""
    size, published = setup.round_bytes, setup.publications
    row = costs.driver_row + costs.driver_row_record * setup.rounds
    sent = {way: _of_raylet(costs, way, flows) for way, flows in objects(setup).items()}
    return {
        "driver": costs.driver_round + published * row,
        "driver, checkpoints": costs.checkpoint_byte * size * setup.checkpoints,
        "bank": costs.bank_round
        + costs.bank_request * setup.trainers
        + costs.bank_wake * setup.waiting,
        "board": costs.board_round
        + costs.board_publication_byte * published * setup.student_bytes
        + costs.board_generator_byte * setup.generator_bytes,
        **{
            f"raylet of {node}": sent[f"{node}, out"] + sent[f"{node}, in"]
            for node in ("the head", "a synthesis node", "a training node")
        },
        "trainer, copies": costs.trainer_round,
    }


Flows = list[tuple[float, int]]
"""Objects a round, and bytes of each."""


def objects(setup: Setup) -> dict[str, Flows]:
    """Objects that raylets send and receive for a round: at the head, and at one node of each role.

    A node gets each object once. Each version of a student goes from the head to each synthesis
    node that begins a round with it. A shared generator is new for each round.
    """
    makers, takers = setup.synthesis_nodes, setup.training_nodes
    published, a_round = setup.publications, setup.round_bytes
    student = min(published * makers, 1.0), setup.student_bytes
    generator = float(setup.generator_bytes > 0), setup.generator_bytes
    copies = takers + setup.checkpoints
    return {
        "the head, out": [student, generator],
        "the head, in": [
            (published, setup.student_bytes),
            generator,
            (float(setup.checkpoints), a_round),
        ],
        "a synthesis node, out": [
            (copies / makers, a_round),
            (generator[0] / makers, generator[1]),
        ],
        "a synthesis node, in": [(count / makers, size) for count, size in (student, generator)],
        "a training node, in": [(1.0, a_round)],
        "a training node, out": [(published, setup.student_bytes)],
    }


def _of_raylet(costs: Costs, way: str, flows: Flows) -> float:
    """Seconds of a raylet for the objects of a round; `way` ends with "in" or "out"."""
    if way.endswith("out"):
        each, a_byte = costs.raylet_out_object, costs.raylet_out_byte
    else:
        each, a_byte = costs.raylet_in_object, costs.raylet_in_byte
    return sum(count * (each + a_byte * size) for count, size in flows)


def gradient_bytes(setup: Setup) -> float:
    """Bytes of gradients a round, into and out of a training node, by a ring over all trainers."""
    if setup.training_nodes == 1:
        return 0.0
    ring = 2 * (setup.trainers - 1) / setup.trainers
    return setup.updates_per_round * ring * setup.student_bytes


def network_bytes(setup: Setup) -> dict[str, float]:
    """Bytes a round through the network of the head, and of one node of each role."""
    found = {
        way: sum(count * size for count, size in flows) for way, flows in objects(setup).items()
    }
    for way in ("a training node, in", "a training node, out"):
        found[way] += gradient_bytes(setup)
    return found


def seconds_a_round(costs: Costs, setup: Setup, networks: Mapping[str, float]) -> dict[str, float]:
    """Seconds a round of each place; places that a round does not touch are left out.

    Args:
        costs: measured for rounds of the run's size.
        setup: the run.
        networks: bytes a second of a node's network each way, by name.
    """
    seconds = processor_seconds(costs, setup)
    for name, bandwidth in networks.items():
        for way, count in network_bytes(setup).items():
            seconds[f"network of {way} ({name})"] = count / bandwidth
    return {place: value for place, value in seconds.items() if value > 0}


def at_the_synthesizers_pace(setup: Setup) -> Setup:
    """The run with so few updates a round that the trainers keep up; one student a round.

    A run whose trainers keep up anyway is returned as it is.
    """
    if setup.training_rate >= setup.synthesis_rate:
        return setup
    updates = setup.updates_per_round * setup.training_rate / setup.synthesis_rate
    return replace(setup, updates_per_round=updates, publish_every=updates)


def limits(costs: Costs, setup: Setup, networks: Mapping[str, float]) -> dict[str, float]:
    """Rounds a second at which each place is full; arguments as in `seconds_a_round`."""
    found = {place: 1 / each for place, each in seconds_a_round(costs, setup, networks).items()}
    found["driver"] *= 1 - costs.driver_idle
    return found


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model says of a run on one kind of network."""

    wanted: float
    """Rounds a second of the slower role."""
    rate: float
    """Rounds a second of the run."""
    first: str
    """The place with the lowest limit."""
    limit: float
    """Its limit in rounds a second."""
    load: float
    """`wanted` divided by it. Above 1 the run does not reach `wanted`."""
    synthesizers: float
    """Number of synthesizers that fill it."""
    start_seconds: float
    """Time to send teacher and student from the head to each node."""
    store_bytes: float
    """Images in the object store of a synthesis node at the end, without checkpoints."""
    ring_bytes: float
    """Images in the rings of a training node: each trainer has the whole bank."""


def predict(costs: Costs, setup: Setup, name: str, bandwidth: float) -> Prediction:
    """Predict a run on one network: its name, and a node's bytes a second each way."""
    found = limits(costs, setup, {name: bandwidth})
    first = min(found, key=lambda place: found[place])
    limit = found[first]
    wanted = min(setup.synthesis_rate, setup.training_rate)
    nodes = setup.synthesis_nodes + setup.training_nodes
    bank = setup.round_bytes * min(setup.capacity_rounds, setup.rounds)
    return Prediction(
        wanted=wanted,
        rate=min(wanted, limit),
        first=first,
        limit=limit,
        load=wanted / limit,
        synthesizers=limit * setup.round_seconds,
        start_seconds=nodes * (setup.teacher_bytes + setup.student_bytes) / bandwidth,
        store_bytes=bank / setup.synthesis_nodes,
        ring_bytes=bank * math.ceil(setup.trainers / setup.training_nodes),
    )
