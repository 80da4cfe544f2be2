"""Size and digest of every file of a report, and which files differ from them later."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from pytest_gradcam.evidence import files, plain

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig.json"  # which signs the manifest, and so cannot be in it
VERSION = 1


def write(directory: Path, names: list[str]) -> None:
    """Write the manifest: size and SHA-256 of each of these files below the directory."""
    entries = [_entry(directory, name) for name in sorted(names)]
    text = json.dumps({"version": VERSION, "files": entries}, indent=1)
    files.replace(directory / MANIFEST, text.encode())


def names(directory: Path) -> list[str]:
    """The files that the directory's manifest lists; none if there is no readable manifest."""
    try:
        return [entry["path"] for entry in _entries(directory)]
    except ValueError:
        return []


def unchanged(directory: Path, names: Container[str]) -> Iterator[str]:
    """Those of these files that are as the directory's manifest says, and the manifest; none where none can be read."""
    try:
        entries = _entries(directory)
    except ValueError:
        return
    yield MANIFEST
    for entry in entries:
        path = directory / entry["path"]
        if entry["path"] in names and path.is_file() and _entry(directory, entry["path"]) == entry:
            yield entry["path"]


def differences(directory: Path) -> Iterator[str]:
    """One phrase for each file that is missing or not what the manifest says, and each that it does not list.

    Raises ValueError if there is no readable manifest, or if it lists nothing.
    """
    entries = {entry["path"]: entry for entry in _entries(directory)}
    if not entries:
        raise ValueError(f"{directory / MANIFEST} lists no file, so there is nothing to compare with")
    for name, entry in entries.items():
        path = directory / name
        if not _below(directory, path):
            yield f"{name}: lies outside the report"
        elif not path.is_file():
            yield f"{name}: missing"
        elif _entry(directory, name) != entry:
            yield f"{name}: changed"
    found = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    for name in sorted(found - set(entries) - {MANIFEST, SIGNATURE}):
        yield f"{name}: not listed"


def digests(directory: Path) -> dict[str, str]:
    """The SHA-256 of each file that the directory's manifest lists. Raises ValueError if there is no readable manifest."""
    return {entry["path"]: str(entry.get("sha256", "")) for entry in _entries(directory)}


def digest(directory: Path) -> str:
    """The SHA-256 of the manifest itself."""
    return sha256((directory / MANIFEST).read_bytes()).hexdigest()


def _entries(directory: Path) -> list[dict[str, Any]]:
    path = directory / MANIFEST
    try:
        manifest = plain.parse(path.read_bytes())
        if manifest.get("version") != VERSION:
            raise ValueError(f"its version is {manifest.get('version')!r}; expected {VERSION}")
        entries = [plain.mapping(entry, "an entry") for entry in plain.sequence(manifest.get("files"), "files")]
        for entry in entries:
            if not isinstance(entry.get("path"), str) or "\0" in entry["path"]:
                raise ValueError(f"a path is {entry.get('path')!r}; expected the name of a file")
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{path} does not exist, so there is nothing to compare with") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a manifest: {error}") from None
    return entries


def _entry(directory: Path, name: str) -> dict[str, Any]:
    content = (directory / name).read_bytes()
    return {"path": name, "bytes": len(content), "sha256": sha256(content).hexdigest()}


def _below(directory: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(directory.resolve())
