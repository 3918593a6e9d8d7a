import pytest
import torch
from torch import nn

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.models import open_network
from fastdfkd.recipe import RecipeError, StudentSection, TeacherSection


class Tiny(nn.Module):
    def __init__(self, num_classes, in_channels=3):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))

    @classmethod
    def from_name(cls, name, **settings):
        assert name == "tiny"
        return cls(**settings)


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


class Lazy(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.AvgPool2d(14))
        self.head = nn.LazyLinear(num_classes)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def on_the_meta_device(num_classes):
    return Tiny(num_classes).to("meta")


def ends_the_program(num_classes):
    raise SystemExit(2)


a_network = Tiny(5)


def network_of(name, classes, channels=3, weights=None, **arguments):
    """The network of a student's section with that name, for images of 16 pixels."""
    mean = (0.5,) * channels
    spec = ImageSpec(name="x", shape=(channels, 16, 16), num_classes=classes, mean=mean, std=mean)
    return open_network(StudentSection(model=name, arguments=arguments), spec, weights)


def test_names_of_the_table():
    assert network_of("resnet8", 7, 1)(torch.randn(2, 1, 16, 16)).shape == (2, 7)


@pytest.mark.parametrize(
    ("builder", "channels"),
    [("Tiny", 1), ("only_classes", 3), ("by_keywords", 3), ("without_settings", 3)],
)
def test_own_builders_get_what_they_take(builder, channels):
    network = network_of(f"{__name__}:{builder}", 5, channels)
    assert network(torch.randn(2, channels, 8, 8)).shape == (2, 5)


def test_a_class_method_is_a_builder():
    section = TeacherSection(model=f"{__name__}:Tiny.from_name", positional=["tiny"])
    half = (0.5,) * 3
    spec = ImageSpec(name="x", shape=(3, 16, 16), num_classes=5, mean=half, std=half)
    assert open_network(section, spec)(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    with pytest.raises(RecipeError, match=r":Tiny\.of_name': unknown"):
        network_of(f"{__name__}:Tiny.of_name", 5)


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
        ("resnet20.th", "got what looks like a file: weights are named under `weights`"),
        ("no_such_package_at_all:net", "cannot be imported.*PYTHONPATH"),
        (":net", "cannot be imported"),
        ("..up:net", "cannot be imported"),
        ("torchvision.models:resnet81", "did you mean resnet18"),
        (f"{__name__}:needs_more", "cannot be called with.*depth"),
        (f"{__name__}:no_network", "expected a torch.nn.Module, got int"),
        (f"{__name__}:ends_the_program", "its builder raised SystemExit: 2"),
        (f"{__name__}:on_the_meta_device", r"conv\.bias, bn\.weight are on the meta device"),
        (f"{__name__}:a_network", r"got a network \(Tiny\): name a function that returns it"),
    ],
)
def test_names_that_lead_nowhere(name, message):
    with pytest.raises(RecipeError, match=message):
        network_of(name, 10, 3)


@pytest.mark.parametrize("kept", [True, False])
def test_lazy_layers_get_their_shapes_from_the_images(tmp_path, kept):
    name, weights = f"{__name__}:Lazy", None
    if kept:
        initial = Lazy(5)
        initial(torch.randn(2, 3, 16, 16))
        weights = tmp_path / "lazy.pt"
        torch.save(initial.state_dict(), weights)
    network = network_of(name, 5, weights=weights)
    assert network.head.weight.shape == (5, 4)
    assert network.training
    assert bool(network.body[1].running_mean.any()) == kept
    if kept:
        assert torch.equal(network.head.weight, initial.head.weight)


def test_lazy_layers_that_no_image_reaches():
    half = (0.5,) * 3
    spec = ImageSpec(name="x", shape=(3, 8, 8), num_classes=5, mean=half, std=half)
    with pytest.raises(RecipeError, match=r"student\.model: it has lazy layers.*\(3, 8, 8\)"):
        open_network(StudentSection(model=f"{__name__}:Lazy"), spec)
