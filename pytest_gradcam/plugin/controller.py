"""What happens in one process per run: the tests' evidence is gathered, shown and written."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gradcam.plugin.stash import JOURNALS, ORPHAN, PROPERTY, RETRIED, UNCHECKED, WRITTEN, test_id, without_group
from pytest_gradcam.settings import OPTIONS, Settings

if TYPE_CHECKING:
    from pytest_gradcam.evidence.record import Record
    from pytest_gradcam.report.collect import Collector

_SEEDS = ("randomly_seed", "hypothesis_seed")  # options of other plugins


class Controller:
    """A plugin of the process that sees the reports of all tests; pytest-xdist workers do not have it.

    Nor have runs that leave no evidence: it is registered when something may.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._collector: Collector | None = None
        self._places: dict[str, tuple[str, int]] = {}
        self._baselines: list[tuple[str, str]] = []
        self._tests: list[str] = []
        self._begun: set[str] = set()
        self._exit_status = 0
        self._journals: Path | None = None
        self._temporary = ""

    def join(self, item: pytest.Item) -> None:
        """Begin amid a run, with this test: those before it left no evidence."""
        self.pytest_collection_finish(item.session)
        test = test_id(item)
        self._begun.update(self._tests[: self._tests.index(test)] if test in self._tests else ())
        self._begun.add(test)

    def made(self, test: str, record: Record, attempt: int) -> None:
        """Keep a check that was made in this process."""
        self._collecting().made(test, record, attempt)

    def records(self) -> tuple[Record, ...]:
        """The checks so far, by test and position in the test, including those a worker made before it died."""
        if self._journals is not None:
            from pytest_gradcam.report import journal

            if found := journal.made(self._journals):
                self._collecting().recover(found)
        return self._collector.records if self._collector else ()

    def pytest_sessionstart(self) -> None:
        if self._settings.report is not None and not self._config.option.collectonly:
            self._collecting(self._directory)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._tests += (without_group(self._config, item.nodeid) for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a pytest-xdist worker where to store its checks: in the report, or in a temporary folder."""
        if self._journals is None:
            self._temporary = "" if self._settings.report is not None else tempfile.mkdtemp(prefix="gradcam-")
            self._journals = Path(self._temporary) if self._temporary else self._directory
        node.workerinput[JOURNALS] = str(self._journals)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._tests = self._tests or [without_group(self._config, test) for test in ids]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        test = without_group(self._config, nodeid)
        self._begun.add(test)
        if self._collector is not None:
            self._collector.started(test)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        names = {name for name, _ in report.user_properties}
        if report.when == "teardown":
            self._baselines += [pair for pair in report.user_properties if pair[0] in (WRITTEN, ORPHAN)]  # type: ignore[misc]
        if self._collector is None and not names & {PROPERTY, UNCHECKED}:
            return
        from pytest_gradcam.report.collect import Phase

        test = without_group(self._config, report.nodeid)
        ended = report.when == "teardown"  # by then there are all of them
        phase = Phase(
            test,
            report.when or "",
            report.outcome,
            hasattr(report, "wasxfail"),
            tuple(_records(report, PROPERTY)) if ended else (),
            tuple(_records(report, RETRIED)) if ended else (),
            UNCHECKED in names,
        )
        self._collecting().add(phase)
        if PROPERTY in names and report.location[1] is not None:
            self._places[test] = report.location[0], report.location[1] + 1

    @pytest.hookimpl(trylast=True)  # gates set the exit status before
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self.records()
        self._exit_status = int(session.exitstatus)
        if self._collector is None:
            return
        self._collector.tests = [test for test in self._tests if test not in self._begun]
        if self._settings.report is None:
            return
        from pytest_gradcam.report import run, write

        files = {test.partition("::")[0] for test in self._tests}
        uncommitted = run.uncommitted(self._collector.run, self._config.rootpath, files, self._config.inipath)
        report = self._collector.report(ended=run.now(), exit_status=self._exit_status, uncommitted=tuple(uncommitted))
        ratchet = self._config.pluginmanager.get_plugin("gradcam-ratchet")
        compared = [] if ratchet is None else ratchet.lines()
        single = self._settings.report_single
        self._collector.problem = write.attempt(report, self._directory, compared=compared, single=single)

    def pytest_unconfigure(self) -> None:
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._collector is None and not self._baselines:
            return
        from pytest_gradcam.evidence import baseline_paths
        from pytest_gradcam.evidence.messages import one_line
        from pytest_gradcam.report import github, terminal

        run, problem = self._collecting().so_far(), self._collecting().problem
        run = replace(run, ended="now", exit_status=self._exit_status)
        verbosity = terminalreporter.verbosity
        written = self._settings.report is not None and not problem
        report = baseline_paths.shown(self._directory / "index.html") if written else None
        lines = list(terminal.summary(run.checks, report=report, verbosity=verbosity))
        if verbosity >= 0:
            changed, orphans = ([path for kind, path in self._baselines if kind == each] for each in (WRITTEN, ORPHAN))
            lines += terminal.baselines(changed, orphans)
        warnings = list(terminal.warnings(run, baseline_paths.shown(self._directory), problem))
        if lines or warnings:
            terminalreporter.section("gradcam")
        for line in lines:
            terminalreporter.write_line(one_line(line))
        for line in warnings:
            terminalreporter.write_line(one_line(line), yellow=True)
        for line in github.errors(run.checks, self._places, os.environ):
            terminalreporter.write_line(line)
        github.write_summary(run, os.environ)

    @property
    def _directory(self) -> Path:
        return self._config.rootpath / self._settings.directory

    def _collecting(self, directory: Path | None = None) -> Collector:
        if self._collector is not None:
            return self._collector
        from pytest_gradcam.report import run
        from pytest_gradcam.report.collect import Collector

        if directory is None:
            self._collector = Collector()
            return self._collector
        begun = run.begin(
            command=("pytest", *map(str, self._config.invocation_params.args)),
            settings=_portable(self._settings, self._config.rootpath),
            seeds={
                name: str(value) for name in _SEEDS if (value := getattr(self._config.option, name, None)) is not None
            },
            directory=self._config.rootpath,
        )
        self._collector = Collector(begun, directory)
        return self._collector


def _portable(settings: Settings, root: Path) -> dict[str, Any]:
    """The settings as the report has them: with paths from the root, so that they are the same on every machine."""
    plain = settings._asdict()
    for option in OPTIONS:
        value = plain[option.name]
        if option.path and value is not None and Path(value).is_relative_to(root):
            plain[option.name] = Path(value).relative_to(root).as_posix()
    return plain


def _records(report: pytest.TestReport, kind: str) -> Iterator[Record]:
    for name, value in report.user_properties:
        if name == kind:
            from pytest_gradcam.evidence.record import Record

            yield Record.from_plain(json.loads(str(value)))
