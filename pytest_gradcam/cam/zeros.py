"""Backward passes that skip zeros: most of a gradient is zero where one token, one object or one place is asked about."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any

import torch
import torchvision.ops  # noqa: F401 - registers torch.ops.torchvision
from torch import Tensor

from pytest_gradcam.state.undo import later, undoing

_MANY = 300  # operations of a backward pass: SSDLite with 91 classes has 335, FCOS 222, others fewer


def zeros_skipped(tensor: Tensor) -> AbstractContextManager[object]:
    """A context that skips zeros, where a backward pass from or to the tensor may have many.

    Nothing is skipped where the backward pass is one of many small operations, such as SSD's for each class: to look at each of
    them takes longer.
    """
    faster = _zeros_skipped() if tensor.device.type == "cpu" and _is_short(tensor) else None
    return undoing(partial(_enter, faster())) if faster else nullcontext()


def _is_short(score: Tensor) -> bool:
    """Whether the backward pass from here has at most this many operations."""
    seen, nodes = {score.grad_fn}, [score.grad_fn]
    while nodes and len(seen) <= _MANY:
        found = {node for node, _ in getattr(nodes.pop(), "next_functions", ()) if node is not None} - seen
        seen |= found
        nodes += found
    return len(seen) <= _MANY


@cache
def _zeros_skipped() -> Callable[[], AbstractContextManager[object]] | None:
    """A context that skips zeros in matrix products, and in the backward passes of convolutions and RoIAlign.

    Where only the class token is read, the gradient of every other token is zero: nearly all of the gradient in a
    transformer's last block. Ten classes of a ViT-B/16 take a fifth less time. The score of one object comes from one
    place of one level of a feature pyramid, or from one of a thousand regions. PyTorch's dispatch mode is private: None if it
    is missing or behaves differently, and then nothing is skipped.
    """
    try:
        from torch.utils._python_dispatch import TorchDispatchMode

        faster: dict[Any, Callable[..., Any]] = {
            torch.ops.aten.mm.default: _product,
            torch.ops.aten.bmm.default: _products,
            torch.ops.aten.convolution_backward.default: _convolution_backward,
            torch.ops.torchvision._roi_align_backward.default: _roi_align_backward,
        }

        class Skipped(TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                found = faster[func](*args) if func in faster and not kwargs else None
                return func(*args, **(kwargs or {})) if found is None else found

        return Skipped if _is_right(Skipped) else None
    except Exception:
        return None


def _enter(mode: Any) -> None:
    """For `undoing`: the mode stays active until the end."""
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

    def leave() -> None:
        if mode in _get_current_dispatch_mode_stack():
            mode.__exit__(None, None, None)

    later(leave)
    mode.__enter__()


def _is_right(multiplication: Callable[[], AbstractContextManager[object]]) -> bool:
    """Whether each shortcut gives the same integer products as plain multiplication."""
    rows, columns = torch.zeros(16, 6, device="cpu"), torch.ones(16, 6, device="cpu")
    rows[0] = 3
    columns[1:, :2] = 0
    right = torch.arange(12.0, device="cpu").reshape(6, 2)
    for one, other in ((rows, right), (columns, right), (columns.reshape(2, 8, 6), right.expand(2, 6, 2))):
        with multiplication():
            found = one @ other
        if not torch.equal(found, one @ other):
            return False
    return _is_right_convolution(multiplication)


def _is_right_convolution(skipping: Callable[[], AbstractContextManager[object]]) -> bool:
    """The same for the gradient of a strided, padded convolution at a corner."""
    image = torch.zeros(1, 2, 11, 11, device="cpu", requires_grad=True)
    weight = torch.arange(36.0, device="cpu").reshape(2, 2, 3, 3)
    score = torch.nn.functional.conv2d(image, weight, stride=2, padding=1)[0, :, -1, 0].sum()
    with skipping():
        (found,) = torch.autograd.grad(score, image, retain_graph=True)
    return torch.equal(found, torch.autograd.grad(score, image)[0])


def _product(left: Tensor, right: Tensor) -> Tensor | None:
    """left @ right if more than half of the rows of `left`, or of its leading columns, are zero; else None."""
    rows = _rows(left)
    if rows is not None:
        return left.new_zeros(len(left), right.shape[1]).index_copy_(0, rows, left[rows] @ right)
    # Leading columns that are zero in nearly all sampled rows: the queries, which come before keys and values.
    some = left[:: len(left) // 8 + 1]
    first = int((some.count_nonzero(0) > 2).to(torch.uint8).argmax())
    if 4 * first < left.shape[1]:
        return None
    queries = left[:, :first]
    rows = _rows(queries)
    if rows is None:
        return None
    product: Tensor = left[:, first:] @ right[first:]
    product[rows] += queries[rows] @ right[:first]
    return product


def _products(left: Tensor, right: Tensor) -> Tensor | None:
    """left @ right for a batch, if `right` is the same matrix throughout; else None."""
    if len(right) > 1 and right.stride(0) == 0:
        rows = left.flatten(0, 1)
        found = _product(rows, right[0])
        return (rows @ right[0] if found is None else found).reshape(*left.shape[:2], -1)
    return None


def _rows(tensor: Tensor) -> Tensor | None:
    """The indices of the rows that are not all zero, if they are fewer than half; else None."""
    rows = tensor.flatten(1).any(1).nonzero()[:, 0]
    return rows if 2 * len(rows) < len(tensor) else None


def _convolution_backward(grad: Tensor, inputs: Tensor, weight: Tensor, *rest: Any) -> Any:
    """The gradient of the input of a 2D convolution, from the part of its output that has one; None where that is most."""
    sizes, stride, padding, dilation, transposed, output_padding, groups, mask = rest
    if transposed or list(mask) != [True, False, False] or grad.ndim != 4:
        return None
    lit = grad.any(1)
    rows, ys, xs = (lit.flatten(1).any(1), lit.any(2).any(0), lit.any(1).any(0))
    if not rows.any():
        return torch.zeros_like(inputs), None, None
    kept, (top, bottom), (left, right) = rows.nonzero()[:, 0], _span(ys), _span(xs)
    if 2 * len(kept) * (bottom - top) * (right - left) > lit.numel():
        return None
    part = grad[kept, :, top:bottom, left:right]
    reach = [
        (count - 1) * s + d * (k - 1) + 1
        for count, s, d, k in zip(part.shape[2:], stride, dilation, weight.shape[2:], strict=True)
    ]
    blank = inputs.new_empty(len(kept), inputs.shape[1], *reach)
    operation = torch.ops.aten.convolution_backward.default
    found = operation(part, blank, weight, sizes, stride, [0, 0], dilation, False, output_padding, groups, mask)[0]
    whole = torch.zeros_like(inputs)
    (y, own_y), (x, own_x) = (
        _overlap(first * s - p, count, size)
        for first, s, p, count, size in zip((top, left), stride, padding, reach, inputs.shape[2:], strict=True)
    )
    whole[kept, :, y, x] = found[:, :, own_y, own_x]
    return whole, None, None


def _span(lit: Tensor) -> tuple[int, int]:
    """The first place (n,) that is True, and one beyond the last."""
    places = lit.nonzero()[:, 0]
    return int(places[0]), int(places[-1]) + 1


def _overlap(first: int, count: int, size: int) -> tuple[slice, slice]:
    """Where `count` places from `first` on lie in an axis of this size, and which of them lie there at all."""
    start, stop = max(first, 0), min(first + count, size)
    return slice(start, stop), slice(start - first, stop - first)


def _roi_align_backward(grad: Tensor, regions: Tensor, *rest: Any) -> Tensor | None:
    """The gradient of the feature map, from the regions (N, 5) that have one; None where those are most of them."""
    rows = _rows(grad)
    if rows is None:
        return None
    found: Tensor = torch.ops.torchvision._roi_align_backward.default(grad[rows], regions[rows], *rest)
    return found
