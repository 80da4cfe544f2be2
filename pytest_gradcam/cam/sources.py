"""The code behind a class, as one digest: its own file and those of all modules that it can reach."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from types import ModuleType

_INNER_IMPORT = re.compile(rb"^[ \t]+(?:from|import)[ \t]+([\w.]+)", re.MULTILINE)
_OURS = "pytest_gradcam"  # in the key of a heatmap by itself


@cache
def digest(module: str) -> str | None:
    """A digest of a module's file and of every loaded module that it imports, directly or not.

    For Python's own modules and for packages that were installed from an index their version stands. None where the
    module has no file, or where one has changed since Python loaded it: what runs is then unknown.
    """
    if _file(module) is None and release(module) is None:
        return None
    names = _reachable(module)
    parts = {version for name in names if (version := release(name))}
    for name in sorted(name for name in names if name == module or release(name) is None):
        content = _content(name)
        if content is None:
            return None
        parts.add(f"{name} {content}")
    return sha256("\n".join(sorted(parts)).encode()).hexdigest()


def release(module: str) -> str | None:
    """The name and version that stand for a module's code; None if only its files do."""
    top = module.partition(".")[0]
    if top in (_OURS, "builtins") or (top in sys.stdlib_module_names and top != "__main__"):
        return top
    return _installed(top)


@cache
def _installed(top: str) -> str | None:
    """The release of a top-level package, if an index published what is loaded: a checkout may change under one version."""
    file = _file(top)
    try:
        distribution = metadata.distribution(top)
    except (metadata.PackageNotFoundError, ValueError):
        return None
    if file is None or distribution.read_text("direct_url.json") is not None:
        return None
    below = file.resolve().is_relative_to(Path(str(distribution.locate_file(""))).resolve())
    return f"{top} {distribution.version}" if below else None


def _reachable(start: str) -> set[str]:
    found, open_ = {start}, [start]
    while open_:
        new = {name for name in _imported(open_.pop()) if name in sys.modules} - found
        found |= new
        open_ += [name for name in new if release(name) is None]
    return found


def _imported(name: str) -> Iterator[str]:
    """Modules that a loaded module names: as values, by where its values come from, inside functions, and as parents."""
    module = sys.modules.get(name)
    if module is None:
        return
    yield name.rpartition(".")[0]
    for value in list(vars(module).values()):
        kind = type(value)  # never the value's own attributes: reading them may run code
        if issubclass(kind, ModuleType):
            yield str(vars(value).get("__name__", ""))
        else:
            home = getattr(value if issubclass(kind, type) or kind.__name__ == "function" else kind, "__module__", None)
            yield home if isinstance(home, str) else ""
    path = _file(name)
    if path is not None and path.suffix == ".py":
        yield from (found.decode() for found in _INNER_IMPORT.findall(_read(path)))


def _file(name: str) -> Path | None:
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if isinstance(file, str) and Path(file).is_file() else None


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


@cache
def _content(name: str) -> str | None:
    """The digest of the module's file; "" for a module without one, such as a namespace package."""
    path = _file(name)
    if path is None:
        return ""
    return sha256(_read(path)).hexdigest() if _is_as_loaded(sys.modules[name], path) else None


def _is_as_loaded(module: ModuleType, path: Path) -> bool:
    """Whether the file is the one that Python compiled, as far as the compiled file beside it says."""
    cached = getattr(module.__spec__, "cached", None)
    try:
        header = Path(cached or "").read_bytes()[:16]
        status = path.stat()
    except OSError:
        return True
    if int.from_bytes(header[4:8], "little"):  # checked by hash, not by time
        return True
    stamp = (int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:16], "little"))
    return stamp == (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
