"""Whether a verdict on a heatmap that is an estimate survives the estimate's own error."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.messages import number
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.grids import resize
from pytest_gradcam.questions.protocols import Bools, HeatmapLike, Values

_CONFIDENCE = 0.95


class OnMask(Protocol):
    """A check on a figure of a heatmap (H, W) and a mask."""

    def figure(self, values: Values, pixels: Bools) -> float: ...
    def holds(self, figure: float, bound: float) -> bool: ...


def require_certain(check: OnMask, record: Record, heatmap: HeatmapLike, pixels: Bools) -> Record:
    """The decided record, with the figure's interval. Raises HeatmapError if the bound lies inside of it.

    The interval is the hull of the percentile and the basic bootstrap interval (Davison and Hinkley 1997): noise in a map
    moves its figures one way, and each of the two is shifted in another direction.
    """
    if not len(heatmap.resampled):
        return record
    assert record.figure is not None
    assert record.bound is not None
    shape = record.view or pixels.shape
    maps = [resize(grid, shape) for grid in heatmap.resampled]
    figures = [check.figure(each, pixels) for each in maps if each.any()]
    if len(figures) < len(maps):
        raise HeatmapError(
            f"the heatmap is an estimate, and {len(maps) - len(figures)} of its {len(maps)} bootstrap replicates are zero "
            "everywhere: there is too little evidence for the target; raise gradcam_rise_masks (rise_masks=)"
        )
    tail = (1 - _CONFIDENCE) / 2
    low, high = (float(end) for end in np.quantile(figures, (tail, 1 - tail)))
    low, high = min(low, 2 * record.figure - high), max(high, 2 * record.figure - low)
    within = f"{number(low)} to {number(high)}"
    if check.holds(low, record.bound) is not check.holds(high, record.bound):
        raise HeatmapError(
            f"the heatmap is an estimate from random masks, and its error decides: the {record.measure} is "
            f"{number(record.figure)} ({within} with {_CONFIDENCE:.0%} confidence), and the bound {number(record.bound)}; raise "
            "gradcam_rise_masks (rise_masks=)"
        )
    interval = ("estimate", f"{record.measure} {within} with {_CONFIDENCE:.0%} confidence")
    return replace(record, details=(*record.details, interval))
