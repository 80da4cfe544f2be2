"""Determinism: what changes from run to run is found, also behind a cache and behind seeds."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, FocusError, HeatmapError, NoEvidenceError, overlay
from pytest_gradcam.cam.cache import HeatmapCache
from pytest_gradcam.checks.determinism import Changes, Deterministic
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import Subject
from tests.conftest import RecordingTest
from tests.sanity_models import Drawn, Empty, explained_by, network, noise
from tests.states import same, state_of


class LeftOn(nn.Module):
    """The dropout whose caller forgot `training=self.training`."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.3)


def with_layer(layer):
    return nn.Sequential(*list(network())[:4], layer, *list(network())[4:]).eval()


@pytest.mark.parametrize("norm", [False, True])
def test_a_sound_model_passes(records, norm):
    Explainer(network(norm=norm)).assert_deterministic(noise(), target=2)
    assert records[0].outcome == "passed"
    assert records[0].figure <= 1e-3
    assert [label for label, _ in records[0].details] == ["repeated", "batched"]


@pytest.mark.parametrize("cache", [None, HeatmapCache()], ids=["no cache", "cache"])
def test_dropout_that_stays_on(cache):
    explainer = Explainer(with_layer(LeftOn()), cache=cache)
    with pytest.raises(FocusError) as caught:
        explainer.assert_deterministic(noise(), target=2)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("the heatmap changes from one run to the next by 0.")
    assert lines[0].endswith("of its maximum; expected none")
    assert "look for dropout that stays on" in lines[-1]


def test_the_picture_shows_another_run(monkeypatch):
    """Four panels: the view, the heatmap, the run that differs the most, and the heatmap beside other images."""
    shown = []
    monkeypatch.setattr(overlay, "draw_panels", lambda panels, **_: shown.extend(panels))
    with running(RecordingTest()), pytest.raises(FocusError):
        Explainer(with_layer(LeftOn())).assert_deterministic(noise(), target=2)
    assert [panel.caption for panel in shown] == ["", "the heatmap", "another run", "beside other images"]
    assert np.abs(shown[1].heat - shown[2].heat).max() > 0


def test_dropout_in_a_model_that_was_left_in_train_mode_is_switched_off():
    Explainer(with_layer(nn.Dropout(0.5)).train()).assert_deterministic(noise(), target=2)


def test_statistics_over_the_batch():
    explainer = Explainer(with_layer(nn.BatchNorm2d(16, track_running_stats=False)))
    with pytest.raises(
        FocusError, match=r"changes beside other images in a batch by 0\.\d+ of its maximum.*at most 0\.001"
    ):
        explainer.assert_deterministic(torch.cat([noise()[:, :, :32], 3 * noise()[:, :, 32:]], 2), target=2)


def test_statistics_over_the_batch_of_the_input_which_flips_share():
    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return self.net((x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True))

    with pytest.raises(FocusError, match="changes beside other images in a batch"):
        Explainer(Normalised()).assert_deterministic(noise(), target=2)


def test_a_random_preprocess_gets_no_verdict_or_fails():
    def jitter(image):
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        return pixels + 0.1 * torch.rand(())

    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with pytest.raises((FocusError, HeatmapError), match="preprocess"):
        Explainer(network(), preprocess=jitter).assert_deterministic(image, target=2)


def test_a_preprocess_that_becomes_random_later_fails():
    calls = []

    def drifts(image):
        calls.append(1)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        return pixels * (1 + 0.01 * max(0, len(calls) - 20))

    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    explainer = Explainer(network(), preprocess=drifts)
    while len(calls) < 20:
        explainer.predict([image])
    with pytest.raises(
        FocusError, match=r"the preprocess gives another input by 0\.0\d+ of its maximum; expected none"
    ):
        explainer.assert_deterministic(image, target=2)


def test_no_trace_is_left():
    model = with_layer(LeftOn()).train()
    before = state_of(model)
    with pytest.raises(FocusError):
        Explainer(model).assert_deterministic(noise(), target=2)
    assert same(before, state_of(model))


def test_a_heatmap_of_zeros():
    with pytest.raises(NoEvidenceError, match="no positive evidence .* explain another target"):
        explained_by(Empty(network())).assert_deterministic(noise(), target=2)


@pytest.mark.parametrize("at_most", [1, -0.1, 50, math.nan, True, "0.5", None])
def test_bounds_that_decide_nothing(at_most):
    with pytest.raises(HeatmapError, match="at_most=.* cannot decide anything; expected a share from 0"):
        Explainer(network()).assert_deterministic(noise(), target=2, at_most=at_most)


def test_the_place_in_the_batch_counts_too():
    class Second(Drawn):
        """Wrong wherever an image is not the first of its batch."""

        def _heatmaps(self, ready, *rest, **options):
            self.places = iter(range(len(ready)))
            return super()._heatmaps(ready, *rest, **options)

        def paint(self, one, grid):
            return grid if next(self.places) == 0 else grid * 0.9

    with pytest.raises(FocusError, match=r"beside other images in a batch by 0\.1 of its maximum"):
        explained_by(Second(network())).assert_deterministic(noise(), target=2)


def judged(changes, *, exact, bound=1e-3):
    check = Deterministic(bound, exact)
    return check.judged(check.record(Subject()), changes)


def parts(record):
    return record.outcome, record.figure, record.bound, record.finding, record.details, record.advice


class TestVerdict:
    @pytest.mark.parametrize(
        ("changes", "exact", "outcome", "figure", "bound"),
        [
            (Changes(0, 0, 0, 3), True, "passed", 0, 1e-3),
            (Changes(0, 0, 1e-3, 3), True, "passed", 1e-3, 1e-3),
            (Changes(0, 0, 1.1e-3, 3), True, "failed", 1.1e-3, 1e-3),
            (Changes(0, 1e-9, 0, 3), True, "failed", 1e-9, 0),
            (Changes(0, 1e-9, 0, 3), False, "passed", 0, 1e-3),
            (Changes(0, 1.1e-3, 0, 3), False, "failed", 1.1e-3, 1e-3),
            (Changes(1e-9, 0, 0, 3), False, "failed", 1e-9, 0),
            (Changes(0.5, 0.1, 0.2, 3), True, "failed", 0.5, 0),
        ],
    )
    def test_each_stage_has_its_bound(self, changes, exact, outcome, figure, bound):
        record = judged(changes, exact=exact)
        assert (record.outcome, record.figure, record.bound) == (outcome, figure, bound)
        assert "a verdict on a heatmap that changes is a matter of chance" in record.advice


CHANGED = (
    ("repeated", "0.25 of the maximum, 3 runs under other random states"),
    ("batched", "0.5 of the maximum, beside flips of the image at half its contrast"),
)
CHANCE = "; a verdict on a heatmap that changes is a matter of chance"


def test_the_whole_of_a_verdict_on_a_heatmap_that_is_the_same():
    record = judged(Changes(0, 0, 1e-4, 3), exact=True)
    assert parts(record) == (
        "passed",
        1e-4,
        1e-3,
        "the heatmap changes beside other images in a batch by 0.0001 of its maximum; expected at most 0.001",
        (
            ("repeated", "0 of the maximum, 3 runs under other random states"),
            ("batched", "0.0001 of the maximum, beside flips of the image at half its contrast"),
        ),
        "look for statistics over the batch (a BatchNorm without running ones), or set batch_size to 1" + CHANCE,
    )


@pytest.mark.parametrize(
    ("changes", "exact", "finding", "advice"),
    [
        (
            Changes(0.125, 0.25, 0.5, 3),
            True,
            "the preprocess gives another input by 0.125 of its maximum; expected none",
            "seed it, or leave out what is random",
        ),
        (
            Changes(0, 0.25, 0.5, 3),
            True,
            "the heatmap changes from one run to the next by 0.25 of its maximum; expected none",
            "look for dropout that stays on (functional.dropout needs training=self.training), and for noise",
        ),
        (
            Changes(0, 0.25, 0.5, 3),
            False,
            "the heatmap changes from one run to the next by 0.25 of its maximum; expected at most 0.001",
            "look for dropout that stays on (functional.dropout needs training=self.training), and for noise",
        ),
        (
            Changes(0, 0, 0.5, 3),
            True,
            "the heatmap changes beside other images in a batch by 0.5 of its maximum; expected at most 0.001",
            "look for statistics over the batch (a BatchNorm without running ones), or set batch_size to 1",
        ),
    ],
)
def test_the_whole_of_a_verdict_on_a_heatmap_that_changes(changes, exact, finding, advice):
    record = judged(changes, exact=exact)
    assert (record.outcome, record.finding, record.advice) == ("failed", finding, advice + CHANCE)
    assert record.details[1] == CHANGED[1]
    assert record.details[0] == (CHANGED[0] if changes.repeated else ("repeated", CHANGED[0][1].replace("0.25", "0")))


def test_a_figure_just_over_the_bound_on_a_batch_reads_as_over_it():
    assert "by 0.0010001 of" in judged(Changes(0, 0, 0.0010001, 3), exact=True).finding


def test_a_bound_reads_with_as_many_digits_as_it_takes_to_tell_it_from_the_figure():
    finding = judged(Changes(0, 0, 0.0010016, 3), exact=True, bound=0.0010014).finding
    assert finding.endswith("by 0.001002 of its maximum; expected at most 0.001001")
