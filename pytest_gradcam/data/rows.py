"""The rows of an audit on disk: a head that says what was asked, then a line per row, chunk after chunk.

A chunk is written at once and ends with a line of its own, so that what a kill left half-written is known and taken off.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

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
            content = self.path.read_bytes()
        except OSError as error:
            raise HeatmapError(
                f"the rows cannot be written to {self.path} ({error}); pass another path as rows="
            ) from None
        self._require_same(content)
        end, count = _whole(content)
        if end < len(content):
            os.truncate(self.path, end)
        return count

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
        found: list[Row] = []
        ended = True
        for line in _parsed(self.path.read_bytes().split(b"\n")[1:-1]):
            found = [] if ended else found
            ended = "chunk" in line
            if not ended:
                found.append(line)
        return found

    def _require_same(self, content: bytes) -> None:
        try:
            head = json.loads(content.split(b"\n", 1)[0])
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
        content = path.read_bytes()
        head = json.loads(content.split(b"\n", 1)[0])
        if head["audit"] != VERSION:
            raise ValueError("it is of another version")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HeatmapError(
            f"{path} does not hold the rows of an audit ({error}); pass the path that was passed as rows="
        ) from None
    whole = content[: _whole(content)[0]]
    return head, (line for line in _parsed(whole.split(b"\n")[1:-1]) if "chunk" not in line)


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


def _whole(content: bytes) -> tuple[int, int]:
    """Where the last whole chunk ends, and how many there are."""
    end, count, place = content.find(b"\n") + 1, 0, content.find(b"\n") + 1
    while (stop := content.find(b"\n", place)) >= 0:
        if content.startswith(b'{"chunk":', place):
            end, count = stop + 1, count + 1
        place = stop + 1
    return end, count


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _parsed(lines: Sequence[bytes]) -> Iterator[Row]:
    return (json.loads(line) for line in lines)
