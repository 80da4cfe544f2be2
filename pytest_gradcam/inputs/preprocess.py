"""The user's preprocess: how it is called, and what it may return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pytest_gradcam.errors import HeatmapError, raised

Preprocess = Callable[[Image.Image], Any]

_KEYS = ("pixel_values", "image")  # of Hugging Face's processors and of albumentations
_EXPECTED = "expected a float tensor (C, H, W) of one image"


class Pipeline:
    """Calls one preprocess: with a PIL image, or with `image=` and an array (H, W, 3) where it takes nothing else."""

    def __init__(self, preprocess: Preprocess, *, grey: bool) -> None:
        self._preprocess: Callable[..., Any] = preprocess
        self._mode = "L" if grey else "RGB"
        self._by_keyword = _takes_keyword(preprocess)

    def __call__(self, image: Image.Image) -> Tensor:
        """The model's input, float (C, H, W), on the CPU, with memory of its own.

        Raises HeatmapError where the preprocess fails, and for what is not one float image.
        """
        own = image.convert(self._mode)  # a copy, since a preprocess may change its argument
        try:
            out = self._preprocess(image=np.asarray(own).copy()) if self._by_keyword else self._preprocess(own)
        except (HeatmapError, MemoryError):
            raise
        except Exception as error:
            raise HeatmapError(
                f"the preprocess {raised(error)} for a {own.width} x {own.height} px image; "
                f"it is called with one PIL image of mode {self._mode} and has to return a float tensor (C, H, W); wrap one that "
                "takes arrays: lambda image: preprocess(numpy.asarray(image)), with [..., ::-1] if it expects BGR"
            ) from error
        return _single(out).detach().cpu().clone()


def _takes_keyword(preprocess: Any) -> bool:
    """Whether it is called as albumentations is: with `image=` and an RGB array."""
    if any(base.__module__.partition(".")[0] == "albumentations" for base in type(preprocess).__mro__):
        return True
    try:
        parameters = inspect.signature(preprocess).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(one.name == "image" and one.kind is inspect.Parameter.KEYWORD_ONLY for one in parameters) and not any(
        one.kind in positional or one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters
    )


def _single(out: Any) -> Tensor:
    """The float tensor (C, H, W) in what a preprocess returned: bare, an array, in a dict, or with a batch axis of one."""
    found = _value(out) if isinstance(out, Mapping) else out
    if isinstance(found, np.ndarray) and found.dtype in (np.float16, np.float32, np.float64):
        found = torch.from_numpy(np.ascontiguousarray(found))
    if isinstance(found, Tensor) and found.ndim == 4 and len(found) == 1:
        found = found[0]
    if not isinstance(found, Tensor) or found.ndim != 3 or not found.is_floating_point() or not found.numel():
        raise HeatmapError(f"the preprocess returned {_describe(found)}; {_EXPECTED}{_advice(found)}")
    if found.shape[-1] in (1, 3) and found.shape[0] not in (1, 3):
        raise HeatmapError(
            f"the preprocess returned {_describe(found)}, whose channels are last; {_EXPECTED}; move them to the front: "
            "out.permute(2, 0, 1), for an array out.transpose(2, 0, 1)"
        )
    return found


def _value(out: Mapping[str, Any]) -> Any:
    """The image in a dict. Raises HeatmapError if there is not exactly one value, under a key that is known."""
    if len(out) != 1 or (key := next(iter(out))) not in _KEYS:
        raise HeatmapError(
            f"the preprocess returned a {type(out).__name__} with {', '.join(map(repr, out)) or 'nothing'}; expected one image "
            f"under {' or '.join(map(repr, _KEYS))}; wrap it, so that it returns the tensor that the model is called with"
        )
    found = out[key]
    return found[0] if isinstance(found, (list, tuple)) and len(found) == 1 else found


def _advice(out: Any) -> str:
    if not isinstance(out, (Tensor, np.ndarray)):
        return ""
    if out.ndim in (4, 5) and len(out) > 1:
        return "; several crops of an image have no single heatmap: pass the transforms of one crop"
    if not np.issubdtype(_numpy_type(out), np.floating):
        return "; scale it as in training, to 0-1 or by mean and deviation"
    return ""


def _numpy_type(out: Any) -> Any:
    return out.dtype if isinstance(out, np.ndarray) else np.float32 if out.is_floating_point() else np.int64


def _describe(out: Any) -> str:
    if isinstance(out, Tensor):
        return f"a {out.dtype} tensor of shape {tuple(out.shape)}"
    if isinstance(out, np.ndarray):
        return f"a {out.dtype} array of shape {out.shape}"
    return "None" if out is None else f"a {type(out).__name__}"
