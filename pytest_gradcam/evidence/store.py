"""Arrays with metadata on disk: each entry whole and verified, or not there at all."""

from __future__ import annotations

import io
import json
import os
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.errors import GradcamWarning
from pytest_gradcam.evidence import files

# An entry is a plain .npz that numpy.load opens. Its seal, the comment at the end of the archive, holds the format's
# version and the SHA-256 of every byte before the digest.
_SEAL = b"pytest-gradcam store 1 sha256 "
_DIGEST = 64
_METADATA = "metadata.json"
_SUFFIX = ".npz"
_ABANDONED = 3600  # seconds: no writer takes that long, so its partial file was left by one that was killed


@dataclass(frozen=True)
class Entry:
    """What was stored under `key`: `arrays` by name, each with its own memory, and `metadata` as JSON gives it back."""

    key: str
    arrays: dict[str, NDArray[Any]]
    metadata: dict[str, Any]


class Store:
    """Entries by key in a directory, which is made at the first put.

    Any number of processes may use one directory without locks, and may be killed at any moment: a file appears by
    being renamed, whole. If the disk cannot be written to there is one GradcamWarning, and the store is empty from then.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._usable = True

    def put(self, key: str, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
        """Keep arrays and metadata under the key, in place of what was there.

        Raises ValueError for arrays of Python objects, TypeError for metadata that JSON cannot hold.
        """
        content = _encode(Entry(key, dict(arrays), dict(metadata)))
        if not self._usable:
            return
        try:
            _write(self._path(key), content)
        except OSError as error:
            self._usable = False
            warnings.warn(
                f"{self._root} cannot be written to ({error}); nothing is stored or read there from now on. "
                "Free space on the disk or make the directory writable",
                GradcamWarning,
                stacklevel=2,
            )

    def get(self, key: str) -> Entry | None:
        """The entry, marked as used now; None if there is none that is whole, unchanged and of this version."""
        if not self._usable:
            return None
        path = self._path(key)
        entry = read(path)
        if entry is None or entry.key != key:
            return None
        with suppress(OSError):
            os.utime(path)
        return entry

    def prune(self, max_bytes: int) -> None:
        """At most `max_bytes` of entries are left, the most recently used ones; leftovers of killed writers are gone."""
        size = 0
        for modified, length, path in sorted(self._files(), reverse=True):
            size += length
            abandoned = path.suffix == files.PARTIAL and modified < time.time() - _ABANDONED
            if abandoned or (size > max_bytes and path.suffix == _SUFFIX):
                size -= length
                with suppress(OSError):
                    path.unlink()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, size and path of each file of ours; another process may delete any of them meanwhile."""
        for suffix in (_SUFFIX, files.PARTIAL):
            for path in self._root.glob(f"??/*{suffix}"):
                with suppress(OSError):
                    status = path.stat()
                    yield status.st_mtime, status.st_size, path

    def _path(self, key: str) -> Path:
        name = sha256(key.encode()).hexdigest()
        return self._root / name[:2] / (name + _SUFFIX)


def read(path: Path) -> Entry | None:
    """The entry in this file; None if it is missing, truncated, altered, foreign or of another version."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    sealed, digest = content[:-_DIGEST], content[-_DIGEST:]
    if not sealed.endswith(_SEAL) or sha256(sealed).hexdigest().encode() != digest:
        return None
    try:
        return _decode(content)
    except Exception:  # whatever a foreign file with a valid seal makes the parsers raise, it is not an entry
        return None


def write(path: Path, entry: Entry) -> None:
    """The file holds the entry, whole, or is what it was.

    Raises OSError if the disk cannot be written to, and as `Store.put` does.
    """
    _write(path, _encode(entry))


def _write(path: Path, content: bytes) -> None:
    with suppress(FileNotFoundError):
        _replace(path, content)
        return
    _replace(path, content)  # once more: another process had cleared the directory just then


def _encode(entry: Entry) -> bytes:
    """The file's bytes; the same entry gives the same bytes, so that files under version control stay quiet."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        header = {"key": entry.key, "metadata": entry.metadata}
        archive.writestr(zipfile.ZipInfo(_METADATA), json.dumps(header, sort_keys=True))
        for name, array in sorted(entry.arrays.items()):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), _npy(array))
        archive.comment = _SEAL + b"0" * _DIGEST
    sealed = buffer.getvalue()[:-_DIGEST]
    return sealed + sha256(sealed).hexdigest().encode()


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _decode(content: bytes) -> Entry:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        header = json.loads(archive[_METADATA])
        arrays = {name: archive[name] for name in archive.files if name != _METADATA}
    return Entry(header["key"], arrays, header["metadata"])


def _replace(path: Path, content: bytes) -> None:
    try:
        files.replace(path, content)
    except PermissionError:
        if not path.exists():  # on Windows a file that another process is reading cannot be replaced: leave it
            raise
