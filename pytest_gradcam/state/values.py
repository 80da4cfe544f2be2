"""The values of tensors: copied, compared, and put back where they changed, however they were written to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from pytest_gradcam.state.tensors import has_bytes

_COUNTER = "_version"  # where PyTorch counts the writes into a tensor


class Values:
    """The values that tensors have now.

    PyTorch's counter does not see what is written through `.data` and through NumPy, so all values are compared: by one
    copy and one comparison for all tensors of a type. Those without bytes of their own go by the counter.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        self._others: list[tuple[Tensor, Tensor, object]] = []
        for tensor in {id(tensor): tensor for tensor in tensors}.values():
            if has_bytes(tensor):
                groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
            else:
                self._others.append((tensor, tensor.detach().clone(), getattr(tensor, _COUNTER, None)))
        self._groups = [(group, [each.shape for each in group], _joined(group)) for group in groups.values()]

    def restore(self) -> None:
        """Put the values back into the tensors that have others; PyTorch counts no write into the rest."""
        for group, shapes, before in self._groups:
            if _shapes_differ(group, shapes) or not _same_bits(_joined(group), before):
                for tensor, shape, part in zip(group, shapes, before.split([*map(_size, shapes)]), strict=True):
                    _put_back(tensor, part.reshape(shape))
        for tensor, before, writes in self._others:
            if getattr(tensor, _COUNTER, None) != writes:
                _put_back(tensor, before)


def _joined(group: Sequence[Tensor]) -> Tensor:
    return torch.cat([(each.detach() if each.requires_grad else each).reshape(-1) for each in group])


def _size(shape: torch.Size) -> int:
    return shape.numel()


def _shapes_differ(group: Sequence[Tensor], shapes: Sequence[torch.Size]) -> bool:
    return any(tensor.shape != shape for tensor, shape in zip(group, shapes, strict=True))


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Bits and not values: NaN is what it was, and no negative zero counts as zero."""
    return one.shape == other.shape and torch.equal(one.view(torch.uint8), other.view(torch.uint8))


def _put_back(tensor: Tensor, before: Tensor) -> None:
    if tensor.shape != before.shape:
        tensor.data = before.clone()
    elif not has_bytes(tensor) or not _same_bits(tensor.detach().reshape(-1), before.reshape(-1)):
        with torch.inference_mode() if tensor.is_inference() else nullcontext():
            tensor.detach().copy_(before)
