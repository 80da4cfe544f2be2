"""The test that is running: whose checks are kept, and whose markers hold.

Light on purpose: pytest loads this module in every run, also where no check is ever made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from pytest_gradcam.evidence.record import Record


class Objects(NamedTuple):
    """What a test sees as `gradcam_model`, `gradcam_preprocess` and `gradcam_classes`."""

    model: Any
    preprocess: Any
    classes: Any


class CurrentTest(Protocol):
    """What its checks know of a test: what its gradcam markers say, and where to keep a record.

    `path` is its file and `name` its id within that file; `baselines` are the labels of those that it has compared
    with so far, and `updates` says that it writes them instead.
    """

    marker: Mapping[str, Any]
    path: Path
    name: str
    updates: bool
    baselines: list[str]

    def wrote(self, path: Path) -> None:
        """Have the end of the run say that this baseline was written."""

    def keep(self, record: Record, draw: Callable[[Record], Image]) -> Record:
        """The record as it was kept: with the test's id and, where one was drawn, the picture's path."""

    def objects(self) -> Objects:
        """What the test sees as its model, preprocess and classes. Raises HeatmapError where that cannot be told."""

    def skip(self, reason: str) -> NoReturn:
        """End the test here, as skipped."""


# Not a context variable: the threads that a test starts have its markers, and their checks are its own.
_running: list[CurrentTest] = []
_starts: list[object] = []


@contextmanager
def running(test: CurrentTest) -> Iterator[None]:
    """Inside the block, checks and markers are those of this test, in every thread."""
    _running.append(test)
    _starts.append(object())
    try:
        yield
    finally:
        _running.pop()
        _starts.pop()


def current() -> CurrentTest | None:
    """The test that runs now; the innermost one where a test runs pytest itself."""
    return _running[-1] if _running else None


def begin() -> None:
    """The current test begins, for the first time or again."""
    _starts[-1] = object()


def started() -> object:
    """An object of its own for each start of a test; None outside of tests."""
    return _starts[-1] if _running else None
