"""What a check on an explanation is about: one image, one target, one layer, one method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import overlay
from pytest_gradcam.cam.inputs import Input
from pytest_gradcam.cam.targets import Target
from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.heatmap import Heatmap
from pytest_gradcam.overlay import Panel

if TYPE_CHECKING:
    from PIL.Image import Image

    from pytest_gradcam.explainer import Explainer


@dataclass(frozen=True)
class Explained:
    """A heatmap with what it takes to make it again, of a changed image or of a changed model; its class is fixed."""

    explainer: Explainer
    one: Input
    heatmap: Heatmap
    target: Target
    layer: str | None
    method: str | None

    def scores(self, images: Sequence[Input]) -> NDArray[np.float64]:
        """The target's score (N,) in each of the images."""
        return self.explainer.scores(images, self.target)

    def again(self, images: Sequence[Input], *, by: Explainer) -> list[Heatmap]:
        """The same question put to another explainer, about these images."""
        return by.batch(images, [self.target] * len(images), layer=self.layer, method=self.method)

    def record(self, **fields: Any) -> Record:
        """The record of a check on it, undecided so far."""
        (height, width), heatmap = self.heatmap.grid.shape, self.heatmap
        return Record(grid=(height, width), view=self.one.shape, **asdict(heatmap.subject), **fields)


def explained(explainer: Explainer, image: Any, target: Target, layer: str | None, method: str | None) -> Explained:
    """The image explained. Raises HeatmapError if no heatmap can be trusted."""
    one = explainer.read(image)
    target = explainer.wanted(target)
    heatmap = explainer.batch([one], [target], layer=layer, method=method)[0]
    fixed = heatmap.subject.target_index if target is None else target
    return Explained(explainer, one, heatmap, fixed, layer, method)


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
