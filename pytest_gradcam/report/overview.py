"""One row for each check of each test function: how its images came out, and their figures against the bound."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_gradcam.evidence.messages import number
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.compare import function
from pytest_gradcam.report.order import OUTCOMES, worst_first

#: The sparkline's size, and how far its marks stay from the ends, in its own units.
WIDTH, _END = 160, 6


@dataclass(frozen=True)
class Mark:
    """A figure in the sparkline: where it is, and how its check came out."""

    x: float
    css: str


@dataclass(frozen=True)
class Row:
    """The checks of one kind and measure in one test function."""

    test: str
    check: str
    records: tuple[Record, ...]

    @property
    def outcomes(self) -> list[tuple[str, int]]:
        found = Counter(record.outcome for record in self.records)
        return [(outcome, found[outcome]) for outcome in OUTCOMES if found[outcome]]

    @property
    def direction(self) -> str:
        return self.records[0].direction.replace("_", " ")

    @property
    def bound(self) -> str:
        """The bound, or the least and the largest of several."""
        low, high = min(self._bounds, default=None), max(self._bounds, default=None)
        if low is None or high is None:
            return ""
        return number(low) if low == high else f"{number(low)} to {number(high)}"

    @property
    def worst(self) -> str:
        if not self.figures:
            return ""
        return number(min(self.figures) if self.records[0].direction == "at_least" else max(self.figures))

    @cached_property
    def figures(self) -> tuple[float, ...]:
        return tuple(record.figure for record in self.records if record.figure is not None)

    @cached_property
    def _bounds(self) -> tuple[float, ...]:
        return tuple(record.bound for record in self.records if record.bound is not None)

    @property
    def marks(self) -> list[Mark]:
        """One for each place of the sparkline where a figure lies: what failed hides what passed."""
        places: dict[float, str] = {}
        for record in reversed(worst_first(self.records)):
            if record.figure is not None:
                places[self._place(record.figure)] = record.outcome.replace(" ", "-")
        return [Mark(x, css) for x, css in sorted(places.items())]

    @property
    def limits(self) -> list[float]:
        """Where the bounds lie in the sparkline."""
        return sorted({self._place(bound) for bound in self._bounds}) if self.figures else []

    @property
    def text(self) -> str:
        """The sparkline in words."""
        if not self.figures:
            return "no figure"
        span = f"{number(min(self.figures))} to {number(max(self.figures))}"
        return f"figures {span}, expected {self.direction} {self.bound}" if self.bound else f"figures {span}"

    def _place(self, value: float) -> float:
        shown = (*self.figures, *self._bounds)
        low, high = min(shown), max(shown)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(_END + share * (WIDTH - 2 * _END))


def rows(records: Sequence[Record]) -> list[Row]:
    """The rows, those with the worst checks first."""
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in worst_first(records):
        groups[function(record.test), record.check, record.measure].append(record)
    return [Row(test, check, tuple(found)) for (test, check, _), found in groups.items()]


def model_names(records: Sequence[Record]) -> dict[tuple[str, str], str]:
    """What to call each model, by its phrase and weights: several of one phrase are told apart by their weights."""
    known = {(record.model, record.weights) for record in records if record.model}
    phrases = Counter(model for model, _ in known)
    return {
        (model, weights): f"{model}, weights {weights[:8] or 'unknown'}" if phrases[model] > 1 else model
        for model, weights in known
    }
