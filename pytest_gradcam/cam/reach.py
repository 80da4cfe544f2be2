"""How far the cells of a layer look: the energy of their gradient over the input, with what all cells share taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.functional import adaptive_avg_pool2d

from pytest_gradcam.cam.sites import Grid, Site
from pytest_gradcam.cam.trace import Output

_FINEST = 128  # cells a side; energies are kept no finer than this
_STEPS = (0.7548776662, 0.5698402910)  # of the R2 sequence (Roberts, 2018): even and without symmetry


@dataclass
class Reach:
    """The energy over the input of single cells of one output, measured one backward pass at a time.

    A *cell* is an index into the output's tokens, or into its positions, row by row. `energies` holds for each
    measured cell the squared gradient of one random projection of its channels, summed over the input's channels,
    (H, W) or coarser; cells without any gradient, as behind a dead ReLU, are left out.
    """

    output: Output
    site: Site
    start: Tensor
    energies: dict[int, Tensor] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        channels = self.output.shape[1 if self.site.layout == "BCHW" else -1]
        self._projection = torch.randn(channels, generator=torch.Generator().manual_seed(0))
        self._edge: GradientEdge = get_gradient_edge(self.start)

    @property
    def count(self) -> int:
        """The number of cells: all tokens, or all positions."""
        return self.output.shape[1] if self.site.layout == "BNC" else self.site.grid[0] * self.site.grid[1]

    def measure(self, cell: int) -> bool:
        """Whether the cell has a gradient at the input; it is then among the energies."""
        if cell not in self.energies and cell not in self.silent:
            energy = self._energy(cell)
            if energy is None:
                self.silent.add(cell)
            else:
                self.energies[cell] = energy
        return cell in self.energies

    def _energy(self, cell: int) -> Tensor | None:
        slope = torch.zeros(self.output.shape, dtype=self.start.dtype, device=self.start.device)
        columns = self.site.grid[1]
        if self.site.layout == "BNC":
            place = slope[0, cell]
        elif self.site.layout == "BHWC":
            place = slope[0, cell // columns, cell % columns]
        else:
            place = slope[0, :, cell // columns, cell % columns]
        place.copy_(self._projection)
        assert self.output.edge is not None
        (found,) = torch.autograd.grad(self.output.edge, self._edge, slope, retain_graph=True, allow_unused=True)
        if found is None:
            return None
        energy = found.detach().double().pow(2).sum(1)
        height, width = (min(side, _FINEST) for side in energy.shape[1:])
        energy = adaptive_avg_pool2d(energy, (height, width))[0].cpu()
        total = energy.sum()
        return energy / total if total > 0 and total.isfinite() else None

    def shares(self, grid: Grid) -> Tensor:
        """The shares (n, h * w) of each measured cell's energy in the places of a grid, in the order of measurement."""
        stacked = torch.stack(list(self.energies.values()))
        if self.site.centres is None:
            pooled = adaptive_avg_pool2d(stacked[:, None], grid)[:, 0]
        else:
            sides = zip(self.site.centres, grid, stacked.shape[1:], self.start.shape[2:], strict=True)
            down, across = (_inside(*axis, cells, kept, size) for axis, cells, kept, size in sides)
            pooled = down @ stacked @ across.T
        return pooled.flatten(1) / pooled.sum((1, 2))[:, None].clamp_min(1e-300)

    def excess(self, grid: Grid) -> Tensor:
        """(n, h * w): how much more of a cell's energy lies in a place than of the average cell's, as Pearson residuals.

        A place that all cells look at, as at the centre of a deep network's wide fields, says nothing of any of them.
        """
        shares = self.shares(grid)
        average = shares.mean(0)
        return (shares - average) / average.sqrt().clamp_min(1e-12)


def around(shares: Tensor, place: int) -> float:
    """How much lies in a place of a grid (h, w) and those beside it."""
    row, column = divmod(place, shares.shape[1])
    return float(shares[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].sum())


def is_beside(one: int, other: int, columns: int) -> bool:
    """Whether two places of a grid with so many columns are the same or adjacent."""
    return max(abs(a - b) for a, b in zip(divmod(one, columns), divmod(other, columns), strict=True)) <= 1


def _inside(first: float, step: float, cells: int, kept: int, size: int) -> Tensor:
    """(cells, kept): which share of each of `kept` parts of a side lies in each cell, `step` pixels wide around its centre."""
    edges = (first + 0.5 + step * (torch.arange(cells + 1, dtype=torch.double) - 0.5)) * kept / size
    before = (edges[:, None] - torch.arange(kept)).clamp(0, 1)
    return before[1:] - before[:-1]


def spread(grid: Grid) -> Iterator[int]:
    """The positions of a grid, each once, in an order in which the first few are far apart, and not all in even rows.

    A snake runs forward in these.
    """
    height, width = grid
    even = all(row % 2 == 0 for row, _ in map(_step(grid), range(1, 5)))
    seen = set()
    for i in range(1, 20 * height * width):
        row, column = _step(grid)(i)
        row += even and i in (2, 4)
        if (position := row * width + column) not in seen:
            seen.add(position)
            yield position
    yield from (position for position in range(height * width) if position not in seen)


def _step(grid: Grid) -> Callable[[int], list[int]]:
    """The row and column of each element of the sequence."""
    return lambda i: [int((0.5 + i * step) % 1 * side) for step, side in zip(_STEPS, grid, strict=True)]
