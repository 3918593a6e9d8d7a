import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.models import build_network, open_network, save_weights, weights_digest
from fastdfkd.models.weights import read_weights
from fastdfkd.recipe import RecipeError, StudentSection, TeacherSection


class Tiny(nn.Module):
    def __init__(self, num_classes, in_channels=3):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))


class CodeRunner:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def only_classes(num_classes):
    return Tiny(num_classes)


def by_keywords(**settings):
    assert settings == {"num_classes": 5}
    return Tiny(**settings)


def without_settings():
    return Tiny(5)


def needs_more(depth, num_classes):
    return Tiny(num_classes * depth)


def no_network(num_classes):
    return num_classes


def in_doubles(num_classes):
    return Tiny(num_classes).double()


def broken(num_classes):
    raise RuntimeError("the file of its settings is gone")


def holds_itself():
    content = {}
    content["model"] = content
    return content


def network_of(name, classes, channels=3, weights=None, **arguments):
    """The network of a student's section with that name, for images of 16 pixels."""
    mean = (0.5,) * channels
    spec = ImageSpec(name="x", shape=(channels, 16, 16), num_classes=classes, mean=mean, std=mean)
    return open_network(StudentSection(model=name, arguments=arguments), spec, weights)


@pytest.fixture
def state():
    return build_network("resnet8-half", 10, 1).state_dict()


def opened(path):
    return network_of("resnet8-half", 10, 1, path).state_dict()


def assert_same(state, other):
    assert state.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in state.items())


def test_names_of_the_table():
    assert network_of("resnet8", 7, 1)(torch.randn(2, 1, 16, 16)).shape == (2, 7)


@pytest.mark.parametrize(
    ("builder", "channels"),
    [("Tiny", 1), ("only_classes", 3), ("by_keywords", 3), ("without_settings", 3)],
)
def test_own_builders_get_what_they_take(builder, channels):
    network = network_of(f"{__name__}:{builder}", 5, channels)
    assert network(torch.randn(2, channels, 8, 8)).shape == (2, 5)


def test_networks_are_float32_whatever_their_builder_made():
    network = network_of(f"{__name__}:in_doubles", 5)
    assert network(torch.randn(2, 3, 8, 8)).dtype is torch.float32


def test_what_a_builder_raises_is_told():
    with pytest.raises(RecipeError, match=r"broken'.*RuntimeError: the file of its settings"):
        network_of(f"{__name__}:broken", 5)


def test_arguments_reach_the_builder_and_win():
    network = network_of(f"{__name__}:needs_more", 5, depth=3, num_classes=2)
    assert network.fc.out_features == 6
    with pytest.raises(
        RecipeError, match=r"arguments \(depth\) are only passed to your own builder"
    ):
        network_of("resnet8", 5, depth=3)


@pytest.mark.parametrize(
    ("section", "key"), [(TeacherSection, "teacher"), (StudentSection, "student")]
)
def test_a_message_names_the_recipes_key(section, key):
    spec = ImageSpec(name="x", shape=(1, 8, 8), num_classes=2, mean=(0.5,), std=(0.5,))
    with pytest.raises(RecipeError, match=rf"^{key}\.model: .*did you mean"):
        open_network(section(model="resnet9"), spec)


def test_torchvision_builders_work():
    network = network_of("torchvision.models:resnet18", 12, 3)
    assert network.fc.out_features == 12


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet9", "did you mean"),
        ("no_such_package_at_all:net", "cannot be imported.*PYTHONPATH"),
        (":net", "cannot be imported"),
        ("..up:net", "cannot be imported"),
        ("torchvision.models:resnet81", "did you mean resnet18"),
        (f"{__name__}:needs_more", "cannot be called with.*depth"),
        (f"{__name__}:no_network", "expected a torch.nn.Module, got int"),
    ],
)
def test_names_that_lead_nowhere(name, message):
    with pytest.raises(RecipeError, match=message):
        network_of(name, 10, 3)


@pytest.mark.parametrize("ending", [".pt", ".pth", ".ckpt", ".bin"])
def test_torch_files_open(state, tmp_path, ending):
    torch.save(state, tmp_path / f"net{ending}")
    assert_same(opened(tmp_path / f"net{ending}"), state)


@pytest.mark.parametrize("key", ["state_dict", "model", "net"])
def test_wrapped_and_prefixed_states_open(state, tmp_path, key):
    prefixed = {f"module.{name}": value for name, value in state.items()}
    torch.save({key: prefixed, "epoch": 3}, tmp_path / "net.pt")
    assert_same(opened(tmp_path / "net.pt"), state)


def test_safetensors_round_trip_of_any_layout(tmp_path):
    network = build_network("resnet8", 10).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "deep" / "net.safetensors", network)
    again = network_of("resnet8", 10, 3, tmp_path / "deep" / "net.safetensors")
    assert_same(network.state_dict(), again.state_dict())
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["net.safetensors"]


def test_tied_weights_are_saved(tmp_path):
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    save_weights(tmp_path / "tied.safetensors", network)
    assert_same(read_weights(tmp_path / "tied.safetensors"), network.state_dict())


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


def test_counters_of_old_checkpoints_may_be_missing(state, tmp_path):
    old = {key: value for key, value in state.items() if "num_batches" not in key}
    save_file(old, tmp_path / "old.safetensors")
    assert torch.equal(opened(tmp_path / "old.safetensors")["bn1.weight"], state["bn1.weight"])


def test_a_whole_module_is_refused(tmp_path):
    torch.save(Tiny(10), tmp_path / "module.pt")
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
@pytest.mark.parametrize("keep", [0, 7, 0.5, 0.98])
def test_damaged_files_are_named(state, tmp_path, ending, keep):
    path = tmp_path / f"net{ending}"
    if ending == ".pt":
        torch.save(state, path)
    else:
        save_weights(path, state)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match=rf"net\{ending}: cannot be read, damaged or cut short"):
        opened(path)


def test_noise_is_no_checkpoint(tmp_path):
    (tmp_path / "noise.pth").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(ValueError, match=r"noise\.pth"):
        opened(tmp_path / "noise.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "got a list"),
        ({}, "got nothing"),
        ({"epoch": 3, "weight": torch.zeros(2)}, "only dense tensors, but epoch"),
        ({"weight": torch.eye(2).to_sparse()}, "only dense tensors, but weight"),
        ({"weight": torch.zeros(2, device="meta")}, "only dense tensors, but weight"),
        (holds_itself(), "cannot be read"),
    ],
)
def test_other_content_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "other.pt")


def test_missing_file_and_unknown_ending(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        opened(tmp_path / "absent.pt")
    (tmp_path / "net.onnx").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"ending in \.safetensors.*got '\.onnx'"):
        opened(tmp_path / "net.onnx")


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
