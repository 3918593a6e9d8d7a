"""Files of weights of a small network, as several programs write them, for tests."""

import json
import pickle

import torch
from safetensors.torch import save_file

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.models import (
    build_network,
    load_weights,
    open_network,
)
from fastdfkd.recipe import TeacherSection

NAME = "resnet8-half"


def network():
    return build_network(NAME, 10, 1)


def open_into(path, name=NAME, channels=1):
    mean = (0.5,) * channels
    spec = ImageSpec(name="x", shape=(channels, 16, 16), num_classes=10, mean=mean, std=mean)
    return open_network(TeacherSection(model=name), spec, path)


def opened(path):
    return open_into(path).state_dict()


def report(path, entry=None):
    return load_weights(network(), path, entry=entry)


def assert_same(state, other):
    assert state.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in state.items())


def prefixed(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


def sharded(state, folder, ending="safetensors"):
    folder.mkdir()
    names = list(state)
    halves = {f"model-1.{ending}": names[::2], f"model-2.{ending}": names[1::2]}
    for file, those in halves.items():
        save_file({name: state[name] for name in those}, folder / file)
    index = {"weight_map": {name: file for file, those in halves.items() for name in those}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder / "model.safetensors.index.json"


WRITERS = {
    "safetensors": lambda state, path: save_file(state, path),
    "torch.save archive": torch.save,
    "torch.save pickle": lambda state, path: torch.save(
        state, path, _use_new_zipfile_serialization=False
    ),
    "plain pickle": lambda state, path: path.write_bytes(pickle.dumps(state)),
    "plain pickle of arrays": lambda state, path: path.write_bytes(
        pickle.dumps({name: value.numpy() for name, value in state.items()})
    ),
    "plain pickle of old": lambda state, path: path.write_bytes(
        pickle.dumps({name: value.numpy() for name, value in state.items()}, protocol=2)
    ),
    "plain pickle of today": lambda state, path: path.write_bytes(
        pickle.dumps({name: value.numpy() for name, value in state.items()}, protocol=5)
    ),
}
