"""Backward passes that skip zeros give the same gradients as those that do not, for a fraction of the operations."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import roi_align

from pytest_gradcam import Explainer
from pytest_gradcam.cam import zeros
from tests.cam.test_capture import class_token_transformer


@pytest.mark.parametrize("rows", [0, 3, 40])
@pytest.mark.parametrize("columns", [0, 5, 16, 48])
@pytest.mark.parametrize("batched", [False, True])
def test_products_are_those_of_plain_autograd(rows, columns, batched):
    """Of a gradient that is zero but for some rows in its first columns, whatever their number."""
    torch.manual_seed(0)
    layer, inputs = nn.Linear(32, 48), torch.randn(20, 2, 32, requires_grad=True)
    out = layer(inputs.transpose(0, 1) if batched else inputs.flatten(0, 1)).reshape(40, 48)
    slope = torch.randn_like(out)
    slope[rows:, :columns] = 0
    expected = torch.autograd.grad(out, inputs, slope, retain_graph=True)[0]
    with zeros._zeros_skipped()():
        found = torch.autograd.grad(out, inputs, slope)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("place", [(0, 0), (11, 3), (5, 6), (-1, -1), None])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"stride": 2},
        {"stride": 2, "padding": 2, "dilation": 2},
        {"groups": 4, "padding": (0, 1)},
        {"padding": "same"},
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 5])
def test_gradients_of_convolutions_are_those_of_plain_autograd(place, options, count):
    """Of a gradient that is zero but in one place of one image, in all of one image (place None), or nowhere."""
    torch.manual_seed(0)
    layer, inputs = nn.Conv2d(4, 8, 3, **options), torch.randn(count, 4, 29, 31, requires_grad=True)
    layer.requires_grad_(False)
    out = layer(inputs)
    for lit in (True, False):
        slope = torch.zeros_like(out)
        if lit and place is None:
            slope[-1] = torch.randn_like(out[-1])
        elif lit:
            slope[-1, :, place[0], place[1]] = torch.randn(8)
        expected = torch.autograd.grad(out, inputs, slope, retain_graph=True)[0]
        with zeros._zeros_skipped()():
            found = torch.autograd.grad(out, inputs, slope, retain_graph=True)[0]
        assert bool(expected.any()) is lit
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_place_costs_a_fraction_of_the_operations():
    layers = nn.Sequential(*[nn.Conv2d(8, 8, 3, padding=1) for _ in range(4)]).requires_grad_(False)
    inputs = torch.randn(1, 8, 64, 64, requires_grad=True)
    score = layers(inputs)[0, 0, 30, 30]
    counts = []
    for context in (zeros.zeros_skipped(inputs), torch.enable_grad()):
        with FlopCounterMode(display=False) as counter, context:
            torch.autograd.grad(score, inputs, retain_graph=True)
        counts.append(counter.get_total_flops())
    assert counts[0] < 0.05 * counts[1]


@pytest.mark.parametrize("lit", [[], [3], list(range(12))])
def test_gradients_of_roi_align_are_those_of_plain_autograd(lit):
    torch.manual_seed(0)
    inputs = torch.randn(1, 4, 20, 20, requires_grad=True)
    corners = torch.rand(12, 2) * 10
    out = roi_align(inputs, [torch.cat([corners, corners + 8], 1)], 5, sampling_ratio=2)
    slope = torch.zeros_like(out)
    slope[lit] = torch.randn_like(out)[lit]
    expected = torch.autograd.grad(out, inputs, slope, retain_graph=True)[0]
    with zeros._zeros_skipped()():
        found = torch.autograd.grad(out, inputs, slope)[0]
    assert bool(expected.any()) is bool(lit)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.fixture
def looked_up_again():
    zeros._zeros_skipped.cache_clear()
    yield
    zeros._zeros_skipped.cache_clear()


def gone(monkeypatch):
    monkeypatch.delattr("torch.utils._python_dispatch.TorchDispatchMode")


def without_operators(monkeypatch):
    monkeypatch.setattr(torch.ops, "aten", object())


def of_other_arguments(monkeypatch):
    monkeypatch.setattr("torch.utils._python_dispatch.TorchDispatchMode.__enter__", lambda self, more: self)


def of_another_result(monkeypatch):
    monkeypatch.setattr(zeros, "_product", lambda left, right: left.new_ones(len(left), right.shape[1]))


def of_another_gradient(monkeypatch):
    monkeypatch.setattr(
        zeros, "_convolution_backward", lambda grad, inputs, *rest: (torch.ones_like(inputs), None, None)
    )


@pytest.mark.parametrize(
    "change", [gone, without_operators, of_other_arguments, of_another_result, of_another_gradient]
)
def test_where_pytorch_changes_its_private_names_the_maps_are_the_same(change, monkeypatch, looked_up_again):
    model, site = class_token_transformer()
    images = list(torch.randn(2, 3, 64, 64))
    expected = [heatmap.grid for heatmap in Explainer(model, layer=site.name).batch(images, [1, 2])]
    assert zeros._zeros_skipped() is not None
    zeros._zeros_skipped.cache_clear()
    with monkeypatch.context() as patch:
        change(patch)
        assert zeros._zeros_skipped() is None
        found = [heatmap.grid for heatmap in Explainer(model, layer=site.name).batch(images, [1, 2])]
    for one, other in zip(found, expected, strict=True):
        assert other.max() > 0
        np.testing.assert_allclose(one, other, atol=1e-5 * other.max())
