"""Where in a file the state of the network is found."""

import argparse
import pathlib

import numpy as np
import pytest
import torch

from fastdfkd.models import (
    load_weights,
)
from tests.models.weight_files import (
    WRITERS,
    assert_same,
    network,
    opened,
    prefixed,
    report,
)


class Settings:
    """An object of a class that the reader has no use for."""


@pytest.mark.parametrize(
    "entry",
    [
        "state_dict",
        "model_state_dict",
        "model",
        "net",
        "network",
        "params",
        "ema",
        "state_dict_ema",
        "what.they.called.it",
    ],
)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "model.backbone."])
def test_the_state_is_found_wherever_it_is(state, tmp_path, entry, prefix):
    content = prefixed(state, prefix)
    for key in reversed(entry.split(".")):
        content = {"epoch": 3, key: content}
    torch.save(content, tmp_path / "net.tar")
    assert_same(opened(tmp_path / "net.tar"), state)
    assert (report(tmp_path / "net.tar").entry, report(tmp_path / "net.tar").prefix) == (
        entry,
        prefix,
    )


def test_a_lightning_checkpoint_opens_beside_what_is_not_the_networks(state, tmp_path):
    content = {
        "state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(10)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}],
        "hyper_parameters": argparse.Namespace(lr=0.1),
        "pytorch-lightning_version": "2.0",
    }
    torch.save(content, tmp_path / "last.ckpt")
    assert_same(opened(tmp_path / "last.ckpt"), state)
    found = report(tmp_path / "last.ckpt")
    assert (found.prefix, found.unused) == ("model.", ("criterion.weight",))
    assert found.unread == ("argparse.Namespace",)
    assert "unused: criterion.weight, objects left unread: argparse.Namespace" in found.line


@pytest.mark.parametrize("kind", ["torch.save archive", "torch.save pickle", "plain pickle"])
def test_objects_beside_the_state_are_left_unread(state, tmp_path, kind):
    content = {
        "state_dict": state,
        "best_prec1": np.float64(92.6),
        "args": argparse.Namespace(lr=0.1),
        "path": pathlib.PurePosixPath("x"),
        "settings": Settings(),
    }
    WRITERS[kind](content, tmp_path / "net.th")
    assert_same(opened(tmp_path / "net.th"), state)
    assert f"{__name__}.Settings" in report(tmp_path / "net.th").unread


def test_two_states_that_fit_are_listed_and_entry_names_one(state, tmp_path):
    other = {name: value + 1 for name, value in state.items()}
    torch.save({"state_dict": state, "ema": {"shadow": other}}, tmp_path / "net.pt")
    with pytest.raises(
        ValueError, match=r"got 2 with different values: 'state_dict', 'ema\.shadow'"
    ):
        report(tmp_path / "net.pt")
    averaged = network()
    load_weights(averaged, tmp_path / "net.pt", entry="ema.shadow")
    assert_same(averaged.state_dict(), other)


def test_two_prefixes_that_fit_are_listed_and_entry_names_one(state, tmp_path):
    other = {name: value + 1 for name, value in state.items()}
    torch.save(prefixed(state, "student.") | prefixed(other, "teacher.net."), tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"'student', 'teacher\.net'; set teacher.entry to one"):
        report(tmp_path / "net.pt")
    assert report(tmp_path / "net.pt", "teacher.net").prefix == "teacher.net."


def test_the_same_state_twice_is_no_question(state, tmp_path):
    torch.save({"model": state, "best": dict(state)}, tmp_path / "net.pt")
    assert_same(opened(tmp_path / "net.pt"), state)


def test_an_entry_that_is_not_there_is_refused_with_those_that_are(state, tmp_path):
    torch.save({"model": state}, tmp_path / "net.pt")
    with pytest.raises(ValueError, match="no entry 'emma' with tensors; its entries are 'model'"):
        report(tmp_path / "net.pt", "emma")


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"optimizer": state}])
def test_an_optimizer_alone_is_named_so(tmp_path, wrap):
    made = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    torch.save(wrap(made), tmp_path / "optim.pt")
    with pytest.raises(ValueError, match="got an optimizer's state alone"):
        opened(tmp_path / "optim.pt")
