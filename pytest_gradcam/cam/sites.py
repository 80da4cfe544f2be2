"""Where and how to read a spatial grid in a forward pass: images, channels-last images and token sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pytest_gradcam.evidence.record import Centres

Path = tuple[int | str, ...]
Grid = tuple[int, int]

_MOST_PREFIX_TOKENS = 16
_MOST_PREFIX_TOKENS_UNSEEN = 8  # if no convolution confirms the grid


@dataclass(frozen=True)
class Layout:
    """How the axes of a tensor (B, ...) hold a grid of h x w positions.

    `axes` is "BCHW", "BHWC" or "BNC"; `prefix` is the number of class, register or distillation tokens before the
    positions of a BNC layout, otherwise 0.
    """

    axes: str
    grid: Grid
    prefix: int = 0


@dataclass(frozen=True)
class Site:
    """A place in a model's forward pass where a spatial grid can be read.

    `name` is the module's dotted name in `model.named_modules()`, never empty; `call` the number of its call in a
    forward pass, from 0; `path` is the place in a nested output: () for a bare tensor, (0,), ("x",), ...; `grid` is
    (h, w) for this input size; `layout` and `prefix` as in `Layout`; `order` gives for each position, row by row, the
    index of its token, or of its place in the tensor, where it was measured that they do not lie in turn; `centres` says
    where its cells lie in the input, where they do not tile it.
    """

    name: str
    call: int
    path: Path
    layout: str
    grid: Grid
    prefix: int
    order: tuple[int, ...] | None = None
    centres: Centres | None = None

    def spatial(self, tensor: Tensor) -> Tensor:
        """The activation or gradient (B, ...) as (B, C, h, w), without other tokens; a view if there is no `order`."""
        if self.order is not None:
            patches = self._cells(tensor)[:, :, list(self.order)]
        elif self.layout == "BNC":
            patches = tensor[:, self.prefix : self.prefix + self.grid[0] * self.grid[1]].transpose(1, 2)
        else:
            return tensor if self.layout == "BCHW" else tensor.permute(0, 3, 1, 2)
        return patches.reshape(*patches.shape[:2], *self.grid)

    def clear(self, tensor: Tensor, channels: Tensor) -> None:
        """Sets in each of the activations (B, ...) one channel to zero at all positions."""
        images = range(len(channels))
        if self.order is None:
            self.spatial(tensor)[images, channels] = 0
        else:
            cells = self._cells(tensor)
            for image, channel in zip(images, channels, strict=True):
                cells[image, channel, list(self.order)] = 0

    def _cells(self, tensor: Tensor) -> Tensor:
        """A view (B, C, N) of tokens, or of the places of an image; of other memory only if that cannot be."""
        if self.layout == "BCHW":
            return tensor.flatten(2)
        return (tensor if self.layout == "BNC" else tensor.flatten(1, 2)).transpose(1, 2)

    def __str__(self) -> str:
        place = "".join(f"[{key!r}]" for key in self.path)
        call = f", call {self.call}" if self.call else ""
        return f"{self.name}{place} ({self.grid[0]} x {self.grid[1]}{call})"


def tensors_in(output: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor in a nested output of tuples, lists, mappings and dataclasses, with its path."""
    if isinstance(output, Tensor):
        yield path, output
        return
    for key, part in _parts(output):
        yield from tensors_in(part, (*path, key))


def _parts(output: Any) -> Iterator[tuple[int | str, Any]]:
    if isinstance(output, Mapping):
        yield from output.items()
    elif isinstance(output, (tuple, list)):
        yield from enumerate(output)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        yield from ((field.name, getattr(output, field.name)) for field in dataclasses.fields(output))


def read_layout(shape: Sequence[int], size: Grid, convolved: Collection[Grid], *, tie: str = "BCHW") -> Layout | None:
    """How a tensor of this shape holds a grid over an input of `size` (H, W); None if it does not hold one.

    `convolved` are the grids that convolutions returned for this input; they show which token counts are grids.
    `tie` are the axes to assume if BCHW and BHWC fit equally well.
    """
    if len(shape) == 4 and shape[0] == 1:
        return _read_image(shape, size, convolved, tie)
    if len(shape) == 3 and shape[0] == 1:
        return _read_tokens(shape, size, convolved)
    return None


def like_input(grid: Grid, size: Grid) -> bool:
    """Whether a grid has the input's aspect ratio, up to the rounding of strides and unpadded convolutions."""
    (h, w), (height, width) = grid, size
    if min(grid) < 2 or h > height or w > width:
        return False
    if height == width:
        return h == w
    return abs(h * width - w * height) < max(height, width) + 0.03 * h * w


def _read_image(shape: Sequence[int], size: Grid, convolved: Collection[Grid], tie: str) -> Layout | None:
    readings = [Layout("BCHW", (shape[2], shape[3])), Layout("BHWC", (shape[1], shape[2]))]
    fitting = [reading for reading in readings if like_input(reading.grid, size)]

    def misfit(reading: Layout) -> tuple[bool, float, bool]:
        return reading.grid not in convolved, _distortion(reading.grid, size), reading.axes != tie

    return min(fitting, key=misfit, default=None)


def _distortion(grid: Grid, size: Grid) -> float:
    return abs(grid[0] * size[1] / (grid[1] * size[0]) - 1)


def _read_tokens(shape: Sequence[int], size: Grid, convolved: Collection[Grid]) -> Layout | None:
    tokens, channels = shape[1], shape[2]
    if tokens == channels:  # an attention map
        return None
    most = _MOST_PREFIX_TOKENS if convolved else _MOST_PREFIX_TOKENS_UNSEEN
    for prefix in range(most + 1):
        for grid in _token_grids(tokens - prefix, size, convolved):
            return Layout("BNC", grid, prefix)
    return None


def _token_grids(count: int, size: Grid, convolved: Collection[Grid]) -> Iterator[Grid]:
    """The grids that `count` tokens may form: those of the convolutions and, since tokens may be pooled, their halves."""
    if convolved:
        yield from sorted(grid for grid in _halved(convolved) if grid[0] * grid[1] == count)
        return
    # Patches cut without a convolution divide the input evenly: h:w is exactly H:W.
    for h in range(2, size[0] + 1):
        w, rest = divmod(h * size[1], size[0])
        if not rest and h * w == count:
            yield h, w


def _halved(grids: Collection[Grid]) -> set[Grid]:
    """The grids and their repeated halves, rounded down and up."""
    found: set[Grid] = set()
    new = set(grids)
    while new:
        found |= new
        halves = {((h + up) // 2, (w + up) // 2) for h, w in new for up in (0, 1)}
        new = {half for half in halves if min(half) > 1} - found
    return found


def is_pooled(shape: tuple[int, ...]) -> bool:
    """Whether nothing spatial is left: a later grid cannot show positions."""
    return shape[0] == 1 and (len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)))


def tie_of(module: nn.Module) -> str:
    """How to read (1, n, n, n): these two work on the last axis, their subclasses for images do not."""
    return "BHWC" if type(module) in (nn.LayerNorm, nn.Linear) else "BCHW"
