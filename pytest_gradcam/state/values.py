"""The values of tensors: copied, compared, and put back where they changed, however they were written to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from pytest_gradcam.state.tensors import has_bytes, writes

#: Whole numbers of as many bytes, which are compared three times as fast as single bytes.
_WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Groups:
    """Tensors, each once: by type and device those that have bytes of their own, and the others."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        self.others: list[Tensor] = []
        for tensor in {id(tensor): tensor for tensor in tensors}.values():
            if has_bytes(tensor):
                groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
            else:
                self.others.append(tensor)
        self.alike = list(map(Group, groups.values()))


class Group:
    """Tensors of one type on one device."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors
        self._flat: list[Tensor] = []
        self._place: object = None

    def shapes(self) -> list[torch.Size]:
        return [tensor.shape for tensor in self.tensors]

    def joined(self) -> Tensor:
        """All values in one new tensor."""
        place = [(tensor.data_ptr(), tensor.shape) for tensor in self.tensors]
        if place != self._place:
            self._flat = [tensor.detach().reshape(-1) for tensor in self.tensors]
            views = [flat.data_ptr() for flat in self._flat] == [address for address, _ in place]
            self._place = place if views else None  # a copy does not see later writes
        return torch.cat(self._flat)


class Values:
    """The values that tensors have now.

    PyTorch's counter does not see what is written through `.data` and through NumPy, so all values are compared: by one
    copy and one comparison for all tensors of a type. Those without bytes of their own go by the counter.
    """

    def __init__(self, groups: Groups) -> None:
        self._others = [(each, each.detach().clone(), writes(each)) for each in groups.others]
        self._groups = [(group, group.shapes(), group.joined()) for group in groups.alike]

    def restore(self) -> None:
        """Put the values back into the tensors that have others; PyTorch counts no write into the rest."""
        for group, shapes, before in self._groups:
            if group.shapes() != shapes or not _same_bits(group.joined(), before):
                for tensor, shape, part in zip(group.tensors, shapes, before.split([*map(_size, shapes)]), strict=True):
                    _put_back(tensor, part.reshape(shape))
        for tensor, before, count in self._others:
            if writes(tensor) != count:
                _put_back(tensor, before)


def _size(shape: torch.Size) -> int:
    return shape.numel()


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Bits and not values: NaN is what it was, and no negative zero counts as zero."""
    whole = _WHOLE.get(one.element_size(), torch.uint8)
    return one.shape == other.shape and torch.equal(one.view(whole), other.view(whole))


def _put_back(tensor: Tensor, before: Tensor) -> None:
    if tensor.shape != before.shape:
        tensor.data = before.clone()
    elif not has_bytes(tensor) or not _same_bits(tensor.detach().reshape(-1).contiguous(), before.reshape(-1)):
        with torch.inference_mode() if tensor.is_inference() else nullcontext():
            tensor.detach().copy_(before)
