"""Python values, code included, as bytes that are equal only for values that behave the same."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_gradcam.cam import sources
from pytest_gradcam.cam.tensors import remembered_digest

_CONSTANTS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, range, type(...), type(NotImplemented)}
    | {torch.dtype, torch.device, torch.layout, torch.memory_format}
)
_MOST = 50_000  # compound values; a model that holds more has taken hold of something else, such as its trainer

# Not part of what a module computes: our guard switches to eval mode, some are about saving, and recurrent layers refer
# to their parameters a second time.
_IRRELEVANT = frozenset(
    {"training", "_non_persistent_buffers_set", "_is_full_backward_hook", "_flat_weight_refs", "_abc_impl"}
)
_SAVING_HOOKS = ("_state_dict", "_load_state_dict")
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_TABLES = ("_parameters", "_buffers", "_modules")


class OpaqueError(Exception):
    """The value holds something whose behaviour cannot be read."""


class Encoder:
    """A running digest of values; `add` raises OpaqueError for what cannot be encoded.

    `portable` is false once something was added whose code has no source; `has_code` is true once a function or another
    callable was. `views` iterate, each time, over what the values hold: while these are the same objects, `empty` holds
    nothing, and `tensors` and `arrays` hold the same numbers, so is the digest.
    """

    def __init__(self) -> None:
        self.portable = True
        self.has_code = False
        self.views: list[Iterable[object]] = []
        self.empty: list[dict[Any, Any]] = []  # most of a module's tables, and quicker to look at than by a view
        self.tensors: list[Tensor] = []
        self.arrays: list[np.ndarray[Any, Any]] = []
        self._hash = sha256()
        self._seen: dict[int, int] = {}
        self._kept: list[object] = []  # an id is a name only while its object lives

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def feed(self, *parts: str | bytes) -> None:
        for part in parts:
            data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
            self._hash.update(b"%d:" % len(data) + data)

    def add(self, value: Any) -> None:
        kind = type(value)
        if kind in _CONSTANTS:
            self.feed(kind.__name__, repr(value))
        elif kind is tuple or kind is torch.Size:
            self._sequence(value)
        elif not self._again(value):
            self._add_new(value, kind)

    def _add_new(self, value: Any, kind: type) -> None:
        for types, encode in _BY_TYPE:
            if isinstance(value, types):
                encode(self, value)
                return
        if not _is_transparent(kind):
            raise OpaqueError(f"{kind.__module__}.{kind.__qualname__}")
        self._object(value)

    def _again(self, value: object) -> bool:
        """Whether the value was added before: its number says it, so that cycles end."""
        number = self._seen.setdefault(id(value), len(self._seen))
        if number < len(self._kept):
            self.feed("again", str(number))
            return True
        if number > _MOST:
            raise OpaqueError("too much to read")
        self._kept.append(value)
        return False

    def _sequence(self, values: Any) -> None:
        self.feed(type(values).__name__, str(len(values)))
        if isinstance(values, list):
            self.views.append(values)
        for value in values:
            self.add(value)
        self._attributes(values)

    def _set(self, values: Any) -> None:
        if any(type(value) not in _CONSTANTS for value in values):
            raise OpaqueError("a set of objects, whose order is not fixed")
        self.views.append(values)
        self.feed(type(values).__name__, *sorted(f"{type(value).__name__} {value!r}" for value in values), "end")

    def _mapping(self, values: dict[Any, Any]) -> None:
        self._named(type(values))
        self._items(values)
        self._attributes(values)

    def _attributes(self, value: Any) -> None:
        """Those that a subclass of a container may have besides what it contains."""
        if hasattr(value, "__dict__"):
            self._items(vars(value))

    def _watch(self, values: dict[Any, Any]) -> None:
        if values:
            self.views += (values.keys(), values.values())
        else:
            self.empty.append(values)

    def _items(self, values: dict[Any, Any]) -> None:
        self._watch(values)
        self.feed(str(len(values)))
        for key, value in values.items():
            self.add(key)
            self.add(value)

    def _object(self, value: Any) -> None:
        self.has_code |= callable(value)
        self._named(type(value))
        self._items(vars(value))

    def _member(self, value: Enum) -> None:
        self._named(type(value))
        self.feed(repr(value.value))

    def _array(self, value: np.ndarray[Any, Any]) -> None:
        if value.dtype.hasobject:
            raise OpaqueError("an array of objects")
        self.arrays.append(value)
        self.feed("array", value.dtype.str, str(value.shape), value.tobytes())

    def _tensor(self, value: Tensor) -> None:
        found = remembered_digest(value)
        if found is None:
            raise OpaqueError(f"a {type(value).__name__} on {value.device.type}")
        self.tensors.append(value)
        self.feed("tensor", found, value.device.type)

    def _module(self, module: nn.Module) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            raise OpaqueError("TorchScript")
        self.has_code = True
        self.add(type(module))
        own = vars(module)
        self._watch(own)
        for name, value in own.items():
            if name in _TABLES:
                self.feed(name)
                self._items(value)
            elif name in _HOOKS:
                self._watch(value)
                self.feed(name, str(len(value)))
                for hook in list(value.values()):
                    self.add(hook)
            elif name not in _IRRELEVANT and not name.startswith(_SAVING_HOOKS):
                self.feed(name)
                self.add(value)

    def _type(self, kind: type) -> None:
        """A class by its name, its source and, if it is a model's part, by what it holds at this moment."""
        self.has_code = True
        self._named(kind)
        if not issubclass(kind, nn.Module):
            return
        for parent in kind.__mro__[: kind.__mro__.index(nn.Module)]:
            if parent is kind or not self._again(parent):
                self._named(parent)
                self._namespace(parent)

    def _namespace(self, kind: type) -> None:
        names = ["forward"] if kind.__module__.startswith("torch.") else list(vars(kind))
        self.views.append(vars(kind).values())
        for name in names:
            value = vars(kind).get(name)
            special = name.startswith("__") and not isinstance(value, FunctionType)
            if not special and name not in _IRRELEVANT and value is not None:
                self.feed(name)
                self.add(value)

    def _named(self, kind: Any) -> None:
        """The name of a class or function and the digest of the code behind it."""
        module = str(kind.__module__)
        source = sources.digest(module)
        self.portable &= source is not None
        self.feed(module, kind.__qualname__, source or "")

    def _function(self, function: FunctionType) -> None:
        self.has_code = True
        self._named(function)
        self.views += (_Inside(function),)
        self._code(function.__code__)
        self.add(function.__defaults__)
        self.add(function.__kwdefaults__)
        self.add(_cells(function))
        if sources.release(str(function.__module__)) is None:
            self._globals(function)

    def _globals(self, function: FunctionType) -> None:
        """What the function's names mean at this moment, as far as they are constants; other modules by their files."""
        for name in sorted(_names(function.__code__)):
            value = function.__globals__.get(name)
            if isinstance(value, FunctionType):
                self.feed(name, str(value.__module__), value.__qualname__)
                self._code(value.__code__)
            elif type(value) in _CONSTANTS or type(value) in (tuple, list, dict):
                self.feed(name)
                self.add(value)

    def _code(self, code: CodeType) -> None:
        self.feed(code.co_code, " ".join((*code.co_names, *code.co_varnames, *code.co_freevars)))
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._code(constant)
            else:
                self.feed(repr(sorted(constant, key=repr) if isinstance(constant, frozenset) else constant))

    def _method(self, method: MethodType) -> None:
        self.has_code = True
        self.feed("method")
        self.add(method.__self__)
        self.add(method.__func__)

    def _builtin(self, function: BuiltinFunctionType) -> None:
        self.has_code = True
        if not (function.__self__ is None or isinstance(function.__self__, (ModuleType, type))):
            raise OpaqueError("a method of a built-in object")
        self.feed("builtin", str(function.__module__), function.__qualname__)

    def _partial(self, function: partial[Any]) -> None:
        self.has_code = True
        self.feed("partial")
        for part in (function.func, function.args, function.keywords):
            self.add(part)

    def _property(self, value: property) -> None:
        self.feed("property")
        self.add(value.fget)

    def _bound_to_class(self, value: Any) -> None:
        self.feed(type(value).__name__)
        self.add(value.__func__)

    def _library(self, module: ModuleType) -> None:
        source = sources.digest(module.__name__)
        self.portable &= source is not None
        self.feed("library", module.__name__, source or "")

    def _name(self, value: Any) -> None:
        self.feed(type(value).__name__, value.name if isinstance(value, logging.Logger) else str(value))


class _Inside:
    """Iterates over what a function would use if it were called now."""

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self._names = sorted(_names(function.__code__))

    def __iter__(self) -> Iterator[object]:
        function = self._function
        held = (function.__code__, function.__defaults__, function.__kwdefaults__)
        return chain(held, _cells(function), map(function.__globals__.get, self._names))


def _cells(function: FunctionType) -> tuple[object, ...]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not yet bound
            found.append(None)
    return tuple(found)


def _names(code: CodeType) -> set[str]:
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)


def _is_transparent(kind: type) -> bool:
    """Whether all that an object of this class holds lies in its __dict__: no slots, and no memory that C code fills."""
    bare = (
        object.__basicsize__ + 2 * 8
    )  # besides the object's head at most the pointers to __dict__ and weak references
    slots = any(vars(parent).get("__slots__") for parent in kind.__mro__)
    return bool(kind.__dictoffset__) and kind.__basicsize__ <= bare and not slots


_BY_TYPE: tuple[tuple[Any, Any], ...] = (
    (nn.Module, Encoder._module),
    (Tensor, Encoder._tensor),
    (type, Encoder._type),
    (FunctionType, Encoder._function),
    (MethodType, Encoder._method),
    (BuiltinFunctionType, Encoder._builtin),
    (partial, Encoder._partial),
    (property, Encoder._property),
    ((staticmethod, classmethod), Encoder._bound_to_class),
    (ModuleType, Encoder._library),
    ((logging.Logger, PurePath), Encoder._name),
    (Enum, Encoder._member),
    ((np.ndarray, np.generic), Encoder._array),
    (dict, Encoder._mapping),
    ((list, tuple), Encoder._sequence),
    ((set, frozenset), Encoder._set),
)
