"""The comparison of a run with an earlier one: shown at its end, and on request a gate on its exit status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.evidence.messages import one_line
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import compare, load


class Ratchet:
    """A plugin beside the controller, which gives it the checks of this run.

    `limit` is what a figure may lose, as a share of its bound; None for no gate.
    """

    def __init__(self, file: Path, limit: float | None, records: Callable[[], Sequence[Record]]) -> None:
        """Raises SettingsError if the earlier run cannot be read, which happens now: this run may write its own there."""
        self._file = file
        self._limit = limit
        self._records = records
        try:
            self._old = [run.checks for run in load(file).runs]
        except ValueError as error:
            raise SettingsError(f"--gradcam-compare: {error}") from None
        self._comparison = compare.compare((), ())
        self._regressions: tuple[str, ...] = ()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._comparison = compare.compare_with_runs(self._old, self._records())
        if self._limit is not None:
            self._regressions = self._comparison.regressions(self._limit)
        if self._regressions and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def lines(self) -> list[str]:
        """The comparison for the report's page, once the session is finished."""
        found = compare.lines(self._comparison)
        return [f"compared with {self._file}", *found, *(f"REGRESSION: {line}" for line in self._regressions)]

    @pytest.hookimpl(trylast=True)  # below the summary of this run
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        lines = list(compare.lines(self._comparison, quiet=terminalreporter.verbosity < 0))
        if lines or self._regressions:
            terminalreporter.section(one_line(f"gradcam, compared with {self._file}"))
        for line in lines:
            terminalreporter.write_line(one_line(line))
        for line in self._regressions:
            terminalreporter.write_line(one_line(f"REGRESSION: {line}"), red=True)
