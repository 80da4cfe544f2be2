"""Reliance on a place, on models whose truth is known: they read what they were built to read."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, FocusError, masks
from tests.engine.states import same, state_of

SIDE = 32
CORNER = masks.box((SIDE, SIDE), (24, 24, 32, 32))
CENTRE = masks.box((SIDE, SIDE), (10, 10, 22, 22))


class Reads(nn.Module):
    """Two classes: red or green of one region, and of nothing else; `share` of the score comes from another one."""

    def __init__(self, region, other=None, share=0.0):
        super().__init__()
        weight = torch.from_numpy(region / region.sum()).float()
        if other is not None:
            weight = (1 - share) * weight + share * torch.from_numpy(other / other.sum()).float()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.weight[0, 0] = self.features.weight[1, 1] = 10
        self.register_buffer("weight", weight)

    def forward(self, x):
        return (self.features(x) * self.weight).sum((2, 3))


def scenes(count=12, tied=True, seed=0):
    """Red or green discs on noise, with a corner in the disc's colour, or in one of its own."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0.3, 0.6, (count, 3, SIDE, SIDE)).astype(np.float32)
    labels = np.arange(count) % 2
    corners = (
        labels if tied else labels[::-1] if count % 4 else np.roll(labels // 1, 0) * 0 + (np.arange(count) // 2) % 2
    )
    for image, label, corner in zip(images, labels, corners, strict=True):
        for region, which in ((CENTRE, label), (CORNER, corner)):
            image[:, region] *= 0.3
            image[which, region] = rng.uniform(0.8, 1.0, region.sum())
    return list(torch.from_numpy(images))


def test_a_model_that_reads_the_corner_relies_on_it():
    found = Explainer(Reads(CORNER)).reliance(scenes(), CORNER)
    assert found.relies is True
    assert found.intervention == "swap"
    assert found.effect == pytest.approx(2, abs=0.05)  # the other class's pixels turn the margin round
    assert found.interval[0] > found.bound
    assert found.p_value < 1e-3
    assert found.images == 12
    assert "relies=True" in repr(found)


def test_a_model_that_reads_the_centre_does_not_rely_on_the_corner():
    found = Explainer(Reads(CENTRE)).reliance(scenes(), CORNER)
    assert found.relies is False
    assert found.effect == pytest.approx(0, abs=1e-5)
    assert found.p_value > 0.95
    assert found.interval[1] < found.bound


def test_the_checks_follow_the_verdict():
    images = scenes()
    Explainer(Reads(CENTRE)).assert_no_reliance(images, CORNER)
    with pytest.raises(FocusError, match="the model relies on the masked pixels: replacing them costs 2.0"):
        Explainer(Reads(CORNER)).assert_no_reliance(images, CORNER)


def test_one_class_leaves_the_pixels_of_other_images_or_the_mean_colour():
    reds = scenes(24)[::2]
    found = Explainer(Reads(CORNER)).reliance(reds, CORNER)
    assert (found.relies, found.intervention) == (True, "colour")
    assert "the place holds the same on the images" in found.why
    mixed = scenes(24, tied=False)[::2]
    found = Explainer(Reads(CENTRE)).reliance(mixed, CORNER)
    assert (found.relies, found.intervention) == (False, "paste")


def test_the_model_is_given_back():
    model = Reads(CORNER).train()
    before = state_of(model)
    Explainer(model).reliance(scenes(), CORNER)
    assert same(before, state_of(model))
