"""Joining a cluster that is not there."""

from __future__ import annotations

import time

import pytest

from fastdfkd.platform.cluster import connect
from tests.cluster.nodes import free_port


def test_a_dead_address_is_an_error_within_seconds() -> None:
    """Ray alone goes on trying for more than three minutes."""
    address, began = f"127.0.0.1:{free_port()}", time.monotonic()
    with (
        pytest.raises(ConnectionError, match=f"no Ray cluster answers at {address}"),
        connect(address),
    ):
        pytest.fail("there is nobody to connect to")
    assert time.monotonic() - began < 30
