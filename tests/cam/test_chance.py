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


def forked(x):
    """The random state is put back, so that nothing shows that it was used."""
    with torch.random.fork_rng():
        return flip(x)


def test_generators_that_are_put_back_after_use():
    with pytest.raises(HeatmapError, match="another output each time"):
        Explainer(Net(forked), "conv")(IMAGE)


DARK, BRIGHT = IMAGE * 0.5, 0.5 + IMAGE * 0.5


def on_bright(draw):
    return lambda x: draw(x) if float(x.mean()) > 0.6 else x


def used_on_bright(x):
    """Every image draws, and the number matters for some."""
    return x.flip(-1) if float(torch.rand(())) < 0.02 and float(x.mean()) > 0.6 else x


LATER = {
    "noise of NumPy": on_bright(CHANCE["noise of NumPy"]),
    "a normal number of NumPy": on_bright(lambda x: x + float(np.random.randn())),
    "noise of Python": on_bright(CHANCE["noise of Python"]),
    "a rare flip": on_bright(CHANCE["a rare flip"]),
    "a number that is drawn for every image": used_on_bright,
    "a generator of its own": on_bright(Own(torch.Generator().manual_seed(0))),
}


@pytest.mark.parametrize("target", [None, lambda output: output[0]], ids=["a class", "a callable"])
@pytest.mark.parametrize("draw", LATER.values(), ids=LATER.keys())
def test_a_model_that_draws_on_later_images_is_refused_there(draw, target):
    np.random.seed(0)
    np.random.randn()  # a second normal number waits, and to take it does not move the generator
    explainer = Explainer(Net(draw), "conv")
    for _ in range(2):
        explainer(DARK, target)
        with pytest.raises(HeatmapError, match="another output or heatmap each time"):
            explainer(BRIGHT, target)
        with pytest.raises(HeatmapError, match="another output each time"):
            explainer.predict([BRIGHT])


class Pooled(nn.Module):
    """A flip changes no score, and where the heatmap lies."""

    def __init__(self, draw=flip):
        super().__init__()
        self.draw, self.conv, self.head = draw, nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.rand(4, 3, 1, 1).expand(4, 3, 4, 4))

    def forward(self, x):
        return self.head(self.conv(self.draw(x)).relu().mean((2, 3)))


def test_a_heatmap_that_changes_where_the_scores_do_not_is_refused():
    with pytest.raises(HeatmapError, match="another output or heatmap each time"):
        Explainer(Pooled())(IMAGE)


def test_draws_cost_few_passes_where_they_were_harmless_before():
    passes = []
    explainer = Explainer(Net(lambda x: passes.append(1) or x + 0 * float(torch.rand(()))))
    explainer.predict([DARK])
    passes.clear()
    explainer.predict([BRIGHT])
    assert (
        len(passes) == 2 * 5
    )  # Net draws in two places: its own pass, one to begin with, and three with chosen numbers


@pytest.mark.parametrize("kind", ["scores", "objects"])
def test_without_draws_no_pass_is_repeated(kind):
    passes = []
    if kind == "scores":
        model = Net(lambda x: x)
        ask = Explainer(model).predict
        model.register_forward_pre_hook(lambda *_: passes.append(1))
        ask([DARK])
        passes.clear()
        ask([BRIGHT])
    else:
        model = colour_detector()
        explainer = Explainer(model, preprocess=ready, classes=["red", "green", "blue"])
        model.register_forward_pre_hook(lambda *_: passes.append(1))
        explainer(PICTURE, Box("red", SQUARE))
        passes.clear()
        explainer(PICTURE, Box("red", SQUARE))
    assert len(passes) == 1


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
