"""Redrawing keeps the scale of the weights that the model computes with, also where it computes them from others."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

from pytest_gradcam.cam.redraw import redraw
from pytest_gradcam.errors import HeatmapError


def conv():
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 16, 3)
    with torch.no_grad():
        layer.weight[:2] *= 100  # rows of different scales
    return layer


def settled(layer):
    """After so many training steps that its estimates are right."""
    layer.train()
    for _ in range(100):
        layer(torch.rand(1, 8, 5, 5))
    return layer.eval()


def norm_of(layer):
    layer(torch.rand(1, 8, 5, 5))  # older parametrisations compute the weight here
    return float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))


@pytest.mark.parametrize("apply", [parametrizations.spectral_norm, spectral_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_spectral_norm_stays_one(apply):
    layer = settled(apply(conv()))
    before = layer.weight.detach().clone()
    assert norm_of(layer) == pytest.approx(1, abs=0.02)
    redraw(list(layer.modules()), torch.Generator().manual_seed(1))
    assert norm_of(layer) == pytest.approx(1, abs=0.02)
    assert not torch.allclose(layer.weight, before, atol=1e-3)
    assert not any(module.training for module in layer.modules())


@pytest.mark.parametrize("apply", [parametrizations.weight_norm, weight_norm, parametrizations.orthogonal])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_norm_of_other_parametrised_weights_stays(apply):
    layer = apply(conv())
    before, weight = float(layer.weight.detach().norm()), layer.weight.detach().clone()
    redraw(list(layer.modules()), torch.Generator().manual_seed(1))
    layer(torch.rand(1, 8, 5, 5))
    assert float(layer.weight.detach().norm()) == pytest.approx(before, rel=1e-3)
    assert not torch.allclose(layer.weight, weight, atol=1e-3)


def test_a_parametrisation_whose_scale_changes_is_refused():
    class Steep(nn.Module):
        def forward(self, weight):
            return weight[:, :, 1:-1, 1:-1].exp()

        def right_inverse(self, weight):
            wide = torch.full((*weight.shape[:2], 5, 5), 20.0)
            wide[:, :, 1:-1, 1:-1] = weight
            return wide

    layer = nn.Conv2d(8, 16, 3)
    parametrize.register_parametrization(layer, "weight", Steep())
    message = r"changed the norm of a weight parametrised by Steep from .* to .*; expected it to stay about the same"
    with pytest.raises(HeatmapError, match=message):
        redraw(list(layer.modules()), torch.Generator().manual_seed(1))
