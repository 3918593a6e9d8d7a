"""Calls of an actor that are repeated while Ray restarts it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayActorError

log = logging.getLogger(__name__)

MOST_SECONDS_AWAY = 120.0
"""A call is repeated for this long; then it raises."""
_PAUSE_SECONDS = 0.2
SAY_EVERY_SECONDS = 10.0
"""Time between log lines while waiting."""


def call_until_answered(ask: Callable[[], Any], who: str) -> Any:
    """The result of a call, repeated while the actor is down or returns None (no result yet).

    Args:
        ask: makes the call and returns its object reference.
        who: name of the actor, for messages.

    Raises:
        RuntimeError: no result within `MOST_SECONDS_AWAY` seconds.
    """
    since = said = time.monotonic()
    why: Any = "it has no data of the run yet"
    while True:
        try:
            answer = ray.get(ask())
            if answer is not None:
                return answer
        except RayActorError as error:
            why = error
        now = time.monotonic()
        if now - since > MOST_SECONDS_AWAY:
            raise RuntimeError(f"{who} did not answer for {now - since:.0f} s: {why}")
        if now - said > SAY_EVERY_SECONDS:
            log.warning("%s has not answered for %.0f s: %s", who, now - since, why)
            said = now
        time.sleep(_PAUSE_SECONDS)
