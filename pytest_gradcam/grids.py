"""The grid of a heatmap: brought to another size, and whether it can bear a verdict."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.errors import HeatmapError, NoEvidenceError
from pytest_gradcam.evidence.record import Centres, Subject

Grid = NDArray[np.float32]
_ROUNDING = 1e-6  # a spread, relative to the maximum, that float32 arithmetic leaves on a map of one value
_FEW = 16  # cells a side, up to which two products of matrices are the fastest way to resize a grid


def resize(grid: Grid, shape: tuple[int, int], centres: Centres | None = None) -> Grid:
    """The grid (h, w) resized bilinearly to `shape` (H, W), edges held; its cells tile that shape, or have these centres."""
    few = max(grid.shape) <= _FEW and grid.shape[0] <= shape[0] and grid.shape[1] <= shape[1]
    if (few or centres) and np.isfinite(grid).all():
        down, across = weights(grid.shape, shape, centres)
        return (down @ grid @ across.T).astype(np.float32)
    from PIL.Image import Resampling, fromarray  # ten times as fast as scikit-image here, to the same 1e-6

    return np.array(fromarray(grid).resize((shape[1], shape[0]), Resampling.BILINEAR))


def averaged(grid: Grid, shape: tuple[int, int]) -> Grid:
    """The grid averaged over the cells of a coarser one of this shape, each part of a cell by its area."""
    from skimage.transform import resize_local_mean

    return grid if grid.shape == shape else resize_local_mean(grid, shape).astype(np.float32)


def is_flat(grid: Grid) -> bool:
    """Whether the grid has one value everywhere, but for rounding."""
    return bool(np.ptp(grid) <= _ROUNDING * grid.max())


def require_evidence(grid: Grid, subject: Subject) -> None:
    """Raises NoEvidenceError if the grid is zero or the same everywhere, HeatmapError if it is not finite."""
    if not np.isfinite(grid).all():
        raise HeatmapError("the heatmap holds NaN or infinite values; check the model's activations and weights")
    where = f" at layer {subject.layer}" if subject.layer else ""
    scored = subject.target and subject.score is not None
    whose = f" for {subject.target!r} (score {subject.score:.4g})" if scored else ""
    if not grid.any():
        raise NoEvidenceError(
            f"the heatmap is zero everywhere{whose}{where}: there is no positive evidence for the target; "
            "explain another target, or choose another layer or method (hirescam)"
        )
    if is_flat(grid):
        raise NoEvidenceError(
            f"the heatmap has the same value everywhere{whose}{where}, so it points nowhere; "
            "choose a layer with a finer grid, and check that the weights are trained"
        )


def weights(
    grid: tuple[int, int], shape: tuple[int, int], centres: Centres | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(H, h) and (W, w): what each row and column of pixels takes of those of the cells."""
    if centres is None:
        steps = [many / few for few, many in zip(grid, shape, strict=True)]
        centres = ((steps[0] / 2 - 0.5, steps[0]), (steps[1] / 2 - 0.5, steps[1]))
    (height, width), (tall, wide), (down, across) = grid, shape, centres
    return _weights(height, tall, *down), _weights(width, wide, *across)


@lru_cache(maxsize=64)
def _weights(few: int, many: int, first: float, step: float) -> NDArray[np.float64]:
    """(many, few): what each of `many` pixels takes of `few` cells. In float64, so that equal cells stay equal."""
    places = np.clip((np.arange(many) - first) / step, 0, few - 1)
    shares: NDArray[np.float64] = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(few)))
    return shares
