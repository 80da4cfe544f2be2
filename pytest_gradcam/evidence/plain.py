"""Values from JSON checked against the fields that they are for: a file may hold anything."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

Holds = Callable[[Any], bool]


def parse(content: bytes) -> dict[str, Any]:
    """The JSON object in the content. Raises ValueError for anything else, NaN, Infinity and deep nesting included."""
    try:
        found = json.loads(content, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    return mapping(found, "it")


def mapping(value: Any, where: str) -> dict[str, Any]:
    """The value, an object. Raises ValueError for anything else."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {_said(value)}; expected an object")
    return value


def sequence(value: Any, where: str) -> list[Any]:
    """The value, a list. Raises ValueError for anything else."""
    if not isinstance(value, list):
        raise ValueError(f"{where} is {_said(value)}; expected a list")
    return value


def checked(kind: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The values for the fields of the dataclass that are given, lists as tuples; names of no field are left out.

    Raises ValueError for a value that is not of its field's type.
    """
    found = {}
    for field in fields(kind):
        if field.name in plain:
            expected, holds = _TYPES[str(field.type)]
            value = plain[field.name]
            if not holds(value):
                raise ValueError(f"{field.name} is {_said(value)}; expected {expected}")
            found[field.name] = _tupled(value)
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"it holds {text}; expected a finite number or null")


def _said(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _tupled(value: Any) -> Any:
    return tuple(_tupled(part) for part in value) if isinstance(value, list) else value


def _text(value: Any) -> bool:
    return type(value) is str


def _whole(value: Any) -> bool:
    return type(value) is int


def _number(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _flag(value: Any) -> bool:
    return type(value) is bool


def _scalar(value: Any) -> bool:
    return value is None or _text(value) or _flag(value) or _number(value)


def _or_none(holds: Holds) -> Holds:
    return lambda value: value is None or holds(value)


def _list_of(holds: Holds, length: int | None = None) -> Holds:
    return lambda value: isinstance(value, list) and len(value) == (length or len(value)) and all(map(holds, value))


def _by_name(holds: Holds) -> Holds:
    return lambda value: isinstance(value, dict) and all(map(holds, value.values()))


#: What a field holds, by its annotation: in words, and as a question.
_TYPES: dict[str, tuple[str, Holds]] = {
    "str": ("text", _text),
    "str | None": ("text or null", _or_none(_text)),
    "int": ("a whole number", _whole),
    "int | None": ("a whole number or null", _or_none(_whole)),
    "float | None": ("a finite number or null", _or_none(_number)),
    "bool | None": ("true, false or null", _or_none(_flag)),
    "Direction": ("at_least or at_most", lambda value: value in ("at_least", "at_most")),
    "Outcome": (
        "passed, failed, no evidence or invalid",
        lambda value: value in ("passed", "failed", "no evidence", "invalid"),
    ),
    "dict[str, float]": ("finite numbers by name", _by_name(_or_none(_number))),
    "dict[str, int]": ("whole numbers by name", _by_name(_whole)),
    "dict[str, str]": ("texts by name", _by_name(_text)),
    "dict[str, Any]": ("texts and numbers by name", _by_name(_scalar)),
    "tuple[str, ...]": ("a list of texts", _list_of(_text)),
    "tuple[tuple[str, str], ...]": ("a list of pairs of texts", _list_of(_list_of(_text, 2))),
    "Centres | None": ("two pairs of finite numbers or null", _or_none(_list_of(_list_of(_number, 2), 2))),
    "tuple[int, int] | None": ("two whole numbers or null", _or_none(_list_of(_whole, 2))),
}
