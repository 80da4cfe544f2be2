"""A small classifier of frames, its preprocess and its classes, as gradcam_model and its like in pytest.ini name them."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.transforms import v2

from underpass.scene import CLASSES

__all__ = ["CLASSES", "build", "preprocess"]

#: A frame at half its size, uint8 (3, H, W).
view = v2.Compose([v2.Resize((120, 160)), v2.PILToTensor()])
#: Levels around 0, from views (..., 3, H, W).
normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.35] * 3, [0.2] * 3)])
preprocess = v2.Compose([view, normalise])


class Pool(nn.Module):
    """The generalised mean over the places of each channel, which one small figure moves (GeM, Radenovic et al. 2018)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)


def build() -> nn.Module:
    """The network, untrained; gradcam_weights names what train.py made of it."""
    return nn.Sequential(
        _block(3, 16, 5, 2),
        _block(16, 24, 3, 2),
        _block(24, 48, 3, 2),
        _block(48, 48, 3, 1),
        _block(48, 64, 3, 1),
        Pool(),
        nn.Linear(64, len(CLASSES)),
    )


def _block(into: int, out: int, size: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(into, out, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())
