"""Margins, their falls, and what may be said of their mean."""

import numpy as np
import pytest
from scipy import stats

from pytest_gradcam import HeatmapError
from pytest_gradcam.checks import margins
from pytest_gradcam.questions import lead


def test_margins_are_leads_over_the_best_other_class():
    scores = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]])
    np.testing.assert_array_equal(lead.margins(scores, np.array([0, 0])), [1, -5])
    np.testing.assert_array_equal(lead.margins(scores, np.array([0, 1]), against=1), [2, 0])
    assert margins.unit(scores) == pytest.approx((1 + 4) / 2)


@pytest.mark.parametrize("scores", [np.zeros((3, 4)), np.ones((2, 2)) * 1e9])
def test_a_model_without_a_lead_has_no_unit(scores):
    with pytest.raises(HeatmapError, match="scores its best two classes the same"):
        margins.unit(scores)


def test_one_score_is_no_choice():
    with pytest.raises(HeatmapError, match="gives 1 scores; expected at least two"):
        margins.unit(np.ones((3, 1)))


def test_the_interval_and_the_p_value_are_students():
    falls = np.random.default_rng(0).normal(0.7, 0.4, 12)
    found = margins.estimate(falls, 0.5)
    theirs = stats.ttest_1samp(falls, 0.5, alternative="greater")
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert found.lower == pytest.approx(theirs.confidence_interval(0.95).low)
    assert found.upper == pytest.approx(2 * found.mean - found.lower)
    assert found.mean == pytest.approx(falls.mean())
    assert found.count == 12


def test_falls_that_agree_by_luck_count_as_spread():
    found = margins.estimate(np.array([0.5, 0.5]), 0.4)
    assert found.lower == pytest.approx(0.5 - stats.t.ppf(0.95, 1) * margins.SPREAD / np.sqrt(2))
    assert margins.exceeds(found, 0.4) is None


def test_images_that_hang_on_few_others_are_worth_less():
    falls = np.linspace(0.4, 0.9, 20)
    wide, narrow = margins.estimate(falls, 0.5, independent=4), margins.estimate(falls, 0.5)
    assert wide.upper - wide.lower > 2 * (narrow.upper - narrow.lower)
    assert wide.count == narrow.count == 20


def test_one_image_has_a_fixed_reach_and_no_p_value():
    found = margins.estimate(np.array([0.9]), 0.45)
    assert (found.lower, found.upper, found.p_value) == (0.9 - margins.SINGLE, 0.9 + margins.SINGLE, None)


@pytest.mark.parametrize(
    ("lower", "upper", "verdict"), [(0.51, 0.9, True), (0.5, 0.9, None), (0.1, 0.49, False), (0.1, 0.5, None)]
)
def test_a_verdict_needs_the_whole_interval(lower, upper, verdict):
    found = margins.Estimate((lower + upper) / 2, lower, upper, None, 5)
    assert margins.exceeds(found, 0.5) is verdict


def results(*falls, control=0.0):
    return [
        margins.FillResult(label, fall, control) for label, fall in zip(("colour", "inpainted"), falls, strict=False)
    ]


def test_what_all_fills_do_is_a_verdict():
    assert margins.moved(results(0.6, 0.9), lambda fall: fall <= 0.4) is True
    assert margins.moved(results(0.4, -2), lambda fall: fall <= 0.4) is False
    assert margins.moved(results(0.1, 0.2, control=None), lambda fall: fall <= 0.4) is False  # needs no control


def test_a_control_that_costs_too_much_is_named():
    result = margins.FillResult("colour", 0.6, 0.5, "all the rest")
    with pytest.raises(
        HeatmapError, match=r"^replacing all the rest costs 0.50 units, the mask 0.60 \(colour\): .*, or wait$"
    ):
        margins.moved([result], lambda fall: fall <= 0.4, advice="wait")


def test_fills_that_disagree_are_no_verdict():
    with pytest.raises(
        HeatmapError,
        match=r"the margin falls by 0.60 units \(colour\), but it falls by 0.30 units \(inpainted\); .*, or pass others=$",
    ):
        margins.moved(results(0.6, 0.3), lambda fall: fall <= 0.4, advice="pass others=")
    with pytest.raises(HeatmapError, match=r"but it rises by 0.30 units \(inpainted\)"):
        margins.moved(results(0.6, -0.3), lambda fall: fall <= 0.4)


@pytest.mark.parametrize(
    ("fall", "said"),
    [
        (0.126, "falls by 0.13 units"),
        (-0.126, "rises by 0.13 units"),
        (-0.004, "falls by 0.00 units"),
        (0, "falls by 0.00 units"),
    ],
)
def test_a_change_of_the_margin_in_words(fall, said):
    assert margins.change(fall) == said


@pytest.mark.parametrize(("control", "verdict"), [(0.3, True), (0.31, None), (None, None)])
def test_a_control_may_cost_half_as_much(control, verdict):
    if verdict:
        assert margins.moved(results(0.6, 0.9, control=control), lambda fall: fall <= 0.4) is True
        return
    reason = "covers more than half of the view" if control is None else "costs 0.31 units, the mask 0.60"
    with pytest.raises(HeatmapError, match=reason):
        margins.moved(results(0.6, 0.9, control=control), lambda fall: fall <= 0.4)
