"""Images whose class is easy to learn, and a recipe and a network for them."""

import torch

from fastdfkd.data import DATASETS, LabelledImages
from fastdfkd.models import build_network
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.teacher_training import train_classifier

SPEC, READ = DATASETS["digits"]


def few(split, count=96):
    """Ten easy classes: the class is the row of a bright bar."""
    generator = torch.Generator().manual_seed(int(split == "test"))
    labels = torch.arange(count) % 10
    images = torch.randint(0, 60, (count, 1, 16, 16), dtype=torch.uint8, generator=generator)
    images[torch.arange(count), 0, labels + 3] = 255
    return LabelledImages(images, labels)


def recipe(**teacher):
    settings = {"model": "resnet8-half", "epochs": 1, "batch_size": 32, "crop_padding": 0}
    values = {
        "name": "small",
        "data": {"name": "digits"},
        "teacher": {**settings, "flip": False, **teacher},
        "student": {"model": "resnet8-half"},
    }
    return Recipe.model_validate(values)


def trained(section=None, *, seed=0, data=None, on_epoch=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network("resnet8-half", 10, 1)
    section = section or recipe().teacher
    train_classifier(
        network, data or few("train"), SPEC, section, seed=seed, device="cpu", on_epoch=on_epoch
    )
    return network
