"""What a check on an explanation is about: one image, one target, one layer, one method."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import overlay
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.overlay import Panel
from pytest_gradcam.questions.explained_model import ExplainedModel, Question
from pytest_gradcam.questions.protocols import Engine, HeatmapLike, ModelInput, is_heatmap

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Explained:
    """A heatmap, and what it takes to make it again for a changed image or by a changed model; its class is fixed."""

    engine: Engine
    image_input: ModelInput
    heatmap: HeatmapLike
    question: Question

    def scores(self, images: Sequence[ModelInput]) -> NDArray[np.float64]:
        """The target's score (N,) in each of the images."""
        return self.engine.scores(images, self.question.target)

    def again(self, images: Sequence[ModelInput], *, by: Engine) -> Sequence[HeatmapLike]:
        """The heatmaps of these images for the same question, made by another engine."""
        targets = [self.question.target] * len(images)
        return by.heatmaps(images, targets, layer=self.question.layer, method=self.question.method)


def explained(model: ExplainedModel, image: Any, question: Question) -> Explained:
    """The image explained. Raises HeatmapError if no heatmap can be trusted."""
    image_input = model.engine.read(image)
    heatmap = model.explain(image_input, question)
    fixed = heatmap.subject.target_index if question.target is None else question.target
    return Explained(model.engine, image_input, heatmap, replace(question, target=fixed))


def given(model: ExplainedModel, image: Any, question: Question, heatmap: Any) -> Explained:
    """An image under a heatmap from elsewhere. Raises HeatmapError for one of another aspect than the view."""
    if not is_heatmap(heatmap):
        raise HeatmapError(
            f"heatmap={type(heatmap).__name__} cannot be used; expected a Heatmap; make one with Heatmap.from_array(values)"
        )
    image_input = model.engine.read(image)
    (height, width), (h, w) = image_input.shape, heatmap.values.shape
    if abs(height * w - width * h) > max(height, width):  # more than a cell of it
        raise HeatmapError(
            f"the heatmap has {h} x {w} px, and the model sees {height} x {width}; expected a heatmap of what the model sees"
        )
    about = model.subject(image_input, model.engine.predict([image_input])[0], question.target)
    own: Any = copy(heatmap)
    own.subject = replace(about, method=heatmap.subject.method or "given", layer=heatmap.subject.layer)
    return Explained(model.engine, image_input, own, replace(question, target=about.target_index))


def picture(subject: Explained, record: Record, *others: tuple[str, HeatmapLike]) -> Image:
    """The picture of a check on it: the view, the heatmap, and other heatmaps with their captions."""
    view = subject.heatmap.view
    panels = [Panel(view), Panel(view, subject.heatmap.values, caption="the heatmap")]
    panels += [Panel(view, other.values, caption=caption) for caption, other in others]
    return overlay.draw_panels(panels, title=messages.title(record), lines=messages.lines(record))
