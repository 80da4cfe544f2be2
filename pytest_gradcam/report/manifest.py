"""Check a report against its manifest: every file that was written is there, unchanged.

Exit status 0 if so, 1 if a file is missing or changed, or if nothing is left to compare with.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from pytest_gradcam.evidence import files

MANIFEST = "manifest.json"
VERSION = 1


def write(directory: Path, names: list[str]) -> None:
    """Write the manifest: size and SHA-256 of each of these files below the directory."""
    entries = [_entry(directory, name) for name in sorted(names)]
    text = json.dumps({"version": VERSION, "files": entries}, indent=1)
    files.replace(directory / MANIFEST, text.encode())


def names(directory: Path) -> list[str]:
    """The files that the directory's manifest lists; none where there is no manifest that can be read."""
    try:
        return [entry["path"] for entry in _entries(directory)]
    except ValueError:
        return []


def differences(directory: Path) -> Iterator[str]:
    """One phrase for each file that is missing or not what the manifest says, and each that it does not list.

    Raises ValueError if there is no manifest that can be read.
    """
    entries = {entry["path"]: entry for entry in _entries(directory)}
    for name, entry in entries.items():
        path = directory / name
        if not _below(directory, path):
            yield f"{name}: lies outside of the report"
        elif not path.is_file():
            yield f"{name}: missing"
        elif _entry(directory, name) != entry:
            yield f"{name}: changed"
    found = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    for name in sorted(found - set(entries) - {MANIFEST}):
        yield f"{name}: not listed"


def _entries(directory: Path) -> list[dict[str, Any]]:
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        entries: list[dict[str, Any]] = manifest["files"]
        if manifest["version"] != VERSION or not all(isinstance(entry["path"], str) for entry in entries):
            raise ValueError(f"version {manifest['version']} is not known")
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist, so there is nothing to compare with") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a manifest: {error}") from None
    return entries


def _entry(directory: Path, name: str) -> dict[str, Any]:
    content = (directory / name).read_bytes()
    return {"path": name, "bytes": len(content), "sha256": sha256(content).hexdigest()}


def _below(directory: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(directory.resolve())


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR", help="the directory of the report")


def run(options: Namespace) -> int:
    found = list(differences(options.directory))
    for line in found:
        print(line)
    if not found:
        content = (options.directory / MANIFEST).read_bytes()
        print(f"{len(names(options.directory))} files are as written; the manifest's SHA-256 is")
        print(sha256(content).hexdigest())
    return 1 if found else 0
