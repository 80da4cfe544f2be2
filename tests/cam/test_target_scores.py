"""Scores of targets that are not classes: a detection, a region and a value, in an image and in changed versions of it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_gradcam import Box, HeatmapError, Region, Value, masks
from pytest_gradcam.cam.engine import Engine, Interface
from tests.cam.test_dense import GREEN, RED, colour_detector, picture

SQUARE, OTHER = (16, 16, 48, 48), (96, 48, 128, 80)


def scored(model, image, target, preprocess=None):
    engine = Engine(model, Interface(preprocess))
    return engine, engine.scored([image], [target])[0]


def test_a_detection_falls_by_what_it_loses_and_by_all_of_its_score_when_it_is_gone():
    image = picture((RED, *SQUARE), (RED, *OTHER))
    engine, score = scored(colour_detector(), image, Box(RED, SQUARE))
    full = torch.sigmoid(torch.tensor(7.5)).item()
    assert score.value == score.unit == pytest.approx(full)
    assert "at 1 it is not found any more" in score.unit_said
    assert (score.noun, score.two_sided) == ("score", False)
    assert (score.subject.target_index, score.subject.score) == (RED, score.value)
    half, gone, recoloured, elsewhere = (image.clone() for _ in range(4))
    half[RED, 16:48, 16:48] = 0.5
    gone[:, 16:48, 16:48] = 0
    recoloured[[RED, GREEN], 16:48, 16:48] = recoloured[[GREEN, RED], 16:48, 16:48]
    elsewhere[:, 48:80, 96:128] = 0
    found = score.falls([engine.read(each) for each in (half, gone, recoloured, elsewhere)])
    faint = torch.sigmoid(torch.tensor(10 * (0.5 - 0.25))).item()
    assert found == pytest.approx([full - faint, full, full, 0], abs=1e-6)


def test_a_detection_near_the_detectors_threshold_may_disappear_at_any_change():
    image = picture((RED, *SQUARE))
    with pytest.raises(HeatmapError, match="is 1.00, and the detector reports none below 0.6: so near to that it may"):
        scored(colour_detector(score_thresh=0.6), image, Box(RED, SQUARE))


def test_a_detection_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(HeatmapError, match="no detection of '1' overlaps the box"):
        scored(colour_detector(), picture((RED, *SQUARE)), Box(GREEN, OTHER))
    with pytest.raises(HeatmapError, match="known by its scores alone, and a Box needs layers"):
        scored(lambda batch: batch.mean((2, 3)), picture(), Box(RED, SQUARE))


class Pixels(nn.Module):
    """Logits (N, 2, H, W): class 1 where red is above a half, and everywhere as far as the first pixel is green."""

    def __init__(self, classes=2):
        super().__init__()
        self.backbone, self.classifier = nn.Identity(), nn.Identity()
        self.classes = classes

    def forward(self, x):
        logit = 4 * (x[:, :1] - 0.5) + 2 * x[:, 1:2, :1, :1]
        return torch.cat([-logit, logit], 1) if self.classes == 2 else logit


def halves():
    image = torch.zeros(3, 16, 16)
    image[0, :, 8:] = 1
    return image


@pytest.mark.parametrize("classes", [2, 1])
def test_a_regions_margin_is_the_mean_lead_of_its_class_over_its_pixels(classes):
    image = halves()
    engine, score = scored(Pixels(classes), image, Region(1))
    assert score.value == score.unit == pytest.approx(4)  # 2 against -2
    assert score.noun == "margin"
    assert "over the 128 pixels of the region" in score.unit_said
    greener = image.clone()
    greener[1, 0, 0] = -0.5
    assert score.falls([engine.read(greener)]) == pytest.approx([2])
    _, whole = scored(Pixels(classes), image, Region(1, np.ones((16, 16), bool)))
    assert (whole.value, whole.unit) == pytest.approx((0, 4))


def test_replaced_pixels_of_the_region_do_not_count_unless_nearly_all_are():
    image = halves()
    engine, score = scored(Pixels(), image, Region(1))
    some, most = image.clone(), image.clone()
    some[:, :8, 8:] = 0
    most[:, 2:, 8:] = 0
    assert score.falls([engine.read(some), engine.read(most)]) == pytest.approx([0, 8 * 14 / 16])


def test_a_value_is_what_the_callable_returns():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    images = [torch.rand(3, 2, 2) for _ in range(3)]
    engine = Engine(model)
    weight = Value(lambda output: output[1], unit=0.5, name="weight")

    def height(output):
        return output[0]

    found = engine.scored(images, [weight, height, weight])
    with torch.no_grad():
        expected = model(torch.stack(images)).double().numpy()
    assert [score.value for score in found] == pytest.approx([expected[0, 1], expected[1, 0], expected[2, 1]], abs=1e-6)
    assert [(score.unit, score.subject.target) for score in found] == [
        (0.5, "weight"),
        (None, "height"),
        (0.5, "weight"),
    ]
    assert found[0].falls([engine.read(images[2])]) == pytest.approx([expected[0, 1] - expected[2, 1]], abs=1e-6)
    assert found[0].two_sided
    with pytest.raises(HeatmapError, match="returned NaN or an infinite value"):
        engine.scored(images[:1], [lambda output: output[0] / 0 * 0])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"function": 3}, r"Value\(3\) is not callable; expected a function"),
        ({"unit": 0}, "unit=0 cannot be used; expected a difference that matters"),
        ({"unit": float("nan")}, "unit=nan cannot be used"),
        ({"unit": "five"}, "unit='five' cannot be used"),
        ({"unit": True}, "unit=True cannot be used"),
    ],
)
def test_what_is_no_value_is_refused_before_any_work(arguments, reason):
    with pytest.raises(HeatmapError, match=reason):
        Value(**{"function": len} | arguments)


def test_a_class_that_segments_nothing_and_a_region_without_pixels_are_refused():
    with pytest.raises(HeatmapError, match="no pixel is predicted as 1"):
        scored(Pixels(), torch.zeros(3, 16, 16), Region(1))
    with pytest.raises(HeatmapError, match="expected logits|since a Region needs a segmenter"):
        scored(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), halves(), Region(1))
    with pytest.raises(HeatmapError, match="the region's mask has no pixel"):
        scored(Pixels(), halves(), Region(1, np.zeros((16, 16), bool)))


def test_boxes_and_masks_are_in_the_coordinates_of_the_picture():
    image = np.zeros((96, 160, 3), np.uint8)
    image[32:96, 32:96, RED] = 255

    def shrunk(pil):
        return torch.from_numpy(np.asarray(pil.resize((80, 48)), np.float32) / 255).permute(2, 0, 1)

    detector = colour_detector(min_size=48, max_size=80)
    _, score = scored(detector, image, Box(RED, (32, 32, 96, 96)), preprocess=shrunk)
    assert score.value > 0.9
    _, region = scored(Pixels(), image, Region(1, masks.box((96, 160), (32, 32, 96, 96))), preprocess=shrunk)
    assert region.value == pytest.approx(4, abs=0.2)


def test_the_colours_of_the_detector_are_what_it_reads():
    """The model of these tests: the mean of a colour in the square decides."""
    assert F.avg_pool2d(picture((RED, *SQUARE))[None], 32, stride=16)[0, RED, 1, 1] == 1
