"""Methods that drive the model, on models whose maps are known."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import HeatmapError
from pytest_gradcam.cam.sites import Site
from tests.reference import explain, library, targets

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_grad_cam.utils.image import scale_cam_image


class Blob(nn.Module):
    """Scores the mean of channel 0, after a layer that is called twice, inside a tuple, and may be negative."""

    def __init__(self, offset=0.0):
        super().__init__()
        self.layer = Paired()
        self.offset = offset

    def forward(self, x):
        first, _ = self.layer(x)
        second, _ = self.layer(first)
        return {"logits": torch.stack([second[:, 0].mean((1, 2)) + self.offset, second[:, 2].mean((1, 2))], 1)}


class Paired(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.weight, x.sum()


@pytest.mark.parametrize("offset", [0.0, -1000.0])
def test_ablationcam_weighs_a_channel_by_the_fall_of_the_score_without_it(offset):
    model, inputs = Blob(offset), torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    for call in (0, 1):
        site = Site("layer", call, (0,), "BCHW", (6, 6), 0)
        maps = explain("ablationcam", model, inputs, site, [lambda output: output["logits"][0]] * 2)
        expected = inputs[:, 0].mean((1, 2))[:, None, None] * inputs[:, 0]
        np.testing.assert_allclose(maps, expected.numpy(), atol=1e-4)


def test_ablationcam_of_tokens_takes_the_channel_from_the_grid_and_not_from_the_class_token():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()
            self.register_parameter("scale", nn.Parameter(torch.ones(())))

        def forward(self, x):
            patches = x.flatten(2).transpose(1, 2)
            return self.layer(torch.cat([100 * torch.ones_like(patches[:, :1]), patches], 1)).sum(1) * self.scale

    inputs = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    site = Site("layer", 0, (), "BNC", (4, 6), 1)
    found = explain("ablationcam", Tokens(), inputs, site, [lambda output: output[1]])
    np.testing.assert_allclose(found[0], (inputs[0, 1].sum() * inputs[0, 1]).numpy(), rtol=1e-4)


def test_scorecam_reads_outputs_that_are_no_tensor():
    model, inputs = Blob(), torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    site = Site("layer", 0, (0,), "BCHW", (6, 6), 0)
    maps = explain("scorecam", model, inputs, site, [lambda output: output["logits"][0]])
    picture = inputs[0].numpy()
    low, high = picture.min((1, 2), keepdims=True), picture.max((1, 2), keepdims=True)
    scores = (picture[0] * (picture - low) / (high - low)).mean((1, 2))
    weights = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(maps[0], np.tensordot(weights, picture, 1), rtol=1e-4)


class Order(nn.Module):
    """Two biased convolutions, registered in the order of their use or the other way round."""

    def __init__(self, turned):
        super().__init__()
        layers = {"first": nn.Conv2d(3, 4, 3, padding=1), "second": nn.Conv2d(4, 2, 3, padding=1)}
        for name in sorted(layers, reverse=turned):
            setattr(self, name, layers[name])

    def forward(self, x):
        return self.second(self.first(x).relu_()).relu_().mean((2, 3))


def test_fullgrad_pairs_each_bias_with_its_own_gradient():
    torch.manual_seed(0)
    plain, turned = Order(turned=False), Order(turned=True)
    turned.load_state_dict(plain.state_dict())
    site, inputs = Site("first", 0, (), "BCHW", (8, 8), 0), torch.randn(1, 3, 8, 8)
    expected = library("FullGrad", plain, inputs, site, targets(0))
    with pytest.raises(ValueError, match="broadcast"):  # the library goes by the order of registration
        library("FullGrad", turned, inputs, site, targets(0))
    for model in (plain, turned):
        maps = explain("fullgrad", model, inputs, site, [0])
        np.testing.assert_allclose(scale_cam_image(maps), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), "1 is a GroupNorm"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU()), "the model has none"),
    ],
)
def test_fullgrad_refuses_a_model_whose_biases_it_would_leave_out(model, message):
    with pytest.raises(HeatmapError, match=message):
        explain("fullgrad", model, torch.rand(1, 3, 8, 8), Site("0", 0, (), "BCHW", (6, 6), 0), [lambda o: o.sum()])


def test_fullgrad_without_a_gradient_is_an_error():
    site = Site("0", 0, (), "BCHW", (6, 6), 0)
    with pytest.raises(HeatmapError, match="has no gradient with respect to the input"):
        explain(
            "fullgrad", nn.Sequential(nn.Conv2d(3, 4, 3)), torch.rand(1, 3, 8, 8), site, [lambda o: o.detach().sum()]
        )
