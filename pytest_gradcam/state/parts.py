"""What a model is made of: its modules, parameters and buffers, looked up once and again where they changed."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import cached_property
from itertools import chain, compress
from operator import attrgetter, is_
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from pytest_gradcam.state.attributes import TABLES, Attributes, entries, same
from pytest_gradcam.state.tensors import WeightsDigest
from pytest_gradcam.state.values import Groups

_SHAPE_OF = attrgetter("shape")


class Parts:
    """A model's modules and parameters, each once, and its buffers with their modules and names."""

    def __init__(self, model: nn.Module) -> None:
        self.modules: list[nn.Module] = list(model.modules())
        parameters = dict.fromkeys(each for module in self.modules for _, each in _own(module, "_parameters"))
        parameters.pop(None, None)
        self.parameters: list[nn.Parameter] = list(parameters)
        self.buffers: list[tuple[nn.Module, str, Tensor]] = [
            (module, name, each)
            for module in self.modules
            for name, each in _own(module, "_buffers")
            if each is not None
        ]
        self.holders = list(map(vars, self.modules))
        self.tables = self._tables()
        #: Names and values in the tables, in order; and the same by table.
        self._filled, self._sizes = list(filter(None, self.tables)), list(map(len, self.tables))
        self._entries = entries(self._filled)
        self.contents = [(table, dict(table)) for table in self.tables]
        of_torch = [type(module).__module__.startswith("torch.nn.") for module in self.modules]
        self.holders_of_own_code = [held for held, theirs in zip(self.holders, of_torch, strict=True) if not theirs]
        self._holders_of_torch = list(compress(self.holders, of_torch))
        #: Whether parameters or buffers of lazy modules have no values yet.
        self.lazy = any(map(is_lazy, [*self.parameters, *(buffer for _, _, buffer in self.buffers)]))
        #: While a guard holds the model; it puts back what changes until then.
        self.guarded = False
        self._attributes: Attributes | None = None
        self._kinds = list(map(type, self.modules))
        self._shapes = [] if self.lazy else list(map(_SHAPE_OF, self.parameters))

    @cached_property
    def count(self) -> int:
        """The number of values of the parameters; those of lazy modules that have none yet do not count."""
        return sum(parameter.numel() for parameter in self.parameters if not is_lazy(parameter))

    @cached_property
    def buffer_groups(self) -> Groups:
        return Groups([buffer for _, _, buffer in self.buffers])

    @cached_property
    def weights(self) -> WeightsDigest:
        """The digest of all parameters and buffers."""
        model = self.modules[0]
        named = chain(model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
        return WeightsDigest(named)

    @cached_property
    def anatomy(self) -> Hashable:
        """Equal for models whose modules have the same names, classes and shapes of parameters, in the same order."""
        return _Hashed(
            tuple(
                (name, type(module), tuple((key, _shape(value)) for key, value in _own(module, "_parameters")))
                for name, module in self.modules[0].named_modules()
            )
        )

    def attributes(self) -> Attributes:
        """What the modules hold as attributes now."""
        if self.guarded and self._attributes is not None and not self._attributes.still_hold():
            self._attributes = None  # since the guard that holds the model looked: nobody looks for changes under it
        if self._attributes is not None:
            return self._attributes
        found = Attributes(self.holders_of_own_code, self._holders_of_torch)
        if found.may_stay:
            self._attributes = found
        return found

    def still_hold(self) -> bool:
        """Whether looking again would find the same modules, parameters and buffers."""
        if self._attributes is not None and not self._attributes.still_hold():
            self._attributes = None
        return (
            not self.lazy
            and all(map(is_, map(type, self.modules), self._kinds))
            and all(map(is_, map(vars, self.modules), self.holders))
            and len(self.tables) == len(TABLES) * len(self.modules)  # others may be views made for each look
            and (self._attributes is not None or all(map(is_, self._tables(), self.tables)))
            and self.hold_the_same()
            and self._shapes == list(map(_SHAPE_OF, self.parameters))
        )

    def hold_the_same(self) -> bool:
        """Whether the tables hold the same parameters, buffers and modules by the same names, in order."""
        return list(map(len, self.tables)) == self._sizes and same(self._entries, entries(self._filled))

    def _tables(self) -> list[dict[str, Any]]:
        found = [held.get(name) for held in self.holders for name in TABLES]
        return [table for table in found if isinstance(table, dict)]


class _Hashed:
    """A long tuple, of which the hash is taken once."""

    def __init__(self, value: tuple[Any, ...]) -> None:
        self._value = value
        self._hash = hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Hashed) and self._value == other._value)

    def __repr__(self) -> str:
        return repr(self._value)


#: By the model's id, as long as somebody holds them: they hold the model.
_known: WeakValueDictionary[int, Parts] = WeakValueDictionary()


def parts_of(model: nn.Module) -> Parts:
    """The parts of a model and of all modules in it; the same object for as long as they do not change."""
    known = _known.get(id(model))
    if known is not None and known.modules[0] is model and (known.guarded or known.still_hold()):
        return known
    parts = _known[id(model)] = Parts(model)
    return parts


def is_lazy(tensor: Tensor | None) -> bool:
    return type(tensor) in (UninitializedParameter, UninitializedBuffer)


def _own(module: nn.Module, table: str) -> Iterable[tuple[str, Any]]:
    """What the module itself holds; read from its tables, since `named_parameters` takes ten times as long."""
    found = vars(module).get(table)
    if isinstance(found, dict):
        return found.items()
    if table == "_parameters":
        return module.named_parameters(recurse=False)
    return module.named_buffers(recurse=False, remove_duplicate=False)


def _shape(parameter: Tensor | None) -> tuple[int, ...] | None:
    return None if parameter is None or is_lazy(parameter) else parameter.shape
