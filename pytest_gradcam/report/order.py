"""The order in which people should look at checks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pytest_gradcam.evidence import Outcome, Record

#: From the one that matters most.
OUTCOMES: tuple[Outcome, ...] = ("failed", "invalid", "no evidence", "passed")


def worst_first(records: Iterable[Record]) -> list[Record]:
    """By outcome; the failed by how far they miss their bound, the passed by how narrowly they hold it."""
    return sorted(records, key=lambda record: (OUTCOMES.index(record.outcome), _margin(record), record.test))


def _margin(record: Record) -> float:
    """How far the figure lies on the right side of its bound, in units of the bound; negative on the wrong side."""
    if record.figure is None or record.bound is None:
        return math.inf
    distance = record.figure - record.bound if record.direction == "at_least" else record.bound - record.figure
    return distance / max(abs(record.bound), 0.01)
