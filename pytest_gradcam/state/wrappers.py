"""The network inside what users hand over, and the models that no engine of hooks and gradients can explain."""

from __future__ import annotations

import torch
from torch import nn

from pytest_gradcam.errors import HeatmapError


def unwrap(model: object) -> nn.Module:
    """The network without torch.compile, DataParallel and DistributedDataParallel around it.

    Raises HeatmapError unless it is a module, and for TorchScript and quantised models, and says what to do instead.
    """
    if not isinstance(model, nn.Module):
        raise HeatmapError(f"the model is a {type(model).__name__}; expected a torch.nn.Module")
    inner = getattr(model, "_orig_mod", None)  # torch.compile
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = model.module
    if isinstance(inner, nn.Module):
        return unwrap(inner)
    _refuse(model)
    return model


def _refuse(model: nn.Module) -> None:
    for name, module in model.named_modules():
        what = f"the model's part {name!r}" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise HeatmapError(
                f"{what} is TorchScript, in which no layer can be watched; explain the torch.nn.Module that it was made from"
            )
        if ".quantized" in type(module).__module__:
            raise HeatmapError(
                f"{what} is quantised ({type(module).__name__}), so it has no gradients; "
                "explain the float model that it was made from"
            )
