"""Where baselines lie: in a folder beside the test's file, under names that say which test's they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from pytest_gradcam.evidence import BASELINES

SUFFIX = ".npz"


def baseline(file: Path, test: str, label: str) -> Path:
    """The file of one baseline of the test, whose id within its file may hold anything; the label has no hyphen."""
    return folder(file) / f"{_stem(test)}-{label}{SUFFIX}"


def folder(file: Path) -> Path:
    """The folder of all baselines of the tests in the file."""
    return file.parent / BASELINES / (file.stem if file.suffix == ".py" else file.name)


def orphans(file: Path, tests: Iterable[str]) -> list[Path]:
    """The baselines of none of these tests, which are all that the file has; one was renamed or removed."""
    found = sorted(folder(file).glob(f"*{SUFFIX}"))
    known = {_stem(test) for test in tests} if found else set()
    return [path for path in found if path.stem.rpartition("-")[0] not in known]


def shown(path: Path) -> str:
    """The path from the working directory where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _stem(test: str) -> str:
    """What the names of a test's files begin with: readable, and no other test's."""
    readable = re.sub(r"[^A-Za-z0-9_.]+", "-", test).strip("-.")
    return f"{readable[:60]}-{sha256(test.encode(errors='surrogatepass')).hexdigest()[:12]}"
