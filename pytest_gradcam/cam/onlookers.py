"""Whether somebody else sees the gradients of a pass: hooks of the model, and backward passes that are not PyTorch's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.graph import functions_behind
from pytest_gradcam.state.parts import parts_of
from pytest_gradcam.state.undo import later, undoing

_ON_MODULES = ("_backward_hooks", "_backward_pre_hooks")
_ON_TENSORS = ("register_hook", "retain_grad")
_OF_EXTENSIONS = "CppFunction"  # the type of all backward functions that C++ extensions define


def noted(found: list[str]) -> undoing[None]:
    """A `with` block: what puts a hook on a tensor, or has its gradient kept, is added to the list."""

    def begin() -> None:
        for name in _ON_TENSORS:
            by_torch = getattr(Tensor, name)
            later(partial(_put_back, name, by_torch, inherited=name not in vars(Tensor)))
            setattr(Tensor, name, _noting(name, by_torch, found))

    return undoing(begin)


def _noting(name: str, by_torch: Callable[..., Any], found: list[str]) -> Callable[..., Any]:
    def call(tensor: Tensor, *arguments: Any, **options: Any) -> Any:
        found.append(name)
        return by_torch(tensor, *arguments, **options)

    return call


def _put_back(name: str, by_torch: Callable[..., Any], *, inherited: bool) -> None:
    if not inherited:
        setattr(Tensor, name, by_torch)
    elif name in vars(Tensor):
        delattr(Tensor, name)


def on_modules(model: nn.Module) -> bool:
    return any(held.get(name) for held in parts_of(model).holders for name in _ON_MODULES)


def on_the_way(root: Tensor) -> bool:
    """Whether a backward function between this and the leaves is not PyTorch's own."""
    return any(
        isinstance(function, torch.autograd.function.BackwardCFunction) or type(function).__name__ == _OF_EXTENSIONS
        for function in functions_behind(root)
    )
