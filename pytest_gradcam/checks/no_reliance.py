"""The assertion that a model does not rely on masked pixels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_gradcam import overlay
from pytest_gradcam.checks import margins
from pytest_gradcam.checks.loss import RELIES
from pytest_gradcam.checks.reliance import Terms, judged_masks
from pytest_gradcam.checks.reliance_rule import Reliance
from pytest_gradcam.errors import GradcamWarning, HeatmapError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.record import Record, Subject
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.targets import Target

if TYPE_CHECKING:
    from PIL.Image import Image

#: What a weak reliance may do.
WEAK = ("fail", "warn", "allow")


def assert_no_reliance(
    model: ExplainedModel,
    images: Sequence[Any],
    masks: Any,
    targets: Sequence[Target] | None = None,
    *,
    without: Sequence[Any] | None = None,
    pairs: Sequence[Any] | None = None,
    at_most: float | None = None,
    weak: str = "fail",
) -> None:
    """The model does not rely on the masked pixels of these images: `reliance(images, masks, targets)` says no.

    `weak` says what weak reliance leads to: "fail" (it fails if 0.10 of accuracy or more is lost, and warns otherwise);
    "warn"; or "allow". With `at_most` the fall of the margin decides in any case: the mean fall above which the model
    relies, in units of its mean margin, above 0 and up to 1 (docs/reliance.md).
    Raises FocusError if the model relies on them; HeatmapError if that is undecided.
    """
    check, found = NoReliance(at_most, weak=weak), list[Reliance]()

    def measure(record: Record) -> Record:
        bound = check.plain_bound()
        if weak not in WEAK:
            raise HeatmapError(f"weak={weak!r}; expected one of {', '.join(map(repr, WEAK))}")
        found.append(judged_masks(model, images, masks, Terms(targets, without, pairs, bound)))
        return check.judged(model.engine.identified(record), found[0])  # now it is known what the output means

    def draw(record: Record) -> Image:
        if found:
            return found[0].picture
        nothing = overlay.Panel(np.full((32, 64, 3), 255, np.uint8))
        return overlay.draw_panels([nothing], title=messages.headline(record))

    settle.judge(model.engine.identified(check.record(Subject())), measure, draw)
    if found[0].weak and weak != "allow":
        warnings.warn(found[0].verdict, GradcamWarning, stacklevel=5)


def deciding(record: Record, found: Reliance) -> Record:
    """The record with the measure that decides, and its bound."""
    if found.by_loss:
        return replace(record, measure="loss of accuracy", bound=RELIES)
    return replace(record, measure=found.wording.measure, bound=found.bound)


@dataclass(frozen=True)
class NoReliance(Check):
    """The verdict on reliance is no, or a weak yes that is allowed. The intervals decide, rather than the estimates."""

    found: Reliance | None = None
    weak: str = "fail"

    name, measure, direction = "no_reliance", "fall of the margin", "at_most"

    def plain_bound(self) -> float | None:
        return None if self.bound is None else margins.margin_bound("at_most", self.bound)

    def judged(self, record: Record, found: Reliance) -> Record:
        """The record decided by the verdict on reliance, or undecided for its reason."""
        record = replace(deciding(record, found), details=tuple(found.rows()))
        if found.relies is None:
            return replace(record, outcome="invalid", reason=found.reason)
        return replace(self, found=found).decided(record, found.figure)

    def holds(self, figure: float, bound: float) -> bool:
        assert self.found is not None
        return self.found.relies is False or self.tolerates()

    def tolerates(self) -> bool:
        """Whether what was found is a weak reliance that may be."""
        assert self.found is not None
        return self.found.weak and (self.weak != "fail" or self.found.figure < RELIES)

    def finding(self, record: Record, figure: float, bound: float) -> str:
        assert self.found is not None
        return self.found.verdict

    def advice(self, record: Record) -> str:
        return (
            "look at the picture: if the mask contains nothing of the object, break the link between these pixels and the "
            "class in the training data (crop or cover them, or mix them over the classes), and train again"
        )
