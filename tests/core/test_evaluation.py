import math

import pytest
import torch
from torch import nn

from fastdfkd.core.evaluation import agreement, evaluate
from fastdfkd.core.task_kind import Classification, Segmentation

KIND = Classification(3)
LABELS = torch.tensor([0, 1, 2, 2, 1, 1, 1])


class Brightest(nn.Module):
    """The class is the channel with the largest mean; validates what it is given."""

    def __init__(self):
        super().__init__()
        self.sizes = []
        self.drop = nn.Dropout(0.9)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        assert not self.training
        assert not torch.is_grad_enabled()
        assert x.dtype == torch.float32
        assert -1 <= x.min() <= x.max() <= 1
        self.sizes.append(len(x))
        return self.norm(self.drop(x)).mean((2, 3))


class EachPixel(Brightest):
    """The same for each pixel, as torchvision's segmentation networks answer."""

    def forward(self, x):
        super().forward(x)
        return {"out": x, "aux": -x}


@pytest.fixture
def images():
    pixels = torch.zeros(7, 3, 4, 4, dtype=torch.uint8)
    for row, channel in enumerate([0, 1, 2, 2, 1, 0, 0]):
        pixels[row, channel] = 255
    return pixels


def to_one(x):
    return x * 2 - 1


@pytest.mark.parametrize(("size", "sizes"), [(3, [3, 3, 1]), (500, [7])])
@pytest.mark.parametrize("labels", [LABELS, None])
def test_classes_and_figures_do_not_depend_on_the_batches(images, size, sizes, labels):
    model = Brightest()
    found = evaluate(model, images, labels, KIND, to_one, "cpu", batch_size=size)
    assert found.classes.tolist() == [0, 1, 2, 2, 1, 0, 0]
    assert found.classes.dtype == torch.uint8
    assert found.figures == ({} if labels is None else {"accuracy": 5 / 7})
    assert model.sizes == sizes


@pytest.mark.parametrize("size", [3, 500])
def test_maps_are_evaluated_pixel_by_pixel(images, size):
    kind = Segmentation(3)
    images[0, :, 0, 0] = torch.tensor([0, 0, 255])  # one pixel of class 2
    labels = LABELS[:, None, None].repeat(1, 4, 4)
    labels[6] = kind.void
    model = EachPixel()
    found = evaluate(model, images, labels, kind, to_one, "cpu", batch_size=size)
    assert found.classes.shape == (7 * 4 * 4,)
    # Class 0: 15 pixels right, 1 missed, 16 of image 5 too many; class 1 misses those 16; class 2
    # has all 32 and one too many.
    ious = (15 / 32, 32 / 48, 32 / 33)
    assert found.figures == pytest.approx({"mean_iou": sum(ious) / 3, "pixel_accuracy": 79 / 96})


def test_top_5_where_there_are_more_classes(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 7, bias=False))
    nn.init.zeros_(model[1].weight)  # so that class 0 is the best and 4 the fifth
    labels = torch.tensor([0, 4, 4, 5, 6, 5, 6])
    found = evaluate(model, images, labels, Classification(7), to_one, "cpu", batch_size=2)
    assert found.figures == {"accuracy": 1 / 7, "top5_accuracy": 3 / 7}


def test_normalise_is_given_zero_to_one_and_used(images):
    seen = []

    def darken_first(x):
        seen.append((x.min().item(), x.max().item()))
        return x * torch.tensor([-1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)

    found = evaluate(Brightest(), images[:1], None, KIND, darken_first, "cpu")
    assert seen == [(0.0, 1.0)]
    assert found.classes.tolist() == [1]


def test_state_and_modes_are_left_as_they_were(images):
    model = Brightest()
    model.train()
    model.norm.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate(model, images, LABELS, KIND, lambda x: x, "cpu")
    assert (model.training, model.drop.training, model.norm.training) == (True, True, False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_modes_are_restored_after_an_error(images):
    model = Brightest().train()
    with pytest.raises(AssertionError):
        evaluate(model, images, LABELS, KIND, lambda x: x.double(), "cpu")
    assert model.training
    assert model.drop.training


@pytest.mark.parametrize(
    ("count", "labels", "message"),
    [
        (0, None, "got 0 images and no labels"),
        (0, LABELS[:0], "got 0 images and 0 labels"),
        (7, LABELS[:6], "got 7 images and 6 labels"),
        (7, LABELS[:, None], r"got \(7,\) and \(7, 1\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(images, count, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate(Brightest(), images[:count], labels, KIND, to_one, "cpu")


def test_agreement():
    first, second = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 0])
    assert agreement(first, second) == agreement(second, first) == 0.75
    assert agreement(first.reshape(1, 2, 2), second.reshape(1, 2, 2)) == 0.75
    assert agreement(first, first) == 1.0


@pytest.mark.parametrize("pair", [(torch.tensor([1]), torch.tensor([1, 1])), (torch.ones(0),) * 2])
def test_what_cannot_be_compared_is_refused(pair):
    with pytest.raises(ValueError, match="one prediction for each"):
        agreement(*pair)


def test_labels_that_are_all_void_give_no_figures(images):
    kind = Segmentation(3)
    labels = torch.full((7, 4, 4), kind.void)
    figures = evaluate(EachPixel(), images, labels, kind, to_one, "cpu").figures
    assert all(math.isnan(figure) for figure in figures.values())
