"""One picture or a series of pictures as levels, and their statistics over the series."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import images
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools

Bytes = NDArray[np.uint8]
Levels = NDArray[np.float32]


@dataclass(frozen=True)
class Frames:
    """Pictures of one size from one camera: `levels` uint8 (n, H, W, 3)."""

    levels: Bytes

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def shape(self) -> tuple[int, int]:
        return self.levels.shape[1], self.levels.shape[2]

    @cached_property
    def darkest(self) -> Bytes:
        """The lowest level of each pixel and channel over the series; (H, W, 3)."""
        return np.asarray(self.levels.min(axis=0))

    @cached_property
    def brightest(self) -> Bytes:
        """The highest level of each pixel and channel over the series; (H, W, 3)."""
        return np.asarray(self.levels.max(axis=0))

    @cached_property
    def mean(self) -> Levels:
        """The mean level of each pixel and channel over the series; (H, W, 3)."""
        return np.asarray(self.levels.mean(axis=0, dtype=np.float32))

    def unlike(self, level: Levels) -> Levels:
        """The largest distance over frames and channels of each pixel from a level that broadcasts to (H, W, 3)."""
        distance = np.maximum(self.brightest - level, level - self.darkest)
        return np.asarray(np.maximum.reduce(np.moveaxis(distance, -1, 0)), np.float32)


def read(image: Any, series: Sequence[Any] | None) -> tuple[Frames | None, Bools]:
    """The frames, None if they have no levels, and which pixels of the image are finite, (H, W).

    Float images have levels if their finite values lie from 0 to 1. Raises HeatmapError for another size in the series.
    """
    pictures = [_picture(one) for one in [image, *(series or [])]]
    finite = np.isfinite(pictures[0]).all(axis=-1)
    for i, picture in enumerate(pictures[1:]):
        if picture.shape != pictures[0].shape:
            raise HeatmapError(
                f"image {i} of the series has shape {picture.shape[:2]}, the image {pictures[0].shape[:2]}; "
                "expected one size; pass images of one camera"
            )
    levels = [_levels(picture) for picture in pictures]
    known = [one for one in levels if one is not None]
    return (Frames(np.stack(known)) if len(known) == len(levels) else None), finite


def _picture(image: Any) -> NDArray[Any]:
    """The image as uint8 or float (H, W, 3)."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(image, torch.Tensor):
        image = image.detach().cpu().float().numpy()
    if not (isinstance(image, np.ndarray) and image.dtype.kind == "f"):
        return np.asarray(images.read(image).pil.convert("RGB"))
    if image.ndim == 3 and image.shape[-1] not in (1, 3) and image.shape[0] in (1, 3):
        image = np.moveaxis(image, 0, -1)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or not image.size:
        raise HeatmapError(
            f"a float array of shape {image.shape} is not an image; expected (H, W), (H, W, 3) or (C, H, W)"
        )
    return np.broadcast_to(image, (*image.shape[:2], 3))


def _levels(picture: NDArray[Any]) -> Bytes | None:
    if picture.dtype == np.uint8:
        return picture
    finite = np.isfinite(picture)
    values = picture[finite]
    if not values.size or values.min() < 0 or values.max() > 1:
        return None
    # What is not finite gets a level from the middle, so that it is reported once, under its own kind.
    return np.round(np.where(finite, picture, np.median(values)) * 255).astype(np.uint8)
