"""Asking an actor that may be away for a while: it was killed and Ray is restarting it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayActorError

log = logging.getLogger(__name__)

MOST_SECONDS_AWAY = 120.0
_PAUSE_SECONDS = 0.2
SAY_EVERY_SECONDS = 10.0


def insist(ask: Callable[[], Any], who: str) -> Any:
    """The answer to a call, asked again while the actor is away or has no answer (None) yet.

    Args:
        ask: makes the call and returns its reference.
        who: the actor, for messages.

    Raises:
        RuntimeError: no answer within `MOST_SECONDS_AWAY` seconds.
    """
    since = said = time.monotonic()
    why: Any = "it has not been told of the run yet"
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
            log.warning("waiting for %s since %.0f s: %s", who, now - since, why)
            said = now
        time.sleep(_PAUSE_SECONDS)
