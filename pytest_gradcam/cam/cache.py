"""Heatmap grids by what they were made from: computed once in a run, and once in all runs where a store is given."""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_gradcam.cam.encoding import Encoder, OpaqueError
from pytest_gradcam.cam.fingerprint import Fingerprint
from pytest_gradcam.cam.tensors import digest
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.evidence.store import Store

MEMORY_BYTES = 256 * 2**20
DISK_BYTES = 512 * 2**20
_DEVICES = ("cpu", "cuda", "mps")
_OVERHEAD = 2048  # bytes of a cached heatmap besides its grid


@dataclass(frozen=True)
class Key:
    """What a heatmap was made from, as a digest; `portable` if it means the same in other processes."""

    digest: str
    portable: bool


@dataclass(frozen=True)
class Cached:
    """A heatmap without its picture: `grid` float32 (h, w), not writeable, and all that was said about it."""

    grid: NDArray[np.float32]
    subject: Subject


def identity(value: Any) -> str | None:
    """A digest equal only for equal plain values, the same in every process; None for what is or holds a callable."""
    encoder = Encoder()
    try:
        encoder.add(value)
    except OpaqueError:
        return None
    return encoder.hexdigest() if encoder.portable and not encoder.has_code else None


def key(fingerprint: Fingerprint | None, image: Tensor, *, layer: str | None, method: str, target: Any) -> Key | None:
    """The key of one heatmap: of the model, the model input (C, H, W), what is asked about it, versions and settings.

    None if no key can be trusted: for a model without a fingerprint, and for a target that is or holds a callable,
    which may change its mind.
    """
    content, wanted = digest(image), identity(target)
    if fingerprint is None or content is None or wanted is None:
        return None
    parts = (fingerprint.digest, content, layer, method, wanted, *_surroundings())
    return Key(sha256(repr(parts).encode()).hexdigest(), fingerprint.portable)


def open_cache(directory: Path | None) -> HeatmapCache:
    """A cache of this process, in front of a store in the directory, if there is one, that is kept to a bound."""
    if directory is None:
        return HeatmapCache()
    store = Store(directory)
    store.prune(DISK_BYTES)
    return HeatmapCache(store=store)


class HeatmapCache:
    """The most recently used heatmaps in at most `memory_bytes`, and behind them those of the store, if there is one.

    A key of None is never found and never kept, and a key that is not portable does not reach the store.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, store: Store | None = None) -> None:
        self._limit = memory_bytes
        self._store = store
        self._kept: OrderedDict[str, Cached] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key | None) -> Cached | None:
        """What was put under the key, if it is still there."""
        if key is None:
            return None
        if key.digest in self._kept:
            self._kept.move_to_end(key.digest)
            return self._kept[key.digest]
        found = _load(self._store, key.digest) if self._store is not None and key.portable else None
        if found is not None:
            self._keep(key.digest, found)
        return found

    def put(self, key: Key | None, grid: NDArray[np.float32], subject: Subject) -> None:
        """Keep a copy of the grid. A disk that cannot be written to gives a warning, as the store says."""
        if key is None:
            return
        self._keep(key.digest, Cached(_frozen(grid.copy()), subject))
        if self._store is not None and key.portable:
            self._store.put(key.digest, {"grid": grid}, asdict(subject))

    def _keep(self, name: str, made: Cached) -> None:
        before = self._kept.pop(name, None)
        self._bytes += _size(made) - (0 if before is None else _size(before))
        self._kept[name] = made
        while self._bytes > self._limit:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _load(store: Store, name: str) -> Cached | None:
    entry = store.get(name)
    if entry is None or "grid" not in entry.arrays:
        return None
    try:
        return Cached(_frozen(entry.arrays["grid"]), Subject(**entry.metadata))
    except TypeError:  # the fields of another version
        return None


def _frozen(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    grid.flags.writeable = False
    return grid


def _size(made: Cached) -> int:
    return made.grid.nbytes + _OVERHEAD


def _surroundings() -> tuple[Any, ...]:
    """What decides besides the model and the image, at this moment."""
    return (
        *_versions(),
        [(torch.is_autocast_enabled(device), str(torch.get_autocast_dtype(device))) for device in _DEVICES],
        str(torch.get_default_dtype()),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
        torch.cuda.get_device_name() if torch.cuda.is_initialized() else "",
    )


@cache
def _versions() -> tuple[str, ...]:
    """This package by its code, since a checkout changes under one version; the others by their releases."""
    package = Path(__file__).parents[1]
    code = sha256(b"".join(path.read_bytes() for path in sorted(package.rglob("*.py")))).hexdigest()
    numpy = metadata.version("numpy").partition(".")[0]
    python = ".".join(map(str, sys.version_info[:2]))
    return code, torch.__version__, metadata.version("grad-cam"), numpy, python
