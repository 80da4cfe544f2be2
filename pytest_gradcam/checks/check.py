"""What every kind of check has: a bound, a verdict, and words for how it came out.

An assertion is *measure, build a Check, settle*: `check.on(heatmap)` begins its record, `check.checked(record)` makes plain
numbers of what the caller passed, `check.decided(record, figure)` completes it, and `settle` keeps it and raises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from pytest_gradcam.evidence import bounds
from pytest_gradcam.evidence.record import Direction, Record, Subject
from pytest_gradcam.questions.protocols import MapOnView
from pytest_gradcam.validation import number


@dataclass(frozen=True)
class Check(ABC):
    """One assertion on one figure. `bound` is what the caller passed, which may be anything until `checked`."""

    bound: Any

    name: ClassVar[str]
    measure: ClassVar[str]
    direction: ClassVar[Direction] = "at_least"

    @abstractmethod
    def finding(self, record: Record, figure: float, bound: float) -> str:
        """What was measured against what was expected, in one sentence."""

    @abstractmethod
    def advice(self, record: Record) -> str:
        """What to do next where the check failed."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The numbers besides the bound that the figure depends on, as the caller passed them."""
        return {}

    def plain_bound(self) -> float:
        """The bound as a plain number. Raises HeatmapError for one that every figure keeps, or none can."""
        return bounds.share(self.direction, self.bound, what=self.what)

    @property
    def what(self) -> str:
        """What the bound is on."""
        return f"{self.name} measures the {self.measure}"

    def record(self, subject: Subject, **known: Any) -> Record:
        """The record of the check on the subject, undecided so far."""
        return Record(
            check=self.name,
            measure=self.measure,
            bound=self.bound,
            direction=self.direction,
            parameters=self.parameters,
            **asdict(subject),
            **known,
        )

    def on(self, heatmap: MapOnView) -> Record:
        """The record of the check on the heatmap, undecided so far."""
        (h, w), (height, width) = heatmap.grid.shape, heatmap.values.shape
        return self.record(heatmap.subject, grid=(h, w), view=(height, width))

    def checked(self, record: Record) -> Record:
        """The record with bound and parameters as plain numbers. Raises HeatmapError where they can decide nothing."""
        parameters = {
            name: number(name, value, "a finite number, such as 0.5") for name, value in self.parameters.items()
        }
        return replace(record, parameters=parameters, bound=self.plain_bound())

    def decided(self, record: Record, figure: float) -> Record:
        """The record with the figure, the verdict, and both in words."""
        bound = record.bound
        assert bound is not None
        holds = figure >= bound if self.direction == "at_least" else figure <= bound
        record = replace(record, figure=figure, outcome="passed" if holds else "failed")
        return replace(record, finding=self.finding(record, figure, bound), advice=self.advice(record))
