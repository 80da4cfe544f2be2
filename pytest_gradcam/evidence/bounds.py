"""Bounds that decide something: a figure can be within them, and outside of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Direction
from pytest_gradcam.validation import bound, is_number

#: The measures whose figures have units of their own: shares in percent, multiples of chance, pixels.
RELEVANCE_MASS, LIFT, DISTANCE = "relevance mass", "lift", "distance of the peak from the mask"

# Rounding error of the product of a lift and an area: a lift of exactly 1 / area is within reach.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Lift:
    """A bound on relevance mass in units of chance: `times` the mask's own share of the view.

    1 is what attention that is spread evenly gives; the ceiling is 1 / the mask's share.
    """

    times: float

    def __repr__(self) -> str:
        return f"masks.lift({self.times!r})"


def lift(times: float) -> Lift:
    """The bound of `times` the mask's own share of the view, for `at_least` and `at_most` of the focus checks."""
    return Lift(times)


def lift_times(name: str, bound: Lift, *, may_be_zero: bool = False) -> float:
    """The lift as a plain number. Raises HeatmapError unless it is a finite number above 0, or 0 if that is allowed."""
    lowest = 0 if may_be_zero else math.ulp(0)
    if not is_number(bound.times) or bound.times < lowest:
        raise HeatmapError(
            f"{name}={bound!r} cannot decide anything; expected a lift {'of at least' if may_be_zero else 'above'} 0, "
            "masks.lift(2) for twice what chance would give"
        )
    return float(bound.times)


def beyond_reach(times: float, area: float) -> bool:
    """Whether no heatmap has such a lift on a mask of this share of the view."""
    return times > 1 / area * (1 + _ROUNDING)


def lift_within_reach(direction: Direction, times: float, area: float) -> float:
    """The lift, lowered to 1 / area if rounding put it above.

    Raises HeatmapError for one that holds for every heatmap, or for none, on a mask of this share of the view.
    """
    ceiling = 1 / area
    on_size = f"on a mask of {100 * area:.3g} % of the view no lift is above {ceiling:.4g}"
    if direction == "at_least" and beyond_reach(times, area):
        raise HeatmapError(
            f"at_least=masks.lift({times:g}) can never hold: {on_size}; pass a lower lift, a share, or a smaller mask"
        )
    if direction == "at_most" and times >= ceiling * (1 - _ROUNDING):
        raise HeatmapError(
            f"at_most=masks.lift({times:g}) holds for every heatmap: {on_size}; pass a lower lift, or a share"
        )
    return min(times, ceiling)


def share(direction: Direction, value: Any, *, what: str, or_else: str = "") -> float:
    """The share as a plain number. Raises HeatmapError for one that holds for every figure, or for none.

    `what` says which check measures what, and `or_else` which bounds it takes besides shares.
    """
    _refuse_lift(direction, value, what)
    if direction == "at_least":
        expected = f"a share above 0 and up to 1, 0.5 for 50 percent{or_else}"
        return bound(direction, value, expected, lambda share: 0 < share <= 1)
    return bound(
        direction, value, f"a share from 0 to below 1, 0.1 for 10 percent{or_else}", lambda share: 0 <= share < 1
    )


def distance(name: str, value: Any, *, what: str) -> float:
    """The distance as a plain number. Raises HeatmapError unless it is a finite number of at least 0."""
    _refuse_lift(name, value, what)
    return bound(name, value, "a number of pixels of at least 0", lambda pixels: pixels >= 0)


def argument(measure: str, direction: Direction) -> str:
    """What an assertion calls the bound on this measure."""
    return "tolerance" if measure == DISTANCE else direction


def _refuse_lift(name: str, value: Any, what: str) -> None:
    if isinstance(value, Lift):
        raise HeatmapError(
            f"{name}={value!r} bounds relevance mass, but {what}; pass a number, or use assert_focus_within"
        )
