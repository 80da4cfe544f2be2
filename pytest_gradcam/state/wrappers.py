"""The network inside what users hand over, and the models that no engine of hooks and gradients can explain."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.forward_only import ForwardOnly


def unwrap(model: object) -> nn.Module:
    """The network without torch.compile, DataParallel, DistributedDataParallel and Ultralytics' YOLO around it.

    A callable that is not a module becomes a network that is known by its scores alone. Raises HeatmapError for what is not a
    model, and for TorchScript and quantised models, and says what to do instead.
    """
    if not isinstance(model, nn.Module):
        return _forward_only(model)
    inner = getattr(model, "_orig_mod", None)  # torch.compile
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = model.module
    if any(each.__module__ == "ultralytics.engine.model" for each in type(model).__mro__):  # YOLO(...)
        inner = model.model
    if isinstance(inner, nn.Module):
        return unwrap(inner)
    _refuse(model)
    return model


def move(model: object, device: str | torch.device) -> None:
    """Move the model to a device. Raises HeatmapError for one that this machine does not have."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise HeatmapError(
            f"device={str(device)!r} cannot be used ({reason}); expected auto, cpu, cuda or mps"
        ) from None
    if not isinstance(model, nn.Module):
        raise HeatmapError(
            f"device={str(device)!r} cannot move a {type(model).__name__}, which computes where it was made to; leave device out"
        )
    model.to(device)


def _forward_only(model: Any) -> ForwardOnly:
    if isinstance(model, type):
        raise HeatmapError(f"the model is the class {model.__name__}; expected an instance; call it first")
    if not callable(model):
        raise HeatmapError(
            f"the model is a {type(model).__name__}; expected a torch.nn.Module, or a callable from a batch (N, C, H, W) to "
            "scores (N, classes)"
        )
    return ForwardOnly(model)


def _refuse(model: nn.Module) -> None:
    for name, module in model.named_modules():
        what = f"the model's part {name!r}" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise HeatmapError(
                f"{what} is TorchScript, in which no layer can be watched; explain the torch.nn.Module that it was made from, "
                "or pass lambda batch: model(batch) for what needs only scores"
            )
        if ".quantized" in type(module).__module__:
            raise HeatmapError(
                f"{what} is quantised ({type(module).__name__}), so it has no gradients; "
                "explain the float model that it was made from, or pass lambda batch: model(batch) for what needs only scores"
            )
