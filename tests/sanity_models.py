"""Models, images and explainers of known worth, for the checks on explanations."""

import numpy as np
import torch
from torch import nn

from pytest_gradcam import Heatmap
from pytest_gradcam.cam.engine import Engine
from pytest_gradcam.explainer import explainer_of
from pytest_gradcam.questions.explained_model import ExplainedModel


class Red(nn.Module):
    """Class 0 scores the bright red of an image, class 1 its bright green, class 2 how little there is of both."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 4, stride=4, bias=False)
        self.head = nn.Linear(2, 3, bias=False)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.weight[0, 0] = self.features.weight[1, 1] = 1 / 16
            self.head.weight.copy_(torch.tensor([[4.0, 0], [0, 4.0], [-1, -1]]))

    def forward(self, x):
        return self.head(torch.relu(self.features(x) - 0.4)[:, :, : self.seen, : self.seen].mean((2, 3)))

    seen = 8


class Corner(Red):
    """Scores the colours of the upper left quarter only."""

    seen = 4


def red_square():
    image = torch.zeros(3, 32, 32)
    image[0, :16, :16] = 1
    image[1, 20:, 20:] = 0.8
    return image


def network(*, norm=False, seed=0):
    """A small convolutional network with weights from the seed."""
    torch.manual_seed(seed)
    layers = []
    for before, after, stride in ((3, 8, 2), (8, 16, 2), (16, 16, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), *([nn.BatchNorm2d(after)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)).eval()


def noise(seed=1, side=64):
    return torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed))


def explained_by(engine):
    """The explainer of an engine of one's own."""
    model = ExplainedModel(engine)
    return explainer_of(lambda: model)


class Drawn(Engine):
    """An engine whose heatmaps are drawn from the image alone, by `paint`, whatever the model has learnt."""

    def paint(self, one, grid):
        raise NotImplementedError

    def _heatmaps(self, ready, *rest, **options):
        made = super()._heatmaps(ready, *rest, **options)
        return [
            Heatmap(self.paint(one, m.grid).astype(np.float32), one.seen, m.subject)
            for one, m in zip(ready, made, strict=True)
        ]


class Blob(Drawn):
    """A blob in the middle."""

    def paint(self, one, grid):
        y, x = np.mgrid[: grid.shape[0], : grid.shape[1]]
        return np.exp(-((y - grid.shape[0] / 2) ** 2 + (x - grid.shape[1] / 2) ** 2) / grid.size * 8)


class Edges(Drawn):
    """Where the image changes."""

    def paint(self, one, grid):
        step = one.shape[0] // grid.shape[0]
        change = sum(np.abs(side).sum(0) for side in np.gradient(one.tensor.numpy(), axis=(1, 2)))
        return change.reshape(grid.shape[0], step, grid.shape[1], step).mean((1, 3))


class Turned(Drawn):
    """The model's own heatmap upside down and left to right."""

    def paint(self, one, grid):
        return grid[::-1, ::-1].copy()


class Empty(Drawn):
    def paint(self, one, grid):
        return np.zeros_like(grid)
