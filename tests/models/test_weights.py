import argparse
import json
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.models import (
    build_network,
    load_weights,
    open_network,
    save_weights,
    weights_digest,
)
from fastdfkd.recipe import TeacherSection

NAME = "resnet8-half"


class CodeRunner:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Settings:
    """An object of a class that the reader has no use for."""


def holds_itself():
    content = {}
    content["model"] = content
    return content


def network():
    return build_network(NAME, 10, 1)


def open_into(path, name=NAME, channels=1):
    mean = (0.5,) * channels
    spec = ImageSpec(name="x", shape=(channels, 16, 16), num_classes=10, mean=mean, std=mean)
    return open_network(TeacherSection(model=name), spec, path)


@pytest.fixture
def state():
    torch.manual_seed(1)
    return network().state_dict()


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


@pytest.mark.parametrize("ending", ["", ".th", ".tar", ".pkl", ".ckpt", ".bin", ".safetensors"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_is_known_by_its_content(state, tmp_path, kind, ending):
    path = tmp_path / f"net{ending}"
    WRITERS[kind](state, path)
    assert_same(opened(path), state)
    found = report(path)
    assert found.kind == kind.split(" of ")[0]
    assert (found.entry, found.prefix, found.unused, found.unread) == ("", "", (), ())
    assert found.matched == len(state)
    assert found.parameters == sum(value.numel() for value in state.values())


def test_shards_open_by_their_index_and_by_their_folder(state, tmp_path):
    index = sharded(state, tmp_path / "net")
    assert_same(opened(index), state)
    assert_same(opened(index.parent), state)
    assert report(index.parent).kind == "index of shards"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_hugging_faces_opens(state, tmp_path, name):
    WRITERS["safetensors" if "safe" in name else "torch.save archive"](state, tmp_path / name)
    assert_same(opened(tmp_path), state)
    assert report(tmp_path).file == str(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {}, "without a weight_map"),
        (lambda m: m | {"conv1.weight": "../x"}, r"names '\.\./x', expected a file beside it"),
        (lambda m: m | {"conv1.weight": "/etc/passwd"}, "expected a file beside it"),
        (lambda m: m | {"conv1.weight": "model-3"}, "names 'model-3', which is not beside it"),
        (lambda m: m | {"more": "model-1.safetensors"}, "lacks 'more', which its index lists"),
        (lambda m: m | {"x": "model.safetensors.index.json"}, "which is an index again"),
    ],
)
def test_an_index_that_is_wrong(state, tmp_path, change, message):
    index = sharded(state, tmp_path / "net")
    names = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": change(names)}))
    with pytest.raises(ValueError, match=message):
        opened(index)


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


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"optimizer": state}])
def test_an_optimizer_alone_is_named_so(tmp_path, wrap):
    made = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    torch.save(wrap(made), tmp_path / "optim.pt")
    with pytest.raises(ValueError, match="got an optimizer's state alone"):
        opened(tmp_path / "optim.pt")


def torchscript(path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


def archive(path, **entries):
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in entries.items():
            zipped.writestr(name, content)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_bytes(b"x" * 9), "no known kind .it begins with b'xxxxxxxx'"),
        (lambda path: path.write_bytes(bytes(range(256)) * 20), "no known kind"),
        (lambda path: path.write_text("version https://git-lfs.github"), "run `git lfs pull`"),
        (lambda path: path.write_text("\n<!DOCTYPE html><html>"), "a web page"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n"), "as Keras writes"),
        (lambda path: path.write_bytes(b"\x1f\x8b\x08\x00"), "with gzip: unpack it first"),
        (lambda path: archive(path, **{"a.npy": b"x"}), "a NumPy archive"),
        (lambda path: archive(path, **{"net.pt": b"x"}), r"archive of net\.pt: unpack it"),
        (torchscript, "TorchScript program.*model=torchscript:FILE"),
        (
            lambda path: archive(path, **{"net/archive_format": b"pt2"}),
            "torch.export program.*model=pt2:FILE",
        ),
        (lambda path: path.mkdir(), r"a folder without model\.safetensors"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_of_other_kinds_are_called_what_they_are(tmp_path, write, message):
    path = tmp_path / "net.pt2"
    write(path)
    with pytest.raises(ValueError, match=rf"net\.pt2: expected safetensors.*got .*{message}"):
        opened(path)


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


def test_a_whole_module_is_refused(tmp_path):
    torch.save(network(), tmp_path / "module.pt")
    with pytest.raises(ValueError, match=r"pickled Python objects.*model.state_dict\(\)"):
        opened(tmp_path / "module.pt")


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_no_code_of_a_file_is_run(tmp_path, form):
    path, trace = tmp_path / "evil.pt", tmp_path / "trace"
    if form == "torch":
        torch.save({"state_dict": CodeRunner(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(CodeRunner(trace)))
    with pytest.raises(ValueError, match="could run code"):
        opened(path)
    assert not trace.exists()


@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
@pytest.mark.parametrize("keep", [0.5, 0.98])
def test_damaged_files_are_named(state, tmp_path, ending, keep):
    path = tmp_path / f"net{ending}"
    if ending == ".pt":
        torch.save(state, path)
    else:
        save_weights(path, state)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match=rf"net\{ending}: cannot be read, damaged or cut short"):
        opened(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "got a list"),
        ({}, "got nothing"),
        ({"epoch": 3, "lr": 0.1}, r"a mapping without tensors \(epoch, lr\)"),
        ({"weight": torch.eye(2).to_sparse()}, "only dense tensors, but weight"),
        ({"weight": torch.zeros(2, device="meta")}, "only dense tensors, but weight"),
        (holds_itself(), "a mapping without tensors"),
    ],
)
def test_other_content_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "other.pt")


def test_a_missing_file_is_named_with_its_folder(tmp_path):
    with pytest.raises(ValueError, match=f"absent.pt: no such file .looked in {tmp_path}"):
        opened(tmp_path / "absent.pt")


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


def test_an_archive_that_unpacks_to_more_than_it_is_stays_packed(state, tmp_path):
    torch.save({"weight": torch.zeros(2**20)}, tmp_path / "net.pt")
    with (
        zipfile.ZipFile(tmp_path / "net.pt") as plain,
        zipfile.ZipFile(tmp_path / "small.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / "small.pt").stat().st_size < 2**16
    with pytest.raises(ValueError, match=r"small\.pt: cannot be read.* unpacks to 4,19"):
        opened(tmp_path / "small.pt")


@pytest.mark.parametrize("length", [2**63 - 1, 2**40, 99_000_000])
def test_a_header_of_an_absurd_length_is_damage(tmp_path, length):
    path = tmp_path / "net.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1],')
    with pytest.raises(ValueError, match=r"net\.safetensors: cannot be read, damaged"):
        opened(path)


def test_a_tensor_of_an_absurd_size_is_damage(tmp_path):
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match=r"net\.safetensors: cannot be read, damaged"):
        opened(path)
