"""Gradients at the site: those of several scores of one image come from one backward pass where that can be batched."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.vision_transformer import VisionTransformer

from pytest_gradcam import Explainer, HeatmapError
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


def test_ten_classes_of_a_class_token_transformer():
    model, _ = class_token_transformer()
    explainer, image = Explainer(model), torch.randn(3, 64, 64)
    for target, heatmap in explainer.compare(image, range(10)).items():
        alone = explainer(image, target).grid
        np.testing.assert_allclose(heatmap.grid, alone, atol=1e-4 * alone.max())
