"""Where the cells of a layer's grid look, on small models whose right answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pytest_gradcam.cam.layers import Choice, choose
from pytest_gradcam.errors import HeatmapError


def find(model: nn.Module, channels: int = 3, *, name: str | None = None) -> Choice:
    inputs = torch.randn(1, channels, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return choose(model.eval().requires_grad_(False), inputs, lambda output: output[0, 0], name=name)


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4))
        self.head = nn.Linear(8, 3)

    def pooled(self, x: Tensor) -> Tensor:
        return self.trunk(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pooled(x))


class Mirrored(Trunk):
    """Averages over the image and its mirror image."""

    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) + super().forward(x.flip(3))) / 2


class Stacked(Trunk):
    """Compares two images in six channels."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.pooled(x[:, :3]) - self.pooled(x[:, 3:])).abs())


class Compared(Trunk):
    """Compares the image with another one that it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("other", torch.zeros(1, 3, 32, 32))

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.pooled(x) - self.pooled(self.other)).abs())


class Again(Trunk):
    """Calls the same layer twice, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Conv2d(8, 8, 3, padding=1)

    def pooled(self, x: Tensor) -> Tensor:
        return self.block(self.block(self.trunk(x)).relu()).mean((2, 3))


@pytest.mark.parametrize("name", [None, "trunk", "trunk.0"])
@pytest.mark.parametrize(("model", "channels"), [(Mirrored(), 3), (Stacked(), 6)])
def test_a_model_that_looks_twice_is_refused(model: nn.Module, channels: int, name: str | None) -> None:
    with pytest.raises(HeatmapError, match=r"^layer trunk(\.0)? looks at the input 2 times side by side"):
        find(model, channels, name=name)


def test_another_image_that_the_model_holds_is_no_second_look() -> None:
    assert find(Compared()).site.name == "trunk"


@pytest.mark.parametrize("name", [None, "block"])
def test_a_layer_called_twice_in_turn_is_no_second_look(name: str | None) -> None:
    site = find(Again(), name=name).site
    assert (site.name, site.call) == ("block", 1)
