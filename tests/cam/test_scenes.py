"""Detectors and segmenters through the explainer, as a user calls it."""

import numpy as np
import pytest
import torch
import torchvision
from torchvision.transforms import v2

from pytest_gradcam import Box, Explainer, HeatmapError, Region, masks
from tests.states import same, state_of

NAMES = ["background", "person", "car"]


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=128, max_size=192, score_thresh=0.0
    ).eval()


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(0)
    return torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    ).eval()


def photograph(height=96, width=144):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


TO_TENSOR = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
TWICE = v2.Compose([v2.Resize((192, 288)), TO_TENSOR])


def found(detector, tensor):
    with torch.no_grad():
        output = detector([tensor])[0]
    sides = (output["boxes"][:, 2:] - output["boxes"][:, :2]).amin(1)
    one = int((sides > 16).nonzero()[0])  # untrained, it also finds slivers
    return output["labels"][one].item(), tuple(output["boxes"][one].tolist()), output["scores"][one].item()


def test_a_box_of_a_detector(detector):
    image = photograph()
    label, box, score = found(detector, TO_TENSOR(torchvision.transforms.functional.to_pil_image(image)))
    before = state_of(detector)
    heatmap = Explainer(detector, preprocess=TO_TENSOR, classes=NAMES)(image, Box(NAMES[label], box))
    assert same(before, state_of(detector))
    assert heatmap.values.shape == (96, 144)
    assert heatmap.target == NAMES[label]
    assert heatmap.score == pytest.approx(score, abs=1e-4)
    assert heatmap.layer.startswith("backbone")
    assert heatmap.method == "hirescam"
    assert heatmap.grid.max() > 0


def test_a_box_rides_through_a_preprocess_that_resizes(detector):
    image = photograph()
    tensor = TWICE(torchvision.transforms.functional.to_pil_image(image))
    label, box, score = found(detector, tensor)
    halved = tuple(edge / 2 for edge in box)
    heatmap = Explainer(detector, preprocess=TWICE)(image, Box(label, halved))
    direct = Explainer(detector)(tensor, Box(label, box))
    assert heatmap.score == pytest.approx(score, abs=1e-4)
    np.testing.assert_allclose(heatmap.grid, direct.grid, atol=1e-5 * direct.grid.max())


def test_a_region_of_a_segmenter(segmenter):
    image = photograph()
    explainer = Explainer(segmenter, preprocess=TWICE, classes=NAMES)
    left = masks.box((96, 144), (0, 0, 60, 96))
    before = state_of(segmenter)
    heatmap = explainer(image, Region("person", left))
    assert same(before, state_of(segmenter))
    assert heatmap.values.shape == (192, 288)
    assert heatmap.target == "person"
    assert heatmap.grid.max() > 0
    heatmap.mass(left)  # in the coordinates of the photograph


@pytest.mark.parametrize(
    ("target", "method", "words"),
    [
        (Box("dog", (0, 0, 20, 20)), None, "no class 'dog'"),
        (Box("person", (0, 0, 2000, 20)), None, "reaches outside the image"),
        (Box("person", (140, 90, 144, 96)), None, "IoU"),
        (Box("person", (0, 0, 50, 50)), "scorecam", "does not apply to a Box; expected none, or hirescam"),
    ],
)
def test_boxes_that_cannot_be_explained(detector, target, method, words):
    with pytest.raises(HeatmapError, match=words):
        Explainer(detector, preprocess=TO_TENSOR, classes=NAMES)(photograph(), target, method=method)


def test_a_class_of_a_detector_names_the_way_out(detector):
    with pytest.raises(HeatmapError, match="HeatmapError|channels|callable|expected"):
        Explainer(detector)(torch.rand(3, 96, 144), 1)
