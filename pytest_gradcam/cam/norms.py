"""Right gradients of batch and instance normalisation for one image.

On the CPU, PyTorch (2.15 among others) misreads the gradient that reaches a normalisation whose output one image has
turned into tokens, `norm(x).flatten(2).transpose(1, 2)`: for a batch of one its strides fit two memory layouts. What
goes on from there is wrong by more than its own size, without an error. A gradient made contiguous is read right.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pytest_gradcam.cam.graph import functions_behind
from pytest_gradcam.state.parts import parts_of

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)  # private: the base classes of all

_NORMALISATION = "BatchNorm"  # in the names of PyTorch's backward functions; instance normalisation uses these, too


def watch(model: nn.Module) -> list[RemovableHandle]:
    """Hooks on the normalisations of a model: after each forward pass until they are removed, gradients are right."""
    return [
        module.register_forward_hook(straighten) for module in parts_of(model).modules if isinstance(module, _NORMS)
    ]


def straighten_path(output: Tensor) -> None:
    """Right gradients from here to the leaves, for an output of one image that has been computed already.

    As `watch`, for a pass in which few modules have gradients: nothing is put on the model, and only that path is walked.
    """
    for function in functions_behind(output):
        if _NORMALISATION in function.name():
            function.register_prehook(_contiguous)


def _contiguous(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(None if gradient is None else gradient.contiguous() for gradient in gradients)


def straighten(_module: nn.Module, _inputs: Any, output: Any) -> None:
    """A forward hook of a normalisation."""
    if isinstance(output, Tensor) and output.requires_grad and len(output) == 1:
        output.register_hook(Tensor.contiguous)
