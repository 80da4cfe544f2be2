"""The distribution of one kind of check's figures against their bounds, as bars to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from pytest_gradcam.evidence import Record
from pytest_gradcam.messages import number

_LEFT, _RIGHT, _TOP, _BASE = 8.0, 312.0, 16.0, 104.0  # the drawing's inner edges
_BINS = 38
_LINES = 6  # bounds that are drawn one by one; of more, the least and the largest


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
    figures = [record.figure for record in group if record.figure is not None]
    bounds = sorted({record.bound for record in group if record.bound is not None})
    low, high = min(*figures, *bounds), max(*figures, *bounds)
    high = high if high > low else low + 1
    limit = number(bounds[0]) if len(bounds) == 1 else f"{number(bounds[0])} to {number(bounds[-1])}"
    failed = sum(record.outcome == "failed" for record in group)
    return Plot(
        check=group[0].check,
        measure=group[0].measure,
        text=(
            f"{len(group)} checks, median {number(median(figures))}, from {number(min(figures))} to "
            f"{number(max(figures))}; expected {group[0].direction.replace('_', ' ')} {limit}; {failed} failed"
        ),
        bars=tuple(_bars(group, low, high)),
        bounds=tuple(
            _place(bound, low, high) for bound in (bounds if len(bounds) <= _LINES else bounds[:: len(bounds) - 1])
        ),
        side=1 if group[0].direction == "at_least" else -1,
        low=number(low),
        high=number(high),
        bound=limit,
    )


def _bars(group: Sequence[Record], low: float, high: float) -> Iterable[Bar]:
    """Passed at the bottom, failed on them; no bar with a check in it is too low to be seen."""
    counts = [{"passed": 0, "failed": 0} for _ in range(_BINS)]
    for record in group:
        if record.figure is not None and record.outcome in ("passed", "failed"):
            place = int((record.figure - low) / (high - low) * _BINS)
            counts[min(place, _BINS - 1)][record.outcome] += 1
    most = max(sum(bin_.values()) for bin_ in counts) or 1
    width = (_RIGHT - _LEFT) / _BINS
    for place, bin_ in enumerate(counts):
        top = _BASE
        for css, count in bin_.items():
            if count:
                height = max(1.5, count / most * (_BASE - _TOP))
                top -= height
                yield Bar(css, round(_LEFT + place * width, 1), round(top, 1), round(width - 1, 1), round(height, 1))


def _place(value: float, low: float, high: float) -> float:
    return round(_LEFT + (value - low) / (high - low) * (_RIGHT - _LEFT), 1)
