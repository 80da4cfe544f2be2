"""A detected object followed through a perturbation: where its box is afterwards, and whether the detector finds it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from pytest_gradcam import masks
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.perturbations import Perturbation
from pytest_gradcam.questions.protocols import Bools, Engine, ModelInput
from pytest_gradcam.targets import Box, Detection, class_index

_SAME_OBJECT = 0.5  # IoU, as for detections of an image that nothing has changed
_PERHAPS = 0.1  # IoU: a turned object may fill as little of the box around its turned box
_FILLED = 0.95  # share of the box around a moved box that it fills, unless it was turned or slanted
_LEFT = 0.1  # share of a box that may leave the image
_JUMP = 4.0  # times the median: at the edge of a mirrored band places jump, and an area there means nothing


@dataclass(frozen=True)
class Followed:
    """The object in a changed image: the detection that is it, None where the detector finds none; `nearest` says what it finds.

    `doubt` says why that is not known; empty where it is.
    """

    found: Detection | None = None
    nearest: str = ""
    doubt: str = ""

    @property
    def score(self) -> float:
        """Its score, 0 where it is not found. Raises HeatmapError where that is not known."""
        if self.doubt:
            raise HeatmapError(self.doubt)
        return 0.0 if self.found is None else self.found.score


class FollowedObject:
    """One object that the detector finds in an image, to be looked for in changed versions of the image.

    `before` is the detection that the target means. Raises HeatmapError where there is none, and for one so near to the
    detector's threshold that it may disappear at any change.
    """

    def __init__(self, engine: Engine, image: ModelInput, size: tuple[int, int], target: Box) -> None:
        self.subject = engine.scored([image], [target])[0].subject
        self._engine, self._size = engine, size
        assert self.subject.target_index is not None
        found = self._alike(engine.detections(image))
        self.before = max(found, key=lambda each: _iou(each.box, target.box))

    @property
    def outline(self) -> Bools:
        """The object's box as a mask of the image."""
        return masks.box(self._size, self.before.box, clip=True)

    def after(self, perturbation: Perturbation, image: ModelInput) -> Followed:
        """The object in the changed image."""
        try:
            place, exact = self._moved(perturbation)
        except HeatmapError as error:
            return Followed(doubt=str(error))
        listed = self._engine.detections(image)
        overlaps = {each: _iou(each.box, place) for each in self._alike(listed)}
        same = [each for each, overlap in overlaps.items() if overlap >= _SAME_OBJECT]
        if same:
            return Followed(max(same, key=lambda each: each.score))
        best = max(overlaps.values(), default=0.0)
        if not exact and best >= _PERHAPS:
            return Followed(
                doubt=f"the change turns or slants the object's box, and a {self.subject.target!r} overlaps the box around it "
                f"with an IoU of {best:.2f}: it may be the object, or not; pass a milder change"
            )
        return Followed(nearest=_nearest(listed, place))

    def _alike(self, found: Sequence[Detection]) -> list[Detection]:
        """Those of the object's class."""
        index = self.subject.target_index
        return [each for each in found if class_index(each.label, self._engine.names) == index]

    def _moved(self, perturbation: Perturbation) -> tuple[tuple[float, ...], bool]:
        """The box around the moved box, and whether the moved box fills it.

        Raises HeatmapError where a part of it is not in the image any more, or where it is torn.
        """
        if not perturbation.moves:
            return self.before.box, True
        outline = self.outline
        moved = perturbation.mask(outline)
        lost = 1 - _seen(perturbation, outline)
        rows, columns = np.nonzero(moved)
        if not len(rows) or lost > _LEFT + 1 / np.sqrt(outline.sum()):
            raise HeatmapError(
                f"the change moves {max(lost, 0) if len(rows) else 1:.0%} of the object's box out of the image, so it need not "
                "be found; pass a milder change, or an object further from the edge"
            )
        if scipy.ndimage.label(moved)[1] > 1:
            raise HeatmapError(
                "the change tears the object's box apart, so it need not be found; flip(1) mirrors all of the image"
            )
        place = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        return place, bool(moved.sum() >= _FILLED * _area(place))


def _seen(perturbation: Perturbation, outline: Bools) -> float:
    """The share of the outlined pixels that the changed image still shows."""
    height, width = outline.shape
    y, x = np.indices(outline.shape).reshape(2, -1)
    places = perturbation.origins(np.column_stack([x, y]), (height, width)).reshape(height, width, 2)
    if min(height, width) < 2:
        return 1.0
    # How much of the original each pixel of the changed image shows: the determinant of where its content came from.
    down, across = np.asarray(np.gradient(places, axis=0)), np.asarray(np.gradient(places, axis=1))
    shown = np.abs(across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0])
    known = np.isfinite(places).all(axis=2)
    usual = float(np.nanmedian(shown)) if np.isfinite(shown).any() else 1.0
    shown = np.where(np.isfinite(shown) & (shown <= _JUMP * usual), shown, usual)  # its neighbours may not be known
    column, row = (np.where(known, np.rint(places[..., axis]), 0).astype(int) for axis in (0, 1))
    inside = known & outline[row.clip(0, height - 1), column.clip(0, width - 1)]
    return float(shown[inside].sum() / outline.sum())


def _nearest(found: Sequence[Detection], place: tuple[float, ...]) -> str:
    """The detection that overlaps the place most, in words."""
    if not found:
        return "it finds nothing in the changed image"
    best = max(found, key=lambda each: _iou(each.box, place))
    overlap = _iou(best.box, place)
    return f"of {len(found)} detections the nearest is {best.label!r} with score {best.score:.2f} and IoU {overlap:.2f}"


def _area(box: tuple[float, ...] | NDArray[np.float64]) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def _iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    both = _area(np.concatenate([low, high]))
    return both / (_area(one) + _area(other) - both)
