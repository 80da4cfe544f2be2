"""Where in the input the cells of a convolutional layer are centred, by the arithmetic of the operations that were run.

A map is laid over the input as if its cells tiled it. Padded layers do so, to within half a cell. Layers without padding leave
out the input's rim: there a cell lies where the convolutions and pools on the way to it are centred (Araujo et al., Computing
Receptive Fields of Convolutional Neural Networks, Distill 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from pytest_gradcam.cam import trace
from pytest_gradcam.cam.sites import Grid, Site
from pytest_gradcam.cam.trace import Output
from pytest_gradcam.evidence.record import Centres

_SAME = 1e-6  # relative difference of two distances that are equal

_CELLWISE = {
    "Abs", "Add", "Alias", "Celu", "Clamp", "ClampMax", "ClampMin", "Clone", "CudnnBatchNorm", "Div", "Elu", "Erf",
    "Exp", "Gelu", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyRelu", "Log", "LogSigmoid", "Maximum", "Minimum",
    "MiopenBatchNorm", "Mish", "Mul", "NativeBatchNorm", "NativeDropout", "NativeGroupNorm", "NativeLayerNorm", "Neg",
    "Pow", "PreluKernel", "Relu", "Rsqrt", "Selu", "Sigmoid", "Silu", "Softplus", "Split", "SplitWithSizes", "Sqrt",
    "Sub", "Tanh", "Threshold", "ToCopy", "Where",
}  # fmt: skip

_SUMS = ("Bmm", "Baddbmm", "Mean", "Sum", "ScaledDotProduct", "AdaptiveAvgPool1D")
_DATA = {"Convolution": 0, "Mm": 0, "Linear": 0, "Addmm": 1}  # which input is no weight
_PARTS = {"Cat", "Stack", "Split", "SplitWithSizes", "Unbind", "Select", "Index", "Im2Col"}


@dataclass(frozen=True)
class _Axis:
    """Where cell i lies along one axis of a tensor: `step` * i from between `low` and `high`, by different paths."""

    dim: int
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0

    def moved(self, scale: float, offset: float, dim: int | None = None) -> _Axis:
        """The same cells in a tensor whose place p is at scale * p + offset, on its axis `dim`."""
        low, high = sorted(scale * end + offset for end in (self.low, self.high))
        return _Axis(self.dim if dim is None else dim, low, high, self.step * scale)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.low + self.high) / 2, self.step

    def joined(self, other: _Axis) -> _Axis | None:
        if self.dim != other.dim or abs(self.step - other.step) > _SAME * self.step:
            return None
        return _Axis(self.dim, min(self.low, other.low), max(self.high, other.high), self.step)


_Axes = tuple[_Axis, _Axis]


@dataclass(frozen=True)
class Way:
    """Where the operations on the way from the input to a layer put its cells."""

    down: _Axis
    across: _Axis

    def centres(self, grid: Grid, size: Grid) -> Centres | None:
        """The centres of a grid's cells in an input of this size; None where they tile it."""
        sides = zip((self.down, self.across), grid, size, strict=True)
        if all(side <= axis.step * cells < side + axis.step for axis, cells, side in sides):
            return None
        return self.down.centre, self.across.centre


def way(output: Output, site: Site, start: Tensor) -> Way | None:
    """The way from the input `start` to the layer; None where it puts the cells nowhere, or not clearly.

    Every path from the layer back to the input is followed as far as it consists of operations that keep cells in place,
    or move them by known amounts. What gathers from everywhere, as attention and squeeze-and-excitation, gives no place.
    """
    if site.layout == "BNC" or output.edge is None:
        return None
    first = (2, 3) if site.layout == "BCHW" else (1, 2)
    axes = _followed(output.edge.node, start, (_Axis(first[0]), _Axis(first[1])))
    if axes is None or (axes[0].dim, axes[1].dim) != (2, 3) or any(axis.high - axis.low > axis.step for axis in axes):
        return None
    return Way(*axes)


def is_mixed(output: Output, start: Tensor) -> bool:
    """Whether all that a layer knows of the input `start` came through sums over places: attention without a way around."""
    if output.edge is None:
        return False
    end = get_gradient_edge(start).node
    known = {output.edge.node}
    nodes = trace.children_first(output.edge.node)
    for node in reversed(nodes):
        if node in known:
            known.update(
                child for i, (child, number) in enumerate(node.next_functions) if _keeps(node, i, child, number)
            )
    return end in nodes and end not in known


def _keeps(node: Any, index: int, child: Any, number: int) -> bool:
    """Whether a place's own values go on from an input of the node; unknown operations that keep the size do that."""
    name = _name(node)
    if child is None or name.startswith(_SUMS):
        return False
    if name in _DATA:
        return _DATA[name] == index
    return name in _MOVED or name in _PARTS or prod(_shape(child, number)) == prod(_shape(node))


def _followed(root: Any, start: Tensor, axes: _Axes) -> _Axes | None:
    """The cells' axes in `start`; None if no path of known operations leads there, or if two disagree."""
    below = trace.children_first(root)
    end = get_gradient_edge(start).node
    known: dict[Any, _Axes] = {root: axes}
    for node in reversed(below):
        if node is end or node not in known:
            continue
        for child, number in node.next_functions:
            if child is None or (moved := _through(node, child, number, known[node])) is None:
                continue
            merged = _joined(known.get(child, moved), moved)
            if merged is None:
                return None
            known[child] = merged
    return known.get(end)


def _joined(these: _Axes, those: _Axes) -> _Axes | None:
    down, across = (one.joined(other) for one, other in zip(these, those, strict=True))
    return None if down is None or across is None else (down, across)


def _through(node: Any, child: Any, number: int, axes: _Axes) -> _Axes | None:
    """The cells' axes in an input of the node that is output `number` of `child`; None if it gives them no place there."""
    name = _name(node)
    shape = _shape(child, number)
    if name in _CELLWISE or name == "Cat":
        kept = len(shape) == len(_shape(node)) and all(shape[axis.dim] == _shape(node)[axis.dim] for axis in axes)
        return axes if kept else None
    if name not in _MOVED or not shape:
        return None
    found = [_MOVED[name](node, shape, axis) for axis in axes]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _name(node: Any) -> str:
    name: str = node.name().rpartition("Backward")[0]
    return name


def _shape(node: Any, number: int = 0) -> tuple[int, ...]:
    """The shape of a node's output; of none if autograd does not tell."""
    known = getattr(node, "_input_metadata", ())
    return tuple(known[number].shape) if number < len(known) else ()


def _convolution(node: Any, _shape: Any, axis: _Axis) -> _Axis | None:
    kernel = node._saved_weight.shape[2:]
    if len(kernel) != 2 or axis.dim < 2:
        return None
    which = axis.dim - 2
    dilation, padding, stride = (
        _side(each, which) for each in (node._saved_dilation, node._saved_padding, node._saved_stride)
    )
    middle = dilation * (kernel[which] - 1) / 2 - padding
    return axis.moved(1 / stride, -middle / stride) if node._saved_transposed else axis.moved(stride, middle)


def _pool(node: Any, _shape: Any, axis: _Axis) -> _Axis | None:
    if axis.dim < 2:
        return None
    which, sizes = axis.dim - 2, node._saved_kernel_size
    kernel, stride = _side(sizes, which), _side(node._saved_stride or sizes, which)
    dilation, padding = _side(getattr(node, "_saved_dilation", (1,)), which), _side(node._saved_padding, which)
    return axis.moved(stride, dilation * (kernel - 1) / 2 - padding)


def _side(values: Sequence[int], which: int) -> int:
    """The value for one side; one that holds for both is kept once."""
    return values[which if len(values) > 1 else 0]


def _resized(node: Any, shape: tuple[int, ...], axis: _Axis) -> _Axis | None:
    """Pixel centres aligned, as in interpolation and adaptive pooling."""
    few, many = shape[axis.dim], _shape(node)[axis.dim]
    if getattr(node, "_saved_align_corners", False):
        return axis.moved((few - 1) / max(many - 1, 1), 0)
    return axis.moved(few / many, few / many / 2 - 0.5)


def _padded(node: Any, shape: tuple[int, ...], axis: _Axis) -> _Axis | None:
    before = (node._saved_pad if hasattr(node, "_saved_pad") else node._saved_padding)[0::2]
    last = len(shape) - 1 - axis.dim  # paddings are told from the last axis on
    return axis.moved(1, -before[last]) if last < len(before) else axis


def _sliced(node: Any, shape: tuple[int, ...], axis: _Axis) -> _Axis | None:
    if _signed(node._saved_dim) % len(shape) != axis.dim:
        return axis
    first = _signed(node._saved_start)
    return axis.moved(node._saved_step, first + shape[axis.dim] if first < 0 else first)


def _permuted(node: Any, shape: tuple[int, ...], axis: _Axis) -> _Axis | None:
    return axis.moved(1, 0, _signed(node._saved_dims[axis.dim]) % len(shape))


def _transposed(node: Any, shape: tuple[int, ...], axis: _Axis) -> _Axis | None:
    one, other = (_signed(dim) % len(shape) for dim in (node._saved_dim0, node._saved_dim1))
    return axis.moved(1, 0, {one: other, other: one}.get(axis.dim, axis.dim))


def _signed(number: int) -> int:
    """Autograd tells negative numbers as those of 64 bits without a sign."""
    return number - 2**64 if number >= 2**63 else number


_Moved = Callable[[Any, tuple[int, ...], _Axis], _Axis | None]
_MOVED: Mapping[str, _Moved] = {
    "Convolution": _convolution,
    "MaxPool2DWithIndices": _pool,
    "AvgPool2D": _pool,
    **dict.fromkeys(("AdaptiveAvgPool2D", "AdaptiveMaxPool2D", "MkldnnAdaptiveAvgPool2D"), _resized),
    **dict.fromkeys(
        ("UpsampleNearest2D", "UpsampleNearestExact2D", "UpsampleBilinear2D", "UpsampleBicubic2D"), _resized
    ),
    **dict.fromkeys(("ConstantPadNd", "ReflectionPad2D", "ReplicationPad2D"), _padded),
    "Slice": _sliced,
    "Permute": _permuted,
    "Transpose": _transposed,
}
