"""The summary at the end of a run, as lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.document import Run
from pytest_gradcam.report.order import OUTCOMES, expected, missing, unchecked, worst_first

_WORST = 10
_PICTURES = 50


def summary(records: Sequence[Record], *, report: str | None = None, verbosity: int = 0) -> Iterator[str]:
    """How many checks had which outcome, the worst of them, where the pictures are, and the report's page if there is one.

    Nothing for a quiet run, or one without checks and report; a line for each check of a verbose one.
    """
    if verbosity < 0 or not (records or report):
        return
    yield counts(records)
    other = sum(messages.is_mispredicted(record) for record in records)
    if other:
        yield f"{other} of them on a class that the model does not predict"
    wanted = sum(record.outcome != "passed" and expected(record) for record in records)
    if wanted:
        yield f"{wanted} of them did not pass in a test that expects it"
    if verbosity > 0:
        yield from (f"{record.test} {_line(record, record.picture or '')}".rstrip() for record in records)
    else:
        yield from _worst(worst_first(records))
    if report:
        yield f"report: {report}"


def warnings(run: Run, directory: str, problem: str) -> Iterator[str]:
    """What even a quiet run says: tests that are missing, made no check or were rerun; what could not be written."""
    if run.gaps:
        yield f"WARNING: checks may be missing here: {missing(run.gaps)}"
    yield from _unchecked(run.unchecked)
    yield from _retried(run.retried)
    unpictured = [record for record in run.checks if record.unpictured]
    if problem:
        yield f"WARNING: the report in {directory} could not be written: {problem}; the tests' outcomes stand"
    elif unpictured:
        yield (
            f"WARNING: {len(unpictured)} pictures could not be written to {directory}: {unpictured[0].unpictured}; "
            "the tests' outcomes stand"
        )


def _unchecked(tests: Sequence[str]) -> Iterator[str]:
    if tests:
        yield (
            f"WARNING: {unchecked(tests)} (parentheses forgotten? a figure not "
            "asserted?); gradcam_unchecked = fail makes them fail, allow is silent:"
        )
        yield from _first(tests)


def _retried(records: Sequence[Record]) -> Iterator[str]:
    if records:
        yield f"WARNING: {len(records)} checks did not pass in an earlier try of a test that ran again:"
        yield from _first([f"{record.test} {_line(record, record.picture or '')}".rstrip() for record in records])


def counts(records: Sequence[Record]) -> str:
    """'3 checks: 1 failed, 2 passed'."""
    found = Counter(record.outcome for record in records)
    outcomes = ", ".join(f"{found[outcome]} {outcome}" for outcome in OUTCOMES if found[outcome])
    return f"{len(records)} checks" + (f": {outcomes}" if outcomes else "")


def _worst(records: Sequence[Record]) -> Iterator[str]:
    """The worst checks that did not pass, and whatever else has a picture."""
    bad = [record for record in records if record.outcome != "passed"]
    shown = bad[:_WORST] + [record for record in records if record.picture and record not in bad[:_WORST]]
    yield from (_line(record, record.picture or record.test) for record in shown[: _WORST + _PICTURES])
    if len(shown) > _WORST + _PICTURES:
        yield f"... and {len(shown) - _WORST - _PICTURES} more pictures next to them"
    unseen = len([record for record in bad[_WORST:] if not record.picture])
    if unseen:
        yield f"... and {unseen} more that did not pass; -v lists them all"


def _line(record: Record, place: str) -> str:
    """Outcome, check, figure and bound, and where to look."""
    wanted = f" (expected: the test {record.test_outcome})" if record.outcome != "passed" and expected(record) else ""
    return f"{record.outcome:<11} {record.check:<13} {messages.brief(record)}{wanted}  {place}"


def baselines(written: Sequence[str], orphans: Sequence[str]) -> Iterator[str]:
    """Which baselines were written, and which no longer belong to a test."""
    if written:
        yield f"{len(set(written))} baselines written, with nothing compared; look at the changes, then commit them:"
        yield from _first(sorted(set(written)))
    if orphans:
        yield f"{len(set(orphans))} baselines belong to no test of their file; rename or delete them:"
        yield from _first(sorted(set(orphans)))


def _first(paths: Sequence[str]) -> Iterator[str]:
    yield from (f"  {path}" for path in paths[:_PICTURES])
    if len(paths) > _PICTURES:
        yield f"  ... and {len(paths) - _PICTURES} more"
