"""A checkpoint that somebody else published, opened from the file as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.models.builders import open_model

FILE = Path(__file__).parents[3] / "shared" / "data" / "stranger_resnet20_cifar10.th"

NETWORK = """
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.added = stride, width - before

    def forward(self, x):
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        sides = self.added // 2
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, sides, sides))
        return F.relu(residual + shortcut)


class ResNet(nn.Module):
    def __init__(self, blocks, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self.stage(blocks, 16, 16, 1)
        self.layer2 = self.stage(blocks, 16, 32, 2)
        self.layer3 = self.stage(blocks, 32, 64, 2)
        self.linear = nn.Linear(64, num_classes)

    def stage(self, blocks, before, width, stride):
        rest = [Block(width, width, 1) for _ in range(blocks - 1)]
        return nn.Sequential(Block(before, width, stride), *rest)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def resnet20(num_classes):
    return ResNet(3, num_classes)
"""


@pytest.mark.skipif(not FILE.is_file(), reason="needs ../shared/data")
def test_a_published_checkpoint_opens_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "resnet.py").write_text(NETWORK)
    found = open_model(f"{tmp_path}/resnet.py:resnet20", weights=str(FILE))
    report = found.weights
    assert report is not None
    assert (report.kind, report.entry, report.prefix) == (
        "torch.save pickle",
        "state_dict",
        "module.",
    )
    assert report.parameters > 269_722, "those of the ResNet-20 and its BatchNorm statistics"
    assert report.unused == ()
    logits = found.network.eval()(torch.randn(8, 3, 32, 32))
    assert logits.shape == (8, 10)
    assert logits.std() > 1, "a trained network's answers"
