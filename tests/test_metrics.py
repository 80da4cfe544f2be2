"""Metrics against a fixture worked by hand, closed forms, other libraries, and what must hold for every input."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pytest_gradcam import metrics
from pytest_gradcam.errors import HeatmapError, NoEvidenceError

Array = NDArray[Any]

HEAT = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]], float)
MASK = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]], bool)

WITH_MASK: dict[str, Callable[[Any, Any], float]] = {
    "mass": metrics.mass,
    "lift": metrics.lift,
    "mean_heat": metrics.mean_heat,
    "rank_accuracy": metrics.rank_accuracy,
    "hits": metrics.hits,
    "peak_distance": metrics.peak_distance,
    "iou": lambda heat, mask: metrics.iou(heat, mask, threshold=0.3),
    "auc": metrics.auc,
    "top_k": lambda heat, mask: metrics.top_k(heat, mask, 2),
}
ALONE: dict[str, Callable[[Any], Any]] = {
    "entropy": metrics.entropy,
    "gini": metrics.gini,
    "peaks": metrics.peaks,
    "max_sensitivity": lambda heat: metrics.max_sensitivity(heat, [np.ones((3, 3))]),
    "similarity_first": lambda heat: metrics.similarity(heat, np.eye(3)),
    "similarity_second": lambda heat: metrics.similarity(np.eye(3), heat, kind="ssim"),
    "similarity_iou": lambda heat: metrics.similarity(heat, np.eye(3), kind="iou"),
}
EVERY: dict[str, Callable[[Any], Any]] = {
    **ALONE,
    **{name: lambda heat, f=f: f(heat, MASK) for name, f in WITH_MASK.items()},
}

levels = st.sampled_from([0.0, 0.0, 1.0, 2.0, 3.0, 0.125, 7.5, 1e-6])
shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6)


@st.composite
def heat_and_mask(draw: st.DrawFn, elements: st.SearchStrategy[float] = levels) -> tuple[Array, Array]:
    """A heatmap with ties and zeros and something positive, and a mask with pixels inside and outside."""
    shape = draw(shapes.filter(lambda s: s[0] * s[1] >= 2))
    heat = draw(hnp.arrays(np.float64, shape, elements=elements).filter(np.any))
    mask = draw(hnp.arrays(np.bool_, shape).filter(lambda m: m.any() and not m.all()))
    return heat, mask


class TestFixtureWorkedByHand:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("mass", 24 / 36),
            ("lift", 1.5),
            ("mean_heat", (4 + 5 + 7 + 8) / 8 / 4),
            ("rank_accuracy", 3 / 4),
            ("hits", True),
            ("peak_distance", 0.0),
            ("iou", 4 / 6),  # over 2.4 lie 3, 4, 5, 6, 7, 8
            ("auc", 18 / 20),
        ],
    )
    def test_figure(self, name: str, expected: float) -> None:
        assert WITH_MASK[name](HEAT, MASK) == pytest.approx(expected, abs=1e-15)

    @pytest.mark.parametrize(("k", "expected"), [(1, 1), (2, 1), (3, 2 / 3), (4, 3 / 4), (5, 4 / 5), (8, 4 / 8)])
    def test_top_k(self, k: int, expected: float) -> None:
        assert metrics.top_k(HEAT, MASK, k) == pytest.approx(expected, abs=1e-15)

    def test_peak(self) -> None:
        assert metrics.peaks(HEAT).tolist() == [[2, 2]]

    def test_concentration(self) -> None:
        share = [v / 36 for v in range(1, 9)]
        pairs = sum(abs(a - b) for a in range(9) for b in range(9))  # the mean difference, over twice the mean
        assert metrics.entropy(HEAT) == pytest.approx(-sum(p * math.log(p) for p in share), abs=1e-12)
        assert metrics.gini(HEAT) == pytest.approx(pairs / (2 * 9 * 36), abs=1e-12)

    def test_results_are_plain_python(self) -> None:
        assert all(type(f(HEAT, MASK)) is (bool if name == "hits" else float) for name, f in WITH_MASK.items())
        assert {type(metrics.entropy(HEAT)), type(metrics.gini(HEAT)), type(metrics.similarity(HEAT, HEAT))} == {float}


class TestClosedForms:
    def test_even_heat_is_chance(self) -> None:
        heat, mask = np.full((8, 10), 3.7), np.zeros((8, 10), bool)
        mask[:3, :4] = True
        assert metrics.mass(heat, mask) == pytest.approx(12 / 80)
        assert metrics.lift(heat, mask) == pytest.approx(1)
        assert metrics.mean_heat(heat, mask) == 1
        assert metrics.rank_accuracy(heat, mask) == pytest.approx(12 / 80)
        assert metrics.top_k(heat, mask, 5) == pytest.approx(12 / 80)
        assert metrics.auc(heat, mask) == 0.5
        assert metrics.iou(heat, mask) == pytest.approx(12 / 80)
        assert metrics.entropy(heat) == pytest.approx(math.log(80))
        assert metrics.gini(heat) == pytest.approx(0, abs=1e-15)

    def test_heat_in_one_pixel(self) -> None:
        heat = np.zeros((8, 10))
        heat[2, 3] = 1e-3
        assert metrics.entropy(heat) == 0
        assert metrics.gini(heat) == pytest.approx(1 - 1 / 80)

    def test_heat_that_is_the_mask_is_perfect(self) -> None:
        heat = MASK.astype(np.float32)
        assert [metrics.mass(heat, MASK), metrics.auc(heat, MASK), metrics.rank_accuracy(heat, MASK)] == [1, 1, 1]
        assert [metrics.iou(heat, MASK), metrics.mean_heat(heat, MASK), metrics.hits(heat, MASK)] == [1, 1, True]
        assert metrics.lift(heat, MASK) == pytest.approx(9 / 4)

    def test_heat_outside_the_mask_scores_nothing(self) -> None:
        heat = (~MASK).astype(float)
        assert all(WITH_MASK[name](heat, MASK) == 0 for name in WITH_MASK if name not in ("peak_distance",))

    def test_negative_heat_counts_as_none(self) -> None:
        signed = np.array([[-100.0, 1], [3, -5]])
        assert metrics.mass(signed, np.array([[1, 0], [1, 0]], bool)) == 0.75
        assert metrics.gini(signed) == metrics.gini(np.maximum(signed, 0))

    @pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e300])
    def test_heat_near_the_limits_of_floats(self, scale: float) -> None:
        heat = np.array([[0, 1], [1, 1]]) * scale
        mask = np.array([[0, 1], [1, 0]], bool)
        assert metrics.mass(heat, mask) == pytest.approx(2 / 3)
        assert metrics.mean_heat(heat, mask) == 1
        assert metrics.entropy(heat) == pytest.approx(math.log(3))

    def test_neighbouring_floats_are_no_tie(self) -> None:
        heat = np.array([[np.nextafter(0.3, 1), 0.3]])
        assert metrics.auc(heat, np.array([[1, 0]], bool)) == 1
        assert metrics.rank_accuracy(heat, np.array([[0, 1]], bool)) == 0


class TestPointingGame:
    mask = np.zeros((9, 9), bool)
    mask[0, 0] = True

    def heat(self, *places: tuple[int, int]) -> Array:
        heat = np.full((9, 9), 0.25)
        for place in places:
            heat[place] = 1
        return heat

    def test_tolerance_is_euclidean_and_inclusive(self) -> None:
        heat = self.heat((3, 4))
        assert metrics.peak_distance(heat, self.mask) == 5
        assert metrics.hits(heat, self.mask, tolerance=5)
        assert not metrics.hits(heat, self.mask, tolerance=4.999)

    def test_every_maximum_must_hit(self) -> None:
        heat = self.heat((0, 0), (0, 2))
        assert not metrics.hits(heat, self.mask)
        assert not metrics.hits(heat, self.mask, tolerance=1.9)
        assert metrics.hits(heat, self.mask, tolerance=2)
        assert metrics.peaks(heat).tolist() == [[0, 0], [0, 2]]

    @given(heat_and_mask())
    def test_distance_is_that_of_the_farthest_maximum(self, case: tuple[Array, Array]) -> None:
        heat, mask = case
        tops = [p for p in np.ndindex(heat.shape) if heat[p] == heat.max()]
        inside = [p for p in np.ndindex(heat.shape) if mask[p]]
        expected = max(min(math.dist(top, p) for p in inside) for top in tops)
        assert metrics.peak_distance(heat, mask) == pytest.approx(expected, abs=1e-12)
        assert metrics.hits(heat, mask) == (expected == 0)


class TestTies:
    """A verdict must not depend on the order in which equal pixels are sorted."""

    @staticmethod
    def over_all_orders(heat: Array, mask: Array, k: int) -> float:
        flat, inside = heat.ravel(), mask.ravel()
        shares = [
            np.mean([inside[i] for i in sorted(order, key=lambda i: -flat[i])[:k]])
            for order in itertools.permutations(range(flat.size))
        ]
        return float(np.mean(shares))

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_share_is_the_mean_over_all_orders(self, data: st.DataObject) -> None:
        heat = data.draw(hnp.arrays(float, (2, 3), elements=st.sampled_from([0.0, 1.0, 2.0])).filter(np.any))
        mask = data.draw(hnp.arrays(bool, (2, 3)).filter(lambda m: m.any() and not m.all()))
        k = data.draw(st.integers(1, 5))
        assert metrics.top_k(heat, mask, k) == pytest.approx(self.over_all_orders(heat, mask, k), abs=1e-12)
        expected = self.over_all_orders(heat, mask, int(mask.sum()))
        assert metrics.rank_accuracy(heat, mask) == pytest.approx(expected, abs=1e-12)

    @given(heat_and_mask())
    def test_auc_counts_ties_half(self, case: tuple[Array, Array]) -> None:
        heat, mask = case
        pairs = [(a > b) + (a == b) / 2 for a in heat[mask] for b in heat[~mask]]
        assert metrics.auc(heat, mask) == pytest.approx(np.mean(pairs), abs=1e-12)

    def test_auc_is_that_of_scikit_learn(self) -> None:
        roc_auc_score = pytest.importorskip("sklearn.metrics").roc_auc_score
        rng = np.random.default_rng(4)
        for _ in range(20):
            heat = rng.integers(0, 6, (30, 40)) / 5  # many ties, a sixth of them zeros
            mask = rng.random((30, 40)) < 0.3
            assert metrics.auc(heat, mask) == pytest.approx(roc_auc_score(mask.ravel(), heat.ravel()), abs=1e-9)


class TestPropertiesOfEveryFigure:
    @given(heat_and_mask(), st.integers(-40, 40))
    def test_scale_does_not_matter(self, case: tuple[Array, Array], exponent: int) -> None:
        heat, mask = case
        for name, figure in WITH_MASK.items():
            if heat.size > 2 or name != "top_k":
                assert figure(heat * 2.0**exponent, mask) == pytest.approx(figure(heat, mask), abs=1e-12), name
        assert metrics.entropy(heat * 3.3) == pytest.approx(metrics.entropy(heat), abs=1e-9)
        assert metrics.gini(heat * 3.3) == pytest.approx(metrics.gini(heat), abs=1e-9)

    @given(heat_and_mask(), st.sampled_from([np.fliplr, np.flipud, np.transpose]))
    def test_flips_do_not_matter(self, case: tuple[Array, Array], flip: Callable[[Array], Array]) -> None:
        heat, mask = case
        assume(heat.size > 2)
        for name, figure in WITH_MASK.items():
            assert figure(flip(heat), flip(mask)) == pytest.approx(figure(heat, mask), abs=1e-12), name
        assert metrics.entropy(flip(heat)) == pytest.approx(metrics.entropy(heat), abs=1e-12)
        assert metrics.gini(flip(heat)) == pytest.approx(metrics.gini(heat), abs=1e-12)

    @given(heat_and_mask(st.floats(0, 1e6, width=32)))
    @example((np.array([[0.1, 0.7, 0.2]]), np.array([[1, 1, 0]], bool)))
    def test_bounds(self, case: tuple[Array, Array]) -> None:
        heat, mask = case
        assume(heat.size > 2)
        shares = [f(heat, mask) for name, f in WITH_MASK.items() if name not in ("lift", "peak_distance")]
        assert all(0 <= share <= 1 for share in shares)
        assert 0 <= metrics.lift(heat, mask) <= 1 / mask.mean() + 1e-9
        assert 0 <= metrics.entropy(heat) <= math.log(heat.size) + 1e-9
        assert 0 <= metrics.gini(heat) <= 1 - 1 / heat.size + 1e-9

    @given(heat_and_mask(st.floats(0, 1e6, width=32)), st.randoms(use_true_random=False))
    def test_a_larger_mask_has_no_less(self, case: tuple[Array, Array], random: Any) -> None:
        heat, mask = case
        outside = np.argwhere(~mask)
        assume(len(outside) >= 2)
        larger = mask.copy()
        larger[tuple(random.choice(outside.tolist()))] = True
        assert metrics.mass(heat, larger) >= metrics.mass(heat, mask) - 1e-12
        assert metrics.top_k(heat, larger, 1) >= metrics.top_k(heat, mask, 1)
        assert metrics.peak_distance(heat, larger) <= metrics.peak_distance(heat, mask)
        assert metrics.hits(heat, larger) >= metrics.hits(heat, mask)

    @given(heat_and_mask())
    def test_mask_and_complement_share_the_mass(self, case: tuple[Array, Array]) -> None:
        heat, mask = case
        assert metrics.mass(heat, mask) + metrics.mass(heat, ~mask) == pytest.approx(1, abs=1e-12)
        assert metrics.auc(heat, mask) + metrics.auc(heat, ~mask) == pytest.approx(1, abs=1e-12)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64])
    def test_caller_keeps_its_arrays(self, dtype: type) -> None:
        heat, mask = HEAT.astype(dtype), MASK.copy()
        heat.flags.writeable = mask.flags.writeable = False
        for figure in WITH_MASK.values():
            figure(heat, mask)
        for measure in EVERY.values():
            measure(heat)
        assert (heat == HEAT).all()
        assert (mask == MASK).all()

    def test_type_of_the_heatmap_does_not_matter(self) -> None:
        for figure in WITH_MASK.values():
            assert figure(HEAT.astype(np.uint8), MASK.tolist()) == figure(HEAT, MASK.astype(np.uint8) * 255)


class TestUndecidable:
    """A check that cannot be decided must not come out as a number."""

    @pytest.mark.parametrize("heat", [np.zeros((3, 3)), np.full((3, 3), -1.0)], ids=["zero", "negative"])
    @pytest.mark.parametrize("name", EVERY)
    def test_no_evidence(self, name: str, heat: Array) -> None:
        with pytest.raises(NoEvidenceError, match="no positive value: there is no evidence for the target"):
            EVERY[name](heat)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("name", EVERY)
    def test_not_finite(self, name: str, bad: float) -> None:
        heat = HEAT.copy()
        heat[1, 2] = bad
        with pytest.raises(HeatmapError, match=rf"is {bad} at y 1, x 2; expected finite numbers") as caught:
            EVERY[name](heat)
        assert not isinstance(caught.value, NoEvidenceError)

    @pytest.mark.parametrize(
        "heat",
        [
            np.ones((1, 3, 3)),
            np.ones(9),
            np.float64(1),
            np.ones((0, 3)),
            np.ones((3, 3), complex),
            [["a"]],
            [[1], [2, 3]],
        ],
        ids=["batch", "flat", "scalar", "empty", "complex", "text", "ragged"],
    )
    @pytest.mark.parametrize("name", EVERY)
    def test_no_heatmap(self, name: str, heat: Any) -> None:
        with pytest.raises(HeatmapError, match=r"expected real numbers \(H, W\)|pass real numbers \(H, W\)"):
            EVERY[name](heat)

    @pytest.mark.parametrize("name", WITH_MASK)
    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            (np.zeros((3, 3), bool), "the mask is empty"),
            (np.ones((3, 3), bool), "the mask covers the whole heatmap"),
            (np.eye(4, dtype=bool), r"mask has shape \(4, 4\), the image has \(3, 3\)"),
            (np.eye(3) * np.nan, "mask holds NaN or Inf"),
            (np.eye(3) * 0.5, "mask is soft"),
            (np.diag([2, 15, 0]), "mask holds the label ids 0, 2, 15"),
            (np.eye(3, dtype=bool)[None], r"mask has shape \(1, 3, 3\)"),
        ],
        ids=["empty", "full", "shape", "nan", "soft", "labels", "batch"],
    )
    def test_mask(self, name: str, mask: Array, message: str) -> None:
        with pytest.raises(HeatmapError, match=message):
            WITH_MASK[name](HEAT, mask)

    def test_transposed_mask_names_both_shapes_and_the_transpose(self) -> None:
        with pytest.raises(HeatmapError, match=r"shape \(5, 2\), the image has \(2, 5\).*transpose.*pass its \.T"):
            metrics.mass(np.ones((2, 5)), np.ones((5, 2), bool))

    @pytest.mark.parametrize("k", [0, -1, 9, 10, 1.0, True, "3", np.nan, None])
    def test_k(self, k: Any) -> None:
        with pytest.raises(HeatmapError, match="cannot be used; expected a whole number from 1 to 8"):
            metrics.top_k(HEAT, MASK, k)

    @pytest.mark.parametrize("tolerance", [-1, -1e-9, math.nan, math.inf, True, "3", None])
    def test_tolerance(self, tolerance: Any) -> None:
        with pytest.raises(HeatmapError, match="cannot be used; expected a finite number of pixels of at least 0"):
            metrics.hits(HEAT, MASK, tolerance=tolerance)

    @pytest.mark.parametrize("threshold", [0, -0.1, 1.001, 20, math.nan, True, "0.2", None])
    def test_threshold(self, threshold: Any) -> None:
        with pytest.raises(HeatmapError, match="expected a share of the maximum; pass a number above 0 and up to 1"):
            metrics.iou(HEAT, MASK, threshold=threshold)


class TestSimilarity:
    @pytest.mark.parametrize("kind", ["spearman", "ssim", "iou"])
    @pytest.mark.parametrize("shape", [(7, 7), (14, 9), (3, 4), (4, 6)])
    def test_a_map_is_like_its_multiple(self, kind: Any, shape: tuple[int, int]) -> None:
        heat = np.random.default_rng(1).random(shape)
        assert metrics.similarity(heat, heat * 7, kind=kind) == pytest.approx(1, abs=1e-9)

    @given(st.data())
    def test_spearman_is_that_of_scipy(self, data: st.DataObject) -> None:
        from scipy.stats import spearmanr

        values = st.one_of(levels, st.floats(0, 1e9))
        pair = hnp.arrays(float, (3, 4), elements=values).filter(lambda a: a.min() < a.max())
        a, b = data.draw(pair), data.draw(pair)
        assert metrics.similarity(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-9)

    def test_spearman_tells_neighbouring_floats_apart(self) -> None:
        rising = np.array([[0.3, np.nextafter(0.3, 1), np.nextafter(np.nextafter(0.3, 1), 1)]])
        assert metrics.similarity(rising, np.array([[3.0, 2, 1]])) == -1

    def test_ssim_is_that_of_scikit_image_on_maps_scaled_to_one(self) -> None:
        from skimage.metrics import structural_similarity

        rng = np.random.default_rng(2)
        a, b = rng.random((20, 20)) * 5, rng.random((20, 20))
        expected = structural_similarity(a / a.max(), b / b.max(), data_range=1)
        assert metrics.similarity(a, b, kind="ssim") == pytest.approx(expected, abs=1e-12)

    def test_iou_of_the_pixels_over_a_fifth_of_each_maximum(self) -> None:
        assert metrics.similarity([[10, 2, 1.9]], [[0, 1, 1]], kind="iou") == pytest.approx(1 / 3)

    def test_equal_order_is_exactly_one(self) -> None:
        for seed in range(20):
            heat = np.random.default_rng(seed).integers(0, 9, (7, 7)) / 8
            assert metrics.similarity(heat, heat * 0.3) == 1
            assert metrics.similarity(heat, 2 - heat) == -1

    @pytest.mark.parametrize("kind", ["spearman", "ssim", "iou"])
    def test_two_empty_maps_are_not_alike(self, kind: Any) -> None:
        with pytest.raises(NoEvidenceError, match="the first heatmap has no positive value"):
            metrics.similarity(np.zeros((7, 7)), np.zeros((7, 7)), kind=kind)

    def test_constant_map_has_no_ranks(self) -> None:
        with pytest.raises(HeatmapError, match="the second heatmap has one value everywhere"):
            metrics.similarity(HEAT, np.ones((3, 3)))

    def test_other_shapes(self) -> None:
        with pytest.raises(HeatmapError, match=r"shapes \(3, 3\) and \(3, 4\); expected the same shape; resize"):
            metrics.similarity(HEAT, np.ones((3, 4)))

    def test_too_small_for_ssim(self) -> None:
        with pytest.raises(HeatmapError, match=r"shape \(2, 2\) are too small for SSIM"):
            metrics.similarity(np.eye(2), np.eye(2), kind="ssim")

    def test_unknown_kind(self) -> None:
        with pytest.raises(HeatmapError, match="'pearson' is not a similarity; pass one of 'spearman', 'ssim', 'iou'"):
            metrics.similarity(HEAT, HEAT, kind="pearson")  # type: ignore[arg-type]


class TestMaxSensitivity:
    def test_is_the_largest_relative_change(self) -> None:
        heat = np.array([[3.0, 4.0]])
        assert metrics.max_sensitivity(heat, [heat]) == 0
        assert metrics.max_sensitivity(heat, [heat, [[3, 4.5]], [[3, 3.0]]]) == pytest.approx(0.2)

    def test_a_map_that_vanishes_changed_by_all_of_it(self) -> None:
        assert metrics.max_sensitivity(HEAT, [np.zeros((3, 3))]) == pytest.approx(1)

    def test_scale_of_the_perturbed_map_counts(self) -> None:
        assert metrics.max_sensitivity(HEAT * 1e200, [HEAT * 2e200]) == pytest.approx(1)

    @pytest.mark.parametrize(
        ("perturbed", "message"),
        [
            ([], "there is no perturbed heatmap"),
            ([HEAT, HEAT[:2]], r"shapes \(3, 3\) and \(2, 3\)"),
            ([HEAT, HEAT * np.nan], "perturbed heatmap 1 is nan"),
        ],
    )
    def test_undecidable(self, perturbed: list[Array], message: str) -> None:
        with pytest.raises(HeatmapError, match=message):
            metrics.max_sensitivity(HEAT, perturbed)


class TestCurves:
    def test_straight_line_is_one_half(self) -> None:
        assert metrics.deletion_auc([0.9, 0.7, 0.5, 0.3, 0.1]) == pytest.approx(0.5)
        assert metrics.insertion_auc([0.1, 0.3, 0.5, 0.7, 0.9]) == pytest.approx(0.5)

    def test_is_the_trapezoidal_area_of_the_scaled_curve(self) -> None:
        scores = np.random.default_rng(3).random(11) * 4 - 3
        scores[0], scores[-1] = 2, -3.5
        expected = np.interp(np.linspace(0, 1, 100_001), np.linspace(0, 1, 11), (scores + 3.5) / 5.5).mean()
        assert metrics.deletion_auc(scores) == pytest.approx(expected, abs=1e-5)
        assert metrics.insertion_auc(scores[::-1]) == pytest.approx(metrics.deletion_auc(scores), abs=1e-12)

    def test_early_fall_and_early_rise(self) -> None:
        assert metrics.deletion_auc([1, 0, 0, 0, 0]) == pytest.approx(1 / 8)
        assert metrics.insertion_auc([0, 1, 1, 1, 1]) == pytest.approx(7 / 8)

    @pytest.mark.parametrize(
        "scores",
        [[0.5, 0.5], [0.1, 0.9], [0.5], [], [1, np.nan, 0], [np.inf, 0], [[1, 0], [1, 0]], ["a", "b"], [True, False]],
    )
    def test_undecidable(self, scores: Any) -> None:
        with pytest.raises(HeatmapError):
            metrics.deletion_auc(scores)

    def test_the_wrong_way_round_is_refused(self) -> None:
        with pytest.raises(HeatmapError, match=r"full image scores 0\.1 and the blank one 0\.9; expected"):
            metrics.insertion_auc([0.9, 0.1])

    def test_average_drop(self) -> None:
        assert metrics.average_drop([0.8, 0.5, 0.4], [0.4, 0.9, 0.4]) == pytest.approx((0.5 + 0 + 0) / 3)

    def test_increase_in_confidence(self) -> None:
        assert metrics.increase_in_confidence([0.8, 0.5, 0.4], [0.4, 0.9, 0.4]) == pytest.approx(1 / 3)

    @pytest.mark.parametrize("figure", [metrics.average_drop, metrics.increase_in_confidence])
    @pytest.mark.parametrize(
        ("full", "explained"), [([0.5], [0.5, 0.6]), ([], []), ([np.nan], [0.5]), ([0.5], [np.inf]), ([[0.5]], [[0.5]])]
    )
    def test_scores_that_do_not_pair(self, figure: Callable[..., float], full: Any, explained: Any) -> None:
        with pytest.raises(HeatmapError):
            figure(full, explained)

    @pytest.mark.parametrize(
        ("full", "explained"),
        [([0.5, 0.0], [0.1, 0.1]), ([-1.0], [0.5]), ([1.0], [-0.5]), ([1.0, 1.0], [-0.5, 0.5])],
    )
    def test_average_drop_needs_positive_scores(self, full: list[float], explained: list[float]) -> None:
        with pytest.raises(HeatmapError, match="pass probabilities, not logits"):
            metrics.average_drop(full, explained)


class TestAgreementWithQuantus:
    """Maps are drawn without ties, and where they have ties these do not straddle the cut."""

    @staticmethod
    def batch() -> tuple[Array, Array]:
        rng = np.random.default_rng(6)
        heat = rng.random((12, 1, 24, 32))
        heat[heat < 0.2] = 0  # as after ReLU; the masks are small, so that no zero reaches a cut
        mask = np.zeros(heat.shape, bool)
        for i, (y, x) in enumerate(rng.integers(0, 12, (12, 2))):
            mask[i, 0, y : y + 4 + i, x : x + 9] = True
        return heat, mask

    @pytest.mark.parametrize(
        ("name", "options", "figure"),
        [
            ("PointingGame", {}, metrics.hits),
            ("RelevanceMassAccuracy", {}, metrics.mass),
            ("AttributionLocalisation", {}, metrics.mass),
            ("RelevanceRankAccuracy", {}, metrics.rank_accuracy),
            ("TopKIntersection", {"k": 50}, lambda heat, mask: metrics.top_k(heat, mask, 50)),
            ("AUC", {}, metrics.auc),
        ],
    )
    def test_figure(self, name: str, options: dict[str, int], figure: Callable[..., float]) -> None:
        heat, mask = self.batch()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own and its dependencies', at import and in use
            quantus = pytest.importorskip("quantus")
            metric = getattr(quantus, name)(disable_warnings=True, display_progressbar=False, **options)
            theirs = metric(model=None, x_batch=heat, y_batch=np.zeros(12, int), a_batch=heat, s_batch=mask)
        ours = [figure(h[0], m[0]) for h, m in zip(heat, mask, strict=True)]
        assert ours == pytest.approx(np.asarray(theirs, float).tolist(), abs=1e-9)


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
    assert said(lambda: figure([1, 2], [1])) == "there are 2 full and 1 explained scores; pass one of each per image"


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
