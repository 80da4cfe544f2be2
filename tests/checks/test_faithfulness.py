"""Faithfulness: right on models of known evidence, and undecided where nothing can be said."""

import math
import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, FocusError, HeatmapError, NoEvidenceError
from pytest_gradcam.cam.engine import Engine
from pytest_gradcam.checks import faithfulness
from pytest_gradcam.checks.faithfulness import DeletionInsertion, rearranged
from pytest_gradcam.evidence.current_test import running
from tests.evidence.test_bounds import Keeper
from tests.sanity_models import Corner, Drawn, Empty, Red, Turned, explained_by, network, noise, red_square
from tests.states import same, state_of


@pytest.fixture
def kept():
    keeper = Keeper()
    with running(keeper):
        yield keeper.records


def test_a_map_of_the_evidence_passes(kept):
    Explainer(Red(), layer="features").assert_faithful(red_square(), target=0)
    assert (kept[0].outcome, kept[0].figure, kept[0].bound) == ("passed", 1.0, 0.9)
    assert kept[0].seed == 0
    assert kept[0].parameters == {"orders": 20}
    assert [label for label, _ in kept[0].details] == ["deletion", "insertion", "ROAD"]


def test_a_map_of_other_places_fails_with_figures_and_advice():
    turned = Turned(Red(), layer="features", classes=("red", "green", "dark"))
    with pytest.raises(FocusError) as caught:
        explained_by(turned).assert_faithful(red_square(), target="red")
    lines = str(caught.value).splitlines()
    assert re.fullmatch(
        r"the heatmap's order of pixels moves the score of 'red' more than [0-3] of 20 random orders do, \d+\.0 %; "
        r"expected at least 90\.0 %",
        lines[0],
    )
    for label in ("deletion", "insertion", "ROAD"):
        assert any(line.startswith(f"  {label}") and "random orders" in line for line in lines)
    assert "choose another layer or method" in lines[-1]


def test_the_class_that_is_predicted_stays_the_one_that_is_scored():
    """Red is predicted, and once it is removed green is: following the prediction would hide the fall."""
    Explainer(Red(), layer="features").assert_faithful(red_square(), orders=9)


def test_a_callable_and_a_seed(kept):
    explainer = Explainer(Red(), layer="features")
    for seed in (3, 3, 4):
        with pytest.raises(FocusError):
            explained_by(Turned(Red(), layer="features")).assert_faithful(
                red_square(), target=lambda out: out[0], seed=seed
            )
    assert kept[0].details == kept[1].details != kept[2].details
    explainer.assert_faithful(red_square(), target=lambda out: out[0], at_least=1)


def test_no_trace_is_left():
    model = network(norm=True).train()
    before = state_of(model)
    with pytest.raises((FocusError, HeatmapError)):
        explained_by(Turned(model)).assert_faithful(noise(), at_least=1, orders=9)
    assert same(before, state_of(model))


class TestUndecided:
    def refused(self, words, explainer=None, error=HeatmapError, image=None, **arguments):
        explainer = explainer or Explainer(Red(), layer="features")
        with pytest.raises(error, match=words) as caught:
            explainer.assert_faithful(red_square() if image is None else image, **arguments)
        assert not isinstance(caught.value, AssertionError)

    def test_a_heatmap_of_zeros(self, kept):
        self.refused(
            "no positive evidence .* explain another target",
            explained_by(Empty(Red(), layer="features")),
            NoEvidenceError,
        )
        assert [record.outcome for record in kept] == ["no evidence"]

    def test_an_image_that_scores_no_higher_than_its_mean_colour(self):
        class Mean(Red):
            def forward(self, x):
                return self.head(self.features(x).mean((2, 3)))

        words = "the image scores 1 and its own mean colour 1; expected .* clearly higher, .* explain another target"
        self.refused(words, Explainer(Mean(), layer="features"))

    def test_an_image_that_scores_no_higher_than_its_blur(self):
        class Smooth(Red):
            def forward(self, x):
                edges = (x[:, 0, 1:] - x[:, 0, :-1]).abs().amax((1, 2))
                soft = (edges < 0.5) & (x[:, 0].std((1, 2)) > 0.05)
                return super().forward(x) + 5 * soft[:, None]

        self.refused("a strong blur of it .*; expected .* clearly higher", Explainer(Smooth(), layer="features"))

    @pytest.mark.parametrize("orders", [0, 8, -1, 9.5, math.nan, None, "20", True])
    def test_too_few_orders(self, orders):
        self.refused(
            "orders=.*(expected a whole number of at least 9|cannot be used; expected a finite number)", orders=orders
        )

    @pytest.mark.parametrize("at_least", [0, 1.1, 90, math.nan, True, "0.9", None])
    def test_bounds_that_decide_nothing(self, at_least):
        self.refused("at_least=.* cannot decide anything; expected a share above 0", at_least=at_least)

    def test_a_grid_of_too_few_cells(self):
        class OneCell(Drawn):
            def paint(self, one, grid):
                cells = np.zeros((3, 3))
                cells[0, 0] = 1
                return cells

        words = "3 x 3 cells has too few other orders to compare 20 with it; choose a layer"
        self.refused(words, explained_by(OneCell(Corner(), layer="features")))

    def test_scores_that_are_not_finite(self):
        class Fragile(Corner):
            def forward(self, x):
                return super().forward(x) / (x.amax((1, 2, 3)) == 1).float()[:, None]

        self.refused(
            "scores a changed image NaN or infinite; check the weights", Explainer(Fragile(), layer="features")
        )

    def test_a_box(self):
        from pytest_gradcam import Box

        self.refused("no target|detect|output|returns", target=Box(1, (0, 0, 8, 8)))


def trial_of(model, image, target=0):
    engine = Engine(model, layer="features")
    one = engine.read(image)
    return DeletionInsertion(one, lambda images: engine.scores(images, target), np.random.default_rng(0))


def test_deletion_and_insertion_in_closed_form():
    """A model that adds up red, an image of random red: the curves are the sums of what is left."""
    image = torch.zeros(3, 20, 20)
    image[0] = torch.rand(20, 20, generator=torch.Generator().manual_seed(0))

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(3, 1, 1, bias=False)

        def forward(self, x):
            return torch.cat([x[:, :1].square().sum((2, 3)), torch.zeros(len(x), 1)], 1)

    red = image[0].numpy().astype(np.float64)
    found = trial_of(Sum(), image).of(red.astype(np.float32))
    order = np.argsort(-red.ravel())
    grey = red.mean()

    def curve(start, end):
        scores = []
        for step in range(11):
            mixed = start.ravel().copy()
            mixed[order[: step * 40]] = end.ravel()[order[: step * 40]]
            scores.append((mixed**2).sum())
        scaled = (np.array(scores) - min(scores[0], scores[-1])) / abs(scores[-1] - scores[0])
        return ((scaled[:-1] + scaled[1:]) / 2).mean()

    assert found.deletion == pytest.approx(curve(red, np.full_like(red, grey)), abs=1e-4)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_road_is_pytorch_grad_cams_where_it_adds_no_noise(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam.metrics.perturbation_confidence import RemoveLeastRelevantFirst, RemoveMostRelevantFirst
        from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    monkeypatch.setattr(faithfulness, "_ROAD_NOISE", 0)
    model, image = Red(), noise(side=32)
    values = np.random.default_rng(0).permutation(1024).reshape(32, 32).astype(np.float32)
    image[0, :16] += 3
    found = trial_of(model, image).of(values)
    grey = image.mean((1, 2), keepdim=True).expand_as(image)
    with torch.no_grad():
        full, blank = (float(model(x[None])[0, 0]) for x in (image, grey))
        scores = {}
        for kind in (RemoveMostRelevantFirst, RemoveLeastRelevantFirst):
            changed = [kind(level, NoisyLinearImputer(noise=0))(image, torch.tensor(values)) for level in (30, 70)]
            scores[kind] = np.mean([float(model(x[None])[0, 0]) for x in changed])
    expected = (scores[RemoveLeastRelevantFirst] - scores[RemoveMostRelevantFirst]) / (full - blank) / 2
    assert found.road == pytest.approx(expected, abs=0.01)


def test_the_random_orders_are_the_cells_in_other_places():
    grid = np.array([[0, 1, 0], [2, 5, 0]], np.float32)
    made = list(rearranged(grid, 12, np.random.default_rng(0)))
    assert len(made) == 12
    for other in made:
        assert sorted(other.ravel()) == sorted(grid.ravel())
        assert not np.array_equal(other, grid)
    again = list(rearranged(grid, 12, np.random.default_rng(0)))
    np.testing.assert_array_equal(made, again)
