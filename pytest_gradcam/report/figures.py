"""metrics.json: flat numbers, as DVC and MLflow read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import fmean

from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.document import CRASHED, INTERRUPTED, NOT_RUN, Report
from pytest_gradcam.report.order import OUTCOMES, expected


def of_report(report: Report) -> dict[str, float]:
    """The figures of all checks, and the tests whose checks may be missing or that made none."""
    numbers = flat(report.records)
    for name in (CRASHED, INTERRUPTED, NOT_RUN):
        numbers[f"tests.{name.replace(' ', '_')}"] = sum(run.tests.get(name, 0) for run in report.runs)
    return numbers | {"tests.unchecked": sum(len(run.unchecked) for run in report.runs)}


def flat(records: Sequence[Record]) -> dict[str, float]:
    """Counts by outcome, and for every kind of check its counts and the mean, least and largest of its figures."""
    numbers = dict(_counts("checks", records))
    numbers["checks.expected"] = sum(record.outcome != "passed" and expected(record) for record in records)
    for check, group in groupby(sorted(records, key=lambda record: record.check), lambda record: record.check):
        numbers |= dict(_of_check(check, list(group)))
    return numbers


def _of_check(check: str, records: Sequence[Record]) -> Iterator[tuple[str, float]]:
    yield from _counts(check, records)
    figures = [record.figure for record in records if record.figure is not None]
    if figures:
        yield f"{check}.figure_mean", fmean(figures)
        yield f"{check}.figure_min", min(figures)
        yield f"{check}.figure_max", max(figures)


def _counts(prefix: str, records: Sequence[Record]) -> Iterator[tuple[str, float]]:
    yield f"{prefix}.count", len(records)
    for outcome in OUTCOMES:
        yield f"{prefix}.{outcome.replace(' ', '_')}", sum(record.outcome == outcome for record in records)
