"""What modules hold as attributes, and where among them a guard has to look for changes, as long as they do not change."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from operator import is_, itemgetter
from typing import Any

from torch import Tensor, nn

TABLES = ("_parameters", "_buffers", "_modules")
_OF_TORCH = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_NOT_SAVED = "_non_persistent_buffers_set"
_looked_at = itemgetter(*TABLES, *_HOOKS, _NOT_SAVED)

Holder = dict[str, Any]


class Attributes:
    """Of modules, by their dictionaries: `own` are those of the user's modules, `plain` those of the modules of torch.nn."""

    def __init__(self, own: list[Holder], plain: list[Holder]) -> None:
        self._own, self._plain = own, plain
        holders = [*own, *plain]
        self.hooks = [table for held in holders for name in _HOOKS if isinstance(table := held.get(name), dict)]
        #: The names of buffers that a state dict leaves out.
        self.not_saved = [names for held in holders if isinstance(names := held.get(_NOT_SAVED), set)]
        #: Lists and dicts, whatever they hold.
        self.collections = [
            each for held in own for name, each in held.items() if type(each) in (list, dict) and name not in _OF_TORCH
        ]
        #: The tensors that are no parameters or buffers, and what goes with them: dictionary, name and value.
        self.tensors = _plain_tensors(own)
        among = chain.from_iterable(each.values() if isinstance(each, dict) else each for each in self.collections)
        #: Whether none of them is a tensor or a collection of tensors, which would be kept from being freed.
        self.may_stay = not self.tensors and not any(isinstance(value, Tensor) for value in among)
        self._found = self._now() if self.may_stay else None

    def still_hold(self) -> bool:
        """Whether the user's modules have the same attributes, in the same order, and the others the same tables."""
        now = self._now()
        return self._found is not None and now is not None and same(self._found, now)

    def _now(self) -> list[Any] | None:
        """None where a module of torch.nn lacks something."""
        try:
            of_torch = map(_looked_at, self._plain)
            return [*chain.from_iterable(self._own), *_values(self._own), *chain.from_iterable(of_torch)]
        except KeyError:
            return None


def same(before: list[Any], now: list[Any]) -> bool:
    return len(before) == len(now) and all(map(is_, before, now))


def entries(tables: list[Holder]) -> list[Any]:
    """Names and values, in order."""
    return [*chain.from_iterable(tables), *_values(tables)]


def _values(tables: list[Holder]) -> Iterator[Any]:
    return chain.from_iterable(table.values() for table in tables)


def _plain_tensors(holders: list[Holder]) -> list[tuple[Holder, str, Any]]:
    """The tensors, and beside them the tuples and None: the size, say, for which a tensor was made, or that there is none."""
    holding = [held for held in holders if any(isinstance(value, Tensor) for value in held.values())]
    return [
        (held, name, value)
        for held in holding
        for name, value in held.items()
        if value is None or isinstance(value, (Tensor, tuple))
    ]
