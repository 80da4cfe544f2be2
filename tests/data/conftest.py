"""A data set of small pictures, and a model of which it is known where it looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pytest_gradcam import Case, Explainer, masks

SIDE = 32
LEFT = masks.box((SIDE, SIDE), (0, 0, 16, SIDE))


class Colour(nn.Module):
    """Class 0 scores the red of the picture, class 1 the green."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 8, stride=8, bias=False)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.weight[0, 0] = self.features.weight[1, 1] = 1 / 64

    def forward(self, x):
        return 10 * self.features(x).mean((2, 3))


def to_tensor(image):
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float() / 255


def blob(left, number, level=220):
    """A red square on the left or the right; the number makes each picture another one."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[8:24, (0 if left else 16) : (16 if left else SIDE), 0] = level
    image[number // 8 % 8, number % 8, 2] = 1 + number // 64
    return image


@pytest.fixture(scope="session")
def explainer():
    return Explainer(Colour().eval(), "features", preprocess=to_tensor, classes=["red", "green"])


@pytest.fixture
def folder(tmp_path):
    """60 pictures: the first 45 have the square inside the mask; the others do not."""
    for number in range(60):
        Image.fromarray(blob(number < 45, number)).save(tmp_path / f"{number:02}.png")
    return tmp_path


@pytest.fixture
def dataset(folder):
    return [
        Case(folder / f"{number:02}.png", mask=LEFT, invalid=~LEFT, target="red", slices={"site": "ab"[number % 2]})
        for number in range(60)
    ]
