"""The checks of a run as they are made and its tests end: kept for the summary and, if a report is requested, on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import journal
from pytest_gradcam.report.document import CRASHED, INTERRUPTED, NOT_RUN, Report, Run, unended

_CRASH = "???"  # the phase of a test in which a pytest-xdist worker died


@dataclass(frozen=True)
class Phase:
    """One phase of one test: setup, call or teardown; its outcome: passed, failed or skipped; the records so far.

    `retried` are the checks of earlier tries that did not pass; `unchecked` says that the test made no check and has to.
    """

    test: str
    when: str
    outcome: str
    xfail: bool = False
    records: Sequence[Record] = ()
    retried: Sequence[Record] = ()
    unchecked: bool = False


class Collector:
    """Gathers tests phase by phase; one that runs again replaces what it left before.

    With a run and a directory it keeps a journal there, from which a killed run's report is recovered. `problem` says
    why the disk does not hold it, if it does not; nothing is raised. `tests` are the ids of all that were collected.
    """

    def __init__(self, run: Run | None = None, directory: Path | None = None) -> None:
        self.run = run or Run(id="")
        self.problem = ""
        self.tests: Iterable[str] = ()
        self._phases: dict[str, dict[str, str]] = {}
        self._begun: dict[str, journal.Tries] = {}
        self._ended: dict[str, tuple[Record, ...]] = {}
        self._retried: dict[str, tuple[Record, ...]] = {}
        self._unchecked: set[str] = set()
        self._journal: journal.Journal | None = None
        if directory is not None:
            self._journal = journal.Journal(directory / journal.JOURNAL)
            self._try(lambda: journal.remove(directory))
            self._note(self.run.to_plain())

    def started(self, test: str) -> None:
        self._phases.setdefault(test, {})

    def made(self, test: str, record: Record, attempt: int = 1) -> None:
        """Keep a check before its test has ended."""
        self.started(test)
        self._begun.setdefault(test, {}).setdefault(attempt, []).append(record)
        self._note(journal.check_line(test, record, attempt))

    def recover(self, found: Mapping[str, journal.Tries]) -> None:
        """Keep the checks that dead workers left of tests that did not finish."""
        for test, tries in found.items():
            if "teardown" not in self._phases.get(test, {}) and test not in self._begun:
                self.started(test)
                self._begun[test] = tries

    def add(self, phase: Phase) -> None:
        phases = {} if phase.when == "setup" else self._phases.get(phase.test, {})
        # A subtest reports as a call before its test does, and is the test's own failure.
        if phases.get(phase.when) != "failed":
            phases = phases | {phase.when: _outcome(phase)}
        self._phases[phase.test] = phases
        if phase.when == "teardown":
            self._end(phase)

    def _end(self, phase: Phase) -> None:
        begun = self._begun.pop(phase.test, None)
        (self._unchecked.add if phase.unchecked else self._unchecked.discard)(phase.test)
        if phase.retried:
            self._retried[phase.test] = tuple(replace(record, test_outcome="rerun") for record in phase.retried)
        if not phase.records and begun is None and phase.test not in self._ended:
            return
        outcome = _whole(self._phases[phase.test])
        checks = tuple(replace(record, test_outcome=outcome) for record in phase.records)
        self._ended[phase.test] = checks
        self._note(journal.test_line(phase.test, checks))

    @property
    def records(self) -> tuple[Record, ...]:
        """The checks so far, by test and place in the test."""
        checks = [record for checks in self._ended.values() for record in checks]
        return _in_order((*checks, *self._unended()[0]))

    @property
    def retried(self) -> tuple[Record, ...]:
        """The checks of earlier tries that did not pass."""
        checks = [record for checks in self._retried.values() for record in checks]
        return _in_order((*checks, *self._unended()[1]))

    def so_far(self) -> Run:
        """The run with what is known of it now; pictures are named from the working directory."""
        counts = Counter(_whole(phases) for phases in self._phases.values())
        missing = sum(test not in self._phases for test in self.tests)
        counts.update({NOT_RUN: missing} if missing else {})
        return replace(
            self.run,
            tests=dict(sorted(counts.items())),
            unchecked=tuple(sorted(self._unchecked)),
            checks=self.records,
            retried=self.retried,
        )

    def report(self, *, ended: str, exit_status: int, uncommitted: tuple[str, ...] = ()) -> Report:
        """The report of the run, which ends now. `uncommitted` are files of its tests that are in no commit."""
        run = self.so_far()
        checks, retried = (tuple(map(journal.in_report, records)) for records in (run.checks, run.retried))
        clean = False if run.clean and uncommitted else run.clean
        how = {"ended": ended, "exit_status": exit_status, "clean": clean, "uncommitted": uncommitted}
        return Report((replace(run, checks=checks, retried=retried, **how),))  # type: ignore[arg-type]

    def _unended(self) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
        return unended(self._begun, {test: _whole(self._phases.get(test, {})) for test in self._begun})

    def _note(self, line: dict[str, Any]) -> None:
        if self._journal is not None:
            self._try(lambda: self._journal.append(line))  # type: ignore[union-attr]

    def _try(self, act: Callable[[], None]) -> None:
        if self.problem:
            return
        try:
            act()
        except OSError as error:
            self.problem = str(error)


def _in_order(records: Iterable[Record]) -> tuple[Record, ...]:
    return tuple(sorted(records, key=lambda record: (record.test, record.number)))


def _outcome(phase: Phase) -> str:
    if not phase.xfail:
        return phase.outcome
    return "xfailed" if phase.outcome == "skipped" else "xpassed"


def _whole(phases: Mapping[str, str]) -> str:
    """The outcome of a test from those of its phases, as pytest counts it; a failure outside of the call is an error."""
    if _CRASH in phases:
        return CRASHED
    if any(outcome == "failed" for when, outcome in phases.items() if when != "call"):
        return "error"
    if "teardown" not in phases:
        return INTERRUPTED
    return next((outcome for outcome in phases.values() if outcome != "passed"), "passed")
