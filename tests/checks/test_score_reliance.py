"""reliance and assert_no_reliance where the targets are not classes: models of known truth, and every way to be undecided."""

import numpy as np
import pytest
import torch

from pytest_gradcam import Box, Explainer, FocusError, HeatmapError, Region, Value, masks
from tests.cam.test_dense import RED
from tests.checks.test_answers import AGE, SIGN, SQUARE, Lawn, Level, detector, scene, street
from tests.checks.test_intervention import CORNER, DISC

SCENES = [scene(i) for i in range(16)]


def asked(model, images, mask, target):
    return Explainer(model).reliance(images, mask, [target] * len(images))


def test_a_value_relies_on_the_region_that_it_is_read_from_and_on_no_other():
    found = asked(Level(CORNER), SCENES, CORNER, AGE)
    assert found.relies
    assert (found.intervention, found.images, found.loss) == ("swap", 16, None)
    low, high = found.interval
    assert low < found.effect < high
    assert found.around == pytest.approx(0, abs=1e-6)
    assert found.verdict.startswith("the model relies on the masked pixels: without them the score moves by ")
    rows = dict(found.rows())
    assert "how far the score differs in 16 images, the range of the middle half / 1.349" in rows["effect"]
    assert rows["replaced"].startswith("with pixels of images with another score: the images have different scores")
    assert found.picture.size[0] > 100
    clean = asked(Level(DISC), SCENES, CORNER, AGE)
    assert clean.relies is False
    assert clean.effect == pytest.approx(0, abs=1e-6)


def test_pasted_pixels_move_the_value_towards_that_of_the_image_that_they_come_from():
    """The whole of the difference, since nothing else is read: its mean over donors that differ by a unit or more."""
    found = asked(Level(CORNER), SCENES, CORNER, Value(AGE.function, unit=2))
    values = np.array([20 * float(one[:, CORNER].mean()) for one in SCENES])
    apart = np.abs(values[:, None] - values[None])
    assert found.effect > 1
    assert found.effect * 2 <= apart.max()
    opposite = asked(Level(CORNER), SCENES, CORNER, Value(lambda output: -output[0], unit=2))
    assert opposite.effect == pytest.approx(found.effect)


def test_the_assertion_fails_passes_and_stays_open():
    explainer, targets = Explainer(Level(CORNER)), [AGE] * len(SCENES)
    with pytest.raises(FocusError, match="the model relies on the masked pixels: without them the score moves by"):
        explainer.assert_no_reliance(SCENES, CORNER, targets)
    explainer.assert_no_reliance(SCENES, DISC, targets)
    with pytest.raises(HeatmapError, match="expected at least 5 different images"):
        explainer.assert_no_reliance(SCENES[:4], DISC, targets[:4])
    with pytest.raises(HeatmapError, match="one image cannot show whether a model relies on pixels"):
        explainer.assert_no_reliance(SCENES[:1], DISC, [Value(AGE.function, unit=3)])
    with pytest.raises(HeatmapError, match="expected at least 5 different images"):
        explainer.assert_no_reliance(SCENES[:2] * 9, DISC, [AGE] * 18, at_most=0.3)


def test_copies_count_once():
    found = asked(Level(CORNER), [*SCENES, *SCENES[:4]], CORNER, AGE)
    assert (found.images, found.copies) == (16, 4)


def test_images_with_the_same_pixels_in_the_mask_are_judged_by_the_mean_colour():
    """The stamp is the same in all images, and moves the value by as much in each: it moves when the stamp goes."""
    images = [scene(i, corner=0.9) for i in range(12)]
    found = asked(Level(CORNER | DISC), images, CORNER, Value(AGE.function, unit=1))
    assert found.intervention == "colour"
    assert asked(Level(DISC), images, CORNER, AGE).relies is False


def test_images_that_are_alike_in_the_value_never_show_that_it_ignores_anything():
    rng = np.random.default_rng(0)
    images = []
    for i in range(8):
        image = scene(i, disc=0.5)
        image[:, CORNER] = torch.from_numpy(rng.uniform(0, 1, (3, int(CORNER.sum()))).astype(np.float32))
        images.append(image)
    found = asked(Level(DISC), images, CORNER, Value(AGE.function, unit=4))
    assert found.relies is None
    assert (
        "alike in the score that is asked about" in found.reason
        or "much the same where there is nothing" in found.reason
    )


def test_kinds_of_targets_are_not_mixed():
    explainer = Explainer(Level(DISC))
    with pytest.raises(HeatmapError, match="some targets are classes, and others are not"):
        explainer.reliance(SCENES[:6], CORNER, [AGE] * 5 + [0])
    with pytest.raises(HeatmapError, match="without= and pairs= take classes as targets"):
        explainer.reliance(SCENES[:6], CORNER, [AGE] * 6, without=SCENES[6:])
    with pytest.raises(HeatmapError, match="there are 2 targets for 6 images"):
        explainer.reliance(SCENES[:6], CORNER, [AGE] * 2)


def streets(count):
    """Streets in different light, all with the sign."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        image = street()
        image[:, 60:90, 60:80] = float(rng.uniform(0, 0.2))
        found.append(image)
    return found


def test_detections_that_disappear_with_the_sign_rely_on_it():
    images, targets = streets(6), [Box(RED, SQUARE)] * 6
    tied = Explainer(detector(tied=True)).reliance(images, SIGN, targets)
    assert tied.relies
    assert tied.effect == pytest.approx(1, abs=0.05)
    assert "without them it loses 1.00 of the detection's score" in tied.verdict
    assert "the mean over 6 images, in the first the detection's own score" in dict(tied.rows())["effect"]
    clean = Explainer(detector(tied=False)).reliance(images, SIGN, targets)
    assert clean.relies is not True
    assert "alike in the score that is asked about" in clean.reason


def test_regions_of_several_labels_exchange_the_pixels():
    images, targets = [], []
    for i in range(12):
        image = street()
        image[:, :32, 112:152] = 0.5
        image[:, 8:24, 120:144] = 1 - i / 200 if i % 2 else 0.1 + i / 100
        images.append(image)
        targets.append(Region(i % 2, masks.box((96, 160), SQUARE)))
    tied = Explainer(Lawn(tied=True)).reliance(images, SIGN, targets)
    assert (tied.relies, tied.intervention) == (True, "swap")
    assert "of its margin" in tied.verdict
    clean = Explainer(Lawn(tied=False)).reliance(images, SIGN, targets)
    assert clean.relies is False
    with pytest.raises(FocusError, match="relies on the masked pixels"):
        Explainer(Lawn(tied=True)).assert_no_reliance(images, SIGN, targets)
    Explainer(Lawn(tied=False)).assert_no_reliance(images, SIGN, targets)


def test_several_masks_of_values():
    found = Explainer(Level(CORNER)).reliance(SCENES, {"corner": CORNER, "disc": DISC}, [AGE] * 16)
    assert found.relies
    assert (found.alone["corner"].relies, found.alone["disc"].relies) == (True, False)
