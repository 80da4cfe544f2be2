"""The JSON and XML files of annotation tools: regular files of a bounded size, in which nothing is expanded."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from pytest_gradcam import images
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import naming, shown
from pytest_gradcam.validation import brief

FilePath = str | os.PathLike[str]
Element = ElementTree.Element

_MOST_BYTES = 256 * 2**20
_MOST_LEVELS = 100


def file_name(kind: str, path: FilePath) -> str:
    """What to call the file in a message. Raises HeatmapError for anything but a path."""
    if not isinstance(path, (str, os.PathLike)):
        raise HeatmapError(f"{shown(path)} is not the path of a {kind} file; expected text or a pathlib.Path; pass one")
    return f"{kind} file {os.fspath(path)!r}"


def json_object(path: FilePath, name: str) -> Mapping[str, Any]:
    """The object in a JSON file of UTF-8, UTF-16 or UTF-32, with or without a byte order mark."""
    content = _json(path, name)
    if not isinstance(content, dict):
        raise HeatmapError(f"{name} holds a {type(content).__name__}; expected a JSON object")
    return content


def json_list(path: FilePath, name: str) -> Sequence[Any]:
    """The list in a JSON file, read as `json_object` does."""
    content = _json(path, name)
    if not isinstance(content, list):
        raise HeatmapError(f"{name} holds a {type(content).__name__}; expected a list")
    return content


def _json(path: FilePath, name: str) -> Any:
    try:
        return json.loads(_content(path, name))
    except HeatmapError:
        raise
    except (ValueError, RecursionError) as error:
        raise HeatmapError(f"{name} cannot be read ({_reason(error)}); expected a JSON file") from error


def xml_root(path: FilePath, name: str) -> Element:
    """The root element of an XML file without a document type."""
    content = _content(path, name)
    try:
        with naming(name):
            return ElementTree.fromstring(content, ElementTree.XMLParser(target=_Tree()))
    except HeatmapError:
        raise
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise HeatmapError(f"{name} cannot be read ({_reason(error)}); expected an XML file") from error


class _Tree(ElementTree.TreeBuilder):
    """A document of few levels and without a type: entities, declared in it, can be expanded without end or name files."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> Element:
        self._depth += 1
        if self._depth > _MOST_LEVELS:
            raise HeatmapError(f"its elements are nested more than {_MOST_LEVELS} levels deep; check the file")
        return super().start(tag, attrs)

    def end(self, tag: str) -> Element:
        self._depth -= 1
        return super().end(tag)

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise HeatmapError(f"it has the document type {shown(name)}, which is not supported; remove the DOCTYPE")


def child(parent: Element, name: str) -> float:
    """The finite number in the child of this name. Raises HeatmapError for several of them."""
    if len(parent.findall(name)) > 1:
        raise HeatmapError(f"<{parent.tag}> has several <{name}>; expected one; check the file")
    return _finite(parent.findtext(name), f"<{name}> of <{parent.tag}>")


def attribute(element: Element, name: str) -> float:
    """The finite number in the attribute of this name."""
    return _finite(element.get(name), f"{name} of <{element.tag}>")


def numbers(text: str, what: str) -> list[float]:
    """The finite numbers between the commas."""
    return [_finite(number, what) for number in text.split(",")]


def whole(value: float, what: str) -> int:
    """The number as an int. Raises HeatmapError for one with a fraction, which counts no pixels."""
    if value % 1 != 0:
        raise HeatmapError(f"{what} is {value:g}; expected a whole number of pixels; check the file")
    return int(value)


def whole_child(parent: Element, name: str) -> int:
    """The whole number in the child of this name."""
    return whole(child(parent, name), f"<{name}> of <{parent.tag}>")


def whole_attribute(element: Element, name: str) -> int:
    """The whole number in the attribute of this name."""
    return whole(attribute(element, name), f"{name} of <{element.tag}>")


def _finite(text: str | None, what: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HeatmapError(f"{what} is {shown(text)}; expected a number; check the file")
    return value


def _content(path: FilePath, name: str) -> bytes:
    try:
        length = os.stat(path).st_size
    except (OSError, ValueError):
        length = 0  # reading it says what is wrong
    if length > _MOST_BYTES:
        raise HeatmapError(f"{name} has {length:,} bytes; expected at most {_MOST_BYTES:,}; split it")
    return images.file_content(path, name)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if "integer string conversion" in str(error):
        return "it holds a number of too many digits"
    return brief(str(error))
