"""Heatmaps that follow their image: what was measured before a change, moved to where its content is after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from pytest_gradcam.perturbations.base import Perturbation, inside

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a view lies in its image: `shape` (H, W) of the image, and `to_image` (2, 3).

    `to_image @ (x, y, 1)` is the place in the image of the view's pixel at x, y.
    """

    shape: tuple[int, int]
    to_image: NDArray[np.float64]


def move_heat(values: Floats, perturbation: Perturbation, placement: Placement | None = None) -> NDArray[np.float32]:
    """The heatmap (H, W) of the original where the perturbed image shows what it belongs to, sampled bilinearly.

    NaN where new content came in: what the original did not show. Without a placement the view is the whole image.
    """
    heat = np.array(values, np.float32)
    if not perturbation.moves:
        return heat
    placed = placement or Placement((heat.shape[0], heat.shape[1]), np.eye(2, 3))
    y, x = np.indices(heat.shape).reshape(2, -1)
    places = perturbation.origins(_mapped(placed.to_image, np.column_stack([x, y])), placed.shape)
    return _sampled(heat, _mapped(_inverse(placed.to_image), places)).reshape(heat.shape)


def in_image(mask: NDArray[np.bool_], placement: Placement) -> NDArray[np.bool_]:
    """The mask (H, W) of a view in the image that it lies in; False where the view shows nothing of it."""
    inverse = _inverse(placement.to_image)[::-1]  # rows before columns, as arrays have them
    moved = scipy.ndimage.affine_transform(
        mask.astype(np.float32),
        inverse[:, 1::-1],
        inverse[:, 2],
        output_shape=placement.shape,
        order=1,
        mode="grid-constant",
    )
    return np.asarray(moved >= 0.5)


def _sampled(heat: NDArray[np.float32], places: Floats) -> NDArray[np.float32]:
    """The heat (H, W) at the places (N, 2); NaN for those outside of it."""
    seen = inside(places, (heat.shape[0], heat.shape[1]))
    at = np.where(seen[:, None], places, 0)[:, ::-1].T
    return np.where(seen, scipy.ndimage.map_coordinates(heat, at, order=1, mode="nearest"), np.nan).astype(np.float32)


def _mapped(affine: Floats, places: Floats) -> Floats:
    """The places (N, 2) under the affine map (2, 3)."""
    return places @ affine[:, :2].T + affine[:, 2]


def _inverse(affine: Floats) -> Floats:
    """The affine map (2, 3) that undoes this one."""
    return np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2]
