"""Tensors whose numbers cannot be read as they are: refused in our words, as images, outputs and values of targets."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, Heatmap, HeatmapError, Value

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::DeprecationWarning"
)  # PyTorch, about prototypes
KINDS = {
    "sparse": (lambda tensor: tensor.to_sparse(), r"of layout torch.sparse_coo; expected .*; call to_dense\(\)"),
    "nested": (
        lambda tensor: torch.nested.nested_tensor([each.detach() for each in tensor]),
        "a nested tensor; expected .*; pad it",
    ),
    "quantised": (
        lambda tensor: torch.quantize_per_tensor(tensor.detach(), 0.1, 0, torch.qint8),
        r"a quantised tensor \(torch.qint8\); expected .*; call dequantize\(\)",
    ),
    "meta": (lambda tensor: tensor.to("meta"), r"without values \(on the device meta\); expected .*; load the weights"),
    "eight bits": (
        lambda tensor: tensor.to(torch.float8_e4m3fn),
        r"of torch.float8_e4m3fn; expected .* call float\(\)",
    ),
    "negated": (torch._neg_view, r"with its sign bit set; expected .* call resolve_neg\(\)"),
}
IMAGE = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
MASK = np.zeros((16, 16), bool)
MASK[:6, :6] = True
ASK = {
    "predict": lambda explainer, image: explainer.predict([image]),
    "heatmap": lambda explainer, image: explainer(image),
    "occlusion": lambda explainer, image: explainer(image, method="occlusion"),
    "intervention": lambda explainer, image: explainer.assert_ignores(image, MASK),
    "reliance": lambda explainer, image: explainer.reliance([image, IMAGE], MASK),
    "value": lambda explainer, image: explainer.assert_relies_on(image, MASK, target=Value(lambda row: row[0])),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


class Returns(nn.Module):
    def __init__(self, end=lambda scores: scores):
        super().__init__()
        self.conv, self.end = nn.Conv2d(3, 4, 3, padding=1), end

    def forward(self, x):
        return self.end(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_an_output_is_refused(kind, ask):
    special, message = kind
    model = Returns(special)
    with pytest.raises(HeatmapError, match=f"the model returns .*{message}.*, in the model or in a module around it"):
        ask(Explainer(model), IMAGE)
    with pytest.raises(HeatmapError, match=f"returned .*{message}|known by its scores alone"):
        ask(Explainer(lambda batch: model(batch)), IMAGE)


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_an_image_is_refused(kind, ask):
    special, message = kind
    with pytest.raises(HeatmapError, match=f"the image is .*{message}"):
        ask(Explainer(Returns()), special(IMAGE))


def test_a_value_is_refused(kind):
    special, message = kind
    if "nested" in message:
        pytest.skip("a nested tensor has no single value")
    with pytest.raises(HeatmapError, match=f"the target .* returned .*{message}"):
        Explainer(Returns()).assert_relies_on(IMAGE, MASK, target=Value(lambda row: special(row[:1])))


def test_an_output_that_holds_itself_is_refused():
    def endless(_):
        found = []
        found.append(found)
        return found

    with pytest.raises(HeatmapError, match="containers in containers, more than 8 deep"):
        Explainer(Returns(endless)).predict([IMAGE])


@pytest.mark.parametrize(
    "values",
    [
        IMAGE[0].clone().requires_grad_(),
        IMAGE[0].to_sparse(),
        IMAGE[0].bfloat16(),
        IMAGE[0].to("meta"),
        [[1.0], [1.0, 2]],
    ],
    ids=["gradient", "sparse", "bfloat16", "meta", "ragged"],
)
def test_a_heatmap_from_what_is_no_array_is_refused(values):
    with pytest.raises(HeatmapError, match=r"values .*; expected real numbers \(h, w\)"):
        Heatmap.from_array(values)
