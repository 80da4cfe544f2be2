"""The models that benchmarks build, with random weights from a seed, and their inputs."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn

#: torchvision's models that are timed, and the layer at which other libraries are asked.
LAYERS = {
    "resnet18": "layer4",
    "resnet50": "layer4",
    "mobilenet_v3_large": "features",
    "convnext_tiny": "features",
    "efficientnet_b0": "features",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
    "swin_t": "features.7.1.norm1",
}
#: From tokens or channels-last to (B, C, h, w), which pytorch-grad-cam leaves to its user and the others do not take.
RESHAPES = {
    "vit_b_16": lambda x: x[:, 1:].reshape(len(x), 14, 14, -1).permute(0, 3, 1, 2),
    "swin_t": lambda x: x.permute(0, 3, 1, 2),
}


def build(name: str, seed: int = 0) -> nn.Module:
    """A model of torchvision in eval mode: the same weights for the same seed."""
    torch.manual_seed(seed)
    model: nn.Module = torchvision.models.get_model(name, weights=None).eval()
    if name.startswith("vit"):  # built with a head of zeros, under which nothing has a gradient
        torch.nn.init.normal_(model.heads.head.weight, std=0.02)
    return model


def noise(count: int, seed: int = 0) -> Tensor:
    """Inputs (count, 3, 224, 224): the same for the same seed."""
    return torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(seed))


def awaken(model: nn.Module) -> bool:
    """Draws weights that are all zero again and raises tiny layer scales to 0.1. Returns whether there were any."""
    changed = False
    for parameter in model.parameters():
        value = parameter.detach()
        if value.ndim >= 2 and not value.any():
            nn.init.trunc_normal_(parameter, std=0.02)
        elif value.numel() > 1 and 0 < value.abs().max() < 0.1 and value.min() == value.max():
            nn.init.constant_(parameter, 0.1)
        else:
            continue
        changed = True
    return changed


def calibrate(model: nn.Module, inputs: Tensor) -> None:
    """Sets the running statistics of batch normalisation, without which a deep random network lets nothing through."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train().momentum = 1.0
    if norms:
        with torch.no_grad():
            model(torch.cat([inputs, inputs.flip(2)]))
    model.eval()
