"""How far a class leads over the others, in logits: the margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.targets import Box, ClassNames, Contrast, Region, Target, class_index, index_within

Floats = NDArray[np.float64]


def margins(scores: NDArray[np.floating], classes: NDArray[np.intp], against: int | None = None) -> Floats:
    """How far each row's class (N,) leads in scores (N, classes): over the best other class, or over `against`."""
    rows, rest = np.arange(len(scores)), scores.astype(np.float64)
    own = rest[rows, classes]
    if against is not None:
        return np.asarray(own - rest[:, against])
    rest = rest.copy()
    rest[rows, classes] = -np.inf
    return np.asarray(own - rest.max(axis=1))


@dataclass(frozen=True)
class Lead:
    """How far one class leads: over the best other class, or over the class `against`."""

    index: int
    against: int | None = None

    def of(self, scores: NDArray[np.floating]) -> Floats:
        """The margins (N,) in scores (N, classes)."""
        return margins(scores, np.full(len(scores), self.index), self.against)


def lead_of(target: Target, row: NDArray[np.floating], names: ClassNames) -> Lead:
    """The lead that a target asks for, given one image's scores (classes,); by default that of the predicted class.

    Raises HeatmapError for a target that is not a class.
    """
    if isinstance(target, Contrast):
        own, other = (index_within(class_index(each, names), len(row)) for each in (target.target, target.rather_than))
        return Lead(own, other)
    if isinstance(target, (Box, Region)) or callable(target):
        raise HeatmapError(
            f"target={target!r} has no margin over other classes; expected None, a class index, a class name or a Contrast"
        )
    return Lead(int(row.argmax()) if target is None else index_within(class_index(target, names), len(row)))
