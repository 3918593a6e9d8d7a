"""What is said of a network, and what it costs an image."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import Tensor, nn

from fastdfkd.core.network_facts import NetworkFacts, counted, fast_paths
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.models import build_network

SHAPE = (3, 8, 8)
CPU = torch.device("cpu")


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(4 * 8 * 8, 5),
    )


class Named(nn.Module):
    """Returns a dictionary; one of its layers never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.unused = small(), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.body(x)}


def test_layers_cost_and_answer_of_a_network() -> None:
    facts = NetworkFacts.of(small(), NetworkUse(), SHAPE, count_macs=True)
    assert facts.layers == {"Conv2d": 1, "BatchNorm2d": 1, "Linear": 1}
    assert facts.parameters == 4 * 3 * 9 + 2 * 4 + 5 * 4 * 64 + 5
    assert facts.macs == 64 * 4 * 3 * 9 + 5 * 4 * 64
    assert facts.statistics == {"BatchNorm2d": 1}
    assert (facts.answer, facts.logits, facts.output) == ("Tensor", (5,), "logits")


def test_only_layers_that_run_count_as_statistics() -> None:
    facts = NetworkFacts.of(Named(), NetworkUse(), SHAPE)
    assert facts.layers["BatchNorm2d"] == 2
    assert facts.statistics == {"BatchNorm2d": 1}
    assert (facts.answer, facts.macs) == ("dict", None)
    assert "1 BatchNorm2d; answers dict" in facts.summary


def test_a_run_counts_nothing_that_imports_the_compiler() -> None:
    assert NetworkFacts.of(small(), NetworkUse(), SHAPE).macs is None


def test_the_network_and_random_state_stay_as_they_were() -> None:
    model = nn.Sequential(nn.Dropout(0.5), small()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    NetworkFacts.of(model, NetworkUse(), SHAPE)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert torch.equal(state, torch.random.get_rng_state())


def test_each_fast_path_is_made_or_has_a_reason() -> None:
    teacher = build_network("resnet8", 10, 3)
    use = NetworkUse().without("channels_last", "its logits differ")
    found = fast_paths(teacher, use, device=CPU, precision="float32", graphs="no GPU")
    assert found == {
        "channels_last": "its logits differ",
        "fused_norms": "",
        "folded_logits": "",
        "autocast": "the recipe asks for float32",
        "cuda_graphs": "no GPU",
    }
    plain = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    bare = fast_paths(plain, NetworkUse(), device=CPU, precision="float32")
    assert "no BatchNorm" in bare["fused_norms"]
    assert "no convolution" in bare["folded_logits"]
    assert "folded_logits" not in fast_paths(
        teacher, use, device=CPU, precision="float32", student=True
    )


def test_counts_are_listed_from_the_most_frequent() -> None:
    assert counted({"Linear": 1, "Conv2d": 14}) == "14 Conv2d, 1 Linear"


def test_counting_imports_no_compiler() -> None:
    """That takes longer than all else in a check."""
    program = """
import sys, torch
from torch import nn
from fastdfkd.core.network_facts import _macs
network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
with torch.no_grad():
    print(_macs(network, torch.zeros(1, 3, 8, 8)), "torch._dynamo" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(3 * 4 * 9 * 64 + 256 * 5), "False"]
