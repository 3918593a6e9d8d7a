"""Weights that fit or do not, saving them, and their digest."""

import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fastdfkd.models import (
    build_network,
    load_weights,
    save_weights,
    weights_digest,
)
from tests.models.weight_files import (
    assert_same,
    open_into,
    opened,
    report,
)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_converted(state, tmp_path, kind):
    halves = {k: v.to(kind) if v.is_floating_point() else v for k, v in state.items()}
    torch.save(halves, tmp_path / "half.pt")
    found = opened(tmp_path / "half.pt")
    assert {v.dtype for v in found.values()} == {torch.float32, torch.int64}
    assert_same(found, {k: v.float() if v.is_floating_point() else v for k, v in halves.items()})
    assert report(tmp_path / "half.pt").types == (str(kind).removeprefix("torch."),)


def test_counters_may_be_missing_or_superfluous(state, tmp_path):
    old = {key: value for key, value in state.items() if "num_batches" not in key}
    save_file(old, tmp_path / "old.safetensors")
    assert torch.equal(opened(tmp_path / "old.safetensors")["bn1.weight"], state["bn1.weight"])
    assert report(tmp_path / "old.safetensors").counters_missing == len(state) - len(old)
    save_file({**state, "frozen.num_batches_tracked": torch.ones(())}, tmp_path / "new")
    assert_same(opened(tmp_path / "new"), state)


def quantised_states():
    layers = nn.Sequential(nn.Linear(4, 4))
    dynamic = torch.ao.quantization.quantize_dynamic(layers, {nn.Linear}).state_dict()
    tensor = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    return [dynamic, {"conv1.weight": tensor}, {"layer1.0.qweight": torch.ones(2).int()}]


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_quantised_weights_are_named_so(tmp_path, number):
    torch.save(quantised_states()[number], tmp_path / "int8.pt")
    with pytest.raises(ValueError, match=r"expected floating-point weights, got quantised"):
        opened(tmp_path / "int8.pt")


def test_whole_numbers_in_place_of_weights_are_quantised(state, tmp_path):
    state["conv1.weight"] = state["conv1.weight"].to(torch.int8)
    torch.save(state, tmp_path / "int8.pt")
    with pytest.raises(ValueError, match=r"quantised ones \(conv1.weight is int8\)"):
        opened(tmp_path / "int8.pt")


def test_safetensors_round_trip_of_any_layout(tmp_path):
    network = build_network("resnet8", 10).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "deep" / "net.safetensors", network)
    again = open_into(tmp_path / "deep" / "net.safetensors", "resnet8", 3)
    assert_same(network.state_dict(), again.state_dict())
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["net.safetensors"]


def test_tied_weights_are_saved(tmp_path):
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    save_weights(tmp_path / "tied.safetensors", network)
    again = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    load_weights(again, tmp_path / "tied.safetensors")
    assert_same(again.state_dict(), network.state_dict())


def test_a_failed_write_leaves_the_old_file(state, tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    save_weights(path, state)
    before = path.read_bytes()

    def full_disk(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_weights(path, {key: value + 1 for key, value in state.items()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_weights_that_do_not_fit(state, tmp_path):
    state["linear.weight"] = torch.zeros(100, 32)
    del state["bn1.bias"]
    state["head.weight"] = torch.zeros(1)
    save_weights(tmp_path / "net.safetensors", state)
    with pytest.raises(ValueError, match="do not fit resnet8-half") as info:
        opened(tmp_path / "net.safetensors")
    text = str(info.value)
    assert "missing: bn1.bias" in text
    assert "unexpected: head.weight" in text
    assert "linear.weight is (100, 32), expected (10, 32)" in text


def test_long_lists_are_cut(tmp_path):
    save_weights(tmp_path / "net.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"missing: conv1.weight, .* and \d+ more"):
        opened(tmp_path / "net.safetensors")


def test_digest_sees_values_names_shapes_and_types():
    base = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(())}
    changed = [
        {**base, "a": base["a"] + 1e-6},
        {**base, "a": base["a"].reshape(3, 2)},
        {**base, "a": base["a"].double()},
        {"a": base["b"], "b": base["a"]},
        {"a": base["a"]},
    ]
    digests = {weights_digest(state) for state in [base, *changed]}
    assert len(digests) == 1 + len(changed)


def test_digest_ignores_order_and_memory_layout():
    image = torch.randn(2, 3, 4, 5)
    state = {"a": image, "b": torch.ones(2, dtype=torch.bfloat16), "c": torch.zeros(0)}
    other = dict(reversed(state.items()))
    other["a"] = image.to(memory_format=torch.channels_last)
    assert weights_digest(state) == weights_digest(other)
