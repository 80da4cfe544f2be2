"""assert_ignores and assert_relies_on where the target is no class: values, detections and regions of models of known truth."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Box, Explainer, FocusError, HeatmapError, Region, Value, masks
from tests.cam.test_dense import RED, Head, colour_detector, picture
from tests.checks.test_intervention import CORNER, DISC, SHAPE, record_of

AGE = Value(lambda output: output[0], name="age")


class Level(nn.Module):
    """One number: twenty times the mean brightness of one region."""

    def __init__(self, region, bias=0.0):
        super().__init__()
        self.features = nn.Conv2d(3, 1, 1)
        nn.init.constant_(self.features.weight, 1 / 3)
        nn.init.constant_(self.features.bias, 0)
        self.register_buffer("weight", torch.from_numpy(region / region.sum()).float())

    def forward(self, x):
        return 20 * (self.features(x) * self.weight).sum((2, 3))


def scene(seed, disc=None, corner=None):
    """Noise with a grey disc and a grey corner."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.4, 0.6, (3, *SHAPE)).astype(np.float32)
    levels = rng.uniform(0.1, 0.9, 2)
    for region, level, own in ((DISC, disc, levels[0]), (CORNER, corner, levels[1])):
        image[:, region] = own if level is None else level
    return torch.from_numpy(image)


OTHERS = [scene(i) for i in range(1, 10)]


def test_a_value_is_moved_by_the_region_that_is_read_and_by_no_other():
    explainer, image = Explainer(Level(DISC)), scene(0, disc=0.9, corner=0.9)
    explainer.assert_relies_on(image, DISC, target=AGE, others=OTHERS)
    explainer.assert_ignores(image, CORNER, target=AGE, others=OTHERS)
    with pytest.raises(
        FocusError, match="the score of 'age' moves by at most 0 units with every fill of the masked pix"
    ):
        explainer.assert_relies_on(image, CORNER, target=AGE, others=OTHERS)
    with pytest.raises(FocusError, match="with every fill of the pixels to ignore; expected a move of at most 0.25"):
        explainer.assert_ignores(image, DISC, target=AGE, others=OTHERS)


def test_a_value_that_rises_has_moved():
    explainer, image = Explainer(Level(CORNER)), scene(0, corner=0.05)
    record, raised = record_of(explainer.assert_ignores, image, CORNER, target=AGE, others=OTHERS)
    assert isinstance(raised, FocusError)
    assert record.measure == "move of the score"
    assert record.figure > 0.25
    assert dict(record.details)["colour"].startswith("score 1 to ")


def test_the_unit_is_the_spread_over_the_images_or_the_users_own_and_the_message_says_which():
    explainer, image = Explainer(Level(CORNER)), scene(0, corner=0.9)
    record, _ = record_of(explainer.assert_relies_on, image, CORNER, target=AGE, others=OTHERS)
    values = [20 * float(one[:, CORNER].mean()) for one in (image, *OTHERS)]
    low, high = np.percentile(values, [25, 75])
    spread = (high - low) / 1.349
    assert dict(record.details)["unit"] == (
        f"one unit is {spread:.3g}: how far the score differs in 10 images, the range of the middle half / 1.349"
    )
    own = Value(AGE.function, unit=4, name="age")
    ours, _ = record_of(explainer.assert_relies_on, image, CORNER, target=own, others=OTHERS)
    assert dict(ours.details)["unit"] == "one unit is 4, as the test says"
    assert ours.figure * 4 == pytest.approx(record.figure * spread)
    alone, raised = record_of(explainer.assert_relies_on, image, CORNER, target=own)
    assert (alone.outcome, raised) == ("passed", None)


def test_a_value_without_a_unit_has_no_verdict_on_too_few_images():
    explainer = Explainer(Level(CORNER))
    for others in ([], OTHERS[:3], [OTHERS[0]] * 9):
        for check in (explainer.assert_ignores, explainer.assert_relies_on):
            with pytest.raises(
                HeatmapError, match="cannot say by how much it differs between images; expected at least 5"
            ):
                check(scene(0), CORNER, target=AGE, others=others)
    with pytest.raises(HeatmapError, match="the score is the same in most of the images"):
        explainer.assert_ignores(
            scene(0, corner=0.5), CORNER, target=AGE, others=[scene(i, corner=0.5) for i in range(5)]
        )


def test_a_value_that_is_the_same_where_there_is_nothing_to_see_is_ignored_by_no_proof():
    """The middle of the range is grey, and so is the corner: to take it away changes nothing."""
    explainer, own = Explainer(Level(CORNER)), Value(AGE.function, unit=5, name="age")
    image = scene(0, disc=0.9, corner=0.5)
    image[:, 0, 0], image[:, 0, 1] = 0, 1
    with pytest.raises(HeatmapError, match="the score of 'age' is much the same where there is nothing to see"):
        explainer.assert_ignores(image, CORNER, target=own)
    with pytest.raises(HeatmapError, match="the fills disagree"):  # others bring in other corners
        explainer.assert_ignores(image, CORNER, target=own, others=[scene(1, corner=0.9), scene(2, corner=0.9)])


def test_a_value_that_nothing_moves_is_undecided():
    class Constant(Level):
        def forward(self, x):
            return 0 * super().forward(x) + 3

    with pytest.raises(HeatmapError, match="no change moves the score, not even one of the whole image"):
        Explainer(Constant(DISC)).assert_ignores(scene(0), DISC, target=Value(AGE.function, unit=1))


def test_an_embedding_is_asked_about_by_what_it_is_near_to():
    """The similarity to a gallery image's embedding is a value like any other."""

    class Embeds(Level):
        def forward(self, x):
            level = super().forward(x) / 20
            return torch.nn.functional.normalize(torch.cat([level, 1 - level], 1), dim=1)

    model = Embeds(DISC)
    gallery = model(scene(0, disc=0.9)[None])[0].detach()
    match = Value(lambda embedding: embedding @ gallery, unit=0.2, name="similarity to the gallery")
    explainer, image = Explainer(model), scene(5, disc=0.9, corner=0.1)
    explainer.assert_relies_on(image, DISC, target=match)
    explainer.assert_ignores(image, CORNER, target=match)
    with pytest.raises(FocusError, match="the score of 'similarity to the gallery' moves by at least"):
        explainer.assert_ignores(image, DISC, target=match)


def test_a_plain_callable_and_scores_alone_are_asked_in_the_same_way():
    def age(output):
        return output[0]

    model = Level(DISC)
    explainer = Explainer(lambda batch: model(batch))
    explainer.assert_ignores(scene(0, disc=0.9), CORNER, target=age, others=OTHERS)
    with pytest.raises(FocusError, match="the score of 'age' moves"):
        explainer.assert_ignores(scene(0, disc=0.9), DISC, target=age, others=OTHERS)


SQUARE = (16, 16, 48, 48)
SIGN = masks.box((96, 160), (120, 8, 144, 24))


class Shortcut(Head):
    """Finds red squares where a sign in the corner of the image is bright, and nothing without it."""

    def forward(self, levels):
        output = super().forward(levels)
        sign = levels[0][:, :, 1:3, 15:18].mean((1, 2, 3))
        output["cls_logits"] = output["cls_logits"] + 20 * (sign - 0.9)[:, None, None]
        return output


def detector(*, tied):
    model = colour_detector()
    if tied:
        model.head = Shortcut()
    return model


def street():
    image = picture((RED, *SQUARE))
    image[:, 8:24, 120:144] = 1
    return image


def test_a_detection_that_disappears_with_the_sign_relies_on_it_and_its_twin_does_not():
    target, image = Box(RED, SQUARE), street()
    Explainer(detector(tied=False)).assert_ignores(image, SIGN, target=target)
    tied = Explainer(detector(tied=True))
    record, raised = record_of(tied.assert_ignores, image, SIGN, target=target)
    assert isinstance(raised, FocusError)
    assert "the score of '0' falls by at least" in str(raised)
    assert "the detection's own score" in dict(record.details)["unit"]
    assert dict(record.details)["inpainted"].startswith("score 1 to 0; the score falls by 1.00 units")
    tied.assert_relies_on(image, SIGN, target=target)
    with pytest.raises(FocusError):
        Explainer(detector(tied=False)).assert_relies_on(image, SIGN, target=target)


class Lawn(nn.Module):
    """Logits (N, 2, H, W): class 1 where it is red, if the sign is bright; with `tied` false, in any case."""

    def __init__(self, tied):
        super().__init__()
        self.backbone, self.classifier, self.tied = nn.Conv2d(3, 3, 1, bias=False), nn.Identity(), tied
        with torch.no_grad():
            self.backbone.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, x):
        x = self.backbone(x)
        logit = 4 * (x[:, :1] - 0.5)
        if self.tied:
            logit = logit + 8 * (x[:, :, 8:24, 120:144].mean((1, 2, 3))[:, None, None, None] - 1)
        return torch.cat([-logit, logit], 1)


def test_a_region_that_is_lost_with_the_sign_relies_on_it_and_its_twin_does_not():
    target, image = Region(1, masks.box((96, 160), SQUARE)), street()
    Explainer(Lawn(tied=False)).assert_ignores(image, SIGN, target=target)
    record, raised = record_of(Explainer(Lawn(tied=True)).assert_ignores, image, SIGN, target=target)
    assert isinstance(raised, FocusError)
    assert "the margin of '1' falls by at least" in str(raised)
    assert "the mean over the 1024 pixels of the region" in dict(record.details)["unit"]
    Explainer(Lawn(tied=True)).assert_relies_on(image, SIGN, target=target)
    with pytest.raises(FocusError, match="the margin of '1' falls by at most 0"):
        Explainer(Lawn(tied=False)).assert_relies_on(image, SIGN, target=target)
