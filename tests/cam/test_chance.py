"""A model that draws random numbers in eval mode: a heatmap is one draw, and that is said."""

import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_gradcam import Explainer, GradcamWarning

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


CHANCE = {
    "dropout that is always on": functional.dropout,
    "a flip": flip,
    "noise of NumPy": lambda x: x + float(np.random.rand()),
    "noise of Python": lambda x: x + random.random(),
}


@pytest.mark.parametrize("draw", CHANCE.values(), ids=CHANCE.keys())
def test_a_model_that_draws_in_eval_mode_is_said_to_once(draw):
    torch.manual_seed(0)
    explainer = Explainer(Net(draw))
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    with pytest.warns(GradcamWarning, match="draws random numbers in eval mode"):
        explainer.predict([IMAGE])
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explainer.predict([IMAGE])


@pytest.mark.parametrize("draw", [lambda x: x, lambda x: x + 0 * float(torch.rand(()))], ids=["none", "without effect"])
def test_a_model_whose_scores_are_the_same_is_not_warned_of(draw):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Explainer(Net(draw)).predict([IMAGE])
