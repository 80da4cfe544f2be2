"""Regions of an image to click instead of drawing: invalid pixels, segments of scikit-image, salient objects."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_gradcam import images, masks
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.models import salient

_LONGEST = 512  # pixels of the side of the picture that is segmented
Labels = NDArray[np.int64]


def _slic(pixels: NDArray[np.uint8]) -> Labels:
    from skimage.segmentation import slic

    return np.asarray(slic(pixels, n_segments=80, compactness=12, start_label=1), np.int64)


def _felzenszwalb(pixels: NDArray[np.uint8]) -> Labels:
    from skimage.segmentation import felzenszwalb

    return (
        np.asarray(felzenszwalb(pixels, scale=150, sigma=0.6, min_size=max(20, pixels[..., 0].size // 800)), np.int64)
        + 1
    )


_SEGMENTERS: dict[str, Callable[[NDArray[np.uint8]], Labels]] = {"slic": _slic, "felzenszwalb": _felzenszwalb}
_KINDS = ("invalid", *_SEGMENTERS)
OBJECT = "object"


def kinds(u2net: Path | None) -> tuple[str, ...]:
    """What can be proposed: objects where there is a U2-Net to find them."""
    return _KINDS if u2net is None else (*_KINDS, OBJECT)


@lru_cache(maxsize=16)
def labels(path: Path, kind: str, u2net: Path | None = None) -> Labels:
    """The region of each pixel (H, W), 0 for none."""
    picture = images.read(path)
    if kind == "invalid":
        found = np.zeros(picture.shape, np.int64)
        for number, mask in enumerate(masks.invalid_pixels_by_kind(path).values(), start=1):
            found[mask & (found == 0)] = number
        return found
    if kind not in kinds(u2net):
        raise HeatmapError(f"{kind!r} is no kind of proposal; expected one of {', '.join(kinds(u2net))}")
    if kind == OBJECT and u2net is not None:
        return salient.labels(np.asarray(picture.pil.convert("RGB")), u2net)
    height, width = picture.shape
    scale = min(1.0, _LONGEST / max(height, width))
    small = picture.pil.convert("RGB").resize((max(1, round(width * scale)), max(1, round(height * scale))))
    found = _SEGMENTERS[kind](np.asarray(small))
    rows = np.minimum((np.arange(height) * found.shape[0]) // height, found.shape[0] - 1)
    columns = np.minimum((np.arange(width) * found.shape[1]) // width, found.shape[1] - 1)
    return found[rows][:, columns]


def outlines(path: Path, kind: str, u2net: Path | None = None) -> bytes:
    """A transparent PNG of the image's size with the borders of all regions."""
    from skimage.segmentation import find_boundaries

    found = labels(path, kind, u2net)
    edges = find_boundaries(found, mode="inner") if found.any() else np.zeros(found.shape, bool)
    pixels = np.zeros((*found.shape, 4), np.uint8)
    pixels[edges] = (255, 220, 0, 200)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def region(found: Labels, x: int, y: int) -> dict[str, Any] | None:
    """The region at a pixel as COCO's run lengths and box; None where there is none."""
    height, width = found.shape
    if not (0 <= x < width and 0 <= y < height) or not found[y, x]:
        return None
    return run_lengths(found == found[y, x])


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """The mask as COCO writes it: runs down the columns, of 0 first."""
    flat = np.concatenate([[False], mask.flatten(order="F"), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]])) if len(changes) else np.array([mask.size])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
    return {"segmentation": {"size": list(mask.shape), "counts": counts.tolist()}, "bbox": box}
