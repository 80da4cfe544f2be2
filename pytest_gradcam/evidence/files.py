"""Files that are whole, or not there at all."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

PARTIAL = ".part"  # how the names of files end that are still being written


def replace(path: Path, content: bytes) -> None:
    """The file holds the content, whole, or is what it was; its directory is made where it is missing.

    Raises OSError. Nothing is forced to the disk: what a power cut leaves of a file fails its checksum.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem[:64]}-{uuid4().hex}{PARTIAL}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
