"""Arguments checked at the door: each function returns the value as a plain built-in, or says what is wrong with it.

The messages repeat the argument's name and value, and say what was expected. True and False do not count as numbers: where
a number is expected they are a mistake. NumPy's scalars are as good as Python's.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from numbers import Integral, Real
from typing import Any, TypeGuard, TypeVar

from pytest_gradcam.errors import HeatmapError

_Class = TypeVar("_Class", bound=type)
_Value = TypeVar("_Value")
#: What other packages, and everyday words, call our arguments.
_OURS = {
    "label": ("target",),
    "class_name": ("target",),
    "class_index": ("target",),
    "category": ("target",),
    "target_layer": ("layer",),
    "target_layers": ("layer",),
    "region": ("mask", "masks"),
    "minimum": ("at_least",),
    "maximum": ("at_most",),
    "threshold": ("at_least", "at_most"),
}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether the value is a finite real number, and not a bool."""
    try:
        return isinstance(value, Real) and not is_flag(value) and math.isfinite(value)
    except OverflowError:  # an int beyond all floats
        return False


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether the value is of an integer type, and not a bool."""
    return isinstance(value, Integral) and not is_flag(value)


def is_flag(value: Any) -> TypeGuard[bool]:
    """Whether the value is True or False, of Python or of NumPy."""
    return type(value).__name__ in ("bool", "bool_")  # NumPy 2 and 1, without importing it


def number(name: str, value: Any, expected: str, holds: Callable[[float], bool] = lambda _: True) -> float:
    """The value as a float. Raises HeatmapError unless it is a finite number for which `holds` is true."""
    if not is_number(value) or not holds(value):
        raise HeatmapError(f"{name}={shown(value)} cannot be used; expected {expected}")
    return float(value)


def bound(name: str, value: Any, expected: str, holds: Callable[[float], bool]) -> float:
    """The bound of a check as a float. Raises HeatmapError for one that every figure meets, or none can."""
    if not is_number(value) or not holds(value):
        raise HeatmapError(f"{name}={shown(value)} cannot decide anything; expected {expected}")
    return float(value)


def count(name: str, value: Any, lowest: int = 1, highest: int | None = None) -> int:
    """The value as an int. Raises HeatmapError unless it is a whole number in this range, both ends included."""
    if not is_whole(value) or value < lowest or (highest is not None and value > highest):
        span = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise HeatmapError(f"{name}={shown(value)} cannot be used; expected a whole number {span}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """The value as a bool. Raises HeatmapError unless it is True or False."""
    if not is_flag(value):
        raise HeatmapError(f"{name}={shown(value)} cannot be used; expected True or False")
    return bool(value)


def name_or_none(argument: str, value: Any) -> str | None:
    """The value if it is text. Raises HeatmapError for anything else but None."""
    if value is not None and not isinstance(value, str):
        raise HeatmapError(f"{argument}={shown(value)} cannot be used; expected a name, or None for the one in use")
    return value


def listed(argument: str, value: Any) -> list[Any]:
    """The items as a list. Raises HeatmapError for text and for what has no items."""
    try:
        if not isinstance(value, (str, bytes)):
            return list(value)
    except (TypeError, RuntimeError):  # also a tensor without an axis
        pass
    raise HeatmapError(f"{argument}={shown(value)} cannot be used; expected a list")


@contextmanager
def item_of(argument: str, index: int) -> Iterator[None]:
    """A HeatmapError raised inside says which item of the argument it is about."""
    try:
        yield
    except HeatmapError as error:
        error.args = (f"{argument}[{index}]: {error}",)
        raise


def each_of(argument: str, items: Iterable[Any], call: Callable[[Any], _Value]) -> list[_Value]:
    """What the call makes of each item of the argument. A HeatmapError says which item it is about."""
    made = []
    for index, item in enumerate(items):
        with item_of(argument, index):
            made.append(call(item))
    return made


def shown(value: Any, text: Callable[[Any], str] = repr) -> str:
    """The value as `text` writes it, in one short line, for a message."""
    try:
        return brief(text(value))
    except ValueError:  # an int of more digits than Python prints
        return f"a value of type {type(value).__name__} that is too long to print"


def brief(text: str) -> str:
    """The text in one line of at most 200 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:140]}...{line[-40:]}"


def nearest(word: str, known: Iterable[str]) -> str:
    """', did you mean ...?' with the known words that are close to this one, or an empty string."""
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(word, list(known), n=3)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def nearest_prefix(text: str, known: Iterable[str]) -> str:
    """', did you mean ...?' where the text begins with what is nearly one of the known 'prefix:', or an empty string."""
    import difflib

    given, _, rest = text.partition(":")
    prefixes = {prefix.rstrip(":"): prefix for prefix in known}
    prefixes |= {"huggingface": prefixes["hf"]} if "hf" in prefixes else {}  # the name in full
    close = difflib.get_close_matches(given.strip().casefold(), prefixes, n=1, cutoff=0.7)
    return f"; did you mean {prefixes[close[0]] + rest.strip()!r}?" if close and rest.strip() else ""


def knows_its_keywords(kind: _Class) -> _Class:
    """The class, whose public methods say what they expect where they are given an unknown keyword: a TypeError."""
    for name, method in list(vars(kind).items()):
        if inspect.isfunction(method) and (not name.startswith("_") or name in ("__init__", "__call__")):
            own = {"__init__": kind.__name__, "__call__": "an explainer"}.get(name, name)
            setattr(kind, name, _with_known_keywords(method, own))
    return kind


def _with_known_keywords(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    known = list(inspect.signature(method).parameters)[1:]

    @wraps(method)
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        for key in options:
            if key not in known:
                ours = [word for word in _OURS.get(key, ()) if word in known]
                hint = f"; did you mean {ours[0]!r}?" if ours else nearest(key, known)
                raise TypeError(f"{name} does not take {key!r}; expected {', '.join(known)}{hint}")
        return method(self, *arguments, **options)

    return call
