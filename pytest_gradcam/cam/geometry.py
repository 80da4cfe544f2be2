"""Where in the input each cell of a layer's grid looks: measured, where a shape alone would be a guess."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from math import isnan

import numpy as np
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from pytest_gradcam.cam import orders, trace
from pytest_gradcam.cam.centres import is_mixed, way
from pytest_gradcam.cam.confinement import confinement
from pytest_gradcam.cam.orders import Order
from pytest_gradcam.cam.reach import Reach, around, is_beside, spread
from pytest_gradcam.cam.sites import Grid, Site, like_input
from pytest_gradcam.cam.trace import Output, Trace
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.messages import placed

__all__ = ["Geometry", "examine", "refuse_second_look"]

#: Cells, and the mean rank from which their own place is found; by chance five cells reach 0.85 once in 500 times.
_STAGES = ((5, 0.85), (9, 0.8), (17, 0.7))
_FEW = 3  # cells are enough, and one more where there are other tokens, if each of them
_SURE = 0.9  # has at least this rank: by chance three do once in 1000 times
_FOUND = 0.85  # mean rank from which another order is
_SHARP = 0.5  # of a cell's reach in one place and those beside it: it looks at little else
_STRAY = 0.1  # share of the cells that may do so elsewhere
_ELSEWHERE = 0.3  # from this share on an image's cells have other places than their own
_LEAST = 4  # cells that say something of another order than the inferred one
_TRIES = 3  # cells tried for each one wanted, since some are silent
_FINE = 16  # positions; a coarser grid has too few places to tell orders apart
_AGREE = 0.8  # share of the cells that agree on how many tokens lie before them
_SHARED = 6  # cells that agree on another grid, where other tokens lie among them
# The second witness, over 67 layers of 17 models with attention, mixing or small grids (random weights but for three trained
# ones), held against where a faint change of the input shows. Contrast: the one lost layer 0.9, sound ones from 13 on but for
# 5.5. A replaced part: lost 0.98, sound 2.1 and more, 1.4 in a small MobileViTV2. One lost layer is few.
_PLAIN = 8.0  # contrast from which no second witness is asked
_CONFINED = 1.2  # times as much must a replaced part of the input show in its own cell; 1 is no place at all
# Of layers where all came through attention only LeViT's were seen, with 1.1 to 4.5: that sound ones have 5 is not shown.
_MIXED = 5.0  # the same there; at 4.5 maps peak on what decides in two of three images
_SECOND = 0.7  # of the strength of the own place: a second place as strong as this is looked at, too
_OWN = "its cells look at their own places"
_NOWHERE = "its cells have no place of their own"

#: The activations (1, C, h, w) at a site for an image (1, C, H, W).
Look = Callable[[Site, Tensor], Tensor]


@dataclass(frozen=True)
class Geometry:
    """What was measured of a layer's cells.

    `rank` is the mean rank, from 0 to 1, of a cell's own place among all places by how much more the cell looks there
    than the average cell does: 0.5 is chance. `share` is the median share of a cell's reach that lies in its own and
    the adjacent places. `contrast` is how many times as much a cell looks at its own place as the others do, in the median;
    `shown` how many times as much a replaced part of the input changes the cell there as the others, where that was asked.
    `note` says in one phrase what that means.
    """

    note: str
    cells: int = 0
    rank: float = float("nan")
    share: float = float("nan")
    fault: bool = False
    contrast: float = float("nan")
    shown: float = float("nan")

    @property
    def is_seen(self) -> bool:
        """Whether cells were seen to look anywhere at all: where none does, another image may show more."""
        return self.cells > 0 or not isnan(self.shown)

    def __str__(self) -> str:
        told = [self.note]
        if self.cells:
            told.append(
                f"{100 * self.share:.3g} % of a cell's reach is in its own and the adjacent places (mean rank "
                f"{self.rank:.2f} in {self.cells} cells, chance 0.50)"
            )
        if not isnan(self.shown):
            told.append(
                f"a replaced part of the input changes the cell there {self.shown:.3g} times as much as the others"
            )
        return "; ".join(told)


def examine(output: Output, site: Site, start: Tensor, look: Look) -> tuple[Site, Geometry]:
    """The site with the layout that its cells show, and what was measured.

    The inferred layout stays where it is confirmed. A `fault` says that the cells have no place of their own, or several. One
    backward pass from the output to the input for each of three or four cells, and more only where these do not confirm the
    layout. Where gradients do not decide, as on a grid of few cells, the operations on the way to the layer do, and where these
    tell nothing, three to six forward passes. `start` is the input of the traced forward pass; `look` gives the activations at
    a site.
    """
    known = way(output, site, start)
    if known is not None:
        site = replace(site, centres=known.centres(site.grid, _size(start)))
    site, geometry = _by_gradients(output, site, start)
    mixed = known is None and is_mixed(output, start)
    if known is None and not geometry.fault and (mixed or not geometry.contrast >= _PLAIN):
        least = _MIXED if mixed else _CONFINED
        geometry = _by_blocks(geometry, confinement(partial(look, site), start.detach(), 2 * least), least)
    elif not geometry.cells and not geometry.fault:
        geometry = Geometry(f"{_OWN}, as the operations on the way to them say")
    if site.centres:
        geometry = replace(geometry, note=f"{geometry.note}; {placed(site.centres)}")
    return site, geometry


def _size(start: Tensor) -> Grid:
    return start.shape[2], start.shape[3]


def _by_blocks(geometry: Geometry, shown: float, least: float) -> Geometry:
    """A cell of an attention layer may ask from its own place, and be told of all places alike: the gradient sees both."""
    if isnan(shown):
        return Geometry("nothing changes there when parts of the input are replaced", fault=True)
    if shown < least:
        return replace(geometry, note=_NOWHERE, fault=True, shown=shown)
    return replace(geometry, note=geometry.note if geometry.cells else _OWN, shown=shown)


def _by_gradients(output: Output, site: Site, start: Tensor) -> tuple[Site, Geometry]:
    """What the cells' gradients at the input show; a geometry of no cells where they show nothing."""
    nothing = site, Geometry("")
    if site.grid[0] * site.grid[1] < _FINE or not trace.leads(output.edge, get_gradient_edge(start)):
        return nothing
    try:
        return _Examination(Reach(output, site, start), _size(start)).verdict() or nothing
    except RuntimeError:  # a backward pass that cannot be run, as that of a re-entrant checkpoint
        return nothing


@dataclass
class _Examination:
    reach: Reach
    size: Grid

    @property
    def site(self) -> Site:
        return self.reach.site

    def verdict(self) -> tuple[Site, Geometry] | None:
        """None if too few cells have a gradient at the input."""
        inferred = orders.rows(self.site.grid, self.site.prefix)
        few = _FEW + bool(self._extra)
        self._measure(few)
        if len(self.reach.energies) == few and min(self._ranks(self.site.grid, inferred), default=0) >= _SURE:
            return self._confirmed(inferred)
        for wanted, least in _STAGES:
            self._measure(wanted)
            if len(self.reach.energies) < _LEAST:
                return None
            if self._rank(self.site.grid, inferred) >= least and self._astray(self.site.grid, inferred) <= _STRAY:
                return self._confirmed(inferred)
        return self._corrected() or (self.site, self._nowhere(inferred))

    def _nowhere(self, inferred: Order) -> Geometry:
        """Tokens without places may be anything, as latents or channels. An image's cells are what its axes say, only mixed."""
        if self.site.layout == "BNC":
            return self._geometry(_NOWHERE, inferred, True)
        alike = self._geometry("its cells look everywhere alike, as in untrained or very deep networks", inferred)
        return (
            replace(alike, note=_NOWHERE, fault=True) if self._astray(self.site.grid, inferred) > _ELSEWHERE else alike
        )

    def _measure(self, wanted: int) -> None:
        first = self.site.prefix
        # Where other tokens lie among the positions, the first and the last of them are not both where they are inferred.
        # Not the corners, which some other orders leave where they are.
        ends = (1, self.site.grid[0] * self.site.grid[1] - 3) if self._extra else ()
        for position in islice(chain(ends, spread(self.site.grid)), _TRIES * wanted):
            if len(self.reach.energies) >= wanted:
                return
            self.reach.measure(position + first)

    def _confirmed(self, inferred: Order) -> tuple[Site, Geometry]:
        if any(
            0 <= before <= self._extra and before != self.site.prefix
            for before in self._before(self.site.grid).values()
        ):
            self._measure(_STAGES[-1][0])
            return self._tokens() or (self.site, self._geometry(_OWN, inferred))
        own = self._strength(self.site.grid, inferred)
        for name, order in orders.flips(self.site.grid):
            flipped = order + self.site.prefix
            if self._strength(self.site.grid, flipped) > _SECOND * own and self._rank(self.site.grid, flipped) > _FOUND:
                return self.site, self._geometry(f"{_OWN} and at these {name}", inferred, True)
        return self.site, self._geometry(_OWN, inferred)

    def _corrected(self) -> tuple[Site, Geometry] | None:
        return self._tokens() or self._rearranged() or self._other_grid()

    @property
    def _extra(self) -> int:
        """Tokens that are not positions."""
        return self.reach.count - self.site.grid[0] * self.site.grid[1]

    def _tokens(self) -> tuple[Site, Geometry] | None:
        """The site with its extra tokens before, amid or behind the positions, as the cells show it."""
        grid = self.site.grid
        before = {cell: b for cell, b in self._before(grid).items() if 0 <= b <= self._extra}
        counts = Counter(before.values()).most_common(2)
        if not self._extra or not counts:
            return None
        needed = _AGREE * len(self.reach.energies)
        if sum(count for _, count in counts) >= needed and len(counts) > 1:
            first, later = sorted(value for value, _ in counts)
            if at := self._parted(grid, first, later):
                return self._with(grid, orders.split(grid, at, first, later))
        if counts[0][1] < needed:
            return None
        return self._with(grid, orders.rows(grid, counts[0][0]))

    def _parted(self, grid: Grid, first: int, later: int) -> int:
        """From which place on `later` and not `first` other tokens lie before a cell; 0 if the cells do not say so.

        One cell alone may look at its neighbour: two of each kind have to agree.
        """
        total = self.reach.count
        for value in (first, later):
            if len(cells := self._with_before(grid, value)) == 1:
                for beside in (cells[0] - 1, cells[0] + 1):
                    if 0 <= beside < total:
                        self.reach.measure(beside)
        low, high = self._with_before(grid, first), self._with_before(grid, later)
        if min(len(low), len(high)) < 2 or low[-1] > high[0]:
            return 0
        below, above = low[-1], high[0]
        while above - below > 1:
            middle = (below + above) // 2
            if self.reach.measure(middle) and self._before(grid)[middle] == first:
                below = middle
            else:
                above = middle
        return below + 1 - first

    def _with_before(self, grid: Grid, value: int) -> list[int]:
        """The measured cells, in turn, before which so many tokens lie that are not positions."""
        return sorted(cell for cell, before in self._before(grid).items() if before == value)

    def _rearranged(self) -> tuple[Site, Geometry] | None:
        """The site with its cells mirrored, turned or in blocks, as they show it."""
        grid = self.site.grid
        known: dict[str, Order] = {}
        for name, order in (*orders.flips(grid), *orders.blocks(grid)):
            first = self._shift(order) if self._extra else 0
            if first is not None:
                known[name] = order + first
        fitting = {
            name: self._strength(grid, order) for name, order in known.items() if self._rank(grid, order) >= _FOUND
        }
        names = sorted(fitting, key=lambda name: -fitting[name])
        if not names:
            return None
        if len(names) > 1 and fitting[names[1]] > _SECOND * fitting[names[0]]:
            note = f"its cells are {' or '.join(names)}, which cannot be told apart"
            return self.site, self._geometry(note, known[names[0]], True)
        return self._with(grid, known[names[0]], f"its cells are {names[0]}")

    def _shift(self, order: Order) -> int | None:
        """How many tokens that are not positions lie before those in this order; None unless its ends say the same."""

        def before() -> dict[int, int]:
            peaks = self.reach.excess(self.site.grid).argmax(1).tolist()
            return {cell: cell - int(order[peak]) for cell, peak in zip(self.reach.energies, peaks, strict=True)}

        counts = before().values()
        first, count = Counter(counts).most_common(1)[0]
        if count < _AGREE * len(counts) or not 0 <= first <= self._extra:
            return None
        ends = (first, first + len(order) - 1)
        return first if all(self.reach.measure(end) and before()[end] == first for end in ends) else None

    def _other_grid(self) -> tuple[Site, Geometry] | None:
        """The site with another grid among its tokens, on which enough cells agree."""
        if self.site.layout != "BNC":
            return None
        found = []
        for grid in _grids(self.reach.count, self.size):
            most = self.reach.count - grid[0] * grid[1]
            (before, count), *_ = Counter(b for b in self._before(grid).values() if 0 <= b <= most).most_common(1) or [
                (0, 0)
            ]
            found.append((count, grid, before))
        found.sort(reverse=True)
        if not found or found[0][0] < _SHARED or (len(found) > 1 and 2 * found[1][0] > found[0][0]):
            return None
        _, grid, first = found[0]
        return self._with(grid, orders.rows(grid, first), f"its tokens hold a grid of {grid[0]} x {grid[1]}")

    def _with(self, grid: Grid, order: Order, note: str = "") -> tuple[Site, Geometry] | None:
        cells = [cell for cell in self.reach.energies if cell in set(order.tolist())]
        if len(cells) < _LEAST or self._rank(grid, order) < _FOUND or self._astray(grid, order) > _STRAY:
            return None
        first = int(order[0])
        in_turn = np.array_equal(order, orders.rows(grid, first))
        if not note:
            others = "before" if in_turn and first == self._extra else "behind" if in_turn and not first else "among"
            note = f"its {self._extra} tokens that are not positions lie {others} the others"
        positions = None if in_turn and self.site.layout == "BNC" else tuple(order.tolist())
        site = replace(self.site, grid=grid, prefix=first if positions is None else 0, order=positions)
        return site, self._geometry(note, order, grid=grid)

    def _before(self, grid: Grid) -> dict[int, int]:
        """How many tokens that are not positions lie before each measured cell, if it is the place it looks at most."""
        peaks = self.reach.excess(grid).argmax(1).tolist()
        return {cell: cell - peak for cell, peak in zip(self.reach.energies, peaks, strict=True)}

    def _places(self, order: Order) -> Iterator[tuple[int, int]]:
        """The row in the measurements, and the place, of each measured cell that is in the order."""
        place = {int(cell): i for i, cell in enumerate(order)}
        return ((i, place[cell]) for i, cell in enumerate(self.reach.energies) if cell in place)

    def _rank(self, grid: Grid, order: Order) -> float:
        ranks = self._ranks(grid, order)
        return float(np.mean(ranks)) if ranks else 0.0

    def _ranks(self, grid: Grid, order: Order) -> list[float]:
        """The rank of each measured cell's place in the order, from 0 to 1, by how much more it looks there than the average."""
        excess = self.reach.excess(grid)
        return [float((excess[i] < excess[i, place]).sum()) / (excess.shape[1] - 1) for i, place in self._places(order)]

    def _astray(self, grid: Grid, order: Order) -> float:
        """The share of cells that look at another place and little else: where rows run to and fro, half of them are right."""
        shares, peaks = self.reach.shares(grid), self.reach.excess(grid).argmax(1).tolist()
        little = max(_SHARP, 3 * 9 / (grid[0] * grid[1]))  # three times what a place and those beside it have of all
        found = [
            around(shares[i].reshape(grid), peaks[i]) > little and not is_beside(peaks[i], place, grid[1])
            for i, place in self._places(order)
        ]
        return sum(found) / max(1, len(found))

    def _strength(self, grid: Grid, order: Order) -> float:
        """The mean excess at the cells' places in an order, in units of each cell's largest."""
        excess = self.reach.excess(grid)
        found = [float(excess[i, place] / excess[i].max()) for i, place in self._places(order)]
        return float(np.mean(found)) if found else 0.0

    def _geometry(self, note: str, order: Order, fault: bool = False, grid: Grid | None = None) -> Geometry:
        grid = grid or self.site.grid
        shares = self.reach.shares(grid).reshape(-1, *grid)
        inside = [around(shares[i], place) for i, place in self._places(order)]
        share = float(np.median(inside)) if inside else float("nan")
        contrast = self._contrast(shares.flatten(1), order)
        return Geometry(note, len(self.reach.energies), self._rank(grid, order), share, fault, contrast=contrast)

    def _contrast(self, shares: Tensor, order: Order) -> float:
        """How many times as much a cell looks at its own place as the others do, in the median."""
        others = (shares.sum(0) - shares).clamp_min(1e-12) / (len(shares) - 1)
        found = [float(shares[i, place] / others[i, place]) for i, place in self._places(order)]
        return float(np.median(found)) if found else float("nan")


def _grids(count: int, size: Grid) -> Iterator[Grid]:
    """The grids of the input's aspect with up to `count` positions, and enough to tell orders apart."""
    for height in range(2, size[0] + 1):
        width = round(height * size[1] / size[0])
        if _FINE <= height * width <= count and like_input((height, width), size):
            yield height, width


def refuse_second_look(model: nn.Module, traced: Trace, output: Output, start: Tensor) -> None:
    """Raises HeatmapError if the output's module has been called on the input more than once, side by side.

    Calls one after the other, as of shared weights, are not a second look: one is computed from the other.
    """
    if next(model.get_submodule(output.name).parameters(), None) is None:  # an activation may be shared by all branches
        return
    edge = get_gradient_edge(start)
    calls = {
        other.call
        for other in traced.outputs.values()
        if other.name == output.name
        and other.call != output.call
        and trace.leads(other.edge, edge)
        and not trace.leads(other.edge, output.edge)
        and not trace.leads(output.edge, other.edge)
    }
    if calls:
        raise HeatmapError(
            f"layer {output.name} looks at the input {len(calls) + 1} times side by side in one forward pass, as where the "
            "model averages over a flipped copy or compares two images; expected once, since a heatmap of one look leaves "
            "out the others. Explain the part of the model that looks once, or name a layer after they are joined"
        )
