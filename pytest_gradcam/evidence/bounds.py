"""Bounds that a check can both keep and break."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Record

RELEVANCE_MASS, LIFT = "relevance mass", "lift"

# What a product of a lift and an area may be off by: a lift of exactly 1 / area is within reach.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Lift:
    """A bound on relevance mass in units of chance: `times` the mask's own share of the view.

    1 is what attention without a place would give; the ceiling is 1 / the mask's share.
    """

    times: float

    def __repr__(self) -> str:
        return f"masks.lift({self.times!r})"


def lift(times: float) -> Lift:
    """The bound of `times` the mask's own share of the view, for `at_least` and `at_most` of the focus checks."""
    return Lift(times)


def lift_times(name: str, bound: Lift, *, lowest: float = math.ulp(0)) -> float:
    """The lift as a plain number. Raises HeatmapError for one that is no finite number of at least the lowest."""
    if not finite(bound.times) or bound.times < lowest:
        raise HeatmapError(
            f"{name}={bound!r} cannot decide anything; expected a lift {'of at least' if lowest == 0 else 'above'} 0, "
            "masks.lift(2) for twice what chance would give"
        )
    return float(bound.times)


def beyond_reach(times: float, area: float) -> bool:
    """Whether no heatmap has such a lift on a mask of this share of the view."""
    return times > 1 / area * (1 + _ROUNDING)


def finite(value: Any) -> bool:
    """Whether the value is a finite real number, of Python or NumPy, and not a truth value."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def settled(record: Record) -> Record:
    """The record with its bound and parameters as plain numbers, the bound in lifts where it was given as one.

    Raises HeatmapError for a bound that every heatmap keeps, or none can, whatever the mask.
    """
    for name, value in record.parameters.items():
        if not finite(value):
            raise HeatmapError(f"{name}={value!r} is no number; expected a finite one, such as 0.5")
    record = replace(record, parameters={name: float(value) for name, value in record.parameters.items()})
    bound: Any = record.bound
    if isinstance(bound, Lift):
        return _settled_lift(record, bound)
    if record.check == "peak_within":
        usable, expected = finite(bound) and bound >= 0, "a number of pixels of at least 0"
    elif record.direction == "at_least":
        usable, expected = finite(bound) and 0 < bound <= 1, "a share above 0 and up to 1, 0.5 for 50 percent"
    else:
        usable, expected = finite(bound) and 0 <= bound < 1, "a share from 0 to below 1, 0.1 for 10 percent"
    if not usable:
        raise HeatmapError(f"{_name(record)}={bound!r} cannot decide anything; expected {expected}{_or_lift(record)}")
    return replace(record, bound=float(bound))


def within_reach(record: Record) -> Record:
    """The record, now that the mask's size is known: a lift is kept to 1 / area, where a rounding put it above.

    Raises HeatmapError for a bound in lifts that every heatmap keeps, or none can, on a mask of this size.
    """
    if record.measure != LIFT or record.bound is None or record.mask_area is None:
        return record
    ceiling = 1 / record.mask_area
    on_size = f"on a mask of {100 * record.mask_area:.3g} % of the view no lift is above {ceiling:.4g}"
    if record.direction == "at_least" and beyond_reach(record.bound, record.mask_area):
        raise HeatmapError(
            f"at_least=masks.lift({record.bound:g}) can never hold: {on_size}; "
            "pass a lower lift, a share, or a smaller mask"
        )
    if record.direction == "at_most" and record.bound >= ceiling * (1 - _ROUNDING):
        raise HeatmapError(
            f"at_most=masks.lift({record.bound:g}) holds for every heatmap: {on_size}; pass a lower lift, or a share"
        )
    return replace(record, bound=min(record.bound, ceiling))


def _settled_lift(record: Record, bound: Lift) -> Record:
    name = _name(record)
    if record.measure != RELEVANCE_MASS:
        raise HeatmapError(
            f"{name}={bound!r} bounds relevance mass, and {record.check} measures the {record.measure}; "
            f"pass a number, or use assert_focus_within"
        )
    times = lift_times(name, bound, lowest=0) if record.direction == "at_most" else lift_times(name, bound)
    return replace(record, bound=times, measure=LIFT)


def _name(record: Record) -> str:
    return "tolerance" if record.check == "peak_within" else record.direction


def _or_lift(record: Record) -> str:
    return ", or masks.lift(2) for twice what chance would give" if record.measure == RELEVANCE_MASS else ""
