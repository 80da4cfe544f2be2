"""What the metrics on scores say of what they can't use, to the letter, and the edges of what they can."""

import math

import numpy as np
import pytest

from pytest_gradcam import HeatmapError, metrics


def said(run):
    with pytest.raises(HeatmapError) as caught:
        run()
    return str(caught.value)


@pytest.mark.parametrize("area", [metrics.deletion_auc, metrics.insertion_auc])
def test_curves(area):
    assert said(lambda: area([[1.0]])) == "scores has shape (1, 1) and type float64; pass real numbers (n,)"
    assert said(lambda: area(["a"])) == "scores has shape (1,) and type <U1; pass real numbers (n,)"
    assert said(lambda: area(np.array([True, False]))) == "scores has shape (2,) and type bool; pass real numbers (n,)"
    assert said(lambda: area([1, math.nan])) == (
        "scores holds NaN or Inf; expected finite scores; check the model's output"
    )


def test_a_curve_that_does_not_fall():
    assert said(lambda: metrics.deletion_auc([1, 2])) == (
        "the full image scores 1 and the blank one 2; expected the full image to score higher, "
        "or its pixels add nothing to the target; explain another target"
    )


@pytest.mark.parametrize("figure", [metrics.average_drop, metrics.increase_in_confidence])
def test_pairs(figure):
    assert said(lambda: figure([[1]], [1])) == "full has shape (1, 1) and type int64; pass real numbers (n,)"
    assert said(lambda: figure([1], [[1]])) == "explained has shape (1, 1) and type int64; pass real numbers (n,)"
    assert said(lambda: figure([1, 2], [1])) == "there are 2 full and 1 explained scores; pass one each per image"


def test_probabilities():
    assert said(lambda: metrics.average_drop([0], [1])) == (
        "a relative fall needs positive scores, got 0 (full) and 1 (explained) as the lowest; pass probabilities, not logits"
    )
    assert metrics.average_drop([0.5], [0]) == 1  # nothing is left: the whole of it has fallen


def test_integers_of_few_bits_are_not_subtracted_in_them():
    assert metrics.deletion_auc(np.array([200, 100, 0], np.uint8)) == pytest.approx(0.5)
    assert metrics.insertion_auc(np.array([0, 100, 200], np.uint8)) == pytest.approx(0.5)


def test_no_perturbed_heatmap():
    assert said(lambda: metrics.max_sensitivity([[1.0]], [])) == (
        "there is no perturbed heatmap to compare with; pass at least one"
    )


def test_how_far_a_pixel_can_lie_from_a_mask():
    mask = np.zeros((5, 9), bool)
    mask[0, 0] = True
    assert metrics.farthest(mask, (5, 9)) == math.hypot(4, 8)
    assert "(9, 5)" in said(lambda: metrics.farthest(mask, (9, 5)))
