"""A model that is known by its scores alone, as a network: a callable from a batch to scores, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from pytest_gradcam.errors import HeatmapError, raised
from pytest_gradcam.settings import SCORE_METHODS
from pytest_gradcam.state.tensors import unreadable

_EXPECTED = "expected scores, a float tensor or array (N, classes) for N images"
_CALL = "a forward-only model is called with one float tensor (N, C, H, W) and returns scores (N, classes)"
_DEPTH = 3  # of containers in containers
_SCORES = f", or a method that needs only scores: {' or '.join(SCORE_METHODS)} (method=, gradcam_method)"
#: For what is a part of the output: an object, a region.
PART = (
    ", or a number as the target: Value(lambda output: ..., unit=...) of what the model returns for one image, "
    f"of which {' and '.join(SCORE_METHODS)} (method=) make heatmaps"
)


class ForwardOnly(nn.Module):
    """The network of a callable from a batch to scores. The callable gets a tensor (N, C, H, W) of its own.

    It may return tensors, arrays or nested lists, and several of them in a tuple, list or dict. `name` says in a phrase
    what it is, by default its class; `digest` is a SHA-256 of what decides its scores, empty where that is unknown.
    `again` builds the same network in another process, for a callable that cannot be serialised.
    A forward pass raises HeatmapError for whatever the callable raises, and for what are not scores.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Any],
        *,
        name: str = "",
        digest: str = "",
        again: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.function = function
        self.again = again
        self.name = name or getattr(function, "__qualname__", type(function).__qualname__)
        self.digest = digest
        self.training = False  # not eval(): programs of torch.export refuse it

    def __reduce_ex__(self, protocol: Any) -> Any:
        return super().__reduce_ex__(protocol) if self.again is None else (self.again, ())

    def forward(self, inputs: Tensor) -> Any:
        try:
            output = self.function(inputs.detach().clone())
        except (HeatmapError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise HeatmapError(
                f"the model {self.name} {raised(error)} for an input of shape "
                f"{tuple(inputs.shape)} and type {inputs.dtype}; {_CALL}; wrap one that takes arrays: "
                "lambda batch: model(batch.numpy())"
            ) from error
        return self._tensors(output, len(inputs), _DEPTH)

    def _tensors(self, output: Any, count: int, depth: int) -> Any:
        """The output with tensors in place of arrays and lists of numbers."""
        if isinstance(output, Mapping) and depth:
            return {key: self._tensors(value, count, depth - 1) for key, value in output.items()}
        if isinstance(output, (tuple, list)) and depth and any(map(_is_array, output)):
            return [self._tensors(value, count, depth - 1) for value in output]
        if not isinstance(output, Tensor) and hasattr(output, "__dict__") and not _is_array(output):
            return output  # an object with tensors in it, such as those of Hugging Face
        return self._checked(self._tensor(output), count)

    def _tensor(self, output: Any) -> Tensor:
        if isinstance(output, Tensor):
            if problem := unreadable(output, "plain scores, a float tensor or array (N, classes)"):
                raise HeatmapError(f"the model {self.name} returned {problem}")
            return output.detach()
        try:
            array = np.asarray(output)
        except (TypeError, ValueError):  # nested lists of different lengths
            self._refuse(output)
        if array.dtype.kind not in "fiub":
            self._refuse(output)
        return torch.from_numpy(np.array(array))

    def _checked(self, scores: Tensor, count: int) -> Tensor:
        if scores.is_complex():
            raise HeatmapError(f"the model {self.name} returned {scores.dtype} values; {_EXPECTED}")
        if not scores.is_floating_point():
            raise HeatmapError(
                f"the model {self.name} returned whole numbers ({scores.dtype}, shape {tuple(scores.shape)}), which may be class "
                f"labels; {_EXPECTED}. Return the scores that the labels are chosen by"
            )
        if not scores.numel() or (scores.ndim and len(scores) != count and count > 1):
            raise HeatmapError(
                f"the model {self.name} returned shape {tuple(scores.shape)} for {count} images; {_EXPECTED}. Check its batch "
                "axis"
            )
        return scores

    def _refuse(self, output: Any) -> NoReturn:
        found = "None" if output is None else f"a {type(output).__name__}"
        raise HeatmapError(f"the model {self.name} returned {found}; {_EXPECTED}")


def require_insides(model: nn.Module, what: str, *, otherwise: str = _SCORES) -> None:
    """Raises HeatmapError for a model that is known by its scores alone, in which `what` has nothing to look at.

    `otherwise` ends the message: what can be asked instead.
    """
    if isinstance(model, ForwardOnly):
        raise HeatmapError(
            f"the model {model.name} is known by its scores alone, and {what} needs layers and gradients; expected a "
            f"torch.nn.Module{otherwise}"
        )


def blind(model: nn.Module, method: str) -> str:
    """Why the model has no heatmaps by this method; empty if it has."""
    if method in SCORE_METHODS:
        return ""
    try:
        require_insides(model, f"method {method}")
    except HeatmapError as error:
        return str(error)
    return ""


def _is_array(value: Any) -> bool:
    return hasattr(type(value), "__array__")
