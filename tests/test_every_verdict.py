"""Every kind of check, each way it can come out: what it raises, and what its record says.

The cases lie far from their bounds, so that only the opposite verdict, or one on what cannot be decided, turns them.
"""

from dataclasses import replace

import numpy as np
import pytest

from pytest_gradcam import Case, Explainer, FocusError, Heatmap, HeatmapError, NoEvidenceError, masks
from pytest_gradcam.evidence import requirements
from pytest_gradcam.evidence.current_test import current, running
from pytest_gradcam.perturbations import brightness
from tests.checks import test_baseline, test_intervention, test_reliance, test_stability
from tests.checks.test_determinism import LeftOn, with_layer
from tests.data import test_group_reliance, test_suspects
from tests.data.conftest import LEFT, Colour, blob, to_tensor
from tests.sanity_models import Blob, Empty, Red, Turned, explained_by, network, noise, red_square

SIDE = 32
UPPER_LEFT = masks.box((SIDE, SIDE), (0, 0, 18, 18))
LOWER_RIGHT = masks.box((SIDE, SIDE), (18, 18, 32, 32))
GRID = np.pad(np.ones((4, 4), np.float32), ((0, 4), (0, 4))) + 0.01 * np.arange(64, dtype=np.float32).reshape(8, 8) / 64
CORNER = test_suspects.corner()


def heatmap(grid=GRID):
    return Heatmap.from_array(grid, np.full((SIDE, SIDE, 3), 100, np.uint8))


def on_mask(check, inside, outside):
    """Passes with one mask, fails with the other; nothing says whether attention that is nowhere lies in it."""
    return (
        lambda: getattr(heatmap(), check)(inside),
        lambda: getattr(heatmap(), check)(outside),
        lambda: getattr(heatmap(0 * GRID), check)(inside),
    )


def similar(grid):
    return lambda: heatmap().assert_similar(heatmap(grid))


def baseline(kept):
    """A heatmap and what is kept beside its test, if anything is."""

    def check():
        file = current().path
        if kept is not None:
            test_baseline.check(file, test_baseline.heatmap(kept), updates=True)
        test_baseline.heatmap().assert_matches_baseline()

    return check


def deterministic(explainer):
    return lambda: explainer().assert_deterministic(noise(), target=2)


def depends_on_weights(explainer):
    return lambda: explainer().assert_depends_on_weights(noise(), target=2, draws=2, at_most=0.7)


def faithful(kind):
    return lambda: kind(Red(), layer="features").assert_faithful(red_square(), target=0, orders=9)


def stable(perturbation, **question):
    def check():
        model, names = test_stability.Colour().eval(), ["red", "green"]
        explainer = Explainer(model, "features", preprocess=test_stability.preprocess, classes=names)
        explainer.assert_stable(test_stability.square(green=10), perturbation, **question)

    return check


def intervention(check, read, mask=test_intervention.DISC):
    """A check on a mask, by a model that reads a region."""
    return lambda: getattr(Explainer(test_intervention.Reads(read)), check)(test_intervention.scene(), mask)


def no_reliance(read, images=12):
    """A check on the corner, by a model that reads a region."""
    scenes = test_reliance.scenes(images)
    return lambda: Explainer(test_reliance.Reads(read)).assert_no_reliance(scenes, test_reliance.CORNER)


def no_reliance_by(region, images=24, by="site"):
    """A check on the corner in each of two groups; with by='id' every image is a group of its own."""

    def check():
        cases = [
            replace(case, slices={**case.slices, "id": case.id}, mask=None)
            for case in test_group_reliance.cases(images)
        ]
        test_group_reliance.explainer(region).audit(cases, ["focus_avoids"]).assert_no_reliance(by=by)

    return check


def audit(**sites):
    """An audit of pictures of which so many pass and so many fail, by site."""
    explainer = Explainer(Colour().eval(), "features", preprocess=to_tensor, classes=["red", "green"])
    all_of_them = [(site, place < right) for site, (right, wrong) in sites.items() for place in range(right + wrong)]
    cases = [
        Case(blob(right, number), mask=LEFT, target="red", slices={"site": site}, id=str(number))
        for number, (site, right) in enumerate(all_of_them)
    ]
    return explainer.audit(cases, ["focus_within"])


def rate(right, wrong):
    return lambda: audit(a=(right, wrong)).assert_rate("focus_within", at_least=0.8)


def slices_equal(**sites):
    return lambda: audit(**sites).assert_slices_equal("focus_within", by="site", margin=0.2)


DISC, EDGE = test_intervention.DISC, test_intervention.CORNER
SHOWN, ELSEWHERE = test_reliance.DISC, test_reliance.CORNER
#: By its kind: a check that passes, one that fails, and one that cannot be decided.
CHECKS = {
    "focus_within": on_mask("assert_focus_within", UPPER_LEFT, LOWER_RIGHT),
    "focus_avoids": on_mask("assert_focus_avoids", LOWER_RIGHT, UPPER_LEFT),
    "peak_within": on_mask("assert_peak_within", UPPER_LEFT, LOWER_RIGHT),
    "overlap": on_mask("assert_overlap", UPPER_LEFT, LOWER_RIGHT),
    "similar": (similar(GRID + 0.001), similar(GRID[::-1]), similar(np.ones((8, 8)))),
    "matches_baseline": (baseline(test_baseline.GRID), baseline(test_baseline.GRID[::-1]), baseline(None)),
    "deterministic": (
        deterministic(lambda: Explainer(network())),
        deterministic(lambda: Explainer(with_layer(LeftOn()))),
        deterministic(lambda: explained_by(Empty(network()))),
    ),
    "depends_on_weights": (
        depends_on_weights(lambda: Explainer(network())),
        depends_on_weights(lambda: explained_by(Blob(network()))),
        depends_on_weights(lambda: explained_by(Empty(network()))),
    ),
    "faithful": (
        faithful(Explainer),
        faithful(lambda *model, **options: explained_by(Turned(*model, **options))),
        faithful(lambda *model, **options: explained_by(Empty(*model, **options))),
    ),
    "stable": (
        stable(brightness(0.1)),
        stable([brightness(0.1), brightness(0.4)]),
        stable(brightness(0.1), target=lambda output: output[0]),  # a callable has no predicted class
    ),
    "ignores": (
        intervention("assert_ignores", EDGE),
        intervention("assert_ignores", DISC),
        intervention("assert_ignores", DISC, ~EDGE),  # too large for a control region
    ),
    "relies_on": (
        intervention("assert_relies_on", DISC),
        intervention("assert_relies_on", EDGE),
        intervention("assert_relies_on", DISC, ~EDGE),
    ),
    "no_reliance": (no_reliance(SHOWN), no_reliance(ELSEWHERE), no_reliance(SHOWN, 1)),
    "no_reliance_by": (
        no_reliance_by(test_suspects.OBJECT),
        no_reliance_by(CORNER),
        no_reliance_by(test_suspects.OBJECT, 6, by="id"),
    ),
    "rate": (rate(30, 0), rate(10, 20), rate(16, 4)),
    "slices_equal": (
        slices_equal(a=(40, 0), b=(40, 0)),
        slices_equal(a=(20, 0), b=(0, 20)),
        slices_equal(a=(5, 0), b=(5, 0)),
    ),
}
NO_EVIDENCE = {
    "focus_within",
    "focus_avoids",
    "peak_within",
    "overlap",
    "similar",
    "deterministic",
    "depends_on_weights",
    "faithful",
}


def outcome(check, folder):
    """The one record that a check leaves, and what it raised."""
    test, raised = test_baseline.Running(folder / "test_cats.py"), None
    with running(test):
        try:
            check()
        except (FocusError, HeatmapError) as error:
            raised = error
    (record,) = test.records
    return record, raised


def test_every_kind_of_check_is_here():
    """But a test that broke, which is no check, and the prediction, which is recorded where it is wrong and nowhere else."""
    assert set(CHECKS) == set(requirements.BY_CHECK) - {"test", "prediction"}


@pytest.mark.parametrize("kind", CHECKS)
def test_it_passes(kind, tmp_path):
    record, raised = outcome(CHECKS[kind][0], tmp_path)
    assert raised is None
    assert (record.check, record.outcome, record.reason) == (kind, "passed", "")
    assert within(record)
    assert record.finding


@pytest.mark.parametrize("kind", CHECKS)
def test_it_fails(kind, tmp_path):
    record, raised = outcome(CHECKS[kind][1], tmp_path)
    assert type(raised) is FocusError
    assert (record.check, record.outcome, record.reason) == (kind, "failed", "")
    assert not within(record)
    assert str(raised).startswith(record.finding)
    assert record.advice in str(raised)


@pytest.mark.parametrize("kind", CHECKS)
def test_it_cannot_be_decided(kind, tmp_path):
    record, raised = outcome(CHECKS[kind][2], tmp_path)
    assert type(raised) is (NoEvidenceError if kind in NO_EVIDENCE else HeatmapError)
    assert record.check == kind
    assert record.outcome == ("no evidence" if kind in NO_EVIDENCE else "invalid")
    assert record.reason
    assert record.reason in str(raised)
    assert record.figure is None


def within(record):
    """Whether the figure lies on the side of its bound where a check passes."""
    return record.figure >= record.bound if record.direction == "at_least" else record.figure <= record.bound


@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        ("focus_within", 0.5),
        ("focus_avoids", 0.1),
        ("peak_within", 0),
        ("overlap", 0.3),
        ("similar", 0.8),
        ("matches_baseline", 0.95),
        ("deterministic", 0.001),
        ("faithful", 0.9),
        ("ignores", 0.25),
        ("relies_on", 0.5),
    ],
)
def test_the_bound_that_holds_where_none_is_given(kind, bound, tmp_path):
    """Verdicts of users' tests rest on it: another one turns them."""
    record, _ = outcome(CHECKS[kind][0], tmp_path)
    assert record.bound == bound
