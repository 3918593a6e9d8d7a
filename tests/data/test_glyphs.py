import numpy as np
import pytest
import torch

from fastdfkd.data import data_source
from fastdfkd.data.glyph_drawing import LETTERS, Pose, _stencil, draw_letters
from fastdfkd.data.glyphs import TEST_FONTS, TRAIN_FONTS, GlyphSettings, load_glyphs
from fastdfkd.recipe import DataSection

SMALL = GlyphSettings(train_per_letter=6, test_per_letter=2)
STILL = Pose(rotation=0, scale=(0.9, 0.9), shear=0, shift=0)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path))
    return tmp_path


def cached(home):
    (file,) = (home / "data").iterdir()
    return file


def test_shapes_and_balance():
    for split, each in (("train", 6), ("test", 2)):
        part = load_glyphs(split, SMALL)
        assert part.images.shape == (26 * each, 3, 32, 32)
        assert part.images.dtype == torch.uint8
        assert part.labels.bincount().tolist() == [each] * 26


def test_second_reading_is_the_same_and_draws_nothing(home, monkeypatch):
    first = load_glyphs("train", SMALL)

    def refuse(*_):
        raise AssertionError("drew again")

    monkeypatch.setattr("fastdfkd.data.glyphs.draw_letters", refuse)
    assert load_glyphs("train", SMALL).digest() == first.digest()
    assert cached(home).suffix == ".npz"


@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "noise", "other"])
def test_a_damaged_cache_is_drawn_again(home, damage):
    digest = load_glyphs("test", SMALL).digest()
    content = cached(home).read_bytes()
    middle = len(content) // 3
    broken = {
        "empty": b"",
        "half": content[: len(content) // 2],
        "flipped": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
        "noise": bytes(range(256)) * 40,
    }
    if damage == "other":
        np.savez(cached(home), train_images=np.zeros(3, np.uint8))
    else:
        cached(home).write_bytes(broken[damage])
    assert load_glyphs("test", SMALL).digest() == digest
    assert cached(home).read_bytes() == content


def test_settings_name_the_file(home):
    load_glyphs("test", SMALL)
    other = GlyphSettings(train_per_letter=6, test_per_letter=2, seed=1)
    load_glyphs("test", other)
    assert len(list((home / "data").iterdir())) == 2
    assert load_glyphs("test", SMALL).digest() != load_glyphs("test", other).digest()


def test_test_fonts_are_new():
    assert not set(TRAIN_FONTS) & set(TEST_FONTS)


@pytest.mark.parametrize("font", [*TRAIN_FONTS, *TEST_FONTS])
def test_every_font_has_its_own_letters(font):
    """A font without Latin letters would draw the same box, or nothing, 26 times."""
    stencils = [np.asarray(_stencil(font, letter)) for letter in LETTERS]
    assert len({stencil.tobytes() for stencil in stencils}) == 26
    assert all(0.02 < (stencil > 127).mean() < 0.8 for stencil in stencils)


def test_letters_look_alike_across_fonts():
    """Each test font's letter is nearest to the same letter of a training font, mostly."""

    def sheet(fonts):
        drawn = [[np.asarray(_stencil(f, letter)).reshape(-1) for letter in LETTERS] for f in fonts]
        return torch.tensor(np.array(drawn)).float()

    train, test = sheet(TRAIN_FONTS).reshape(-1, 128 * 128), sheet(TEST_FONTS)
    nearest = torch.cdist(test.reshape(-1, 128 * 128), train).argmin(1) % 26
    right = nearest == torch.arange(26).repeat(len(TEST_FONTS))
    assert right.float().mean() > 0.9


def test_a_still_letter_is_the_stencil():
    image = draw_letters(np.array([7]), ["DejaVuSans"], STILL, np.random.default_rng(0))[0]
    corner = image[:, 0, 0].astype(float)
    ink = np.abs(image.astype(float) - corner[:, None, None]).sum(0)
    expected = np.asarray(_stencil("DejaVuSans", "H").resize((28, 28)), dtype=float)
    inside = ink[2:30, 2:30]
    assert np.corrcoef(inside.reshape(-1), expected.reshape(-1))[0, 1] > 0.9
    assert ink[0].max() == ink[-1].max() == 0


def test_contrast_is_kept():
    pose = Pose(rotation=0, scale=(0.9, 0.9), shear=0, shift=0, contrast=120)
    labels = np.full(50, LETTERS.index("I"))
    images = draw_letters(labels, ["DejaVuSans-Bold"], pose, np.random.default_rng(0))
    luma = np.tensordot(np.array([0.299, 0.587, 0.114]), images.astype(float), (0, 1))
    assert np.abs(luma[:, 15, 15] - luma[:, 0, 0]).min() >= 119


def test_a_missing_font_is_named():
    with pytest.raises(ValueError, match=r"expected the font .*NoSuchFont\.ttf"):
        draw_letters(np.array([0]), ["NoSuchFont"], STILL, np.random.default_rng(0))


@pytest.mark.slow
def test_the_whole_set():
    source = data_source(DataSection(name="glyphs"))
    spec = source.stated
    train, test = (source.load(split, spec) for split in ("train", "test"))
    assert (len(train), len(test)) == (15_600, 2_600)
    pixels = train.images.double().transpose(0, 1).flatten(1) / 255
    assert pixels.mean(1).tolist() == pytest.approx(spec.mean, abs=1e-3)
    assert pixels.std(1).tolist() == pytest.approx(spec.std, abs=1e-3)
