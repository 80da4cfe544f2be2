"""What a tensor holds: finite numbers or not, and a digest of its bytes."""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

_COUNTER = "_version"  # where PyTorch counts the writes into a tensor
_known = WeakIdKeyDictionary()  # of tensors that are alive: (their checksum, their digest)

# Odd, so that no change of a single word cancels. Each 32-bit word is multiplied by a 64-bit factor, so that several
# changes cancel once in 2**32 cases at most, whichever bits they flip.
_BLOCK = 1024
_FACTORS = np.random.default_rng(0).integers(2**63, size=_BLOCK, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def all_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite. A finite sum says so for a small part of what looking at each value costs."""
    return math.isfinite(tensor.sum()) or bool(tensor.isfinite().all())


def digest(tensor: Tensor) -> str | None:
    """A SHA-256 over type, shape and bytes; None for tensors without bytes of their own: sparse, quantised, meta."""
    return _digest(tensor, _bytes(tensor)) if has_bytes(tensor) else None


def remembered_digest(tensor: Tensor) -> str | None:
    """The tensor's digest. All bytes are read at each call, but hashed only if their checksum changed since the last.

    The checksum takes a fraction of the time of a SHA-256.
    """
    if not has_bytes(tensor):
        return None
    data = _bytes(tensor)
    state = (tensor.dtype, tensor.shape, _checksum(data))
    known = _known.get(tensor)
    if known is not None and known[0] == state:
        return str(known[1])
    found = _digest(tensor, data)
    _known[tensor] = (state, found)
    return found


def writes(tensor: Tensor) -> int | None:
    """How often PyTorch counted a write into the tensor; None if it does not, as for tensors made in inference mode."""
    return None if tensor.is_inference() else getattr(tensor, _COUNTER, None)


def has_bytes(tensor: Tensor) -> bool:
    """Whether the tensor is dense and plain, so that its bytes say what it holds."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    return plain and not tensor.is_quantized and tensor.device.type != "meta"


def _digest(tensor: Tensor, data: NDArray[np.uint8]) -> str:
    found = sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    found.update(data.data)
    return found.hexdigest()


def _bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """The values, in order, as bytes in the memory of the CPU."""
    dense = tensor.detach().resolve_conj().resolve_neg().contiguous()
    found: NDArray[Any] = dense.reshape(-1).view(torch.uint8).cpu().numpy()
    return found


def _checksum(data: NDArray[np.uint8]) -> bytes:
    """A weighted sum modulo 2**64 of each block of 1024 words, and the bytes that are left over."""
    blocks = len(data) // (4 * _BLOCK)
    whole = data[: 4 * _BLOCK * blocks]
    sums = np.einsum("ij,j->i", whole.view(np.uint32).reshape(blocks, _BLOCK), _FACTORS)
    return bytes(sums.tobytes() + data[len(whole) :].tobytes())
