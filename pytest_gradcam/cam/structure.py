"""A model's structure: the key of its chosen layer, and of a cached heatmap besides the weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Hashable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

from pytest_gradcam.evidence.current_test import run_began
from pytest_gradcam.state.parts import parts_of
from pytest_gradcam.state.tensors import remembered_digest

_PLAIN = (type(None), bool, int, float, str, torch.dtype, torch.device)
_PLAIN_TYPES = frozenset(_PLAIN)  # most values are of these, and need not be asked for more
#: What every module holds for its hooks and parts: nearly always empty, and then not worth the time to say so.
_TABLES = frozenset(name for name, value in vars(nn.Module()).items() if isinstance(value, (dict, set)))
_DEPTH = 4  # of nested lists and dicts
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")


def anatomy(model: nn.Module) -> Hashable:
    """Equal for models whose modules have the same names, classes and shapes of parameters, in the same order."""
    return parts_of(model).anatomy


def configuration(model: nn.Module) -> str | None:
    """A digest of classes, their source files, attributes and numbers of hooks, the same in every process.

    Plain values, tensors, arrays, and lists and dicts of these count by value, other attributes by their class.
    Parameters and buffers do not count. None if a class has no source file, such as one made by `exec`, or one that was
    changed since the run began, so that other code may be loaded.
    """
    code = [_code(kind) for kind in dict.fromkeys(type(module) for module in model.modules())]
    if None in code:
        return None
    hooks = [_said(getattr(global_hooks, name, {})) for name in _GLOBAL_HOOKS]  # private: hooks on all modules
    modules = [(name, _name(module), _attributes(module)) for name, module in model.named_modules()]
    return sha256(repr((code, hooks, modules)).encode("utf-8", "surrogatepass")).hexdigest()


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _attributes(module: nn.Module) -> list[tuple[str, Any]]:
    held = vars(module).items()
    told = [
        (key, value) for key, value in held if (key not in _TABLES or value) and key not in ("_parameters", "_buffers")
    ]
    return [(key, _said(value)) for key, value in told]


def _said(value: Any, depth: int = _DEPTH) -> Any:
    """The value as something whose repr is the same whenever the value is."""
    if type(value) in _PLAIN_TYPES:
        return value
    if isinstance(value, Tensor):
        return remembered_digest(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, sha256(value.tobytes()).hexdigest()
    if depth and isinstance(value, dict):
        return [(_said(key, depth - 1), _said(item, depth - 1)) for key, item in value.items()]
    if depth and isinstance(value, (list, tuple)):
        return [_said(item, depth - 1) for item in value]
    return value if isinstance(value, _PLAIN) else _name(value)


def _code(kind: type) -> tuple[str | None, ...] | None:
    """Digests of the source files of a module's class and its bases; None if one has no file."""
    parents = kind.__mro__[: kind.__mro__.index(nn.Module)]
    found = [_file(getattr(sys.modules.get(parent.__module__), "__file__", None)) for parent in parents]
    return None if None in found else tuple(found)


@cache
def _file(path: str | None) -> str | None:
    """None also for a file that was changed since the run began: what was loaded may be what it said before."""
    if not path:
        return None
    try:
        content, found = Path(path).read_bytes(), os.stat(path)
    except OSError:
        return None
    # A copy that keeps the time of the content, as rsync makes, changes the second of these.
    edited = max(found.st_mtime, found.st_ctime) >= run_began()
    return None if edited else sha256(content).hexdigest()
