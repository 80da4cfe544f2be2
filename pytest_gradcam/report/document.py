"""What a report holds: runs and their checks, as evidence.json keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from pytest_gradcam.evidence.record import VERSION, Record

EVIDENCE = "evidence.json"
JOURNAL = "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of pytest: who ran what, when, on which machine, and the checks that were made.

    `started` and `ended` are ISO 8601 with an offset; `ended` is empty for a run that was killed. `tests` counts all
    tests of the run by outcome, those without a check too. `clean` says whether the working tree held no change
    against `commit`, None where that is not known.
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
    tests: dict[str, int] = field(default_factory=dict)
    checks: tuple[Record, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """The run as built-ins."""
        plain = {part.name: getattr(self, part.name) for part in fields(self)}
        return plain | {"command": list(self.command), "checks": [record.to_plain() for record in self.checks]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Run:
        """The run that `to_plain` was called on, by this version or an earlier one."""
        known = {part.name: plain[part.name] for part in fields(cls) if part.name in plain}
        checks = tuple(Record.from_plain(record) for record in plain.get("checks", ()))
        return cls(**known | {"command": tuple(plain.get("command", ())), "checks": checks})


@dataclass(frozen=True)
class Report:
    """The runs of a report; one, unless reports were merged."""

    runs: tuple[Run, ...]

    @property
    def records(self) -> tuple[Record, ...]:
        """The checks of all runs, by test and place in the test: the order in which they ran leaves no trace."""
        checks = [record for run in self.runs for record in run.checks]
        return tuple(sorted(checks, key=lambda record: (record.test, record.number)))


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
        return _load_directory(path)
    if path.suffix == ".jsonl":
        return Report((_from_journal(path),))
    return _load_file(path)


def _load_directory(directory: Path) -> Report:
    journal = directory / JOURNAL
    if journal.is_file():  # it goes when its run's evidence.json is there, so it tells of a later run
        return Report((_from_journal(journal),))
    return _load_file(directory / EVIDENCE)


def _load_file(path: Path) -> Report:
    try:
        plain = json.loads(path.read_bytes())
        if plain["version"] > VERSION:
            raise ValueError(f"it is of version {plain['version']}, and this package reads up to {VERSION}")
        return Report(tuple(Run.from_plain(run) for run in plain["runs"]))
    except FileNotFoundError:
        raise ValueError(f"there is no report {path}; pass the directory that --gradcam-report named") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read as a report: {type(error).__name__}: {error}") from None


def _from_journal(path: Path) -> Run:
    """The run as far as the journal tells: its first line is the run, each further line the checks of one test.

    A last line that is not whole is what a killed writer was at; a test that ran again replaces its earlier line.
    """
    lines = []
    for line in path.read_bytes().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    if not lines:
        raise ValueError(f"{path} holds no run")
    tests = {line["test"]: line["checks"] for line in lines[1:]}
    return Run.from_plain(lines[0] | {"checks": [check for checks in tests.values() for check in checks]})
