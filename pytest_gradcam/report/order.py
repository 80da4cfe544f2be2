"""The order in which people should look at checks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pytest_gradcam.evidence.record import Outcome, Record

#: From the one that matters most.
OUTCOMES: tuple[Outcome, ...] = ("failed", "invalid", "no evidence", "passed")


def worst_first(records: Iterable[Record]) -> list[Record]:
    """What nobody expected first, then by outcome.

    The failed come by how far they miss their bound, the passed by how narrowly they hold it.
    """
    return sorted(records, key=lambda one: (expected(one), OUTCOMES.index(one.outcome), _margin(one), one.test))


def expected(record: Record) -> bool:
    """Whether the check came out as its test wants it: passed, or in a test that passes because the check does not."""
    return record.outcome == "passed" or record.test_outcome in ("passed", "xfailed")


def _margin(record: Record) -> float:
    """How far the figure lies on the right side of its bound, in units of the bound; negative on the wrong side."""
    if record.figure is None or record.bound is None:
        return math.inf
    distance = record.figure - record.bound if record.direction == "at_least" else record.bound - record.figure
    return distance / max(abs(record.bound), 0.01)
