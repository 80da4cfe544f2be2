"""How far a class leads over the others, in logits: the margin. Where classes do not compete, it is the class's own logit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.targets import Box, ClassNames, Contrast, Region, Target, class_index, index_within

Floats = NDArray[np.float64]


def margins(
    scores: NDArray[np.floating], classes: NDArray[np.intp], against: int | None = None, *, alone: bool = False
) -> Floats:
    """How far each row's class (N,) leads in scores (N, classes): over the best other class, or over `against`.

    `alone` is for classes that do not compete: the lead of each is its own logit, which is above 0 where it is found.
    """
    rows, rest = np.arange(len(scores)), scores.astype(np.float64)
    own = rest[rows, classes]
    if against is not None:
        return np.asarray(own - rest[:, against])
    if alone:
        return np.asarray(own)
    rest = rest.copy()
    rest[rows, classes] = -np.inf
    return np.asarray(own - rest.max(axis=1))


@dataclass(frozen=True)
class Lead:
    """How far one class leads: over the best other class, over the class `against`, or `alone`, by its own logit."""

    index: int
    against: int | None = None
    alone: bool = False

    def of(self, scores: NDArray[np.floating]) -> Floats:
        """The margins (N,) in scores (N, classes)."""
        return margins(scores, np.full(len(scores), self.index), self.against, alone=self.alone)

    def is_predicted(self, row: NDArray[np.floating]) -> bool:
        """Whether the class is what the model predicts, or among what it finds, in one image's scores (classes,)."""
        return bool(row[self.index] > 0) if self.alone else int(row.argmax()) == self.index


def has_margin(target: Target) -> bool:
    """Whether a target is a class or a Contrast, which lead over other classes; else it has a score of its own."""
    return not (isinstance(target, (Box, Region)) or callable(target))


def lead_of(target: Target, row: NDArray[np.floating], names: ClassNames, *, multi: bool) -> Lead:
    """The lead that a target asks for, given one image's scores (classes,); by default that of the predicted class.

    `multi` says that the classes do not compete. Raises HeatmapError for a target that is not a class.
    """
    if isinstance(target, Contrast):
        own, other = (index_within(index, len(row)) for index in target.indices(names))
        return Lead(own, other, alone=multi)
    if not has_margin(target):
        raise HeatmapError(
            f"target={target!r} has no margin over other classes; expected None, a class index, a class name or a Contrast"
        )
    index = int(row.argmax()) if target is None else index_within(class_index(target, names), len(row))
    return Lead(index, alone=multi)
