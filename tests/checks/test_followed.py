"""Detected objects followed through perturbations, by a detector that finds squares of 32 pixels by their colour."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Box, Explainer, FocusError, HeatmapError, masks
from pytest_gradcam.checks.followed import FollowedObject
from pytest_gradcam.perturbations import (
    brightness,
    flip,
    fog,
    hue,
    perspective,
    rotate,
    shift,
    zoom,
)
from pytest_gradcam.questions.explained_model import ExplainedModel
from tests.cam.test_dense import GREEN, RED, colour_detector

SIZE, SQUARE = (96, 160), (16, 32, 48, 64)
TARGET = Box(RED, SQUARE)


def ready(pil):
    return torch.from_numpy(np.array(pil)).permute(2, 0, 1) / 255


def picture(*squares):
    image = np.zeros((*SIZE, 3), np.uint8)
    for channel, x0, y0, x1, y1 in squares:
        image[y0:y1, x0:x1, channel] = 255
    return image


IMAGE = picture((RED, *SQUARE), (GREEN, 112, 8, 144, 40))


@pytest.fixture
def explainer():
    return Explainer(colour_detector(), preprocess=ready, classes=["red", "green", "blue"])


def followed(explainer, perturbation, target=TARGET, image=IMAGE):
    engine = explainer._engine
    one = engine.read(image)
    return FollowedObject(engine, one, image.shape[:2], target).after(perturbation, engine.read(perturbation(image)))


@pytest.mark.parametrize(
    ("perturbation", "place"),
    [
        (brightness(0.1), SQUARE),
        (flip(1), (112, 32, 144, 64)),
        (shift(0.5), (28, 32, 60, 64)),  # by 12 pixels to the right
        (zoom(0.2), (6.5, 29.6, 43.2, 66.4)),
        (rotate(0.1), (12, 33, 49, 70)),
        (flip(1) | shift(0.5, angle=180), (100, 32, 132, 64)),
    ],
    ids=repr,
)
def test_the_object_is_found_where_the_image_was_moved(explainer, recording, perturbation, place):
    found = followed(explainer, perturbation).found
    overlap = masks.box(SIZE, place) & masks.box(SIZE, found.box, clip=True)
    assert overlap.sum() >= 0.5 * masks.box(SIZE, place).sum()
    explainer.assert_stable(IMAGE, perturbation, target=TARGET)
    [record] = recording.records
    assert (record.outcome, record.measure, record.target) == ("passed", "the object is found again", "red")
    assert dict(record.details)["object"].startswith("found with score 0.999 before, found with score ")


def test_an_object_that_is_not_found_again_breaks_it(explainer, recording):
    with pytest.raises(FocusError) as caught:
        explainer.assert_stable(IMAGE, brightness(0.9, down=True), target=TARGET)
    message = str(caught.value)
    assert (
        "under brightness(0.9, down=True) the detector no longer finds 'red', whose score was 0.999, where the change"
        in message
    )
    assert "it finds nothing in the changed image; expected it again" in message
    assert (
        "replay     gradcam.assert_stable(image, brightness(0.9, down=True), target=Box(label=0, box=(16.0, " in message
    )
    with pytest.raises(FocusError, match=r"of \d+ detections the nearest is 'blue' with score 1.00 and IoU 1.00"):
        explainer.assert_stable(IMAGE, hue(0.8), target=TARGET)


class Blind(nn.Module):
    """A detector that was never taught the right half of the image."""

    def __init__(self):
        super().__init__()
        self.detector = colour_detector()

    def forward(self, images):
        return self.detector([torch.cat([image[..., :80], 0 * image[..., 80:]], -1) for image in images])


def test_the_planted_fault_of_a_detector_is_found_and_the_whole_one_is_not_accused(explainer, recording):
    image = picture((RED, *SQUARE))
    explainer.assert_stable(image, [brightness(0.05), flip(1)], target=TARGET)
    faulty = Explainer(Blind(), preprocess=ready, classes=["red", "green", "blue"])
    faulty.assert_stable(image, brightness(0.05), target=TARGET)
    with pytest.raises(FocusError, match=r"under flip\(1.0\) the detector no longer finds 'red'"):
        faulty.assert_stable(image, [brightness(0.05), flip(1)], target=TARGET)
    assert [record.outcome for record in recording.records] == ["passed", "passed", "failed"]


@pytest.mark.parametrize(
    ("perturbation", "reason"),
    [
        (shift(1, angle=180), r"moves \d+% of the object's box out of the image"),
        (zoom(1), r"moves \d+% of the object's box out of the image"),
        (shift(1, angle=180) | shift(1, angle=180) | shift(1, angle=180), "moves 100% of the object's box out"),
        (flip(0.7), "tears the object's box apart"),
        (
            rotate(1) | zoom(0.3),
            r"turns or slants the object's box, and a 'red' overlaps the box around it with an IoU of 0\.\d+",
        ),
    ],
    ids=repr,
)
def test_where_nobody_knows_whether_it_has_to_be_found_there_is_no_verdict(explainer, recording, perturbation, reason):
    target, image = TARGET, IMAGE
    if "rotate" in repr(perturbation):  # in the middle, where it is turned on the spot
        target, image = Box(RED, (64, 32, 96, 64)), picture((RED, 64, 32, 96, 64))
    with pytest.raises(HeatmapError, match=reason):
        explainer.assert_stable(image, perturbation, target=target)
    assert [record.outcome for record in recording.records] == ["invalid"]


def test_one_that_breaks_it_counts_more_than_one_that_is_undecided(explainer):
    with pytest.raises(FocusError, match="under brightness"):
        explainer.assert_stable(IMAGE, [zoom(1), brightness(0.9, down=True)], target=TARGET)
    with pytest.raises(HeatmapError, match=r"under zoom\(1.0\): the change moves"):
        explainer.assert_stable(IMAGE, [brightness(0.05), zoom(1)], target=TARGET)


def test_the_score_is_that_of_the_object_and_0_where_it_is_gone(explainer):
    explainer.assert_stable(IMAGE, flip(1), target=TARGET, same_class=False, score_within=0.01)
    with pytest.raises(FocusError, match="the score of 'red' changes by 0.999; expected at most 0.5"):
        explainer.assert_stable(IMAGE, brightness(0.9, down=True), target=TARGET, same_class=False, score_within=0.5)


def test_its_heatmap_is_followed_as_well(explainer, recording):
    mask = masks.box(SIZE, SQUARE)
    for change in (flip(1), shift(0.5), brightness(0.05)):
        explainer.assert_stable(IMAGE, change, target=TARGET, mask=mask, mass_at_least=0.8, similarity_at_least=0.5)
    assert recording.records[0].mass > 0.85
    wrong = masks.box(SIZE, (112, 8, 144, 40))
    with pytest.raises(FocusError, match="0.0 % of the attention for 'red' lies inside the mask"):
        explainer.assert_stable(IMAGE, flip(1), target=TARGET, mask=wrong, mass_at_least=0.5)
    with pytest.raises(HeatmapError, match="'red' is not found any more, so it has no heatmap to compare"):
        explainer.assert_stable(
            IMAGE, brightness(0.9, down=True), target=TARGET, same_class=False, similarity_at_least=0.5
        )


def test_boxes_are_those_of_the_image_and_not_of_the_view(recording):
    """The preprocess halves the image and crops it: the object is followed in the image's own coordinates."""
    from torchvision.transforms import v2

    halved = v2.Compose([v2.Resize((96, 160)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    image = np.kron(IMAGE, np.ones((2, 2, 1), np.uint8))
    explainer = Explainer(colour_detector(), preprocess=halved)
    double = Box(RED, tuple(2 * edge for edge in SQUARE))
    explainer.assert_stable(image, flip(1), target=double)
    found = followed(explainer, flip(1), double, image).found
    assert found.box == pytest.approx((224, 64, 288, 128), abs=2)


def test_a_detector_that_answers_the_same_for_any_image_has_no_verdict(recording):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.detector = colour_detector()

        def forward(self, images):
            fixed = torch.from_numpy(IMAGE).permute(2, 0, 1) / 255
            return self.detector([0 * image + fixed for image in images])

    with pytest.raises(HeatmapError, match="gives every image the same scores"):
        Explainer(Constant(), preprocess=ready).assert_stable(IMAGE, fog(0.2), target=TARGET)


def test_an_object_that_is_not_there_and_a_model_that_is_no_detector_are_refused(explainer):
    with pytest.raises(HeatmapError, match="no detection of 'green' overlaps the box"):
        explainer.assert_stable(IMAGE, fog(0.1), target=Box("green", SQUARE))
    with pytest.raises(HeatmapError, match="is not one of torchvision's detectors"):
        Explainer(nn.Conv2d(3, 2, 1), preprocess=ready).assert_stable(IMAGE, fog(0.1), target=TARGET)
    with pytest.raises(HeatmapError, match="known by its scores alone, and a Box needs"):
        Explainer(lambda batch: batch.mean((2, 3)), preprocess=ready).assert_stable(IMAGE, fog(0.1), target=TARGET)
    with pytest.raises(HeatmapError, match="the target of a curve cannot be a Box"):
        explainer.robustness(IMAGE, "fog", target=TARGET)


def test_a_slanted_box_that_is_hardly_seen_any_more_is_lost(explainer):
    """A slant so mild that the box still fills the one around it is as exact as none."""
    assert followed(explainer, perspective(0.05)).found is not None


def test_the_engine_protocol_is_enough(explainer):
    model = ExplainedModel(explainer._engine)
    assert FollowedObject(model.engine, model.engine.read(IMAGE), SIZE, TARGET).before.label == "red"


@pytest.mark.parametrize("bound", [1, 1.5, 2.0])
def test_a_bound_on_the_score_that_every_loss_meets_is_refused(explainer, bound):
    with pytest.raises(HeatmapError, match="cannot decide anything; expected a number above 0 and below 1"):
        explainer.assert_stable(IMAGE, brightness(0.9, down=True), target=TARGET, same_class=False, score_within=bound)
