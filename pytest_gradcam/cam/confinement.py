"""Whether a replaced part of the input shows in the cell that lies there: asked of the forward pass alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from math import inf

import torch
from torch import Tensor

from pytest_gradcam.cam.reach import spread
from pytest_gradcam.cam.sites import Grid

_BLOCKS = 5  # the most places that are replaced, one after the other
_FEWEST = 2


def confinement(look: Callable[[Tensor], Tensor], image: Tensor, enough: float = inf) -> float:
    """How many times as much replaced blocks change the cells at their places as the average of the others.

    `look` maps an image (1, C, H, W) to the activations (1, channels, h, w) of a layer. A block takes the pixels of other
    places of `image`, so that its values stay in the input's range. 1 means that the cells have no place of their own; NaN
    that nothing shows anywhere. From `enough` on, two blocks are: more of them move it by a tenth. Where several blocks show
    elsewhere rather than in their own cells, the median of all counts.
    """
    with torch.no_grad():
        before = look(image).double()
        height, width = grid = (before.shape[2], before.shape[3])
        own = others = torch.zeros((), dtype=torch.double)
        # At each place, since one that the order of cells leaves where it is says nothing of others.
        shown: list[float] = []
        for number, place in enumerate(islice(spread(grid), _BLOCKS), 1):
            change = (look(_replaced(image, grid, place)).double() - before).norm(dim=1)[0].flatten().cpu()
            beside = (change.sum() - change[place]) / (height * width - 1)
            own, others = own + change[place], others + beside
            if change.any():
                shown.append(float(change[place] / beside.clamp_min(1e-300)))
            if number >= _FEWEST and own >= enough * others > 0 and min(shown) >= 1:
                break
    if sum(ratio < 1 for ratio in shown) >= _FEWEST:
        return min(float(own / others), sorted(shown)[len(shown) // 2])
    return float(own / others)


def _replaced(image: Tensor, grid: Grid, place: int) -> Tensor:
    draw = torch.randperm(image[0, 0].numel(), generator=torch.Generator().manual_seed(place)).to(image.device)
    rows, columns = (
        slice(cell * side // cells, (cell + 1) * side // cells)
        for cell, side, cells in zip(divmod(place, grid[1]), image.shape[2:], grid, strict=True)
    )
    changed = image.clone()
    changed[:, :, rows, columns] = image.flatten(2)[:, :, draw].reshape(image.shape)[:, :, rows, columns]
    return changed
