import pytest
import torch

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data import DATASETS, cache_folder, data_source
from fastdfkd.recipe import DataSection, RecipeError


def source(name):
    return data_source(DataSection(name=name))


def load(split):
    """A split of digits."""
    digits = source("digits")
    assert isinstance(digits.stated, ImageSpec)
    return digits.load(split, digits.stated)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path_factory):
    """One for all: importing and enlarging takes seconds."""
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.mark.parametrize(
    "name", [name for name, (stated, _) in DATASETS.items() if isinstance(stated, ImageSpec)]
)
def test_specs_agree_with_themselves(name):
    spec = source(name).stated
    assert spec.name == name
    assert len(set(spec.class_names)) == len(spec.class_names) == spec.num_classes
    assert all(0 < std < 0.5 for std in spec.std)


def test_unknown_names_are_answered():
    with pytest.raises(RecipeError, match=r"did you mean cifar10") as info:
        source("cifar-10")
    assert all(name in str(info.value) for name in DATASETS)
    with pytest.raises(RecipeError, match="allowed: cifar10"):
        source("imagenet")


def test_unknown_splits_are_answered():
    with pytest.raises(ValueError, match="expected train or test, got 'val'"):
        load("val")


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("FASTDFKD_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "fastdfkd"


def test_digits():
    spec = source("digits").stated
    train, test = load("train"), load("test")
    assert (len(train), len(test)) == (1297, 500)
    for part in (train, test):
        assert part.images.shape[1:] == spec.shape
        assert part.images.dtype == torch.uint8
        assert part.labels.dtype == torch.int64
        share = part.labels.bincount(minlength=10) / len(part)
        assert (share - 0.1).abs().max() < 0.01
    assert int(train.images.max()) == 255
    pixels = train.images.double() / 255
    assert pixels.mean().item() == pytest.approx(spec.mean[0], abs=1e-3)
    assert pixels.std().item() == pytest.approx(spec.std[0], abs=1e-3)


def test_digits_split_is_fixed_and_disjoint():
    train, test = load("train"), load("test")
    assert train.digest()[:16] == "26bf1f4a9363dd04"
    assert load("train").digest() == train.digest() != test.digest()
    rows = torch.cat([train.images, test.images]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == 1797


def test_digits_are_upright():
    """A zero is dark in its middle and bright to the left and right of it."""
    train = load("train")
    zero = train.images[train.labels == 0].float().mean(0)[0]
    assert zero[6:10, 7:9].mean() < 60 < zero[6:10, 3:6].mean()


def test_digits_are_kept(monkeypatch):
    first = load("test")
    monkeypatch.setattr("fastdfkd.data.digits._make", lambda: pytest.fail("made again"))
    assert load("test").digest() == first.digest()
