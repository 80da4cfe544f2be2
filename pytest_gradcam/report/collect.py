"""The checks of a run as its tests end: kept for the summary and, where a report is wanted, in a journal on disk."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_gradcam.evidence import files
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.document import JOURNAL, Report, Run


@dataclass(frozen=True)
class Phase:
    """One phase of one test: setup, call or teardown; its outcome: passed, failed or skipped; the records so far."""

    test: str
    when: str
    outcome: str
    xfail: bool = False
    records: Sequence[Record] = ()


class Collector:
    """Gathers tests phase by phase; one that runs again replaces what it left before.

    With a run and a directory it keeps a journal there, from which a killed run's report is recovered. `problem` says
    why the disk does not hold it, if it does not; nothing is raised.
    """

    def __init__(self, run: Run | None = None, directory: Path | None = None) -> None:
        self.run = run or Run(id="")
        self.problem = ""
        self._phases: dict[str, dict[str, str]] = {}
        self._checks: dict[str, tuple[Record, ...]] = {}
        self._journal = None if directory is None else Journal(directory / JOURNAL)
        self._note(self.run.to_plain())

    def add(self, phase: Phase) -> None:
        phases = {} if phase.when == "setup" else self._phases.get(phase.test, {})
        self._phases[phase.test] = phases | {phase.when: _outcome(phase)}
        if phase.when == "teardown":
            self._end(phase)

    def _end(self, phase: Phase) -> None:
        if not phase.records and phase.test not in self._checks:
            return
        outcome = _whole(self._phases[phase.test])
        checks = tuple(replace(record, test_outcome=outcome) for record in phase.records)
        self._checks[phase.test] = checks
        self._note({"test": phase.test, "checks": [in_report(record).to_plain() for record in checks]})

    @property
    def records(self) -> tuple[Record, ...]:
        """The checks so far, by test and place in the test."""
        checks = [record for checks in self._checks.values() for record in checks]
        return tuple(sorted(checks, key=lambda record: (record.test, record.number)))

    def report(self, *, ended: str, exit_status: int) -> Report:
        """The report of the run, which ends now."""
        tests = Counter(_whole(phases) for phases in self._phases.values())
        checks = tuple(in_report(record) for record in self.records)
        run = replace(self.run, ended=ended, exit_status=exit_status, tests=dict(sorted(tests.items())), checks=checks)
        return Report((run,))

    def _note(self, line: dict[str, Any]) -> None:
        if self._journal is None or self.problem:
            return
        try:
            self._journal.append(json.dumps(line, allow_nan=False).encode())
        except OSError as error:
            self.problem = str(error)


class Journal:
    """Lines in a file, each of them whole: what is left of one that did not fit is taken back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = False

    def append(self, line: bytes) -> None:
        """Raises OSError if the line is not on the disk."""
        if not self._begun:  # the file comes to be with its first line, so that one that is there holds a run
            files.replace(self._path, line + b"\n")
            self._begun = True
            return
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            size = os.fstat(file).st_size
            if os.write(file, line + b"\n") != len(line) + 1:
                os.ftruncate(file, size)
                raise OSError(f"no space left for {self._path}")
        finally:
            os.close(file)


def in_report(record: Record) -> Record:
    """The record with its picture's path from the report's directory, where all pictures lie in one place."""
    return replace(record, picture=f"pictures/{Path(record.picture).name}") if record.picture else record


def _outcome(phase: Phase) -> str:
    if not phase.xfail:
        return phase.outcome
    return "xfailed" if phase.outcome == "skipped" else "xpassed"


def _whole(phases: dict[str, str]) -> str:
    """The outcome of a test from those of its phases, as pytest counts it; a failure outside of the call is an error."""
    if any(outcome == "failed" for when, outcome in phases.items() if when != "call"):
        return "error"
    return next((outcome for outcome in phases.values() if outcome != "passed"), "passed")
