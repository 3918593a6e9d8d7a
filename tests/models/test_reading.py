"""Which files of weights are read, which are refused, and that no code in them is run."""

import json
import os
import pickle
import zipfile

import pytest
import torch
from torch import nn

from fastdfkd.models import (
    save_weights,
)
from tests.models.weight_files import (
    WRITERS,
    assert_same,
    network,
    opened,
    report,
    sharded,
)


class CodeRunner:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def holds_itself():
    content = {}
    content["model"] = content
    return content


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
