import io
import json
import pickle
import warnings
import zipfile

import pytest
import torch
from ray import cloudpickle
from torch import nn

from fastdfkd.core.norm_layers import normalising_layers
from fastdfkd.recipe import RecipeError

from .builders import open_model

SHAPE = (3, 16, 16)
ANY_BATCH = ({0: torch.export.Dim("batch")},)


def plain():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.BatchNorm1d(16, affine=False),
        nn.Linear(16, 10),
    )


def trained():
    network = plain()
    for module in network.modules():
        if hasattr(module, "running_mean"):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def export(network, path, images=None, dynamic=ANY_BATCH):
    images = torch.zeros(2, *SHAPE) if images is None else images
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=dynamic), path)
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return export(trained(), tmp_path_factory.mktemp("programs") / "net.pt2")


def test_an_exported_program_answers_as_its_network_for_any_number_of_images(program):
    network, images = open_model(f"pt2:{program}", 10, SHAPE).network, torch.randn(5, *SHAPE)
    assert torch.equal(network(images), trained()(images))
    assert network.state_dict().keys() == trained().state_dict().keys()
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_an_exported_program_shows_its_statistics_under_their_names(program):
    network = open_model(f"pt2:{program}", 10, SHAPE).network
    layers = {name: type(m) for name, m in network.named_modules() if "Norm" in type(m).__name__}
    assert layers == {"1": nn.BatchNorm2d, "6": nn.BatchNorm1d}
    assert len(normalising_layers(network)) == 2
    assert torch.equal(network.get_submodule("1").running_var, trained()[1].running_var)


def test_an_exported_program_can_be_sent_and_gives_gradients(program):
    network = open_model(f"pt2:{program}", 10, SHAPE).network
    twin, images = cloudpickle.loads(cloudpickle.dumps(network)), torch.randn(3, *SHAPE)
    assert torch.equal(twin(images), network(images))
    images.requires_grad_()
    twin(images).sum().backward()
    assert images.grad.abs().sum() > 0


class OwnBuffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.randn(3))
        self.register_buffer("var", torch.rand(3) + 0.5)
        self.register_buffer("shift", torch.randn(3, 1, 1), persistent=False)
        self.head = nn.Linear(3, 10)

    def forward(self, x):
        x = nn.functional.batch_norm(x + self.shift, self.mean, self.var)
        halves = torch.chunk(x, 2, dim=2)
        x = torch.cat(halves, 2).view(x.shape[0], 3, -1).mean(2)
        return {"logits": self.head(x), "features": x}


def test_statistics_under_other_names_and_constants_and_shapes(tmp_path):
    own = OwnBuffers().eval()
    network = open_model(f"pt2:{export(own, tmp_path / 'own')}", 10, SHAPE).network
    images = torch.randn(3, *SHAPE)
    answer = network(images)
    assert torch.equal(answer[0], own(images)["logits"])
    assert len(normalising_layers(network)) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_programs_that_are_for_something_else(tmp_path, program):
    fixed = export(trained(), tmp_path / "fixed.pt2", dynamic=None)
    with pytest.raises(RecipeError, match=r"for batches of 2 images and no other; export it in ev"):
        open_model(f"pt2:{fixed}", 10, SHAPE)
    with pytest.raises(
        RecipeError, match=r"images of shape \(3, 16, 16\), the recipe's have \(1, "
    ):
        open_model(f"pt2:{program}", 10, (1, 16, 16))
    train = export(plain().train(), tmp_path / "train.pt2")
    with pytest.raises(RecipeError, match=r"train mode; export it in eval mode"):
        open_model(f"pt2:{train}", 10, SHAPE)
    with pytest.raises(RecipeError, match=r"arguments \(width\) are only passed to your own"):
        open_model(f"pt2:{program}", 10, SHAPE, arguments={"width": 3})


def changed(program, path, change):
    """The archive with some entries changed by name."""
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.namelist():
            name = entry.partition("/")[2]
            content = change(name, old.read(entry))
            if content is not None:
                new.writestr(entry, content)
    return path


class Evil:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return exec, (f"open({str(self.trace)!r}, 'w').close()",)


def pickled(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_no_code_of_an_exported_program_is_run(tmp_path, program):
    trace = tmp_path / "trace"

    def sample_inputs(name, content):
        return pickled(Evil(trace)) if name.startswith("data/sample_inputs") else content

    def guards(name, content):
        if name != "models/model.json":
            return content
        model = json.loads(content)
        model["guards_code"] = [f"open({str(trace)!r}, 'w')"]
        return json.dumps(model)

    def weights(name, content):
        if name == "data/weights/weight_0":
            return pickled(Evil(trace))
        if name != "data/weights/model_weights_config.json":
            return content
        config = json.loads(content)
        config["config"]["0.weight"]["use_pickle"] = True
        return json.dumps(config)

    for number, change in enumerate((sample_inputs, guards)):
        path = changed(program, tmp_path / f"{number}.pt2", change)
        assert open_model(f"pt2:{path}", 10, SHAPE).network(torch.zeros(1, *SHAPE)).shape == (1, 10)
    with pytest.raises(RecipeError, match=r"0\.weight is a pickled object"):
        open_model(f"pt2:{changed(program, tmp_path / 'w.pt2', weights)}", 10, SHAPE)
    assert not trace.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.__class__.__init__",
        "torch.ops.profiler._record_function_enter.default",
        "_operator.methodcaller",
        "os.system",
    ],
)
def test_programs_call_operators_on_tensors_alone(tmp_path, program, target):
    def change(name, content):
        return content.replace(b"torch.ops.aten.relu.default", target.encode())

    path = changed(program, tmp_path / "net.pt2", change)
    with pytest.raises(RecipeError, match="expected operators of torch alone"):
        open_model(f"pt2:{path}", 10, SHAPE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, c: None if n == "models/model.json" else c, "written by torch before 2.8"),
        (lambda n, c: b"big" if n == "byteorder" else c, "another byte order"),
        (lambda n, c: b"{" if n == "models/model.json" else c, "pt2:.*damaged|Expecting"),
        (lambda n, c: b"{}" if n == "models/model.json" else c, "not as torch.export.save writes"),
        (lambda n, c: c[:3] if n == "data/weights/weight_0" else c, "pt2:"),
        (lambda n, c: None if n == "data/weights/weight_0" else c, "not as torch.export.save"),
        (lambda n, c: c.replace(b'"major": 8', b'"major": 99'), "schema version 99, expected 8"),
        (lambda n, c: c.replace(b'"dtype": 7', b'"dtype": 2'), "pt2:"),
    ],
)
def test_damaged_programs_are_named(tmp_path, program, change, message):
    path = changed(program, tmp_path / "net.pt2", change)
    with pytest.raises(RecipeError, match=rf"teacher\.model: pt2:.*{message}|{message}"):
        open_model(f"pt2:{path}", 10, SHAPE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_from_a_file_and_in_a_file_of_weights(tmp_path, program):
    script = tmp_path / "script"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(trained()), script)
    images = torch.randn(3, *SHAPE)
    assert torch.equal(
        open_model(f"torchscript:{script}", 10, SHAPE).network(images), trained()(images)
    )
    with pytest.raises(
        RecipeError,
        match=r"expected a torch.export program, got a TorchScript pr.*torchscript:FILE",
    ):
        open_model(f"pt2:{script}", 10, SHAPE)
    with pytest.raises(
        RecipeError, match=r"expected a TorchScript program, got a torch.export.*pt2:FILE"
    ):
        open_model(f"torchscript:{program}", 10, SHAPE)
    with pytest.raises(ValueError, match=r"got a TorchScript program: name it as the network"):
        open_model("resnet8", 10, SHAPE, weights=str(script))


def test_files_that_hold_no_program(tmp_path):
    torch.save(plain().state_dict(), tmp_path / "state.pt")
    (tmp_path / "short").write_bytes(b"PK\x03\x04")
    for source in ("torchscript", "pt2"):
        with pytest.raises(RecipeError, match=rf"{source}:.*: no such file \(looked in"):
            open_model(f"{source}:{tmp_path}/absent")
        for name in ("state.pt", "short"):
            with pytest.raises(RecipeError, match="got another file; a file of weights is named"):
                open_model(f"{source}:{tmp_path / name}")


def test_a_program_that_unpacks_to_more_than_memory(tmp_path):
    for source, sign in (("torchscript", "constants.pkl"), ("pt2", "archive_format")):
        path = tmp_path / source
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"net/{sign}", pickle.dumps(()))
            archive.writestr("net/data/0", bytes(80 * 2**20))
        with pytest.raises(RecipeError, match=r"its archive unpacks to 83,"):
            open_model(f"{source}:{path}")
