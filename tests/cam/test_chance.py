"""A model that another output each time, in eval mode: a verdict would be one draw, so there is none."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_gradcam import Box, Explainer, FocusError, HeatmapError, masks
from pytest_gradcam.perturbations import brightness
from tests.cam.test_dense import colour_detector
from tests.checks.test_followed import IMAGE as PICTURE
from tests.checks.test_followed import SQUARE, ready

IMAGE = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.draw, self.conv = draw, nn.Conv2d(3, 4, 4, 4)
        self.late = nn.Dropout(0.5)
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        return self.head(self.late(self.draw(self.conv(self.draw(x)).relu().flatten(1))))


def flip(x):
    return x.flip(-1) if x.ndim == 4 and float(torch.rand(())) < 0.5 else x


class Own:
    """Noise from a generator of the model's own."""

    def __init__(self, generator):
        self.generator = generator

    def __call__(self, x):
        if isinstance(self.generator, torch.Generator):
            return x + torch.rand((), generator=self.generator)
        return x + float(self.generator.random())


NUMBERS = itertools.count()
CHANCE = {
    "dropout that is always on": functional.dropout,
    "a flip": flip,
    "noise of NumPy": lambda x: x + float(np.random.rand()),
    "noise of Python": lambda x: x + random.random(),
    "a rare flip": lambda x: x.flip(-1) if float(torch.rand(())) < 0.02 else x,
    "a seed of the operating system": lambda x: x + float(np.random.default_rng().random()),
    "an iterator": lambda x: x + next(NUMBERS),
    "a generator of its own": Own(torch.Generator().manual_seed(0)),
    "a generator of NumPy of its own": Own(np.random.default_rng(0)),
}


@pytest.mark.parametrize("target", [None, lambda output: output[0, 0]], ids=["a class", "a callable"])
@pytest.mark.parametrize("draw", CHANCE.values(), ids=CHANCE.keys())
def test_a_model_that_draws_in_eval_mode_is_refused(draw, target):
    torch.manual_seed(0)
    explainer = Explainer(Net(draw), "conv")
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    for _ in range(2):
        with pytest.raises(HeatmapError, match="another output each time, in eval mode"):
            explainer(IMAGE, target)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


@pytest.mark.parametrize("draw", CHANCE.values(), ids=CHANCE.keys())
def test_the_check_that_measures_it_fails_and_no_other_has_a_verdict_after_it(draw):
    explainer = Explainer(Net(draw), "conv")
    rare = draw is CHANCE["a rare flip"]  # its few runs may not meet it: then it has no verdict, either
    with pytest.raises(
        HeatmapError if rare else FocusError, match="another output" if rare else "from one run to the next"
    ):
        explainer.assert_deterministic(IMAGE)
    with pytest.raises(HeatmapError, match="another output each time, in eval mode"):
        explainer.assert_ignores(IMAGE, masks.box((16, 16), (0, 0, 4, 4)))


class Seeded(nn.Module):
    """The way out that the message names."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self.model(x)


@pytest.mark.parametrize(
    "model",
    [Net(lambda x: x), Net(lambda x: x + 0 * float(torch.rand(()))), Seeded(Net(functional.dropout))],
    ids=["none", "without effect", "seeded"],
)
def test_a_model_whose_scores_are_the_same_is_not_refused(model):
    scores = Explainer(model).predict([IMAGE])
    assert np.isfinite(scores).all()


def test_a_detector_that_draws_is_refused():
    model = colour_detector()
    model.register_forward_pre_hook(lambda _, args: ([each * (1 - 0.8 * torch.rand(())) for each in args[0]],))
    explainer = Explainer(model, preprocess=ready, classes=["red", "green", "blue"])
    target = Box("red", SQUARE)
    with pytest.raises(HeatmapError, match="another output each time"):
        explainer(PICTURE, target)
    with pytest.raises(HeatmapError, match="another output each time"):
        explainer.assert_stable(PICTURE, brightness(0.1), target=target)
    with pytest.raises(HeatmapError, match="another output each time"):
        explainer.assert_ignores(PICTURE, masks.box((96, 160), (100, 0, 140, 20)), target=target)


class TwoOutputs(nn.Module):
    """Steady scores beside a sample that nobody asks for."""

    def __init__(self):
        super().__init__()
        self.net = Net(lambda x: x)

    def forward(self, x):
        return {"logits": self.net(x), "sample": torch.randn(1, 2)}


def test_only_the_scores_have_to_repeat_themselves():
    scores = Explainer(TwoOutputs(), output_key="logits").predict([IMAGE])
    assert np.isfinite(scores).all()


def test_buffers_that_forward_changes_are_no_chance():
    class Adapting(nn.Module):
        """Test-time batch normalisation."""

        def __init__(self):
            super().__init__()
            self.net, self.norm = Net(lambda x: x), nn.BatchNorm2d(3, momentum=0.5)

        def forward(self, x):
            mean = x.mean((0, 2, 3))
            self.norm.running_mean.mul_(0.5).add_(0.5 * mean)
            return self.net(self.norm(x))

    assert np.isfinite(Explainer(Adapting()).predict([IMAGE])).all()
