"""The distribution of one kind of check's figures against their bounds, as bars to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from pytest_gradcam.evidence.messages import number
from pytest_gradcam.evidence.record import Record

_LEFT, _RIGHT, _TOP, _BASE = 8.0, 312.0, 16.0, 104.0  # the drawing's inner edges
_BINS = 38


@dataclass(frozen=True)
class Bar:
    """One rectangle of the drawing."""

    css: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Plot:
    """What is drawn and said of one kind of check; `side` is 1 where figures above the bound pass, else -1."""

    check: str
    measure: str
    text: str
    bars: tuple[Bar, ...]
    bounds: tuple[float, ...]
    side: int
    low: str
    high: str
    bound: str


def plots(records: Iterable[Record]) -> list[Plot]:
    """One for each kind of check and measure that has figures, most failures first."""
    decided = [record for record in records if record.figure is not None and record.bound is not None]
    decided.sort(key=_kind)
    groups = [list(group) for _, group in groupby(decided, _kind)]
    groups.sort(key=lambda group: -sum(record.outcome == "failed" for record in group))
    return [_plot(group) for group in groups]


def _kind(record: Record) -> tuple[str, str, str]:
    return record.check, record.measure, record.direction


def _plot(group: Sequence[Record]) -> Plot:
    """Of the figures, or where the checks have several bounds, of how far each figure lies above its own."""
    bounds = sorted({record.bound for record in group if record.bound is not None})
    shift = len(bounds) > 1
    values = [_value(record, shift) for record in group]
    bound = 0.0 if shift else bounds[0]
    low, high = min(bound, *values), max(bound, *values)
    high = high if high > low else low + 1
    failed = sum(record.outcome == "failed" for record in group)
    limit = f"{number(bounds[0])} to {number(bounds[-1])}" if shift else number(bound)
    return Plot(
        check=group[0].check,
        measure=group[0].measure + (", minus the bound" if shift else ""),
        text=(
            f"{len(group)} checks, median {number(median(values))}, from {number(min(values))} to {number(max(values))}; "
            f"expected {group[0].direction.replace('_', ' ')} {number(bound)}"
            f"{f' (bounds from {limit})' if shift else ''}; {failed} failed"
        ),
        bars=tuple(_bars(group, values, low, high)),
        bounds=(_place(bound, low, high),),
        side=1 if group[0].direction == "at_least" else -1,
        low=number(low),
        high=number(high),
        bound=limit,
    )


def _value(record: Record, shift: bool) -> float:
    assert record.figure is not None
    assert record.bound is not None
    return record.figure - record.bound if shift else record.figure


def _bars(group: Sequence[Record], values: Sequence[float], low: float, high: float) -> Iterable[Bar]:
    """Passed at the bottom, failed on them; no bar with a check in it is too low to be seen."""
    counts = [_counts(group, values, outcome, (low, high)) for outcome in ("passed", "failed")]
    most = max(map(sum, zip(*counts, strict=True))) or 1
    width = (_RIGHT - _LEFT) / _BINS
    for place, stack in enumerate(zip(*counts, strict=True)):
        top = _BASE
        for css, count in zip(("passed", "failed"), stack, strict=True):
            if count:
                height = max(1.5, count / most * (_BASE - _TOP))
                top -= height
                yield Bar(css, round(_LEFT + place * width, 1), round(top, 1), round(width - 1, 1), round(height, 1))


def _counts(group: Sequence[Record], values: Sequence[float], outcome: str, limits: tuple[float, float]) -> list[int]:
    """How many checks of this outcome are in each bin."""
    import numpy as np  # only a page has plots

    chosen = [value for record, value in zip(group, values, strict=True) if record.outcome == outcome]
    counts: list[int] = np.histogram(chosen, _BINS, limits)[0].tolist()
    return counts


def _place(value: float, low: float, high: float) -> float:
    return round(_LEFT + (value - low) / (high - low) * (_RIGHT - _LEFT), 1)
