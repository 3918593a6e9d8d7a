import sys

import pytest
import torch

from fastdfkd.recipe import RecipeError

from .builders import open_model


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet"])
def test_torchvision_by_name_for_grey_and_colour(name, channels):
    network = open_model(f"torchvision:{name}", 7, (channels, 64, 64)).network.eval()
    assert network(torch.randn(2, channels, 64, 64)).shape == (2, 7)


def test_torchvision_takes_arguments():
    arguments = {"image_size": 32, "dropout": 0.5}
    network = open_model("torchvision:vit_b_16", 7, arguments=arguments).network.eval()
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, 7)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("torchvision:resnet81", r"torchvision:'resnet81': unknown, did you mean resnet18\?"),
        ("torchvision:fasterrcnn_resnet50_fpn", "unknown"),
        ("torchvision:", "unknown; allowed: alexnet"),
    ],
)
def test_torchvision_names_that_lead_nowhere(model, message):
    with pytest.raises(RecipeError, match=rf"teacher\.model: .*{message}"):
        open_model(model)


def test_torchvision_refuses_arguments_in_one_line():
    with pytest.raises(RecipeError, match=r"torchvision:resnet18.*its builder raised TypeError"):
        open_model("torchvision:resnet18", arguments={"depth": 3})


@pytest.mark.parametrize(("source", "package"), [("timm", "timm"), ("hf", "transformers")])
def test_an_extra_that_is_missing_says_which_command_installs_it(
    monkeypatch, tmp_path, source, package
):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "config.json").write_text("{}")
    name = "resnet18" if source == "timm" else tmp_path
    with pytest.raises(RecipeError, match=rf"package {package}.*pip install 'fastdfkd\[{source}\]"):
        open_model(f"{source}:{name}")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet10t", (1, 32, 32)),
        ("vit_tiny_patch16_224", (3, 32, 64)),
        ("mobilenetv3_small_050", (3, 50, 30)),
    ],
)
def test_timm_for_the_images_channels_and_size(name, shape):
    pytest.importorskip("timm")
    network = open_model(f"timm:{name}", 7, shape).network.eval()
    assert network(torch.randn(2, *shape)).shape == (2, 7)


def test_timm_names_that_lead_nowhere():
    pytest.importorskip("timm")
    with pytest.raises(
        RecipeError, match=r"timm:'resnet10x': unknown, did you mean .*resnet10t.*\?; timm"
    ):
        open_model("timm:resnet10x")
    with pytest.raises(RecipeError, match="expected the name of a network, got an address"):
        open_model("timm:hf-hub:timm/resnet18")
    with pytest.raises(RecipeError, match=r"timm:'resnet18\.no_such_tag': .*no_such_tag"):
        open_model("timm:resnet18.no_such_tag")


def test_torchvision_is_never_asked_for_weights_unasked(monkeypatch):
    def download(*_, **__):
        raise AssertionError("a download")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    open_model("torchvision:resnet18", 1000)
