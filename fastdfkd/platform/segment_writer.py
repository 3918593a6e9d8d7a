"""Writes the image segment of a checkpoint outside the driver's process, round by round.

A Ray task on a node that sees the run's folder fills a draft, which the driver has created there.
The driver renames the draft, so it alone decides that a segment is whole: a task that was given up,
but still runs on a node that is cut off, can change no file that a checkpoint names. The node with
most of the images is tried first, then the driver's own. Segments too small to be worth a process
are written by the driver, round by round too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import ObjectLostError, RayError, RayTaskError
from ray.experimental import get_object_locations
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fastdfkd.platform.history import images_behind
from fastdfkd.trainers.calls import SAY_EVERY_SECONDS
from fastdfkd.trainers.filed_images import FiledImages
from fastdfkd.trainers.segment_file import in_file_order, write_segment

log = logging.getLogger(__name__)

WORTH_A_PROCESS = 2**25
"""Bytes of images from which a segment is written by a task. A new process takes seconds."""
TRIES = 3
"""How often the driver's node is tried."""
AHEAD = 4
"""Rounds that are fetched before they are written, so most that are in use at a time."""


class ImagesLostError(RuntimeError):
    """Images that were to be written are gone, with their nodes or with their file."""

    def __init__(self, rounds: Sequence[int]):
        super().__init__(f"the images of rounds {list(rounds)} were lost with their nodes")
        self.rounds = list(rounds)

    def __reduce__(self) -> tuple[type[ImagesLostError], tuple[list[int]]]:
        """As a task sends it."""
        return ImagesLostError, (self.rounds,)


@dataclass(frozen=True)
class _Written:
    """What a task wrote."""

    digest: str
    bytes: int


class SegmentWriter:
    """Writes segments from references, as `CheckpointFolder.save` asks for it."""

    def __init__(self, node: str, round_bytes: int):
        """Write no segment yet.

        Args:
            node: Ray's id of the driver's node.
            round_bytes: of the images of one round.
        """
        self.node, self.round_bytes = node, round_bytes
        self.without_folder: set[str] = set()
        """Nodes that do not see the run's folder."""
        self.writing = False
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Give up what is being written, because the run ends with an error. Thread-safe."""
        self._stopped.set()

    def __call__(self, draft: Path, images: Mapping[int, Any]) -> str:
        """Write images into an empty file and return its digest.

        Args:
            draft: created by this process.
            images: a reference or `FiledImages` for each round.

        Raises:
            ImagesLostError: of some rounds the images are gone.
            OSError: the disk is full, or the writing processes died again and again.
        """
        self.writing = True
        try:
            if len(images) * self.round_bytes < WORTH_A_PROCESS:
                return _write(draft, images).digest
            return self._by_task(draft, images)
        finally:
            self.writing = False

    def _by_task(self, draft: Path, images: Mapping[int, Any]) -> str:
        failure: object = None
        for node in [*self._elsewhere(images), *[self.node] * TRIES]:
            if node in self.without_folder:
                continue
            try:
                written = self._written(node, draft, images)
                if written is None:
                    self.without_folder.add(node)
                elif (seen := draft.stat().st_size) == written.bytes:
                    return written.digest
                else:
                    failure = f"of its {written.bytes} bytes this machine sees {seen}"
            except OSError as error:
                if node == self.node:
                    raise
                failure = error
            except RayError as error:  # the process, or its node
                failure = error
            if failure is not None:
                log.warning("the images of a checkpoint are written once more: %s", failure)
        if self.node in self.without_folder:  # this process is outside of the cluster (`ray://`)
            return _write(draft, images).digest
        raise OSError(f"the process that writes the images died, {TRIES} times: {failure}")

    def _written(self, node: str, draft: Path, images: Mapping[int, Any]) -> _Written | None:
        """What a task on a node wrote; None: the node does not see the draft."""
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        task = _write_there.options(scheduling_strategy=there)
        answer = task.remote(draft, list(images), list(images.values()))
        since = said = time.monotonic()
        try:
            while not ray.wait([answer], timeout=0.5)[0]:
                if self._stopped.is_set():
                    raise OSError("the run ends while the images are written")
                if (now := time.monotonic()) - said > SAY_EVERY_SECONDS:
                    said = now
                    log.info("%.0f s: images of %d rounds are written", now - since, len(images))
            return ray.get(answer)
        except RayTaskError as error:  # raised inside; without the task's traceback
            raise error.cause from None
        except BaseException:
            ray.cancel(answer, force=True)
            raise

    def _elsewhere(self, images: Mapping[int, Any]) -> list[str]:
        """The node with most of the images, unless it is the driver's or lacks the folder."""
        if ray.util.client.ray.is_connected():  # type: ignore[no-untyped-call]
            return []
        references = [each for each in images.values() if not isinstance(each, FiledImages)]
        held: Counter[str] = Counter()
        for place in get_object_locations(references).values():
            held.update(place["node_ids"])
        found = max(held, key=held.__getitem__, default=self.node)
        return [] if held[found] <= held[self.node] or found in self.without_folder else [found]


@ray.remote(num_cpus=0, max_retries=0)
def _write_there(draft: Path, rounds: Sequence[int], references: Sequence[Any]) -> _Written | None:
    """Write into a draft that the driver has created; None: it is not on this node."""
    if not draft.exists():
        return None
    return _write(draft, dict(zip(rounds, references, strict=True)))


def _write(draft: Path, images: Mapping[int, Any]) -> _Written:
    rounds = list(images)
    try:
        digest = write_segment(draft, rounds, _fetched(images, in_file_order(rounds)))
    except ObjectLostError as error:
        if lost := [round for round in rounds if _is_lost(images[round])]:
            raise ImagesLostError(lost) from None
        raise OSError(f"images could not be read for a while: {error}") from error
    return _Written(digest, draft.stat().st_size)


def _fetched(images: Mapping[int, Any], order: Sequence[int]) -> Iterator[np.ndarray]:
    """Images of rounds in an order; the next ones come while one is in use."""
    with ThreadPoolExecutor(AHEAD - 1) as pool:
        coming: deque[Future[np.ndarray]] = deque()
        for round in order:
            coming.append(pool.submit(images_behind, images[round]))
            if len(coming) == AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _is_lost(reference: Any) -> bool:
    try:
        images_behind(reference)
    except ObjectLostError:
        return True
    return False
