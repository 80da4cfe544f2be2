"""What a report holds: runs and their checks, as evidence.json keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from pytest_gradcam.evidence import plain
from pytest_gradcam.evidence.record import VERSION, Record
from pytest_gradcam.report import journal
from pytest_gradcam.report.journal import JOURNAL

EVIDENCE = "evidence.json"
#: Outcomes of tests whose checks may be missing: a worker died in it, the run was interrupted in it, it was never begun.
CRASHED, INTERRUPTED, NOT_RUN = "crashed", "interrupted", "not run"
_EARLY = (2, 3, 4)  # pytest's exit statuses of a run that stopped early


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of pytest: who ran what, when, on which machine, and the checks that were made.

    `started` and `ended` are ISO 8601 with an offset; `ended` is empty for a run that was killed. `tests` counts all
    tests of the run by outcome, those without a check too. `clean` says whether the working tree held no change
    against `commit`, None where that is not known; `uncommitted` are the files of its tests, and of their configuration,
    that are in no commit. `unchecked` are the tests that have the fixture gradcam, passed, and made no check. `retried`
    are the checks that did not pass in an earlier try of a test that ran again, which are not among `checks`.
    """

    id: str
    started: str = ""
    ended: str = ""
    exit_status: int | None = None
    command: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    python: str = ""
    platform: str = ""
    user: str = ""
    host: str = ""
    ci: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    clean: bool | None = None
    uncommitted: tuple[str, ...] = ()
    tests: dict[str, int] = field(default_factory=dict)
    unchecked: tuple[str, ...] = ()
    checks: tuple[Record, ...] = ()
    retried: tuple[Record, ...] = ()

    @property
    def gaps(self) -> tuple[str, ...]:
        """Why checks of the run may be missing, a phrase each; nothing if every test came to its end."""
        lost = tuple(f"{self.tests[name]} {name}" for name in (CRASHED, INTERRUPTED, NOT_RUN) if self.tests.get(name))
        if not self.ended:
            return (*lost, "the run did not end")
        if self.exit_status in _EARLY:
            return (*lost, f"pytest stopped early, with exit status {self.exit_status}")
        return lost

    def to_plain(self) -> dict[str, Any]:
        """The run as built-ins."""
        return {part.name: _plain(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def from_plain(cls, plain_run: Mapping[str, Any]) -> Run:
        """The run that `to_plain` was called on, by this version or an earlier one.

        Raises ValueError for a field that is missing or of another type.
        """
        records = {name: _records(plain_run.get(name, []), name) for name in ("checks", "retried")}
        values = plain.checked(cls, {name: value for name, value in plain_run.items() if name not in records})
        if "id" not in values:
            raise ValueError("a run has no id")
        return cls(**values | records)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [part.to_plain() if isinstance(part, Record) else part for part in value]
    return value


def _records(value: Any, name: str) -> tuple[Record, ...]:
    found = []
    for place, check in enumerate(plain.sequence(value, name)):
        try:
            found.append(Record.from_plain(plain.mapping(check, "it")))
        except ValueError as error:
            raise ValueError(f"{name}[{place}]: {error}") from None
    return tuple(found)


Records = tuple[Record, ...]


@dataclass(frozen=True)
class Report:
    """The runs of a report; one, unless reports were merged."""

    runs: tuple[Run, ...]

    @property
    def records(self) -> tuple[Record, ...]:
        """The checks of all runs, by test and place in the test: the order in which they ran leaves no trace."""
        checks = [record for run in self.runs for record in run.checks]
        return tuple(sorted(checks, key=lambda record: (record.test, record.number)))

    @property
    def gaps(self) -> tuple[str, ...]:
        """Why checks may be missing, a phrase each."""
        return tuple(dict.fromkeys(gap for run in self.runs for gap in run.gaps))


def schema() -> dict[str, Any]:
    """The JSON Schema of evidence.json."""
    text = resources.files(__package__).joinpath("evidence.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def load(path: str | Path) -> Report:
    """The report in a directory or in its evidence.json, of this version or an earlier one.

    A directory whose run was killed, or goes on, holds a journal; its report is what was measured so far.
    Raises ValueError if there is none, or one that cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        running = path / JOURNAL  # it goes when its run's evidence.json is there, so it tells of a later run
        path = running if running.is_file() else path / EVIDENCE
    try:
        return Report((_from_journal(path),)) if path.suffix == ".jsonl" else _from_file(path)
    except FileNotFoundError:
        raise ValueError(f"there is no report {path}; pass the directory that --gradcam-report named") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a report: {error}") from None


def _from_file(path: Path) -> Report:
    found = plain.parse(path.read_bytes())
    version = found.get("version")
    if type(version) is not int:
        raise ValueError(f"its version is {version!r}; expected a whole number")
    if version > VERSION:
        raise ValueError(f"it is of version {version}, and this package reads up to {VERSION}")
    runs = []
    for place, run in enumerate(plain.sequence(found.get("runs"), "runs")):
        try:
            runs.append(Run.from_plain(plain.mapping(run, "it")))
        except ValueError as error:
            raise ValueError(f"runs[{place}]: {error}") from None
    return Report(tuple(runs))


def _from_journal(path: Path) -> Run:
    """The run as far as the journal tells; a test that ran again replaces its earlier line."""
    plain_run, ended, begun = journal.read(path)
    checks = [check for checks in ended.values() for check in checks]
    last, retried = (tuple(map(journal.in_report, records)) for records in unended(begun))
    run = Run.from_plain(plain_run)
    tests = run.tests | ({INTERRUPTED: len(begun)} if begun else {})
    return replace(run, tests=tests, checks=(*checks, *last), retried=retried)


def unended(begun: Mapping[str, journal.Tries], outcomes: Mapping[str, str] | None = None) -> tuple[Records, Records]:
    """The checks of tests that did not end, by their last try; and those that did not pass in an earlier one."""
    last: list[Record] = []
    retried: list[Record] = []
    for test, tries in begun.items():
        outcome = (outcomes or {}).get(test, INTERRUPTED)
        for attempt, records in tries.items():
            if attempt == max(tries):
                last += (replace(record, test_outcome=outcome) for record in records)
            else:
                retried += (replace(record, test_outcome="rerun") for record in records if record.outcome != "passed")
    return tuple(last), tuple(retried)
