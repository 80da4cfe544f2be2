"""Gradients at the site: those of several scores of one image come from one backward pass where that can be batched."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.vision_transformer import VisionTransformer

from pytest_gradcam import Explainer, HeatmapError
from pytest_gradcam.cam import capture as capturing
from pytest_gradcam.cam.capture import capture
from pytest_gradcam.cam.sites import Site
from pytest_gradcam.state.guard import untouched


class Looks(torch.autograd.Function):
    """The identity, whose backward pass looks at a value: that cannot be batched."""

    backwards = 0

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        Looks.backwards += 1
        return grad * 2 if grad.sum().item() > 1e9 else grad


class Looking(nn.Module):
    def forward(self, x):
        return Looks.apply(x)


def network(*tail):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), *tail)


IMAGE = torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(0))


def runs(model, at_once):
    """How many backward passes of the head ten classes take, and whether each map is that of its class alone."""
    explainer = Explainer(model, layer="1", batch_size=at_once)
    count, handle = [], model[-1].register_full_backward_hook(lambda *_: count.append(1))
    found = explainer.compare(IMAGE, range(10))
    handle.remove()
    for target, heatmap in found.items():
        alone = explainer(IMAGE, target).grid
        np.testing.assert_allclose(heatmap.grid, alone, atol=1e-5 * alone.max())
    return len(count)


@pytest.mark.parametrize(("at_once", "expected"), [(16, 1), (10, 1), (4, 3), (1, 10)])
def test_ten_classes_take_one_backward_pass_for_each_batch(at_once, expected):
    assert runs(network(nn.Linear(32, 10)), at_once) == expected


def test_what_cannot_be_batched_runs_class_by_class():
    Looks.backwards = 0
    head = nn.Linear(32, 10)
    found = Explainer(network(Looking(), head), layer="1").compare(IMAGE, range(10))
    assert Looks.backwards >= 10
    plain = Explainer(network(nn.Identity(), head), layer="1").compare(IMAGE, range(10))
    assert len({heatmap.grid.tobytes() for heatmap in found.values()}) > 1
    for target in range(10):
        np.testing.assert_allclose(found[target].grid, plain[target].grid, atol=1e-6)


def test_scores_without_a_path_to_the_site_are_refused():
    model = network(nn.Linear(32, 10))
    with untouched(model):
        captured = capture(model, IMAGE[None], Site("1", 0, (), "BCHW", (12, 12), 0))
        apart = list(torch.ones(3, requires_grad=True) * 2)
        with pytest.raises(HeatmapError, match="has no gradient with respect to layer 1"):
            captured.gradients_of_one_image(apart)
        with pytest.raises(HeatmapError, match="has no gradient with respect to layer 1"):
            captured.gradients_of_one_image(list(torch.ones(3)))


def class_token_transformer():
    torch.manual_seed(0)
    model = VisionTransformer(64, 8, 2, 4, 32, 128, num_classes=10).eval()
    nn.init.normal_(model.heads.head.weight)
    return model, Site("encoder.layers.encoder_layer_0", 0, (), "BNC", (8, 8), 1)


def products(flops):
    return flops.get(torch.ops.aten.mm, 0) + flops.get(torch.ops.aten.bmm, 0)


@pytest.mark.parametrize("count", [1, 3])
def test_the_class_tokens_gradient_is_that_of_plain_autograd(count):
    """And where one token of 65 has a gradient, most of the last block's products are left out."""
    model, site = class_token_transformer()
    with untouched(model):
        captured = capture(model, torch.randn(count, 3, 64, 64), site)
        total = captured.output[:, 1].sum()
        with FlopCounterMode(display=False) as plain:
            expected = torch.autograd.grad(total, captured.leaf, retain_graph=True)[0]
        with FlopCounterMode(display=False) as ours:
            found = captured.gradients(list(captured.output[:, 1]))
    assert expected.abs().max() > 0
    np.testing.assert_allclose(found, site.spatial(expected), atol=1e-6 * float(expected.abs().max()))
    ours, plain = (products(counter.get_flop_counts()["Global"]) for counter in (ours, plain))
    assert ours < 0.2 * plain  # what is left is the way from keys and values to the tokens, 2 of 12 parts


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
    with capturing._rows_of_zeros_skipped()():
        found = torch.autograd.grad(out, inputs, slope)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_ten_classes_of_a_class_token_transformer():
    model, _ = class_token_transformer()
    explainer, image = Explainer(model), torch.randn(3, 64, 64)
    for target, heatmap in explainer.compare(image, range(10)).items():
        alone = explainer(image, target).grid
        np.testing.assert_allclose(heatmap.grid, alone, atol=1e-4 * alone.max())


@pytest.fixture
def looked_up_again():
    capturing._rows_of_zeros_skipped.cache_clear()
    yield
    capturing._rows_of_zeros_skipped.cache_clear()


def gone(monkeypatch):
    monkeypatch.delattr("torch.utils._python_dispatch.TorchDispatchMode")


def without_operators(monkeypatch):
    monkeypatch.setattr(torch.ops, "aten", object())


def of_other_arguments(monkeypatch):
    monkeypatch.setattr("torch.utils._python_dispatch.TorchDispatchMode.__enter__", lambda self, more: self)


def of_another_result(monkeypatch):
    monkeypatch.setattr(capturing, "_product", lambda left, right: left.new_ones(len(left), right.shape[1]))


@pytest.mark.parametrize("change", [gone, without_operators, of_other_arguments, of_another_result])
def test_where_pytorch_changes_its_private_names_the_maps_are_the_same(change, monkeypatch, looked_up_again):
    model, site = class_token_transformer()
    images = list(torch.randn(2, 3, 64, 64))
    expected = [heatmap.grid for heatmap in Explainer(model, layer=site.name).batch(images, [1, 2])]
    assert capturing._rows_of_zeros_skipped() is not None
    capturing._rows_of_zeros_skipped.cache_clear()
    with monkeypatch.context() as patch:
        change(patch)
        assert capturing._rows_of_zeros_skipped() is None
        found = [heatmap.grid for heatmap in Explainer(model, layer=site.name).batch(images, [1, 2])]
    for one, other in zip(found, expected, strict=True):
        assert other.max() > 0
        np.testing.assert_allclose(one, other, atol=1e-5 * other.max())
