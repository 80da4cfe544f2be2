"""Margins, their falls, and what may be said of their mean."""

import math

import numpy as np
import pytest
from scipy import stats

from pytest_gradcam import HeatmapError
from pytest_gradcam.checks import margins
from pytest_gradcam.checks.margins import Estimate, FillResult
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


def test_a_forbidden_class_sets_no_scale():
    assert margins.unit(np.array([[3.0, 1.0, -1e9], [0.0, 5.0, -1e9]])) == pytest.approx(3.5)


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
    assert margins.MARGIN.change(fall) == said


@pytest.mark.parametrize(("control", "verdict"), [(0.3, True), (0.31, None), (None, None)])
def test_a_control_may_cost_half_as_much(control, verdict):
    if verdict:
        assert margins.moved(results(0.6, 0.9, control=control), lambda fall: fall <= 0.4) is True
        return
    reason = "covers more than half of the view" if control is None else "costs 0.31 units, the mask 0.60"
    with pytest.raises(HeatmapError, match=reason):
        margins.moved(results(0.6, 0.9, control=control), lambda fall: fall <= 0.4)


RNG = np.random.default_rng(0)


def said(run):
    with pytest.raises(HeatmapError) as caught:
        run()
    return str(caught.value)


class TestMargins:
    def test_scores_of_few_bits_are_not_subtracted_in_them(self):
        scores = np.array([[3, 200]], np.uint8)
        np.testing.assert_array_equal(lead.margins(scores, np.array([0])), [-197])
        np.testing.assert_array_equal(lead.margins(scores, np.array([0]), against=1), [-197])

    def test_the_scores_stay_as_they_are(self):
        scores = np.array([[3.0, 1.0]])
        lead.margins(scores, np.array([0]))
        np.testing.assert_array_equal(scores, [[3, 1]])

    def test_without_a_lead_there_is_no_unit(self):
        words = (
            "the model scores its best two classes the same on every image, so there is no prediction that pixels "
            "could change; check the weights"
        )
        assert said(lambda: margins.unit(np.zeros((2, 3)))) == words
        assert said(lambda: margins.unit(np.array([[1e6, 1e6 - 0.9]]))) == words  # rounding of the scores
        assert margins.unit(np.array([[1e6, 1e6 - 2]])) == 2
        assert said(lambda: margins.unit(np.array([[math.nan, 1.0]]))) == words

    def test_one_class_is_none_to_choose(self):
        assert said(lambda: margins.unit(np.ones((4, 1)))) == (
            "the model gives 1 scores; expected at least two classes to choose between"
        )
        assert margins.unit(np.array([[0.0, 1.0]])) == 1


class TestDifferences:
    """The mean less that of images without the artefact."""

    @pytest.mark.parametrize("count", [2, 5, 30])
    def test_both_samples_spread_and_the_smaller_one_sets_the_freedom(self, count):
        falls, base = RNG.normal(1, 0.4, 12), RNG.normal(0.2, 0.7, count)
        found = margins.estimate(falls, 0.5, base=base)
        mean = falls.mean() - base.mean()
        error = math.sqrt(stats.sem(falls) ** 2 + max(stats.sem(base), margins.SPREAD / math.sqrt(count)) ** 2)
        freedom = min(11, count - 1)
        assert found.mean == pytest.approx(mean)
        assert found.lower == pytest.approx(stats.t.ppf(0.05, freedom, mean, error))
        assert found.upper == pytest.approx(stats.t.ppf(0.95, freedom, mean, error))
        assert found.p_value == pytest.approx(stats.t.sf((mean - 0.5) / error, freedom))
        assert found.count == 12

    def test_falls_without_spread_count_as_spread_in_both(self):
        found = margins.estimate(np.full(10, 1.0), 0.5, base=np.full(5, 0.25))
        error = margins.SPREAD * math.sqrt(1 / 10 + 1 / 5)
        assert found.lower == pytest.approx(0.75 - stats.t.ppf(0.95, 4) * error)

    @pytest.mark.parametrize(("independent", "worth"), [(1, 1), (2, 2), (12, 12), (40, 12), (None, 12)])
    def test_falls_are_worth_no_more_than_there_are(self, independent, worth):
        falls = np.full(12, 1.0)
        found = margins.estimate(falls, 0.5, independent=independent)
        reach = margins.SINGLE if worth == 1 else stats.t.ppf(0.95, worth - 1) * margins.SPREAD / math.sqrt(worth)
        assert found == Estimate(1.0, pytest.approx(1 - reach), pytest.approx(1 + reach), found.p_value, 12)
        assert (found.p_value is None) is (worth == 1)


class TestMeans:
    def test_many_classes_each_by_itself(self):
        falls = RNG.normal([[0.0, 1.0, 2.0]], 0.5, (8, 3))
        mean, reach = margins.means(falls)
        for i in range(3):
            interval = stats.ttest_1samp(falls[:, i], 0).confidence_interval(0.95)
            assert mean[i] == pytest.approx(falls[:, i].mean())
            assert (mean[i] - reach[i], mean[i] + reach[i]) == pytest.approx((interval.low, interval.high))

    def test_two_images_have_an_interval(self):
        mean, reach = margins.means(np.array([[0.0, 1.0], [2.0, 1.0]]))
        np.testing.assert_allclose(mean, [1, 1])
        np.testing.assert_allclose(reach, [stats.t.ppf(0.975, 1), 0])

    def test_of_one_image_it_is_unbounded(self):
        mean, reach = margins.means(np.array([[0.5, 1.5, 2.5]]))
        np.testing.assert_array_equal(mean, [0.5, 1.5, 2.5])
        np.testing.assert_array_equal(reach, [math.inf] * 3)


class TestBounds:
    @pytest.mark.parametrize("bound", [0, -0.5, 1.1, 40, math.nan, math.inf, True, "0.5", None, [0.5]])
    def test_a_fall_that_decides_nothing(self, bound):
        assert said(lambda: margins.margin_bound("at_most", bound)) == (
            f"at_most={bound!r} cannot decide anything; expected a fall of the margin above 0 and up to 1, in units "
            "of the model's own lead; at 1 the prediction is lost"
        )

    @pytest.mark.parametrize("bound", [1, 1e-9, 0.5, np.float32(0.5)])
    def test_a_fall_that_does(self, bound):
        found = margins.margin_bound("at_least", bound)
        assert (found, type(found)) == (bound, float)


def keeps(fall):
    return fall <= 0.4


def results(*falls, control=0.0):
    labels = ("colour", "inpainted", "pasted")
    return [FillResult(label, fall, control) for label, fall in zip(labels, falls, strict=False)]


class TestFills:
    def test_those_that_disagree_are_named_on_both_sides(self):
        assert said(lambda: margins.moved(results(0.6, -0.3, 0.7), keeps)) == (
            "the fills disagree: the margin falls by 0.60 units (colour) and falls by 0.70 units (pasted), but it rises by "
            "0.30 units (inpainted); one of them may make the image unnatural, or bring the cue back: look at the picture, "
            "or use reliance() on a set of images"
        )
        assert said(lambda: margins.moved(results(0.6, 0.3), keeps, advice="pass others=")).endswith(
            "but it falls by 0.30 units (inpainted); one of them may make the image unnatural, or bring the cue "
            "back: look at the picture, or pass others="
        )

    def test_a_mask_without_a_control(self):
        assert said(lambda: margins.moved(results(0.6, control=None), keeps)) == (
            "the mask covers more than half of the view and its shape fits nowhere else, so nothing shows whether "
            "any change of this size would change the prediction; pass a smaller mask, of the part that matters"
        )

    def test_a_control_that_costs_too_much(self):
        assert said(lambda: margins.moved(results(0.6, control=0.31), keeps)) == (
            "replacing the same shape elsewhere costs 0.31 units, the mask 0.60 (colour): any change of this size "
            "changes the prediction; pass a smaller mask, or use reliance() on a set of images"
        )
        rest = [FillResult("pasted", 0.6, 0.5, "all the rest")]
        assert said(lambda: margins.moved(rest, keeps, advice="pass others=")) == (
            "replacing all the rest costs 0.50 units, the mask 0.60 (pasted): any change of this size changes the "
            "prediction; pass a smaller mask, or pass others="
        )

    def test_every_fill_has_to_clear_its_control(self):
        assert "(inpainted)" in said(lambda: margins.moved([*results(0.9), FillResult("inpainted", 0.6, 0.31)], keeps))

    def test_no_fill_moves_nothing(self):
        assert margins.moved([], keeps) is False

    @pytest.mark.parametrize(
        ("fall", "words"),
        [
            (0.5, "falls by 0.50 units"),
            (-0.5, "rises by 0.50 units"),
            (0.0, "falls by 0.00 units"),
            (-0.004, "falls by 0.00 units"),
            (-0.005, "rises by 0.01 units"),
        ],
    )
    def test_a_change_in_words(self, fall, words):
        assert margins.MARGIN.change(fall) == words
