"""A model that is not called with a batch alone: with the batch under a name, or beside other inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.forward_only import ForwardOnly

_WRAP = "or wrap it: a torch.nn.Module whose forward takes the batch (N, C, H, W) alone and calls the model with all it needs"


@dataclass(frozen=True)
class Call:
    """How a model is called: the batch of images under the name `image_input` (None: as the first argument), beside `inputs`.

    These are the same for all images. A tensor or array has no batch axis, and is repeated for each image; what is neither is
    passed as it is. A model whose forward has no parameters of these names gets one dict. Raises HeatmapError for what are
    no names.
    """

    image_input: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, Mapping) or not all(isinstance(name, str) and name for name in self.inputs):
            raise HeatmapError(f"inputs={self.inputs!r:.60} cannot be used; expected a dict from names to tensors")
        if self.image_input is not None and (not isinstance(self.image_input, str) or not self.image_input.strip()):
            raise HeatmapError(
                f"image_input={self.image_input!r:.60} is no name; expected that of the input for the images"
            )
        if self.image_input in self.inputs:
            raise HeatmapError(
                f"inputs has {self.image_input!r}, which is the name of the images; leave it out of inputs"
            )

    def around(self, network: nn.Module) -> nn.Module:
        """The network as one that is called with a batch alone. Raises HeatmapError if it takes no such inputs."""
        if self.image_input is None and not self.inputs:
            return network
        if isinstance(network, ForwardOnly):
            return ForwardOnly(self._caller(network.function), name=network.name, digest=network.digest)
        return CalledWith(network, self)

    def _caller(self, model: Callable[..., Any]) -> Callable[[Tensor], Any]:
        names = [*([] if self.image_input is None else [self.image_input]), *self.inputs]
        takes = _takes(model)
        if takes is None or set(names) <= takes:
            return lambda images: self._by_keyword(model, images)
        if len(takes) == 1 and self.image_input is not None and not takes & set(names):
            return lambda images: model(self._named(images))
        raise HeatmapError(
            f"the model takes {', '.join(sorted(takes)) or 'no named inputs'}, not {', '.join(sorted(set(names) - takes))}; "
            f"expected names of its inputs in image_input= and inputs=, or a model that takes one dict; {_WRAP}"
        )

    def _by_keyword(self, model: Callable[..., Any], images: Tensor) -> Any:
        if self.image_input is None:
            return model(images, **self._repeated(images))
        return model(**self._named(images))

    def _named(self, images: Tensor) -> dict[str, Any]:
        return {str(self.image_input): images, **self._repeated(images)}

    def _repeated(self, images: Tensor) -> dict[str, Any]:
        return {name: _for_each(value, images) for name, value in self.inputs.items()}


class CalledWith(nn.Module):
    """A network that is called with a batch alone; its layers' names begin with `model.`."""

    def __init__(self, model: nn.Module, call: Call) -> None:
        super().__init__()
        self.model = model
        self._call = call
        call._caller(model)  # raises
        self.training = model.training

    def forward(self, images: Tensor) -> Any:
        return self._call._caller(self.model)(images)


def _takes(model: Callable[..., Any]) -> set[str] | None:
    """The names of the inputs; None if it takes any, or does not say."""
    try:
        parameters = inspect.signature(model.forward if isinstance(model, nn.Module) else model).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return None
    return {each.name for each in parameters if each.kind is not inspect.Parameter.VAR_POSITIONAL}


def _for_each(value: Any, images: Tensor) -> Any:
    """The value with a batch axis, where the images are."""
    if hasattr(value, "__array__") and not isinstance(value, Tensor):
        value = torch.as_tensor(value)
    if not isinstance(value, Tensor):
        return value
    value = value.to(images.device, images.dtype if value.is_floating_point() else value.dtype)
    return value.expand(len(images), *value.shape)
