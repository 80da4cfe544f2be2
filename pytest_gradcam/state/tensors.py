"""What a tensor holds: finite numbers or not, and a digest of its bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary
from xxhash import xxh3_128, xxh3_128_digest

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COUNTER = "_version"  # where PyTorch counts the writes into a tensor
_COUNT_OF = attrgetter(_COUNTER)
_FORM_OF = attrgetter("dtype", "shape", "layout", "device")
_known = WeakIdKeyDictionary()  # of tensors that are alive: (their checksum, their digest)


def all_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite. A finite sum says so for a small part of what looking at each value costs."""
    return math.isfinite(tensor.sum()) or bool(tensor.isfinite().all())


def digest(tensor: Tensor) -> str | None:
    """A SHA-256 over type, shape and bytes; None for tensors without bytes of their own: sparse, quantised, meta."""
    return _digest(tensor, _bytes(tensor)) if has_bytes(tensor) else None


def checksum(tensor: Tensor) -> bytes:
    """XXH3 of 128 bits over its bytes, as fast as they can be read; empty for tensors without bytes of their own."""
    return xxh3_128_digest(_bytes(tensor).data) if has_bytes(tensor) else b""


def remembered_digest(tensor: Tensor) -> str | None:
    """The tensor's digest. All bytes are read at each call, but hashed only if their checksum changed since the last.

    The checksum takes a fraction of the time of a SHA-256.
    """
    if not has_bytes(tensor):
        return None
    data = _bytes(tensor)
    state = (tensor.dtype, tensor.shape, xxh3_128_digest(data.data))
    known = _known.get(tensor)
    if known is not None and known[0] == state:
        return str(known[1])
    found = _digest(tensor, data)
    _known[tensor] = (state, found)
    return found


class WeightsDigest:
    """The digest of tensors by their names. All bytes are read each time, but hashed only if a checksum changed since."""

    def __init__(self, named: Iterable[tuple[str, Tensor]]) -> None:
        self._named = sorted(named, key=lambda pair: pair[0])
        self._tensors = [tensor for _, tensor in self._named]
        self._place: object = None
        self._memory: list[memoryview] = []
        self._state: object = None
        self._digest = ""

    def now(self) -> str:
        """A SHA-256 over the names and digests, in order of name; empty if a tensor has no bytes."""
        place = _place(self._tensors)
        if place is None or (place != self._place and not self._look(place)):
            return ""
        content = xxh3_128()
        for memory in self._memory:
            content.update(memory)
        state = (place, content.digest())
        if state != self._state:
            found = sha256("".join(f"{name} {remembered_digest(tensor)}\n" for name, tensor in self._named).encode())
            self._state, self._digest = state, found.hexdigest()
        return self._digest

    def _look(self, place: list[Any]) -> bool:
        """Whether all have bytes; these are kept, as long as they lie here, if the tensors share this memory."""
        if not all(map(has_bytes, self._tensors)):
            return False
        arrays = list(map(_bytes, self._tensors))
        shared = [array.ctypes.data for array in arrays] == place[: len(arrays)]
        self._memory, self._place = [array.data for array in arrays], place if shared else None
        return True


def writes(tensor: Tensor) -> int | None:
    """How often PyTorch counted a write into the tensor; None if it does not, as for tensors made in inference mode."""
    return None if tensor.is_inference() else getattr(tensor, _COUNTER, None)


def writes_of(tensors: Sequence[Tensor]) -> list[int | None]:
    """Those of each of several tensors, in less time."""
    try:
        return list(map(_COUNT_OF, tensors))
    except (RuntimeError, AttributeError):  # made in inference mode; not counted
        return list(map(writes, tensors))


def has_bytes(tensor: Tensor) -> bool:
    """Whether the tensor is dense and plain, so that its bytes say what it holds."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    return plain and not tensor.is_quantized and tensor.device.type != "meta"


def unreadable(tensor: Tensor, expected: str) -> str:
    """What is special about a tensor whose numbers cannot be read as they are, what was expected, and what to do; empty for
    plain ones."""
    what, way = "", ""
    if tensor.is_nested:
        what, way = "a nested tensor", "pad it to one shape"
    elif tensor.is_quantized:
        what, way = f"a quantised tensor ({tensor.dtype})", "call dequantize() on it"
    elif tensor.device.type == "meta":
        what, way = "a tensor without values (on the device meta)", "load the weights, or leave the device meta"
    elif tensor.layout != torch.strided:
        what, way = f"a tensor of layout {tensor.layout}", "call to_dense() on it"
    elif tensor.is_floating_point() and tensor.dtype not in FLOATS:
        what, way = f"a tensor of {tensor.dtype}", "call float() on it"
    elif tensor.is_neg():
        what, way = "a view with its sign bit set", "call resolve_neg() on it"
    return f"{what}; expected {expected}; {way}" if what else ""


def _digest(tensor: Tensor, data: NDArray[np.uint8]) -> str:
    found = sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    found.update(data.data)
    return found.hexdigest()


def _bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """The values, in order, as bytes in the memory of the CPU."""
    if not tensor.numel():
        return np.empty(0, np.uint8)
    dense = tensor.detach().resolve_conj().resolve_neg().contiguous()
    found: NDArray[Any] = dense.reshape(-1).view(torch.uint8).cpu().numpy()
    return found


def _place(tensors: Sequence[Tensor]) -> list[Any] | None:
    """Where the bytes of tensors lie, and how they are read; None if one has none."""
    methods = (Tensor.data_ptr, type, _FORM_OF, Tensor.stride, Tensor.is_conj, Tensor.is_neg)
    try:
        return [*chain.from_iterable(map(method, tensors) for method in methods)]
    except (RuntimeError, NotImplementedError):  # of sparse tensors and the like
        return None
