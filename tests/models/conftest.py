"""The state of the network that `weight_files` writes."""

import pytest
import torch

from tests.models.weight_files import (
    network,
)


@pytest.fixture
def state():
    torch.manual_seed(1)
    return network().state_dict()
