"""Faithfulness: right on models of known evidence, and undecided where nothing can be said."""

import math
import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, FocusError, HeatmapError, NoEvidenceError
from pytest_gradcam.cam.engine import Engine, Interface
from pytest_gradcam.checks import faithfulness
from pytest_gradcam.checks.faithfulness import DeletionInsertion, Faithful, Faithfulness, rearranged
from pytest_gradcam.evidence.record import Subject
from tests.sanity_models import Corner, Drawn, Empty, Red, Turned, explained_by, network, noise, red_square
from tests.states import same, state_of


def test_a_map_of_the_evidence_passes(records):
    Explainer(Red(), layer="features").assert_faithful(red_square(), target=0)
    assert (records[0].outcome, records[0].figure, records[0].bound) == ("passed", 1.0, 0.9)
    assert records[0].seed == 0
    assert records[0].parameters == {"orders": 20}
    assert [label for label, _ in records[0].details] == ["deletion", "insertion", "ROAD"]


def test_a_map_of_other_places_fails_with_figures_and_advice():
    turned = Turned(Red(), Interface(classes=("red", "green", "dark")), "features")
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


def test_a_callable_and_a_seed(records):
    explainer = Explainer(Red(), layer="features")
    for seed in (3, 3, 4):
        with pytest.raises(FocusError):
            explained_by(Turned(Red(), layer="features")).assert_faithful(
                red_square(), target=lambda out: out[0], seed=seed
            )
    assert records[0].details == records[1].details != records[2].details
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

    def test_a_heatmap_of_zeros(self, records):
        self.refused(
            "no positive evidence .* explain another target",
            explained_by(Empty(Red(), layer="features")),
            NoEvidenceError,
        )
        assert [record.outcome for record in records] == ["no evidence"]

    def test_an_image_that_scores_no_higher_than_its_mean_colour(self):
        class Mean(Red):
            def forward(self, x):
                return self.head(self.features(x).mean((2, 3)))

        words = "the image scores 1 and its own mean colour 1; expected .* clearly higher, .* Explain another target"
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


SUBJECT = Subject(target="red")


def judged(own, others, subject=SUBJECT):
    """The verdict on the figures, as if these others had been asked for."""
    check = Faithful(0.9, len(others))
    return check.judged(check.record(subject), own, others)


def faith(total):
    return Faithfulness(deletion=0.5, insertion=0.5 + 3 * total, road=0.0)


def parts(record):
    return record.outcome, record.figure, record.bound, record.finding, record.details, record.advice


class TestVerdict:
    def test_the_bound_itself_passes_and_below_it_fails(self):
        others = [faith(0.1)] * 18 + [faith(0.3)] * 2
        assert judged(faith(0.2), others).outcome == "passed"
        others[0] = faith(0.3)
        failed = judged(faith(0.2), others)
        assert (failed.outcome, failed.figure) == ("failed", 0.85)

    def test_a_tie_counts_half(self):
        assert judged(faith(0.2), [faith(0.2)] * 20).figure == 0.5
        assert judged(faith(0.2), [faith(0.2)] * 2 + [faith(0.1)] * 18).figure == 0.95

    def test_each_figure_counts_in_its_own_direction(self):
        assert Faithfulness(0.2, 0.8, 0.3).total == pytest.approx(0.3)
        for better, worse in [((0.1, 0.5, 0), (0.2, 0.5, 0)), ((0, 0.6, 0), (0, 0.5, 0)), ((0, 0, 0.2), (0, 0, 0.1))]:
            assert Faithfulness(*better).total > Faithfulness(*worse).total

    def test_details_give_the_median_of_the_others(self):
        record = judged(Faithfulness(0.1, 0.9, 0.2), [Faithfulness(x, x, x) for x in (0.3, 0.4, 0.9)])
        assert record.details == (
            ("deletion", "0.100, random orders 0.400 (lower is better)"),
            ("insertion", "0.900, random orders 0.400 (higher is better)"),
            ("ROAD", "0.200, random orders 0.400 (higher is better)"),
        )


def test_the_whole_of_a_verdict_on_faithfulness():
    """To the letter: the sentence is what a user reads first, the advice what they do next."""
    own, others = Faithfulness(0.1, 0.9, 0.2), [Faithfulness(0.3, 0.4, 0.1)] * 12 + [own_better()] * 8
    assert parts(judged(own, others)) == (
        "failed",
        0.6,
        0.9,
        "the heatmap's order of pixels moves the score of 'red' more than 12 of 20 random orders do, 60.0 %; "
        "expected at least 90.0 %",
        (
            ("deletion", "0.100, random orders 0.300 (lower is better)"),
            ("insertion", "0.900, random orders 0.400 (higher is better)"),
            ("ROAD", "0.200, random orders 0.100 (higher is better)"),
        ),
        "look at the picture; the map does not say what this score depends on: choose another layer or method "
        "(hirescam, layercam), and base no verdict on this one",
    )


def own_better():
    return Faithfulness(0.0, 1.0, 0.5)


def test_a_target_without_a_name_is_left_out_and_a_near_miss_reads_as_one():
    others = [faith(0.1)] * 17999 + [faith(0.3)] * 2001
    record = judged(faith(0.2), others, Subject())
    assert record.finding == (
        "the heatmap's order of pixels moves the score more than 17999 of 20000 random orders do, 89.995 %; "
        "expected at least 90.000 %"
    )
