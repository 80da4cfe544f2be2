"""Gradients through batch and instance normalisation of one image that becomes tokens, against their closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pytest_gradcam import Explainer
from pytest_gradcam.cam import trace
from pytest_gradcam.cam.capture import capture
from pytest_gradcam.cam.sites import Site


class Tokens(nn.Module):
    """Normalises a grid of 6 x 6, and scores a weighted sum of its tokens."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 8, 4, 4), norm, nn.Linear(8 * 36, 3)
        nn.init.normal_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.stem(x)).flatten(2).transpose(1, 2).flatten(1))


@pytest.fixture
def model() -> Tokens:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(8)
        norm.running_var.uniform_(0.5, 2)
        return Tokens(norm).eval().requires_grad_(False)


def expected(model: Tokens) -> Tensor:
    """The gradient (1, 8, 6, 6) of the first score at the convolution's output."""
    scale = (model.norm.running_var + model.norm.eps).rsqrt()
    return model.head.weight[0].reshape(6, 6, 8).permute(2, 0, 1)[None] * scale[:, None, None]


def test_the_gradient_of_one_image_is_right_before_a_batch_normalisation(model: Tokens) -> None:
    captured = capture(model, torch.randn(1, 3, 24, 24), Site("stem", 0, (), "BCHW", (6, 6), 0))
    torch.testing.assert_close(captured.gradients([captured.output[0, 0]]), expected(model))


def test_the_gradient_in_a_trace_is_right_before_a_batch_normalisation(model: Tokens) -> None:
    traced = trace.run(model, torch.randn(1, 3, 24, 24).requires_grad_().clone())
    output = next(output for output in traced.outputs.values() if output.name == "stem")
    found = trace.gradient(traced.result[0, 0], output)
    assert found is not None
    torch.testing.assert_close(found, expected(model))


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(8), nn.InstanceNorm2d(8, affine=True)])
def test_an_image_has_the_same_map_alone_and_in_a_batch(norm: nn.Module) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        explainer = Explainer(Tokens(norm).eval(), layer="stem", method="hirescam")
        image = torch.randn(3, 24, 24)
    alone, together = explainer(image, 1), explainer.batch([image, image.flip(2)], [1, 1])[0]
    torch.testing.assert_close(torch.from_numpy(alone.grid), torch.from_numpy(together.grid))


def test_fullgrad_of_one_image_is_right_through_a_batch_normalisation(model: Tokens) -> None:
    explainer = Explainer(model, method="fullgrad")
    image = torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(0))
    alone, together = explainer(image, 1), explainer.batch([image, image.flip(2)], [1, 1])[0]
    torch.testing.assert_close(torch.from_numpy(alone.grid), torch.from_numpy(together.grid))
