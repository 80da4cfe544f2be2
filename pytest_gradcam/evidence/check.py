"""What every kind of check has: a bound, a verdict, and words for its result.

An assertion measures, builds a `Check`, and settles it: `check.on(heatmap)` starts the record, `check.checked(record)` turns
what the caller passed into plain numbers, `check.decided(record, figure)` completes the record, and `settle` keeps it and
raises. A new check states its name, its measure, its finding and its advice; the rest is inherited.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.evidence import bounds
from pytest_gradcam.evidence.record import Direction, Record, Subject
from pytest_gradcam.validation import number


class Explained(Protocol):
    """A heatmap: its grid (h, w), the same in the size (H, W) of the view, and what it explains."""

    @property
    def grid(self) -> NDArray[np.float32]: ...
    @property
    def values(self) -> NDArray[np.float32]: ...
    @property
    def subject(self) -> Subject: ...


@dataclass(frozen=True)
class Check(ABC):
    """One assertion on one figure. `bound` is what the caller passed, which may be anything until `checked`."""

    bound: Any

    name: ClassVar[str]
    measure: ClassVar[str]
    direction: ClassVar[Direction] = "at_least"

    @abstractmethod
    def finding(self, record: Record, figure: float, bound: float) -> str:
        """What was measured and what was expected, in one sentence."""

    @abstractmethod
    def advice(self, record: Record) -> str:
        """What to do next if the check failed."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The numbers besides the bound that the figure depends on, as the caller passed them."""
        return {}

    def plain_bound(self) -> float | None:
        """The bound as a plain number. Raises HeatmapError if every figure, or no figure, is within it."""
        return bounds.share(self.direction, self.bound, what=self.what)

    def plain_parameters(self) -> dict[str, float]:
        """The parameters as plain numbers. Raises HeatmapError if one is not a finite number."""
        return {name: number(name, value, "a finite number, such as 0.5") for name, value in self.parameters.items()}

    @property
    def what(self) -> str:
        """What the bound is on."""
        return f"{self.name} measures the {self.measure}"

    def record(self, subject: Subject, **known: Any) -> Record:
        """The record of the check on the subject, not yet decided."""
        return Record(
            check=self.name,
            measure=self.measure,
            bound=self.bound,
            direction=self.direction,
            parameters=self.parameters,
            **asdict(subject),
            **known,
        )

    def on(self, heatmap: Explained, **known: Any) -> Record:
        """The record of the check on the heatmap, not yet decided."""
        (h, w), (height, width) = heatmap.grid.shape, heatmap.values.shape
        return self.record(heatmap.subject, grid=(h, w), view=(height, width), **known)

    def checked(self, record: Record) -> Record:
        """The record with bound and parameters as plain numbers. Raises HeatmapError if they cannot decide anything."""
        return replace(record, parameters=self.plain_parameters(), bound=self.plain_bound())

    def holds(self, figure: float, bound: float) -> bool:
        """Whether the figure is within the bound."""
        return figure >= bound if self.direction == "at_least" else figure <= bound

    def decided(self, record: Record, figure: float) -> Record:
        """The record with the figure, the verdict, and both in words."""
        bound = record.bound
        assert bound is not None
        record = replace(record, figure=figure, outcome="passed" if self.holds(figure, bound) else "failed")
        return replace(record, finding=self.finding(record, figure, bound), advice=self.advice(record))
