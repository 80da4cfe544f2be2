"""What happens in one process per run: the tests' evidence is gathered, shown and written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gradcam.evidence import baseline_paths
from pytest_gradcam.settings import Settings

if TYPE_CHECKING:
    from pytest_gradcam.evidence.record import Record
    from pytest_gradcam.report.collect import Collector

PROPERTY = "gradcam"  # the name under which records travel in item.user_properties, each as JSON
WRITTEN, ORPHAN = "gradcam_baseline_written", "gradcam_baseline_orphan"  # and the paths of baselines
TEST_NAME = "gradcam_test"  # and the test's id, where its reports have another
_SEEDS = ("randomly_seed", "hypothesis_seed")  # options of other plugins


class Controller:
    """A plugin of the process that sees the reports of all tests; where pytest-xdist has workers, it is not theirs."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._collector: Collector | None = None
        self._places: dict[str, tuple[str, int]] = {}
        self._baselines: list[tuple[str, str]] = []

    def records(self) -> tuple[Record, ...]:
        """The checks so far, by test and place in the test."""
        return self._collector.records if self._collector else ()

    def pytest_sessionstart(self) -> None:
        if self._settings.report is not None and not self._config.option.collectonly:
            self._collect(self._directory)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        kept = any(name == PROPERTY for name, _ in report.user_properties)
        if report.when == "teardown":
            self._baselines += [pair for pair in report.user_properties if pair[0] in (WRITTEN, ORPHAN)]  # type: ignore[misc]
        if self._collector is None and kept:
            self._collect(None)
        if self._collector is None:
            return
        from pytest_gradcam.report.collect import Phase

        records = tuple(_records(report)) if report.when == "teardown" else ()  # by then there are all of them
        xfail = hasattr(report, "wasxfail")
        test = dict(report.user_properties).get(TEST_NAME, report.nodeid)
        self._collector.add(Phase(str(test), report.when or "", report.outcome, xfail, records))
        if kept and report.location[1] is not None:
            self._places[str(test)] = report.location[0], report.location[1] + 1

    @pytest.hookimpl(trylast=True)  # gates set the exit status before
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._collector is None or self._settings.report is None:
            return
        from pytest_gradcam.report import run, write

        report = self._collector.report(ended=run.now(), exit_status=int(session.exitstatus))
        self._collector.problem = write.attempt(report, self._directory)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._collector is None and not self._baselines:
            return
        from pytest_gradcam.report import github, terminal

        records, problem = self.records(), self._collector.problem if self._collector else ""
        verbosity = terminalreporter.verbosity
        written = self._settings.report is not None and not problem
        report = baseline_paths.shown(self._directory / "index.html") if written else None
        lines = list(terminal.summary(records, report=report, verbosity=verbosity))
        if verbosity >= 0:
            changed, orphans = ([path for kind, path in self._baselines if kind == each] for each in (WRITTEN, ORPHAN))
            lines += terminal.baselines(changed, orphans)
        warnings = list(terminal.warnings(records, self._settings.directory, problem))
        if lines or warnings:
            terminalreporter.section("gradcam")
        for line in lines:
            terminalreporter.write_line(line)
        for line in warnings:
            terminalreporter.write_line(line, yellow=True)
        for line in github.errors(records, self._places, os.environ):
            terminalreporter.write_line(line)
        github.write_summary(records, os.environ)

    @property
    def _directory(self) -> Path:
        return self._config.rootpath / self._settings.directory

    def _collect(self, directory: Path | None) -> None:
        from pytest_gradcam.report import run
        from pytest_gradcam.report.collect import Collector

        if directory is None:
            self._collector = Collector()
            return
        begun = run.begin(
            command=("pytest", *map(str, self._config.invocation_params.args)),
            settings=asdict(self._settings),
            seeds={
                name: str(value) for name in _SEEDS if (value := getattr(self._config.option, name, None)) is not None
            },
            directory=self._config.rootpath,
        )
        self._collector = Collector(begun, directory)


def _records(report: pytest.TestReport) -> Iterator[Record]:
    for name, value in report.user_properties:
        if name == PROPERTY:
            from pytest_gradcam.evidence.record import Record

            yield Record.from_plain(json.loads(str(value)))
