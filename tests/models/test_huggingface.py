import json

import pytest
import torch

from fastdfkd.models import InputDefaults, brings_weights, input_defaults, thin
from fastdfkd.recipe import RecipeError, TeacherSection

from .builders import open_model

CONFIG = {
    "architectures": ["ResNetForImageClassification"],
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "layer_type": "basic",
}
PROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.2, 0.25],
    "size": {"shortest_edge": 96},
}


def write(folder, config=CONFIG, processor=None):
    (folder / "config.json").write_text(json.dumps(config))
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def saved(folder, **changes):
    """A folder with weights, as save_pretrained writes it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(**{**CONFIG, "num_labels": 5, **changes})
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    return folder


def test_a_folder_with_weights_opens_as_it_was_saved(tmp_path):
    from safetensors.torch import load_file

    network = open_model(f"hf:{saved(tmp_path)}", 5).network.eval()
    assert network(torch.randn(2, 3, 32, 32)).logits.shape == (2, 5)
    stored = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(network.state_dict()[name], value) for name, value in stored.items())
    assert brings_weights(TeacherSection(model=f"hf:{tmp_path}"))


def test_a_network_of_a_folder_is_thinned(tmp_path):
    network = open_model(f"hf:{saved(tmp_path)}", 5).network
    thin(network, 0.5, (3, 32, 32))
    assert network(torch.randn(2, 3, 32, 32)).logits.shape == (2, 5)
    assert network.classifier[1].in_features == 8


def test_a_folder_with_a_pickle_opens_by_our_reader(tmp_path):
    expected = open_model(f"hf:{saved(tmp_path)}", 5).network.state_dict()
    (tmp_path / "model.safetensors").unlink()
    torch.save(expected, tmp_path / "pytorch_model.bin")
    found = open_model(f"hf:{tmp_path}", 5).network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    torch.save({**expected, "more": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(RecipeError, match=r"pytorch_model\.bin do not fit its config"):
        open_model(f"hf:{tmp_path}", 5)


def test_a_folder_without_weights_is_a_design_for_the_images(tmp_path):
    pytest.importorskip("transformers")
    folder = write(tmp_path)
    assert not brings_weights(TeacherSection(model=f"hf:{folder}"))
    network = open_model(f"hf:{folder}", 7, (1, 32, 32)).network.eval()
    assert network(torch.randn(2, 1, 32, 32)).logits.shape == (2, 7)
    arguments = {"hidden_sizes": [8, 24]}
    network = open_model(f"hf:{folder}", 7, (1, 32, 32), arguments=arguments).network
    assert network.config.hidden_sizes == [8, 24]


def test_a_transformer_is_built_for_the_images_size(tmp_path):
    pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    config = {"model_type": "vit", "num_hidden_layers": 1, "patch_size": 8, **sizes}
    for shape in ((3, 32, 32), (1, 32, 48)):
        network = open_model(f"hf:{write(tmp_path, config)}", 4, shape).network.eval()
        assert network(torch.randn(2, *shape)).logits.shape == (2, 4)


def test_weights_that_do_not_fit_their_config(tmp_path):
    folder = saved(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "depths": [1, 2]}))
    with pytest.raises(RecipeError, match=r"its weights do not fit its config: missing: resnet\."):
        open_model(f"hf:{folder}", 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "no-such-type"}, "no-such-type"),
        ({"model_type": "gpt2"}, "GPT2Config"),
        (
            {"auto_map": {"AutoConfig": "own.Config"}, "model_type": "own"},
            "code of its own, which is not run",
        ),
    ],
)
def test_folders_that_are_no_image_classifier(tmp_path, change, message):
    pytest.importorskip("transformers")
    (tmp_path / "own.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(RecipeError, match=rf"teacher\.model: hf:.*{message}"):
        open_model(f"hf:{write(tmp_path, {**CONFIG, **change})}", 5)


def test_unknown_arguments_and_positional_ones_are_refused(tmp_path):
    pytest.importorskip("transformers")
    folder = write(tmp_path)
    with pytest.raises(RecipeError, match=r"arguments\.depth: unknown, did you mean depths\?"):
        open_model(f"hf:{folder}", 5, arguments={"depth": 3})
    with pytest.raises(RecipeError, match="takes no positional arguments"):
        open_model(f"hf:{folder}", 5, positional=[3])


def test_names_that_are_no_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"found nothing \(looked in .*nothing is downloaded"):
        open_model("hf:microsoft/resnet-18", 5)
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match="found a file"):
        open_model(f"hf:{tmp_path}/file", 5)
    with pytest.raises(RecipeError, match=r"expected config\.json in the folder"):
        open_model(f"hf:{tmp_path}", 5)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RecipeError, match="not readable as JSON"):
        input_defaults(tmp_path)


def test_a_folder_says_what_its_images_are(tmp_path):
    names = {"id2label": {"0": "cat", "1": "dog"}, "num_channels": 3}
    assert input_defaults(write(tmp_path, {**CONFIG, **names}, PROCESSOR)) == InputDefaults(
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.2, 0.25),
        size=(96, 96),
        channels=3,
        class_names=("cat", "dog"),
    )


def test_a_folder_that_says_nothing(tmp_path):
    assert input_defaults(write(tmp_path, {})) == InputDefaults()


@pytest.mark.parametrize(
    ("change", "mean", "std"),
    [
        ({"do_normalize": False}, (0.0,) * 3, (1.0,) * 3),
        ({"do_normalize": False, "do_rescale": False}, (0.0,) * 3, (1 / 255,) * 3),
        (
            {"do_rescale": False, "image_mean": [127.5], "image_std": [51.0]},
            (0.5,),
            (0.2,),
        ),
        (
            {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False},
            (0.5,) * 3,
            (0.5,) * 3,
        ),
    ],
)
def test_mean_and_deviation_are_of_images_between_0_and_1(tmp_path, change, mean, std):
    found = input_defaults(write(tmp_path, CONFIG, {**PROCESSOR, **change}))
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(std)


@pytest.mark.parametrize(
    ("processor", "config", "size"),
    [
        ({"size": {"height": 30, "width": 50}}, {}, (30, 50)),
        ({"size": 64}, {}, (64, 64)),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224},
            {},
            (224,) * 2,
        ),
        ({}, {"image_size": [30, 50]}, (30, 50)),
        ({}, {"image_size": "large"}, None),
    ],
)
def test_the_size_is_what_is_left_of_an_image(tmp_path, processor, config, size):
    assert input_defaults(write(tmp_path, {**CONFIG, **config}, processor)).size == size


def test_a_mean_of_words_is_refused(tmp_path):
    folder = write(tmp_path, CONFIG, {**PROCESSOR, "image_mean": ["grey"]})
    with pytest.raises(RecipeError, match=r"preprocessor_config\.json: expected numbers"):
        input_defaults(folder)
