"""The test that is running: whose checks are kept, and whose markers hold.

Light on purpose: pytest loads this module in every run, also where no check is ever made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from threading import Lock, get_ident
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from pytest_gradcam.errors import HeatmapError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from pytest_gradcam.evidence.record import Record


_began = [time()]


def begin_run() -> None:
    """A run of pytest begins; without one, it is the import of this module that counts."""
    _began[0] = time()


def run_began() -> float:
    """When the run began, in seconds since the epoch: before any of the user's files was imported in it."""
    return _began[0]


def under_given() -> bool:
    """Whether this is one of many examples that Hypothesis draws for a test."""
    hypothesis = sys.modules.get("hypothesis")
    return hypothesis is not None and bool(hypothesis.currently_in_test_context())


class Objects(NamedTuple):
    """What a test sees as `gradcam_model`, `gradcam_preprocess` and `gradcam_classes`."""

    model: Any
    preprocess: Any
    classes: Any


class CurrentTest(Protocol):
    """What its checks know about a test: what its gradcam markers say, and where to keep a record.

    `path` is its file and `name` its id within that file; `baselines` are the labels of those that it has compared
    with so far, and `updates` says that it writes them instead.
    """

    marker: Mapping[str, Any]
    path: Path
    name: str
    updates: bool
    baselines: list[str]

    def wrote(self, path: Path) -> None:
        """Lists this baseline as written at the end of the run."""

    def keep(self, record: Record, draw: Callable[[Record], Image]) -> Record:
        """The record as it was kept: with the test's id and, where one was drawn, the picture's path."""

    def objects(self) -> Objects:
        """What the test sees as its model, preprocess and classes. Raises HeatmapError if that is unclear."""

    def skip(self, reason: str) -> NoReturn:
        """End the test here, as skipped."""


# Not a context variable: the threads that a test starts have its markers, and their checks are its own.
_running: list[_Running] = []


class _Running:
    """A test that runs, the thread that runs it, and an object of its own for each of its starts."""

    def __init__(self, make: Callable[[], CurrentTest]) -> None:
        self.thread, self.start = get_ident(), object()
        self._make = make
        self._made: CurrentTest | None = None
        self._lock = Lock()

    @property
    def test(self) -> CurrentTest:
        with self._lock:  # its threads may ask at once
            if self._made is None:
                self._made = self._make()
            return self._made


def running(test: CurrentTest) -> AbstractContextManager[None]:
    """Inside the block, checks and markers are those of this test, in every thread."""
    return running_as_made(lambda: test)


@contextmanager
def running_as_made(make: Callable[[], CurrentTest]) -> Iterator[None]:
    """As `running`, for the test that this makes when it is first asked for: most tests of most runs never are."""
    entry = _Running(make)
    try:
        _running.append(entry)
        yield
    finally:
        if entry in _running:
            _running.remove(entry)


def current() -> CurrentTest | None:
    """The test that runs now; the innermost one where a test runs pytest itself.

    Raises HeatmapError in a thread of none of several tests that run at once.
    """
    entry = _current()
    return None if entry is None else entry.test


def begin() -> None:
    """The current test begins, for the first time or again."""
    if (entry := _current()) is not None:
        entry.start = object()


def started() -> object:
    """An object of its own for each start of a test; None outside of tests."""
    entry = _current()
    return None if entry is None else entry.start


def _current() -> _Running | None:
    if not _running:
        return None
    entries = list(_running)
    own = [entry for entry in entries if entry.thread == get_ident()]
    if not own and len({entry.thread for entry in entries}) > 1:
        raise HeatmapError(
            "several tests run at once, and it is unclear which of them started this thread; expected checks in the thread "
            "of their test. Run the tests in processes (pytest-xdist), or check in the test itself"
        )
    return (own or entries)[-1]
