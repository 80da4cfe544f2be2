"""The scores of one image seen through many masks: all that a method needs which looks at no layer and no gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pytest_gradcam.cam.outputs import Goal, per_image
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MaskedScores:
    """One model and one image (1, C, H, W) with its goals; `outputs` and `scores` are of the whole image.

    What a mask hides is replaced by the image's own mean colour, the mean of each channel.
    """

    model: nn.Module
    image: Tensor
    goals: Sequence[Goal]
    batch_size: int
    output: Any
    scores: list[Tensor]

    def through(self, masks: Iterable[Tensor]) -> Floats:
        """The score (n, N) of each of n goals through N masks (H, W), 1 where the image shows, in order.

        Raises HeatmapError for scores that are not finite.
        """
        mean = self.image.mean((2, 3), keepdim=True)
        found = [
            self._of(mean + mask[:, None].to(self.image) * (self.image - mean))
            for mask in _batched(masks, self.batch_size)
        ]
        scores = np.concatenate(found, axis=1)
        if not np.isfinite(scores).all():
            raise HeatmapError(
                "the model scores the image with a part of it hidden NaN or infinite; check the weights, or use another method"
            )
        return scores

    def _of(self, images: Tensor) -> Floats:
        output = forward(self.model, images)
        each = [per_image(output, i, len(images)) for i in range(len(images))]
        return np.array([[float(goal.score(one)) for one in each] for goal in self.goals])


def of_image(model: nn.Module, image: Tensor, goals: Sequence[Goal], batch_size: int) -> MaskedScores:
    """The scores of an image (1, C, H, W), with the predicted class settled where a goal leaves it open."""
    output = per_image(forward(model, image), 0, 1)
    settled = [goal.settled(output) for goal in goals]
    return MaskedScores(model, image, settled, batch_size, output, [goal.score(output).detach() for goal in settled])


def cells(shape: tuple[int, int], shorter: int) -> tuple[int, int]:
    """(h, w) of a grid of about square cells, `shorter` of them along the shorter side, on a view of (H, W)."""
    side = max(1.0, min(shape) / shorter)
    return tuple(max(1, round(length / side)) for length in shape)  # type: ignore[return-value]


def _batched(masks: Iterable[Tensor], size: int) -> Iterable[Tensor]:
    group: list[Tensor] = []
    for mask in masks:
        group.append(mask)
        if len(group) == size:
            yield torch.stack(group)
            group = []
    if group:
        yield torch.stack(group)
