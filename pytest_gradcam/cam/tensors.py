"""What a tensor holds: finite numbers or not, their digest, and whether they are still the numbers that it held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

_SAMPLES = 8192  # values of a tensor that are compared, at the most: one per row, of all but the largest embeddings

Stamp = tuple[int, int | None]

_known = WeakIdKeyDictionary()  # of tensors that are alive: (their state, their digest)


def all_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite. A finite sum says so for a small part of what looking at each value costs."""
    return math.isfinite(tensor.sum()) or bool(tensor.isfinite().all())


def digest(tensor: Tensor) -> str | None:
    """A SHA-256 over type, shape and bytes; None for tensors without bytes of their own: sparse, quantised, meta."""
    if not _has_bytes(tensor):
        return None
    found = sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    found.update(_bytes(tensor.detach().resolve_conj().resolve_neg().contiguous()).cpu().numpy().data)
    return found.hexdigest()


def remembered_digest(tensor: Tensor) -> str | None:
    """The digest of a tensor, taken once while the tensor lives unchanged, as far as `Watched` would tell."""
    if not _has_bytes(tensor) or not _counts(tensor):
        return digest(tensor)
    sample = _sample(tensor)
    state = (_stamp(tensor), None if sample is None else sample.cpu().numpy().tobytes())
    known = _known.get(tensor)
    if known is not None and known[0] == state:
        return str(known[1])
    found = digest(tensor)
    _known[tensor] = (state, found)
    return found


class Watched:
    """Tells whether any of some tensors has changed since, without reading all of them.

    Noticed are all operations of PyTorch and other memory in its place. Of writes into a tensor on the CPU that PyTorch
    does not count (`.data`, NumPy views) those are noticed that reach the values compared: one or more in every row.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        # While their memory is held, no other tensor can come to lie at its address.
        self._memory = [tensor.detach() for tensor in tensors]
        self._counted = all(map(_counts, tensors))
        samples = [_sample(tensor) for tensor in tensors if tensor.device.type == "cpu"]
        self._samples: dict[int, list[np.ndarray[Any, Any]]] = {}  # by the bytes of a value: those can be joined
        for sample in samples:
            if sample is not None and len(sample):
                width = sample.shape[1]
                self._samples.setdefault(width, []).append(sample.numpy().view(f"V{width}")[:, 0])
        self._before = self._now() if self._counted else None

    def changed(self) -> bool:
        """Always, if PyTorch does not count the writes into one of the tensors."""
        return self._before is None or self._now() != self._before

    def _now(self) -> tuple[object, ...]:
        addresses = [tensor.data_ptr() for tensor in self._tensors]
        versions = [tensor._version for tensor in self._tensors]
        # One array of them all: to compare the few values of each by itself costs twice as much.
        return addresses, versions, [np.concatenate(group).tobytes() for group in self._samples.values()]


def _has_bytes(tensor: Tensor) -> bool:
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    return plain and not tensor.is_quantized and tensor.device.type != "meta"


def _counts(tensor: Tensor) -> bool:
    """Whether PyTorch counts the writes; for tensors made in inference mode it does not."""
    return not tensor.is_inference()


def _stamp(tensor: Tensor) -> Stamp:
    return tensor.data_ptr(), tensor._version if _counts(tensor) else None


def _bytes(tensor: Tensor) -> Tensor:
    """The memory of a contiguous tensor as uint8 (values, bytes of each)."""
    return tensor.reshape(-1).view(torch.uint8).reshape(-1, tensor.element_size())


def _sample(tensor: Tensor) -> Tensor | None:
    """A view of some of the tensor's values, at least one in each row; None for memory with gaps or overlaps."""
    whole = tensor.detach()
    if whole.ndim == 4 and whole.is_contiguous(memory_format=torch.channels_last):
        whole = whole.permute(0, 2, 3, 1)
    if not whole.is_contiguous():
        return None
    row = whole.numel() // max(len(whole), 1) if whole.ndim > 1 else 1
    # Of a length that is no multiple of the row's, so that columns are seen as well.
    step = max(row - 1, 1, -(-whole.numel() // _SAMPLES))
    return _bytes(whole)[::step]
