"""The rows of an audit on disk: a head that says what was asked, then a line per row, chunk after chunk.

A chunk is written at once and ends with a line of its own, so that what a kill left half-written is known and taken off.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pytest_gradcam.data.plan import Row
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import files

VERSION = 1
_OF_A_PART = ("name", "images", "cases")  # what parts of a data set may differ in


@dataclass(frozen=True)
class RowFile:
    """A file of rows under one head."""

    path: Path
    head: Mapping[str, Any]

    def alone(self) -> AbstractContextManager[object]:
        """Inside, no other process of this machine writes the file: one that wants to waits, and then finds the rows."""
        from filelock import FileLock

        name = sha256(str(self.path.resolve()).encode(errors="replace")).hexdigest()[:16]
        return FileLock(Path(tempfile.gettempdir()) / f"gradcam-{name}.lock")

    def resume(self) -> int:
        """How many chunks are there, whole; what is left of another one is taken off. The file is made where it is missing.

        Raises HeatmapError if the file is that of another audit, naming what differs.
        """
        try:
            if not self.path.exists():
                files.replace(self.path, _line({"audit": VERSION, **self.head}))
                return 0
            first = _first_line(self.path)
        except OSError as error:
            raise HeatmapError(
                f"the rows cannot be written to {self.path} ({error}); pass another path as rows="
            ) from None
        self._require_same(first)
        ends = [len(first), *(end for end, _ in _chunks(self.path))]
        if ends[-1] < self.path.stat().st_size:
            os.truncate(self.path, ends[-1])
        return len(ends) - 1

    def append(self, rows: Sequence[Row]) -> None:
        """One chunk of rows. Raises HeatmapError if they are not on the disk."""
        content = b"".join(map(_line, [*rows, {"chunk": len(rows)}]))
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
            try:
                written = os.write(file, content)
            finally:
                os.close(file)
        except OSError as error:
            raise HeatmapError(
                f"the rows cannot be written to {self.path} ({error}); free space on the disk, and run it again"
            ) from None
        if written != len(content):
            raise HeatmapError(
                f"no space is left for {self.path}; free space on the disk, and run it again: it goes on from here"
            )

    def last(self) -> list[Row]:
        """The rows of the last whole chunk."""
        return [row for _, lines in deque(_chunks(self.path), maxlen=1) for row in _parsed(lines)]

    def _require_same(self, first: bytes) -> None:
        try:
            head = json.loads(first)
            version = head.pop("audit")
        except (ValueError, KeyError, AttributeError):
            raise HeatmapError(f"{self.path} does not hold the rows of an audit; pass another path as rows=") from None
        if differing := [name for name in {**head, **self.head} if head.get(name) != self.head.get(name)]:
            raise HeatmapError(
                f"{self.path} holds the rows of another audit: another {', '.join(sorted(differing))}; remove the file, or pass "
                "another path as rows="
            )
        if version != VERSION:
            raise HeatmapError(f"{self.path} was written by another version of this package; remove it, and run again")


def read(path: Path) -> tuple[dict[str, Any], Iterator[Row]]:
    """The head of a file of rows, and the rows of its whole chunks. Raises HeatmapError for another file."""
    try:
        head = json.loads(_first_line(path))
        if head["audit"] != VERSION:
            raise ValueError("it is of another version")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HeatmapError(
            f"{path} does not hold the rows of an audit ({error}); pass the path that was passed as rows="
        ) from None
    return head, (row for _, lines in _chunks(path) for row in _parsed(lines))


def joined(paths: Sequence[Path]) -> Iterator[Row]:
    """The rows of the parts of a data set, in turn. Raises HeatmapError unless all were audited in one way and to their end."""
    first, places = read(paths[0])[0], 0
    for path in paths:
        head, found = read(path)
        if differing := [name for name in first if name not in _OF_A_PART and head.get(name) != first[name]]:
            raise HeatmapError(
                f"{path} holds the rows of another audit than {paths[0]}: another {', '.join(sorted(differing))}; pass parts "
                "that were audited with one model and the same checks"
            )
        seen = set()
        for row in found:
            seen.add(row["place"])
            yield {**row, "place": row["place"] + places}
        if len(seen) != head["images"]:
            raise HeatmapError(
                f"{path} has rows of {len(seen)} of its {head['images']} cases, so the audit did not end; run it again with the "
                "same rows=, which goes on where it stopped"
            )
        places += head["images"]


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline()


def _chunks(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Where each whole chunk ends, and its rows as they are written; only one of them is in memory."""
    with path.open("rb") as file:
        end = len(file.readline())
        found: list[bytes] = []
        for line in file:
            end += len(line)
            if not line.endswith(b"\n"):
                return
            if line.startswith(b'{"chunk":'):
                yield end, found
                found = []
            else:
                found.append(line)


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _parsed(lines: Sequence[bytes]) -> list[Row]:
    """The rows of a chunk. Read together, they share the texts of their keys, which are half of their memory."""
    found: list[Row] = json.loads(b"[" + b",".join(lines) + b"]")
    return found
