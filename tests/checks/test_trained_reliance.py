"""Reliance told right on two models that were trained: they differ in whether a corner's colour gave the label away."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer

SIDE, PATCH = 16, 4


def scenes(count, seed, *, tied):
    """Bars across or upright in faint grey, and a patch in the corner that is red or blue."""
    draw = torch.Generator().manual_seed(seed)
    labels, free = (torch.randint(2, (count,), generator=draw) for _ in range(2))
    images = 0.3 * torch.randn(count, 3, SIDE, SIDE, generator=draw)
    for image, label in zip(images, labels, strict=True):
        at = int(torch.randint(6, 12, (), generator=draw))
        (image[:, at : at + 2, 5:13] if label else image[:, 5:13, at : at + 2]).add_(1)
    return painted(images, labels if tied else free), labels


def painted(images, colours):
    images = images.clone()
    images[:, :, :PATCH, :PATCH] = 0
    images[torch.arange(len(images)), 2 * colours, :PATCH, :PATCH] = 2
    return images


def trained(*, tied):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 12, 5, 2, 2), nn.ReLU(), nn.Conv2d(12, 24, 3, 1, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2),
        )  # fmt: skip
        images, labels = scenes(512, 1, tied=tied)
        optimiser = torch.optim.Adam(model.parameters(), 0.01)
        for batch in torch.arange(512).repeat(12).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimiser.step()
    return model.eval()


@pytest.mark.parametrize("tied", [True, False])
def test_what_training_left_in_the_model_is_told(tied):
    model = trained(tied=tied)
    images, labels = scenes(50, 2, tied=tied)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:PATCH, :PATCH] = True

    found = Explainer(model).reliance(list(images), mask)

    with torch.no_grad():
        right = [
            float((model(seen).argmax(1) == labels).float().mean()) for seen in (images, painted(images, 1 - labels))
        ]
    assert right[0] >= 0.9
    assert (right[0] - right[1] >= 0.3) is tied  # the truth, from flipped colours
    assert found.relies is tied
