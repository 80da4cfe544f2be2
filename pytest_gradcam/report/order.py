"""What people should look at first: what a report may lack, then checks in this order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from pytest_gradcam.evidence.record import Outcome, Record
from pytest_gradcam.report.document import Report

_SHOWN = 5
#: The most important first.
OUTCOMES: tuple[Outcome, ...] = ("failed", "invalid", "no evidence", "passed")


def alarms(report: Report) -> Iterator[str]:
    """What must not be overlooked besides the checks themselves, one sentence each."""
    yield from dict.fromkeys(_alarms(report))  # runs of the same tests say the same


def unchecked(tests: Sequence[str]) -> str:
    """That these tests made no check."""
    return f"{len(tests)} test{'s use' if len(tests) > 1 else ' uses'} gradcam but made no check"


def _alarms(report: Report) -> Iterator[str]:
    if report.gaps:
        yield f"Checks may be missing: {missing(report.gaps)}."
    for run in report.runs:
        if run.tests.get("error"):
            yield f"{run.tests['error']} tests had an error in their set-up or tear-down."
        if run.unchecked:
            yield f"{unchecked(run.unchecked)}: {_some(run.unchecked)}."
        if run.retried:
            tests = sorted({record.test for record in run.retried})
            yield f"{len(run.retried)} checks did not pass in an earlier try of tests that ran again: {_some(tests)}."
        if run.uncommitted:
            yield f"{len(run.uncommitted)} files of the tests and their configuration are in no commit: {_some(run.uncommitted)}."


def missing(gaps: Iterable[str]) -> str:
    """'of the tests 1 crashed, 2 not run; the run did not end'."""
    found = list(gaps)
    counted = [gap for gap in found if gap[0].isdigit()]
    tests = [f"of the tests {', '.join(counted)}"] if counted else []
    return "; ".join([*tests, *(gap for gap in found if gap not in counted)])


def _some(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def worst_first(records: Iterable[Record]) -> list[Record]:
    """Unexpected outcomes first, then by outcome.

    The failed come by how far they miss their bound, the passed by how narrowly they hold it.
    """
    return sorted(records, key=lambda one: (expected(one), OUTCOMES.index(one.outcome), _margin(one), one.test))


def expected(record: Record) -> bool:
    """Whether the check ended as its test expects: it passed, or the test passes because it did not."""
    return record.outcome == "passed" or record.test_outcome in ("passed", "xfailed")


def _margin(record: Record) -> float:
    """How far the figure is on the right side of its bound, in units of the bound; negative on the wrong side."""
    if record.figure is None or record.bound is None:
        return math.inf
    distance = record.figure - record.bound if record.direction == "at_least" else record.bound - record.figure
    return distance / max(abs(record.bound), 0.01)
