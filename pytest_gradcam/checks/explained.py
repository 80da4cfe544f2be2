"""What a check on an explanation is about: one image, one target, one layer, one method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import overlay
from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.overlay import Panel
from pytest_gradcam.questions.explained_model import Engine, ExplainedModel, Heatmap, ModelInput, Question

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Explained:
    """A heatmap with what it takes to make it again, of a changed image or of a changed model; its class is fixed."""

    engine: Engine
    one: ModelInput
    heatmap: Heatmap
    question: Question

    def scores(self, images: Sequence[ModelInput]) -> NDArray[np.float64]:
        """The target's score (N,) in each of the images."""
        return self.engine.scores(images, self.question.target)

    def again(self, images: Sequence[ModelInput], *, by: Engine) -> list[Heatmap]:
        """The same question put to another engine, about these images."""
        targets = [self.question.target] * len(images)
        return by.heatmaps(images, targets, layer=self.question.layer, method=self.question.method)

    def record(self, **fields: Any) -> Record:
        """The record of a check on it, undecided so far."""
        (height, width), heatmap = self.heatmap.grid.shape, self.heatmap
        return Record(grid=(height, width), view=self.one.shape, **asdict(heatmap.subject), **fields)


def explained(model: ExplainedModel, image: Any, question: Question) -> Explained:
    """The image explained. Raises HeatmapError if no heatmap can be trusted."""
    one = model.engine.read(image)
    heatmap = model.explain(one, question)
    fixed = heatmap.subject.target_index if question.target is None else question.target
    return Explained(model.engine, one, heatmap, replace(question, target=fixed))


def picture(subject: Explained, record: Record, *others: tuple[str, Heatmap]) -> Image:
    """The picture of a check on it: the view, the heatmap, and other heatmaps with their captions."""
    view = subject.heatmap.view
    panels = [Panel(view), Panel(view, subject.heatmap.values, caption="the heatmap")]
    panels += [Panel(view, other.values, caption=caption) for caption, other in others]
    return overlay.draw_panels(
        panels,
        title=messages.title(record),
        lines=[f"{label:<11}{phrase}" for label, phrase in messages.rows(record) if label != "picture"],
    )
