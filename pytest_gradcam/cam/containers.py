"""Finds tensors in what a model returns: tuples, lists, dicts, dataclasses and other objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from pytest_gradcam.errors import HeatmapError

Key = str | int
Path = tuple[Key, ...]

_DEPTH = 3  # of nested containers
_NAMED = ("logits", "out")  # where Hugging Face's classifiers, and torchvision's segmenters, have their scores
_EMBEDDING = re.compile(r"embed|pool|feature|hidden|latent", re.IGNORECASE)
_WAY = "set gradcam_output_key (output_key= of an Explainer) to the one with the class scores, or pass a callable as target"


def parts(value: Any) -> dict[Key, Any]:
    """A container's items by index, key or attribute; empty for tensors and other values."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, list)):
        return dict(enumerate(value))
    if is_dataclass(value):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    if isinstance(value, Tensor) or not hasattr(value, "__dict__"):
        return {}
    return dict(vars(value))


def at(output: Any, path: Path) -> Any:
    """The value at a path. Raises HeatmapError if this output lacks it."""
    for key in path:
        inside = parts(output)
        if key not in inside:
            raise HeatmapError(
                f"the model's output has no {key!r} for this input; expected {shown(path)}, as for the first one"
            )
        output = inside[key]
    return output


def tensors(output: Any, depth: int = _DEPTH) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor in the output, with its path."""
    if isinstance(output, Tensor):
        yield (), output
    elif depth:
        for key, part in parts(output).items():
            yield from (((key, *path), tensor) for path, tensor in tensors(part, depth - 1))


def batched(scores: Any, count: int) -> Tensor | None:
    """The scores (N, classes, ...) of N images; None if the shape fits neither this nor (N,), nor (classes,) for N = 1."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        return None
    if scores.ndim == 1 and len(scores) == count:
        return scores[:, None]
    if scores.ndim < 2 and count == 1:
        return scores.reshape(1, -1)
    return scores if scores.ndim in (2, 4) and len(scores) == count else None


def scores_at(output: Any, fits: Callable[[Tensor], bool], key: Key | None) -> Path | None:
    """The path of the class scores: at the key, else the only tensor that `fits`; None if none does.

    Raises HeatmapError if the key does not lead to a tensor, and if several tensors fit.
    """
    if key is not None:
        return _at_key(output, key)
    if isinstance(output, Tensor):
        return ()
    several = {id(tensor): (path, tensor) for path, tensor in reversed(list(tensors(output))) if fits(tensor)}
    found = dict(reversed(several.values()))  # the first path of each
    named = [(name,) for name in _NAMED if (name,) in found]
    if named:
        return named[0]
    if len(found) > 1:
        raise HeatmapError(f"the model returns {_listed(found)}, and any of them may be the class scores; {_WAY}")
    for path, tensor in found.items():
        if isinstance(path[-1], str) and _EMBEDDING.search(path[-1]):
            raise HeatmapError(f"the model returns {_listed({path: tensor})}, by its name an embedding; {_WAY}")
    return next(iter(found), None)


def _at_key(output: Any, key: Key) -> Path:
    """The path of a key: an index, a name, or several joined by dots."""
    path: list[Key] = []
    for word in [key] if isinstance(key, int) else str(key).split("."):
        inside = parts(at(output, tuple(path)))
        own = next((one for one in inside if one == word or str(one) == str(word)), None)
        if own is None and re.fullmatch(r"-?\d+", str(word)) and -len(inside) <= int(word) < len(inside):
            own = list(inside)[int(word)]  # from the end, or into a dict or a dataclass
        if own is None:
            raise HeatmapError(
                f"output_key={key!r} is not in the model's output; expected a place in {describe(output)}"
            )
        path.append(own)
    if not isinstance(at(output, tuple(path)), Tensor):
        raise HeatmapError(f"output_key={key!r} does not lead to a tensor; expected a place in {describe(output)}")
    return tuple(path)


def describe(output: Any) -> str:
    """The output in one phrase: its container, and where its tensors are, with their shapes."""
    if isinstance(output, Tensor):
        kind = "" if output.is_floating_point() else f" and type {output.dtype}"
        return f"a tensor of shape {tuple(output.shape)}{kind}"
    what = "a dict" if isinstance(output, Mapping) else f"a {type(output).__name__}"
    found = dict(tensors(output))
    return f"{what} with {_listed(found)}" if found else what


def shown(path: Path) -> str:
    """A path as users write it: 'logits', 1 or 'heads.0'."""
    return repr(path[0]) if len(path) == 1 else repr(".".join(map(str, path)))


def _listed(found: Mapping[Path, Tensor]) -> str:
    return ", ".join(f"{shown(path)} of shape {tuple(tensor.shape)}" for path, tensor in found.items())
