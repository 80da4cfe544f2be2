"""Images whose class margins a check on a set asks for: their scores, the classes that are read, and what a margin is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.checks.margins import Floats
from pytest_gradcam.checks.masked_image import MaskedImage
from pytest_gradcam.checks.outline import Fault
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.lead import Lead
from pytest_gradcam.questions.lead import margins as margins_of

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Asked:
    """The images of a call: the first `count` may have the artefact, the others lack it.

    `scores` (N, classes) are those of the unchanged images, `classes` (N,) those whose margin is read; `alone` says that
    the classes do not compete, so that a margin is the class's own logit; `fault` what is wrong with the masks, if that can be
    seen.
    """

    every: list[MaskedImage]
    count: int
    scores: NDArray[np.float32]
    classes: Indices
    alone: bool
    fault: Fault | None = None

    @property
    def own(self) -> list[MaskedImage]:
        """The images that may have the artefact."""
        return self.every[: self.count]

    @property
    def compared(self) -> bool:
        """Whether there are images without the artefact to compare with."""
        return self.count < len(self.every)

    @property
    def alike(self) -> bool:
        """Whether one class is asked about in all images that may have the artefact, and found in all or in none."""
        found = {bool(row[index] > 0) for row, index in zip(self.scores[: self.count], self.classes, strict=False)}
        return len(set(self.classes[: self.count])) == 1 and (not self.alone or len(found) == 1)

    def lead(self, place: int) -> Lead:
        """What the margin of an image is."""
        return Lead(int(self.classes[place]), alone=self.alone)

    def margins(self, scores: NDArray[np.float32], places: Indices) -> Floats:
        """The margins (M,) in scores (M, classes) of the images at these places (M,), changed or not."""
        return margins_of(scores, self.classes[places], alone=self.alone)


def classes_of(model: ExplainedModel, scores: NDArray[np.float32], count: int, targets: Any) -> Indices:
    """The class of each image whose margin is read: its target's, by default the predicted one."""
    leads = model.classes(scores[:count], targets)
    if any(lead.against is not None for lead in leads):
        raise HeatmapError(
            "a Contrast has no margin over all other classes; expected class indices or names as targets"
        )
    return np.array([*(lead.index for lead in leads), *scores[count:].argmax(axis=1)])


def means(falls: Floats, sources: Indices, count: int) -> Floats:
    """The mean fall of each image (count,) over its changes; NaN for an image without any."""
    times = np.bincount(sources, minlength=count)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(sources, falls, minlength=count) / times)
