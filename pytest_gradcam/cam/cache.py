"""The opt-in cache: heatmap grids keyed by what they were made from, for one run or, with a store, for later ones."""

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

from pytest_gradcam.cam.output_kind import OutputReader
from pytest_gradcam.cam.outputs import Goal
from pytest_gradcam.cam.structure import configuration
from pytest_gradcam.evidence.plain import checked
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.evidence.store import Store
from pytest_gradcam.state.parts import Parts
from pytest_gradcam.state.tensors import checksum, has_bytes

MEMORY_BYTES = 256 * 2**20
DISK_BYTES = 512 * 2**20
_DEVICES = ("cpu", "cuda", "mps")
_OVERHEAD = 2048  # bytes of a cached heatmap besides its grid


@dataclass(frozen=True)
class Cached:
    """A heatmap without its picture: `grid` is float32 (h, w) and read-only, `subject` what it explains."""

    grid: NDArray[np.float32]
    subject: Subject


def model_key(parts: Parts, weights: str, outputs: OutputReader) -> str | None:
    """The part of a cache key that is the same for all images: model, class names, versions, torch settings.

    `parts` are the model's, `weights` the digest of its current weights, `outputs` reads its outputs. None if it cannot be
    identified.
    """
    found = configuration(parts)
    return _joined(weights, found, outputs.names.pairs, outputs.asked, *_surroundings()) if weights and found else None


def key(model: str | None, image: Tensor, goal: Goal, layer: str | None, method: str) -> str | None:
    """The cache key of one model input (C, H, W), for the model of a `model_key`.

    None if the model has no key, and for a callable target, which may return another score next time.
    """
    if model is None or not has_bytes(image) or goal.function is not None:
        return None
    content = checksum(image).hex()  # 128 bits, and no one forges images here: a SHA-256 takes seven times as long
    return _joined(model, str(image.dtype), tuple(image.shape), content, goal.index, goal.against, layer, method)


def open_cache(directory: Path | None) -> HeatmapCache:
    """A cache in memory, backed by a store of bounded size if a directory is given."""
    if directory is None:
        return HeatmapCache()
    store = Store(directory)
    store.prune(DISK_BYTES)
    return HeatmapCache(store=store)


class HeatmapCache:
    """The most recently used heatmaps, in at most `memory_bytes`, in front of an optional store.

    Nothing is ever found or kept under the key None.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, store: Store | None = None) -> None:
        self._limit = memory_bytes
        self._store = store
        self._kept: OrderedDict[str, Cached] = OrderedDict()
        self._bytes = 0

    def get(self, key: str | None) -> Cached | None:
        """The heatmap under this key; None if it is not, or no longer, there."""
        if key is None:
            return None
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        found = _load(self._store, key) if self._store is not None else None
        if found is not None:
            self._keep(key, found)
        return found

    def put(self, key: str | None, grid: NDArray[np.float32], subject: Subject) -> None:
        """Keep a copy of the grid. The store warns if it cannot write."""
        if key is None:
            return
        self._keep(key, Cached(_frozen(grid.copy()), subject))
        if self._store is not None:
            self._store.put(key, {"grid": grid}, asdict(subject))

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
        return Cached(_frozen(entry.arrays["grid"]), Subject(**entry.metadata | checked(Subject, entry.metadata)))
    except (TypeError, ValueError):  # written by another version, with other fields
        return None


def _frozen(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    grid.flags.writeable = False
    return grid


def _size(made: Cached) -> int:
    return made.grid.nbytes + _OVERHEAD


def _joined(*parts: Any) -> str:
    return sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _surroundings() -> tuple[Any, ...]:
    """Versions and torch settings that affect a heatmap, as they are now."""
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
    """Of this package a digest of its code, since a checkout changes without a new version; of others the release."""
    package = Path(__file__).parents[1]
    code = sha256(b"".join(path.read_bytes() for path in sorted(package.rglob("*.py")))).hexdigest()
    numpy = metadata.version("numpy").partition(".")[0]
    python = ".".join(map(str, sys.version_info[:2]))
    return code, torch.__version__, metadata.version("grad-cam"), numpy, python
