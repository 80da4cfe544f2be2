"""What a heatmap says about a region: the exact figures behind every check on where a model looks.

A heatmap is a finite real array (H, W); negative values are clipped to 0 first. A mask is whatever `masks.as_mask`
reads as (H, W), with at least one pixel inside and one outside. All arithmetic is in float64; no argument is changed.
All figures but `max_sensitivity` are the same for a heatmap and any positive multiple of it.
Every function raises NoEvidenceError for a heatmap without a positive value, HeatmapError for other malformed input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from pytest_gradcam import masks
from pytest_gradcam.errors import HeatmapError, NoEvidenceError
from pytest_gradcam.validation import count, number

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Similarity = Literal["spearman", "ssim", "iou"]


def mass(heatmap: ArrayLike, mask: object) -> float:
    """Relevance mass accuracy: the share of the heatmap's total inside the mask, in [0, 1] (Arras et al. 2022)."""
    heat, region = _pair(heatmap, mask)
    heat = _scaled(heat)
    inside, outside = heat[region].sum(), heat[~region].sum()
    # Not inside / total: sums in another order would let a share pass 1 by a rounding error.
    return float(inside / (inside + outside))


def lift(heatmap: ArrayLike, mask: object) -> float:
    """Relevance mass over the mask's share of the area: 1 is chance, the ceiling is 1 / area."""
    region = _pair(heatmap, mask)[1]
    return mass(heatmap, region) / float(region.mean())


def mean_heat(heatmap: ArrayLike, mask: object) -> float:
    """The mean over the mask of the heatmap divided by its maximum, in [0, 1]."""
    heat, region = _pair(heatmap, mask)
    return float((heat[region] / heat.max()).mean())


def rank_accuracy(heatmap: ArrayLike, mask: object) -> float:
    """Relevance rank accuracy: of the |mask| highest pixels, the share in the mask, in [0, 1] (Arras et al. 2022).

    Pixels that tie at the cut count in proportion, which is the mean over all their orders.
    """
    heat, region = _pair(heatmap, mask)
    return _share_of_highest(heat, region, int(region.sum()))


def top_k(heatmap: ArrayLike, mask: object, k: int) -> float:
    """Of the `k` highest pixels, the share in the mask, in [0, 1] (Theiner et al. 2022); ties count in proportion.

    Raises HeatmapError unless k is an integer from 1 to below H x W.
    """
    heat, region = _pair(heatmap, mask)
    return _share_of_highest(heat, region, count("k", k, 1, heat.size - 1))


def peaks(heatmap: ArrayLike) -> NDArray[np.intp]:
    """The (y, x) positions of all pixels that hold the maximum, an array (n, 2) in reading order."""
    heat = _evident(_read(heatmap))
    return np.argwhere(heat == heat.max())


def peak_distance(heatmap: ArrayLike, mask: object) -> float:
    """How far the farthest maximum lies from the mask, in pixels between centres; 0 if every maximum lies inside."""
    heat, region = _pair(heatmap, mask)
    at_peak = heat == heat.max()
    if region[at_peak].all():
        return 0.0
    return float(scipy.ndimage.distance_transform_edt(~region)[at_peak].max())


def farthest(mask: object, shape: tuple[int, int]) -> float:
    """The largest distance of any pixel of the view (H, W) from the mask, in pixels between centres."""
    return float(scipy.ndimage.distance_transform_edt(~masks.as_mask(mask, shape=shape)).max())


def hits(heatmap: ArrayLike, mask: object, *, tolerance: float = 0) -> bool:
    """The pointing game: every maximum lies within `tolerance` pixels of the mask (Zhang et al. 2018).

    The distance is Euclidean, between pixel centres, and may equal the tolerance; 0 means inside the mask.
    Raises HeatmapError if the tolerance is not a finite number of at least 0.
    """
    tolerance = number("tolerance", tolerance, "a finite number of pixels of at least 0", lambda pixels: pixels >= 0)
    return peak_distance(heatmap, mask) <= tolerance


def iou(heatmap: ArrayLike, mask: object, *, threshold: float = 0.2) -> float:
    """IoU of the mask and the pixels at or above `threshold` times the maximum, in [0, 1].

    Published thresholds are 0.2 (Zhou et al. 2016) and 0.15 (Selvaraju et al. 2017).
    Raises HeatmapError if the threshold is not above 0 and at most 1.
    """
    heat, region = _pair(heatmap, mask)
    return _overlap(_hot(heat, threshold), region)


def auc(heatmap: ArrayLike, mask: object) -> float:
    """ROC AUC of the heatmap as a score for the mask, in [0, 1]; ties count 1/2, 0.5 is chance (Fawcett 2006)."""
    heat, region = _pair(heatmap, mask)
    inside, outside = int(region.sum()), int((~region).sum())
    above = _ranks(heat)[region].sum() - inside * (inside + 1) / 2  # Mann-Whitney U
    return float(above) / (inside * outside)


def entropy(heatmap: ArrayLike) -> float:
    """Shannon entropy of the heatmap as a distribution, in nats, from 0 (one pixel) to ln(H W) (Bhatt et al. 2020)."""
    heat = _scaled(_evident(_read(heatmap)))
    share = heat[heat > 0] / heat.sum()
    share = share[share > 0]  # a share can underflow to 0, and 0 ln 0 is 0
    return max(0.0, -float((share * np.log(share)).sum()))


def gini(heatmap: ArrayLike) -> float:
    """Gini index of the heatmap: 0 if even, 1 - 1/(H W) if all of it is in one pixel (Chalasani et al. 2020)."""
    heat = np.sort(_scaled(_evident(_read(heatmap))), axis=None)
    weight = 2 * np.arange(1, heat.size + 1) - heat.size - 1
    return max(0.0, float((weight * heat).sum() / (heat.size * heat.sum())))


def similarity(a: ArrayLike, b: ArrayLike, *, kind: Similarity = "spearman") -> float:
    """How similar two heatmaps of the same shape are: 1 if they are equal up to a positive factor.

    `spearman` is the rank correlation with ties averaged, in [-1, 1]; `ssim` the structural similarity of the maps
    scaled to a maximum of 1, in [-1, 1] (Wang et al. 2004); `iou` that of their pixels above 0.2 x maximum, in [0, 1].
    Raises NoEvidenceError if either map is all zero: two empty maps are not similar. Raises HeatmapError for maps of
    different shapes, for a constant map under `spearman`, and for a side under 3 under `ssim`.
    """
    measures = {"spearman": _spearman, "ssim": _ssim, "iou": _hot_overlap}
    if kind not in measures:
        raise HeatmapError(f"kind={kind!r} is not a similarity; pass one of {', '.join(map(repr, measures))}")
    first, second = _read(a, "the first heatmap"), _read(b, "the second heatmap")
    _same_shape(first, second)
    return measures[kind](_evident(first, "the first heatmap"), _evident(second, "the second heatmap"))


def max_sensitivity(heatmap: ArrayLike, perturbed: Sequence[ArrayLike]) -> float:
    """The largest change of the heatmap over the perturbed images, relative to its own norm (Yeh et al. 2019).

    max ||perturbed - heatmap|| / ||heatmap||, at least 0; `perturbed` holds one or more heatmaps of the same shape.
    A perturbed heatmap may be all zero: that is a change of 1, not missing evidence.
    """
    heat = _evident(_read(heatmap))
    others = [_read(other, f"perturbed heatmap {i}") for i, other in enumerate(perturbed)]
    if not others:
        raise HeatmapError("there is no perturbed heatmap to compare with; pass at least one")
    for other in others:
        _same_shape(heat, other)
    unit = heat / heat.max()
    return max(_norm(other / heat.max() - unit) for other in others) / _norm(unit)


def deletion_auc(scores: ArrayLike) -> float:
    """Area under the score while the most relevant pixels are removed; lower is better (Petsiuk et al. 2018).

    `scores` (n,) runs in even steps from the full image to the blank one, which are scaled to 1 and 0.
    Raises HeatmapError unless the full image scores higher than the blank one.
    """
    return _normalised_area(curve := _scores(scores, "scores"), full=curve[0], blank=curve[-1])


def insertion_auc(scores: ArrayLike) -> float:
    """Area under the score while the most relevant pixels are revealed; higher is better (Petsiuk et al. 2018).

    `scores` (n,) runs in even steps from the blank image to the full one, which are scaled to 0 and 1.
    Raises HeatmapError unless the full image scores higher than the blank one.
    """
    return _normalised_area(curve := _scores(scores, "scores"), full=curve[-1], blank=curve[0])


def average_drop(full: ArrayLike, explained: ArrayLike) -> float:
    """Mean relative fall of the score when only what the heatmap shows is kept, in [0, 1] (Chattopadhay et al. 2018).

    mean max(0, full - explained) / full; both (n,) are scores of the same images, such as softmax probabilities.
    Raises HeatmapError for different lengths, a score of the full image of 0 or less, or a negative explained score.
    """
    before, after = _paired_scores(full, explained)
    if before.min() <= 0 or after.min() < 0:
        raise HeatmapError(
            f"a relative fall needs positive scores, got {before.min():.4g} (full) and {after.min():.4g} (explained) "
            "as the lowest; pass probabilities, not logits"
        )
    return float((np.maximum(before - after, 0) / before).mean())


def increase_in_confidence(full: ArrayLike, explained: ArrayLike) -> float:
    """Share of images that score higher when only what the heatmap shows is kept, in [0, 1] (Chattopadhay et al. 2018).

    `full` and `explained` (n,) are scores of the same images. Raises HeatmapError for different lengths.
    """
    before, after = _paired_scores(full, explained)
    return float((after > before).mean())


def _read(heatmap: ArrayLike, name: str = "the heatmap") -> Floats:
    """The heatmap as finite float64 (H, W), negatives clipped."""
    try:
        values = np.asarray(heatmap)
    except (TypeError, ValueError, RuntimeError) as error:
        raise HeatmapError(f"{name} cannot be read as an array ({error}); pass real numbers (H, W)") from error
    if values.dtype.kind not in "fiub" or values.ndim != 2 or not values.size:
        raise HeatmapError(
            f"{name} has shape {values.shape} and type {values.dtype}; expected real numbers (H, W); "
            "pass one heatmap of one image"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        y, x = np.argwhere(~np.isfinite(values))[0]
        raise HeatmapError(
            f"{name} is {values[y, x]} at y {y}, x {x}; expected finite numbers; check the model's activations"
        )
    clipped: Floats = np.maximum(values, 0)
    return clipped


def _evident(heat: Floats, name: str = "the heatmap") -> Floats:
    if not heat.any():
        raise NoEvidenceError(
            f"{name} has no positive value: there is no evidence for the target; "
            "explain another target, layer or method"
        )
    return heat


def _scaled(heat: Floats) -> Floats:
    """The heat scaled by the power of two that brings its maximum to 0.5 or above: exact, and safe to sum."""
    power = -math.frexp(heat.max())[1]
    # A product is as exact and ten times as fast, where the factor is a normal number.
    scaled: Floats = heat * 2.0**power if abs(power) <= 1000 else np.ldexp(heat, power)
    return scaled


def _pair(heatmap: ArrayLike, mask: object) -> tuple[Floats, Bools]:
    """The checked arguments of every figure of a heatmap and a mask."""
    heat = _read(heatmap)
    region = masks.as_mask(mask, shape=(heat.shape[0], heat.shape[1]))
    if not region.any():
        raise HeatmapError("the mask is empty; expected at least one pixel inside; check how it was made")
    if region.all():
        raise HeatmapError("the mask covers the whole heatmap, so there is nothing to test; pass a smaller mask")
    return _evident(heat), region


def _share_of_highest(heat: Floats, region: Bools, k: int) -> float:
    cut = np.partition(heat, heat.size - k, axis=None)[heat.size - k]
    above, tied = heat > cut, heat == cut
    room = k - int(above.sum())
    credit = int(region[above].sum()) + room * int(region[tied].sum()) / int(tied.sum())
    return credit / k


def _hot(heat: Floats, threshold: float) -> Bools:
    expected = "a share of the maximum; pass a number above 0 and up to 1"
    threshold = number("threshold", threshold, expected, lambda share: 0 < share <= 1)
    heat = _scaled(heat)
    hot: Bools = heat >= threshold * heat.max()
    return hot


def _overlap(a: Bools, b: Bools) -> float:
    return int((a & b).sum()) / int((a | b).sum())


def _hot_overlap(a: Floats, b: Floats) -> float:
    return _overlap(_hot(a, 0.2), _hot(b, 0.2))


def _spearman(a: Floats, b: Floats) -> float:
    for name, heat in (("first", a), ("second", b)):
        if heat.min() == heat.max():
            raise HeatmapError(f"the {name} heatmap has one value everywhere, so it has no ranks; pass kind='ssim'")
    first, second = (_ranks(heat) - (heat.size + 1) / 2 for heat in (a, b))
    # One root of the product: maps of equal order then come out as 1 exactly.
    scale = math.sqrt(np.square(first).sum() * np.square(second).sum())
    return float(np.clip((first * second).sum() / scale, -1, 1))


def _ranks(heat: Floats) -> Floats:
    """The rank of each value (H, W), from 1; ties share their mean rank."""
    from scipy.stats import rankdata  # which imports more than the rest of this module

    ranks: Floats = rankdata(heat).reshape(heat.shape)
    return ranks


def _ssim(a: Floats, b: Floats) -> float:
    from skimage.metrics import structural_similarity

    if min(a.shape) < 3:
        raise HeatmapError(f"heatmaps of shape {a.shape} are too small for SSIM; expected 3 x 3 or more; resize both")
    window = min(7, min(a.shape) - 1 + min(a.shape) % 2)  # scikit-image's own 7, or the largest odd one that fits
    ssim = structural_similarity(a / a.max(), b / b.max(), data_range=1.0, win_size=window)
    return float(ssim)


def _norm(values: Floats) -> float:
    # Not a product of vectors: its threads cost more than it saves at the size of a heatmap.
    return math.sqrt(np.square(values).sum())


def _same_shape(a: Floats, b: Floats) -> None:
    if a.shape != b.shape:
        raise HeatmapError(
            f"the heatmaps have shapes {a.shape} and {b.shape}; expected the same shape; resize one of them"
        )


def _scores(scores: ArrayLike, name: str) -> Floats:
    values = np.asarray(scores)
    if values.dtype.kind not in "fiu" or values.ndim != 1 or not values.size:
        raise HeatmapError(f"{name} has shape {values.shape} and type {values.dtype}; pass real numbers (n,)")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise HeatmapError(f"{name} holds NaN or Inf; expected finite scores; check the model's output")
    return values


def _paired_scores(full: ArrayLike, explained: ArrayLike) -> tuple[Floats, Floats]:
    before, after = _scores(full, "full"), _scores(explained, "explained")
    if before.shape != after.shape:
        raise HeatmapError(
            f"there are {before.size} full and {after.size} explained scores; pass one of each per image"
        )
    return before, after


def _normalised_area(curve: Floats, *, full: float, blank: float) -> float:
    if not full > blank:
        raise HeatmapError(
            f"the full image scores {full:.4g} and the blank one {blank:.4g}; expected the full image to score higher, "
            "or its pixels add nothing to the target; explain another target"
        )
    height = (curve - blank) / (full - blank)
    return float(((height[:-1] + height[1:]) / 2).mean())
