"""A model's structure: the key of its chosen layer, and of a cached heatmap besides the weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Hashable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

from pytest_gradcam.evidence.current_test import run_began
from pytest_gradcam.state.attributes import TABLES, entries, same
from pytest_gradcam.state.parts import Parts, parts_of
from pytest_gradcam.state.tensors import remembered_digest

_PLAIN = (type(None), bool, int, float, str, torch.dtype, torch.device)
_PLAIN_TYPES = frozenset(_PLAIN)  # most values are of these, and need not be asked for more
#: What every module holds for its hooks and parts: nearly always empty, and then not worth the time to say so.
_TABLES = frozenset(name for name, value in vars(nn.Module()).items() if isinstance(value, (dict, set)))
_DEPTH = 4  # of nested lists and dicts
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
_SPELLED_OUT = (Tensor, np.ndarray, dict, list, tuple, *_PLAIN)  # what counts by more than its class
_LISTING = ("modules", "named_modules")  # how a module says which others are in it


def anatomy(model: nn.Module) -> Hashable:
    """Equal for models whose modules have the same names, classes and shapes of parameters, in the same order."""
    return parts_of(model).anatomy


def configuration(parts: Parts) -> str | None:
    """A digest of classes, their source files, attributes and numbers of hooks, the same in every process.

    Plain values, tensors, arrays, and lists and dicts of these count by value, other attributes by their class.
    Parameters and buffers do not count. None if a class has no source file, such as one made by `exec`, or one that was
    changed since the run began, so that other code may be loaded.
    """
    model = parts.modules[0]
    if parts.guarded:  # until the guard ends they may not be what the model holds
        return _walk(model)
    known = _known.get(parts)
    if known is None or not known.still_holds():
        _known.pop(parts, None)
        known = _Walk(model, parts)
        if known.may_stay:
            _known[parts] = known
    return known.digest


def _walk(model: nn.Module) -> str | None:
    code = [_code(kind) for kind in dict.fromkeys(type(module) for module in model.modules())]
    if None in code:
        return None
    hooks = [_said(getattr(global_hooks, name, {})) for name in _GLOBAL_HOOKS]  # private: hooks on all modules
    modules = [(name, _name(type(module)), _attributes(module)) for name, module in model.named_modules()]
    return sha256(repr((code, hooks, modules)).encode("utf-8", "surrogatepass")).hexdigest()


class _Walk:
    """What a walk over a model gave, and what it rests on: while that is the same, another one would give the same.

    A number, a string or a tuple of these that is still the same object says the same; what can change in itself is asked
    each time. Of the model's parts it is known that they are the same.
    """

    def __init__(self, model: nn.Module, parts: Parts) -> None:
        self._holders, self._entries = parts.holders, entries(parts.holders)
        self._kinds = list(dict.fromkeys(map(type, parts.modules)))
        told = [(key, value) for held in parts.holders for key, value in held.items() if not _is_parts(key, value)]
        self._empty = [value for key, value in told if key in _TABLES and not value]
        self._changing = [value for key, value in told if (key not in _TABLES or value) and not _lasts(value)]
        #: Whether it keeps no tensor from being freed that a module holds no more.
        self.may_stay = not any(map(_holds_numbers, self._changing))
        self._asked = self._ask() if self.may_stay else None
        self.digest = _walk(model)

    def still_holds(self) -> bool:
        return (
            same(self._entries, entries(self._holders))
            and not any(self._empty)
            and self._asked is not None
            and self._ask() == self._asked
        )

    def _ask(self) -> str | None:
        """What may be another at each look; None if the model's classes list its modules in a way of their own."""
        listing = [getattr(kind, name) is getattr(nn.Module, name) for kind in self._kinds for name in _LISTING]
        if not all(listing) or any(name in held for held in self._holders for name in _LISTING):
            return None
        hooks = [_said(getattr(global_hooks, name, {})) for name in _GLOBAL_HOOKS]
        kinds = [(_name(kind), _code(kind)) for kind in self._kinds]
        return repr((kinds, hooks, list(map(_said, self._changing))))


#: By the parts of models, as long as somebody holds them.
_known: WeakKeyDictionary[Parts, _Walk] = WeakKeyDictionary()


def _is_parts(key: str, value: Any) -> bool:
    """Whether it is a table of parts, none of which counts by more than its class."""
    return key in TABLES and not any(isinstance(part, _SPELLED_OUT) for part in value.values() if key == "_modules")


def _holds_numbers(value: Any, depth: int = _DEPTH) -> bool:
    """Whether it is a tensor or an array, or a collection of some."""
    if depth and isinstance(value, (dict, list, tuple)):
        parts = value.values() if isinstance(value, dict) else value
        return any(_holds_numbers(part, depth - 1) for part in parts)
    return isinstance(value, (Tensor, np.ndarray))


def _lasts(value: Any) -> bool:
    """Whether the same object always says the same."""
    if type(value) in (tuple, torch.Size):
        return all(map(_lasts, value))
    return type(value) in _PLAIN_TYPES


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


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
    return value if isinstance(value, _PLAIN) else _name(type(value))


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
