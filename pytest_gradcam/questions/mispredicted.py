"""What happens to a test that names a class where the model predicts another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_gradcam import overlay
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.current_test import current
from pytest_gradcam.evidence.record import Record, Subject

if TYPE_CHECKING:
    from PIL.Image import Image

is_mispredicted = messages.is_mispredicted


@dataclass(frozen=True)
class Prediction(Check):
    """The class that is explained comes first in the model's ranking."""

    bound: float = 1.0

    name, measure, direction = "prediction", "rank of the class", "at_most"

    def plain_bound(self) -> float:
        return self.bound

    def finding(self, record: Record, figure: float, bound: float) -> str:
        return (
            f"{_what(record)}; expected {record.target!r} to {'be found' if record.task == 'multi' else 'come first'}"
        )

    def advice(self, record: Record) -> str:
        return "look at the image and its label, or explain the class anyway with gradcam_mispredicted = label"


def chosen(subject: Subject, policy: str, draw: Callable[[], Image]) -> Sequence[int]:
    """The classes to explain: of the label, of the prediction, or both, by their indices.

    `policy` is one of `settings.MISPREDICTED`; `draw` makes the picture of a failure. Raises FocusError under "fail",
    ends the test under "skip".
    """
    label, predicted = subject.target_index, subject.predicted_index
    if label is None or predicted is None or not is_mispredicted(subject):
        return [] if label is None else [label]
    if policy == "skip":
        _skip(subject)
    if policy == "fail":
        settle.settle(failed(subject), lambda record: draw())
    return {"prediction": [predicted], "both": list(dict.fromkeys((label, predicted)))}.get(policy, [label])


def failed(subject: Subject) -> Record:
    """The failed check of the prediction; the rank may be unknown, or 1 where another class scores the same."""
    check = Prediction()
    return replace(check.decided(check.record(subject), float(subject.rank or 0)), outcome="failed")


def no_picture() -> Image:
    """An empty picture, for a check that has no image of its own."""
    return overlay.draw_panels([overlay.Panel(np.full((32, 64, 3), 255, np.uint8))])


def _what(subject: Subject) -> str:
    rank = f" (rank {subject.rank} of {subject.classes})" if subject.rank is not None else ""
    instead = "" if subject.task == "multi" else f", not {subject.target!r}"
    return f"the model {messages.predicts(subject)}{instead}{rank}"


def _skip(subject: Subject) -> None:
    test = current()
    if test is None:
        raise HeatmapError(f"{_what(subject)}, and there is no test to skip; set mispredicted to label or prediction")
    test.skip(f"{_what(subject)} in {subject.image}")
