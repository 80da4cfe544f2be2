"""Which part of an image a preprocess keeps, as `pytest-gradcam init` writes it down: measured on images of two sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.inputs.reader import Reader

_SIZES = ((400, 300), (300, 500))  # width and height: one lies, one stands
_EXACT = 0.01  # of a side: positions are measured to two levels of 255


@dataclass(frozen=True)
class KeptPart:
    """The middle of the image: these shares of its width and height, or of its shorter side where that is a `square`."""

    across: float
    down: float
    square: bool = False

    @property
    def whole(self) -> bool:
        return not self.square and min(self.across, self.down) > 1 - _EXACT


def kept_part(preprocess: Any, model: Any) -> KeptPart | None:
    """None for anything but a part around the middle, of the same share at both sizes."""
    reader = Reader(preprocess, model)
    try:
        boxes = [_box(reader, *size) for size in _SIZES]
    except HeatmapError:  # of a preprocess whose masks cannot be followed: the checks will say so
        return None
    placed = list(zip(boxes, _SIZES, strict=True))
    if any(abs(box[i] + box[i + 2] - size[i]) > 2 * _EXACT * size[i] for box, size in placed for i in (0, 1)):
        return None
    lengths = [(box[2] - box[0], box[3] - box[1]) for box in boxes]
    shares = [(length[0] / size[0], length[1] / size[1]) for length, size in zip(lengths, _SIZES, strict=True)]
    if np.ptp(shares, axis=0).max() < _EXACT:
        across, down = np.mean(shares, axis=0)
        return KeptPart(_share(across), _share(down))
    of_shorter = [side / min(size) for length, size in zip(lengths, _SIZES, strict=True) for side in length]
    if np.ptp(of_shorter) < _EXACT:
        share = _share(np.mean(of_shorter))
        return KeptPart(share, share, square=True)
    return None


def _share(measured: Any) -> float:
    return min(1.0, round(float(measured), 3))


def _box(reader: Reader, width: int, height: int) -> tuple[float, ...]:
    """The box (x0, y0, x1, y1) of an image of noise that the view shows."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    read = reader.read(Image.fromarray(noise))
    assert read.place is not None  # it was a picture
    tall, wide = read.tensor.shape[-2:]
    corners = np.array([[-0.5, -0.5, 1], [wide - 0.5, tall - 0.5, 1]]) @ read.place().to_image.T + 0.5
    (x0, x1), (y0, y1) = (sorted(np.clip(corners[:, i], 0, size)) for i, size in enumerate((width, height)))
    return x0, y0, x1, y1
