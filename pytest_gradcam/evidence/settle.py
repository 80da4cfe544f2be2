"""The one place where a check is settled: its record is kept, and it raises if the check did not pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_gradcam.errors import FocusError, HeatmapError, NoEvidenceError
from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.current_test import current
from pytest_gradcam.evidence.record import Outcome, Record

if TYPE_CHECKING:
    from PIL.Image import Image


def judge(check: Record, measure: Callable[[Record], Record], draw: Callable[[Record], Image]) -> Record:
    """The check as `measure` completes it, settled; a HeatmapError that it raises makes it undecided.

    Raises as `settle` does.
    """
    try:
        record = measure(check)
    except HeatmapError as error:
        record = undecided(check, error)
    settle(record, draw)
    return record


def settle(record: Record, draw: Callable[[Record], Image]) -> None:
    """Keep the record; raise if its check did not pass.

    Raises FocusError if it failed, NoEvidenceError or HeatmapError if it could not be decided.
    """
    test = current()
    if test is not None:
        record = test.keep(record, draw)
    if record.outcome != "passed":
        _raise(record)


def _raise(record: Record) -> NoReturn:
    if record.outcome == "failed":
        raise FocusError(messages.failure(record))
    if record.outcome == "no evidence":
        raise NoEvidenceError(messages.undecided(record))
    raise HeatmapError(messages.undecided(record))


def undecided(record: Record, error: HeatmapError) -> Record:
    """The record of the same check, when this error kept it from being decided."""
    outcome: Outcome = "no evidence" if isinstance(error, NoEvidenceError) else "invalid"
    parameters = {name: value for name, value in record.parameters.items() if _is_plain(value)}
    bound = record.bound if _is_plain(record.bound) else None
    return replace(record, outcome=outcome, reason=str(error), figure=None, bound=bound, parameters=parameters)


def _is_plain(number: Any) -> bool:
    """Whether it is a number that a record can carry; what a caller passed as a bound may be anything."""
    return type(number) in (int, float) and math.isfinite(number)
