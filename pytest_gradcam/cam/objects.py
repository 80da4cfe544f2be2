"""What a detector found in one image, and which of it a Box means: the detection that it overlaps most (IoU)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from pytest_gradcam.cam.dense import ClassToFind
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.targets import Box

_SAME_OBJECT = 0.5  # IoU
_LISTED = 5  # detections in an error


@dataclass(frozen=True)
class Found:
    """The detections in one image: boxes (N, 4) as x0, y0, x1, y1 in its pixels, scores (N,) in [0, 1] and labels (N,).

    `hint` ends the message that nothing fits, where something is known to be wrong.
    """

    boxes: Tensor
    scores_with_grad: Tensor
    labels: Tensor
    hint: str

    @property
    def tensors(self) -> list[Tensor]:
        """Boxes and scores, to compare with those of another pass."""
        return [self.boxes.detach().double(), self.scores.double()]

    @property
    def scores(self) -> Tensor:
        return self.scores_with_grad.detach()

    def matching(self, target: Box, wanted: ClassToFind) -> int:
        """The index of the detection of this class that overlaps the target's box most."""
        box = torch.tensor([target.box], dtype=torch.float64)
        overlaps = box_iou(self.boxes.double().cpu(), box)[:, 0].nan_to_num()
        labels = self.labels.cpu()
        same = overlaps if wanted.index is None else overlaps * (labels == wanted.index)
        if len(same) and same.max() >= _SAME_OBJECT:
            return int(same.argmax())
        edges = ", ".join(f"{edge:g}" for edge in target.box)
        whose = "" if wanted.index is None else f" of {wanted.name_of(wanted.index)!r}"
        raise HeatmapError(
            f"no detection{whose} overlaps the box ({edges}) with an IoU of at least {_SAME_OBJECT:g}; "
            f"{self._nearest(overlaps, wanted)}. Check the label, the detector's score threshold, and that the box is "
            f"(x0, y0, x1, y1) in pixels of the image you pass{self.hint}"
        )

    def _nearest(self, overlaps: Tensor, wanted: ClassToFind) -> str:
        if not len(overlaps):
            return "the detector found nothing in this image"
        listed = [
            f"{wanted.name_of(int(self.labels[i]))!r} with score {self.scores[i]:.2f} and IoU {overlaps[i]:.2f}"
            for i in overlaps.argsort(descending=True, stable=True)[:_LISTED].tolist()
        ]
        return f"the nearest of {len(overlaps)} detections: {', '.join(listed)}"

    def again(self, box: Tensor, label: int) -> float:
        """The score of the best detection of this label in the place of this box (4,); 0 if there is none."""
        overlaps = box_iou(self.boxes.double(), box.double()[None])[:, 0].nan_to_num()
        same = (overlaps >= _SAME_OBJECT) & (self.labels == label)
        return float(self.scores[same].max()) if same.any() else 0.0
