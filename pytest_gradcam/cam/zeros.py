"""Backward passes that skip zeros: most of a gradient is zero where one token, one object or one place is asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from itertools import islice
from typing import Any

import torch
import torchvision.ops  # noqa: F401 - registers torch.ops.torchvision
from torch import Tensor

from pytest_gradcam.cam.few_rows import FewRows, by_row, filled, placed
from pytest_gradcam.cam.graph import functions_behind
from pytest_gradcam.state.undo import later, undoing

_MANY = 300  # operations of a backward pass: SSDLite with 91 classes has 335, FCOS 222, others fewer


def zeros_skipped(tensor: Tensor) -> AbstractContextManager[object]:
    """A context that skips zeros, where a backward pass from or to the tensor may have many.

    Nothing is skipped where the backward pass is one of many small operations, such as SSD's for each class: to look at each of
    them takes longer.
    """
    faster = _zeros_skipped() if tensor.device.type == "cpu" and _is_short(tensor) else None
    return undoing(partial(_enter, faster())) if faster else nullcontext()


def rows_skipped(leaf: Tensor) -> AbstractContextManager[object] | None:
    """A context in which gradients that are mostly zero, on the way to a layer with class tokens, are FewRows; None without."""
    faster = _zeros_skipped() if leaf.device.type == "cpu" else None
    return undoing(partial(_enter, faster(rows=True))) if faster else None


def _is_short(score: Tensor) -> bool:
    """Whether the backward pass from here has at most this many operations."""
    return next(islice(functions_behind(score), _MANY, None), None) is None


@cache
def _zeros_skipped() -> Callable[..., AbstractContextManager[object]] | None:
    """A context that skips zeros in matrix products, and in the backward passes of attention, convolutions and RoIAlign.

    Where only the class token is read, the gradient of every other token is zero: nearly all of the gradient in a
    transformer's last block. Ten classes of a ViT-B/16 take a third less time. The score of one object comes from one
    place of one level of a feature pyramid, or from one of a thousand regions. PyTorch's dispatch mode is private: None if it
    is missing or behaves differently, and then nothing is skipped.
    """
    try:
        from torch.utils._python_dispatch import TorchDispatchMode

        faster: dict[Any, Callable[..., Any]] = {
            torch.ops.aten.mm.default: _product,
            torch.ops.aten.bmm.default: _products,
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default: _attention_backward,
            torch.ops.aten.convolution_backward.default: _convolution_backward,
            torch.ops.torchvision._roi_align_backward.default: _roi_align_backward,
        }
        by_rows = {**faster, torch.ops.aten.select_backward.default: _select_backward}

        class Skipped(TorchDispatchMode):
            def __init__(self, rows: bool = False) -> None:
                super().__init__()
                self.table = by_rows if rows else faster

            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                found, options = None, kwargs or {}
                if any(isinstance(each, FewRows) for each in args):
                    found = by_row(func, args, options)
                    args = args if found is not None else filled(args)
                if found is None and func in self.table:
                    found = self.table[func](*args, **options)
                return func(*args, **options) if found is None else found

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
    return _is_right_convolution(multiplication) and _is_right_attention(multiplication)


def _is_right_convolution(skipping: Callable[[], AbstractContextManager[object]]) -> bool:
    """The same for the gradient of a strided, padded convolution at a corner."""
    image = torch.zeros(1, 2, 11, 11, device="cpu", requires_grad=True)
    weight = torch.arange(36.0, device="cpu").reshape(2, 2, 3, 3)
    score = torch.nn.functional.conv2d(image, weight, stride=2, padding=1)[0, :, -1, 0].sum()
    with skipping():
        (found,) = torch.autograd.grad(score, image, retain_graph=True)
    return torch.equal(found, torch.autograd.grad(score, image)[0])


def _is_right_attention(skipping: Callable[..., AbstractContextManager[object]]) -> bool:
    """The same, but for rounding, for the gradient of tokens of which one is read after attention and a norm."""
    functions = torch.nn.functional
    tokens = torch.sin(torch.arange(48.0, dtype=torch.float32, device="cpu")).reshape(1, 12, 4).requires_grad_()
    heads = tokens.reshape(1, 12, 2, 2).transpose(1, 2)
    mixed = functions.scaled_dot_product_attention(heads, 2 * heads, 3 * heads).transpose(1, 2).reshape(1, 12, 4)
    read = functions.gelu(functions.layer_norm(mixed + tokens, (4,)) @ tokens[0, :4].detach())[:, 1].sum()
    with skipping(rows=True):
        (found,) = torch.autograd.grad(read, tokens, retain_graph=True)
    return torch.allclose(filled(found), torch.autograd.grad(read, tokens)[0], rtol=1e-3, atol=1e-4)


def _product(left: Tensor, right: Tensor) -> Tensor | None:
    """left @ right if more than half of the rows of `left`, or of its leading columns, are zero; else None."""
    some = left[:: len(left) // 8 + 1]
    rows = None if _rows(some) is None else _rows(left)
    if rows is not None:
        return left.new_zeros(len(left), right.shape[1]).index_copy_(0, rows, left[rows] @ right)
    # Leading columns that are zero in nearly all sampled rows: the queries, which come before keys and values.
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
    flat = tensor.flatten(1)
    rows = torch.logical_or(flat.amax(1), flat.amin(1)).nonzero()[:, 0]  # any() takes three times as long
    return rows if 2 * len(rows) < len(tensor) else None


def _select_backward(grad: Tensor, shape: Sequence[int], axis: int, index: int) -> Tensor | None:
    """The gradient of a tensor of which one index was read; not where it is differentiated again."""
    return None if torch.is_grad_enabled() else placed(grad, shape, axis, index)


def _attention_backward(grad: Tensor, query: Tensor, *rest: Any, **options: Any) -> Any:
    """The gradients of queries, keys and values (B, heads, N, C), from the queries that have one; None where most have."""
    key, value, out, sums, dropout, causal = rest
    rows = _rows(grad.movedim(2, 0))
    if rows is None or dropout or causal or options.get("attn_mask") is not None:
        return None
    operation = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default
    few = [tensor[:, :, rows] for tensor in (grad, query, out, sums)]
    found, keys, values = operation(*few[:2], key, value, *few[2:], dropout, causal, **options)
    return torch.zeros_like(query).index_copy_(2, rows, found), keys, values


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
