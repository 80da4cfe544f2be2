"""The test that is running: whose checks are kept, and whose markers hold.

Light on purpose: pytest loads this module in every run, also where no check is ever made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from pytest_gradcam.evidence.record import Record


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

    def skip(self, reason: str) -> NoReturn:
        """End the test here, as skipped."""


_current: ContextVar[CurrentTest | None] = ContextVar("gradcam_test", default=None)
_started: ContextVar[object] = ContextVar("gradcam_started", default=None)


@contextmanager
def running(test: CurrentTest) -> Iterator[None]:
    """Inside the block, checks and markers are those of this test."""
    token, start = _current.set(test), _started.set(object())
    try:
        yield
    finally:
        _current.reset(token)
        _started.reset(start)


def current() -> CurrentTest | None:
    return _current.get()


def begin() -> None:
    """The current test begins, for the first time or again."""
    _started.set(object())


def started() -> object:
    """An object of its own for each start of a test; None outside of tests."""
    return _started.get()
