"""Gradients that are zero but in a few rows, computed with as these rows alone.

Where only the class token is read, the gradient of a transformer's last block has one row in some hundred until it comes to
the attention, and most of the time of a backward pass goes into zeros: they are written, multiplied and read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor

#: Places (n,) of rows, counted along all axes but the last, and values (n, C) to add there.
Piece = tuple[Tensor, Tensor]


class FewRows(Tensor):
    """A tensor (..., C) that is the sum of a few rows, and zero elsewhere.

    What works row by row gives another one. For every other operation the zeros are written, once: from then on it is that
    tensor, and so is what was a view of it, also if somebody changes it in place.
    """

    # Its shape is asked for as that of plain tensors, without a detour.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    pieces: Sequence[Piece]
    _filled: Tensor | None
    _view: tuple[FewRows, Callable[[Tensor], Tensor]] | None

    @staticmethod
    def __new__(cls, layout: Tensor, pieces: Sequence[Piece], view: Any = None) -> FewRows:
        """With the shape and strides of `layout`, a tensor without values; `view` is (base, how it is a view of that)."""
        first = pieces[0][1]
        made: FewRows = Tensor._make_wrapper_subclass(
            cls, layout.shape, layout.stride(), dtype=first.dtype, device=first.device
        )
        made.pieces, made._filled, made._view = pieces, None, view
        return made

    @property
    def is_lazy(self) -> bool:
        """Whether nothing has asked for its zeros yet."""
        return self._filled is None and (self._view is None or self._view[0].is_lazy)

    def filled(self) -> Tensor:
        """The same tensor with its zeros."""
        if self._filled is None:
            self._filled = self._with_zeros() if self._view is None else self._view[1](self._view[0].filled())
        return self._filled

    def _with_zeros(self) -> Tensor:
        flat = self.pieces[0][1].new_zeros(prod(self.shape[:-1]), self.shape[-1])
        for places, values in self.pieces:
            flat.index_add_(0, places, values)
        return flat.view(self.shape)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{type(self).__name__}(shape={tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = by_row(func, args, kwargs or {})
        return func(*filled(args), **filled(kwargs or {})) if found is None else found


def by_row(func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What an operation gives whose first argument is FewRows; None if it needs the zeros."""
    operation = _by_row().get(func)
    if operation is None or not isinstance(args[0], FewRows) or not args[0].is_lazy:
        return None
    return operation(func, *args, **options)


def filled(values: Any) -> Any:
    """The same with plain tensors, also in lists, tuples and dicts."""
    if isinstance(values, FewRows):
        return values.filled()
    if isinstance(values, (list, tuple)):
        return [filled(each) for each in values]
    if isinstance(values, dict):
        return {name: filled(each) for name, each in values.items()}
    return values


def placed(rows: Tensor, shape: Sequence[int], axis: int, index: int) -> FewRows | None:
    """A tensor of this shape that is zero but at one index of an axis, where it is `rows`; None if that is no row."""
    axis %= len(shape)
    if axis == len(shape) - 1 or shape[axis] < 3 or shape[-1] < 2:
        return None
    counted = torch.arange(prod(shape[:-1]), device=rows.device).view(shape[:-1])
    return FewRows(_blank(shape), [(counted.select(axis, index).flatten(), rows.reshape(-1, shape[-1]))])


def _blank(shape: Sequence[int]) -> Tensor:
    return torch.empty(tuple(shape), device="cpu")  # nothing is written there; some operations are slow on "meta"


@cache
def _by_row() -> Mapping[Any, Callable[..., Any]]:
    """How operations work on rows; the gradient is the first argument of each."""
    aten = torch.ops.aten
    views = (aten.view, aten._unsafe_view, aten.permute, aten.unsqueeze, aten.expand, aten.alias, aten.detach)
    products = (aten.mul.Tensor, aten.gelu_backward.default, aten.silu_backward.default, aten.sigmoid_backward.default)
    return {
        **{view.default: _viewed for view in views},
        **dict.fromkeys((aten.transpose.int, aten.squeeze.dim, aten.squeeze.dims), _viewed),
        **dict.fromkeys(products, _times),
        aten.clone.default: _cloned,
        aten.mm.default: _multiplied,
        aten.add.Tensor: _added,
        aten.native_layer_norm_backward.default: _normalised,
    }


def _viewed(func: Any, few: FewRows, *rest: Any) -> FewRows | None:
    plain = func(_blank(few.shape), *rest)
    channels = few.shape[-1]
    if plain.shape[-1:] != few.shape[-1:] or plain.numel() != few.numel() or plain.stride(-1) != 1:
        return None
    pieces = few.pieces
    if not plain.is_contiguous():
        pieces = [(_moved(places * channels, plain), values) for places, values in few.pieces]
    layout = plain if few.is_contiguous() else func(torch.empty_strided(few.shape, few.stride(), device="cpu"), *rest)
    return FewRows(layout, pieces, (few, lambda base: func(base, *rest)))


def _moved(offsets: Tensor, layout: Tensor) -> Tensor:
    """The places of rows that start at these offsets in memory, in a tensor with such strides."""
    found = torch.zeros_like(offsets)
    for size, stride in zip(layout.shape[:-1], layout.stride()[:-1], strict=True):
        found = found * size + (offsets // stride % size if size > 1 else 0)
    return found


def _cloned(_func: Any, few: FewRows, **_options: Any) -> FewRows:
    return FewRows(_blank(few.shape), few.pieces)


def _multiplied(_func: Any, few: FewRows, right: Tensor) -> FewRows | None:
    if isinstance(right, FewRows):
        return None
    pieces = [(places, values @ right) for places, values in few.pieces]
    return FewRows(_blank((few.shape[0], right.shape[1])), pieces)


def _times(func: Any, few: FewRows, factor: Any, **options: Any) -> FewRows | None:
    """A product with a tensor, or with a function of it."""
    if not isinstance(factor, Tensor) or isinstance(factor, FewRows):
        return None
    if torch.broadcast_shapes(few.shape, factor.shape) != few.shape:
        return None
    pieces = [(places, func(values, _rows_of(factor, places, few), **options)) for places, values in few.pieces]
    return FewRows(_blank(few.shape), pieces)


def _rows_of(tensor: Tensor, places: Tensor, few: FewRows) -> Tensor:
    """The rows of a tensor, in as many axes or fewer, that lie at these places."""
    if tensor.ndim < 2:
        return tensor
    leading = few.shape[:-1]
    return tensor.expand(*leading, tensor.shape[-1])[torch.unravel_index(places, leading)]


def _added(_func: Any, few: FewRows, other: Any, **options: Any) -> FewRows | None:
    if (
        options
        or not isinstance(other, FewRows)
        or not other.is_lazy
        or (other.shape, other.dtype) != (few.shape, few.dtype)
    ):
        return None
    pieces = list(few.pieces)
    for places, values in other.pieces:
        same = [i for i, (known, _) in enumerate(pieces) if torch.equal(known, places)]
        if same:
            pieces[same[0]] = (places, pieces[same[0]][1] + values)
        else:
            pieces.append((places, values))
    return FewRows(_blank(few.shape), pieces)


def _normalised(func: Any, few: FewRows, *rest: Any) -> Any:
    inputs, shape, mean, scale, *weights, mask = rest
    if len(shape) != 1 or list(mask) != [True, False, False]:
        return None
    pieces = []
    for places, values in few.pieces:
        own = [_rows_of(tensor, places, few) for tensor in (inputs, mean, scale)]
        pieces.append((places, func(values, own[0], shape, *own[1:], *weights, mask)[0]))
    return FewRows(_blank(few.shape), pieces), None, None
