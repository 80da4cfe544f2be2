"""The three architectures, small enough to learn in seconds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.shortcuts.scenes import SIDE


def plain(classes: int, side: int = SIDE) -> nn.Module:
    """Three convolutions; the last grid is a quarter of the side, 10 x 10."""
    return nn.Sequential(*_stem(16), *_layer(16, 32, 2), *_layer(32, 64), *_head(64, classes))


def residual(classes: int, side: int = SIDE) -> nn.Module:
    """A small ResNet; the last grid is an eighth of the side, 5 x 5."""
    return nn.Sequential(*_stem(16), Block(16, 32, 2), Block(32, 64, 2), *_head(64, classes))


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_layer(inputs, outputs, stride),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.skip(x)).relu()


class Transformer(nn.Module):
    """A small vision transformer, mean-pooled; its grid is an eighth of the side, 5 x 5."""

    def __init__(self, classes: int, side: int = SIDE, width: int = 48, patch: int = 8) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.place = nn.Parameter(0.02 * torch.randn(1, (side // patch) ** 2, width))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
                for _ in range(2)
            )
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.place
        return self.head(self.norm(self.blocks(tokens)).mean(1))


ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {"cnn": plain, "resnet": residual, "vit": Transformer}


def _stem(width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(3, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()


def _layer(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _head(width: int, classes: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)
