"""A model that draws random numbers in eval mode: a verdict would be one draw, so there is none."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_gradcam import Explainer, FocusError, HeatmapError, masks

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


CHANCE = {
    "dropout that is always on": functional.dropout,
    "a flip": flip,
    "noise of NumPy": lambda x: x + float(np.random.rand()),
    "noise of Python": lambda x: x + random.random(),
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
        with pytest.raises(HeatmapError, match="draws random numbers in eval mode"):
            explainer(IMAGE, target)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


@pytest.mark.parametrize("draw", CHANCE.values(), ids=CHANCE.keys())
def test_the_check_that_measures_it_fails_and_no_other_has_a_verdict_after_it(draw):
    explainer = Explainer(Net(draw), "conv")
    with pytest.raises(FocusError, match="the heatmap changes from one run to the next"):
        explainer.assert_deterministic(IMAGE)
    with pytest.raises(HeatmapError, match="draws random numbers in eval mode"):
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
