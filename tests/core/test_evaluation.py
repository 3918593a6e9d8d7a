import pytest
import torch
from torch import nn

from fastdfkd.core.evaluation import accuracy, agreement, predict


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


@pytest.fixture
def images():
    pixels = torch.zeros(7, 3, 4, 4, dtype=torch.uint8)
    for row, channel in enumerate([0, 1, 2, 2, 1, 0, 0]):
        pixels[row, channel] = 255
    return pixels


def test_predictions_do_not_depend_on_the_batches(images):
    model = Brightest()
    for size, expected in ((3, [3, 3, 1]), (500, [7])):
        model.sizes.clear()
        classes = predict(model, images, lambda x: x * 2 - 1, "cpu", batch_size=size)
        assert classes.tolist() == [0, 1, 2, 2, 1, 0, 0]
        assert classes.dtype == torch.int64
        assert model.sizes == expected


def test_normalise_is_given_zero_to_one_and_used(images):
    seen = []

    def darken_first(x):
        seen.append((x.min().item(), x.max().item()))
        return x * torch.tensor([-1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)

    classes = predict(Brightest(), images[:1], darken_first, "cpu")
    assert seen == [(0.0, 1.0)]
    assert classes.tolist() == [1]


def test_state_and_modes_are_left_as_they_were(images):
    model = Brightest()
    model.train()
    model.norm.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    predict(model, images, lambda x: x, "cpu")
    assert (model.training, model.drop.training, model.norm.training) == (True, True, False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_modes_are_restored_after_an_error(images):
    model = Brightest().train()
    with pytest.raises(AssertionError):
        predict(model, images, lambda x: x.double(), "cpu")
    assert model.training
    assert model.drop.training


def test_accuracy_and_agreement():
    first, second = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 0])
    assert accuracy(first, second) == 0.75
    assert agreement(second, first) == 0.75
    assert accuracy(first, first) == 1.0


@pytest.mark.parametrize("pair", [(torch.tensor([1]), torch.tensor([1, 1])), (torch.ones(0),) * 2])
def test_what_cannot_be_compared_is_refused(pair):
    with pytest.raises(ValueError, match="one prediction for each"):
        accuracy(*pair)
