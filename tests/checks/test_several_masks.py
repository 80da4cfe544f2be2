"""Several masks at once: which the model relies on, and which cue hides which."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, FocusError, HeatmapError, masks
from pytest_gradcam.checks.several_masks import combined
from tests.checks.test_no_reliance import NONE, STRONG, WEAK_MUCH, found
from tests.checks.test_reliance import CORNER, DISC, SIDE, Reads, scene, scenes

UNDECIDED = found("undecided", 0.05)


@pytest.mark.parametrize(
    ("date", "border", "together", "relies", "weak"),
    [
        (NONE, NONE, NONE, False, False),
        (STRONG, NONE, STRONG, True, False),
        (NONE, NONE, STRONG, True, False),  # each hides the other
        (WEAK_MUCH, NONE, WEAK_MUCH, True, True),
        (WEAK_MUCH, NONE, STRONG, True, False),
        (NONE, UNDECIDED, NONE, None, False),
        (NONE, NONE, UNDECIDED, None, False),
        (STRONG, UNDECIDED, UNDECIDED, True, False),
    ],
)
def test_the_model_relies_on_one_or_on_all_together_or_on_none(date, border, together, relies, weak):
    verdict = combined({"date": date, "border": border}, together, {"date": border, "border": date})
    assert (verdict.relies, verdict.weak) == (relies, weak)
    assert verdict.alone == {"date": date, "border": border}
    assert (verdict.reason != "") is (relies is None)
    if relies is None:
        assert "why not" in verdict.reason


def test_what_a_mask_adds_is_what_all_lose_less_what_the_others_do():
    verdict = combined({"date": NONE, "border": NONE}, STRONG, {"date": NONE, "border": STRONG})
    more, (low, high) = verdict.added["date"]
    assert more == pytest.approx(0.38)
    assert (low, high) == pytest.approx((0.38 - 0.05 * 2**0.5, 0.38 + (0.05**2 + 0.02**2) ** 0.5))
    assert verdict.added["border"][0] == 0


def test_masks_without_exchanged_decisions_add_nothing_known():
    from dataclasses import replace

    bare = replace(NONE, lost=None)
    assert combined({"date": bare}, STRONG, {"date": bare}).added == {"date": None}


def test_what_was_lost_in_different_ways_is_not_subtracted():
    from dataclasses import replace

    removed = replace(NONE, lost=replace(NONE.lost, way="replaced with the mean colour"))
    assert combined({"date": removed}, STRONG, {"date": removed}).added == {"date": None}


def test_the_words_name_the_masks():
    verdict = combined({"date": NONE, "border": STRONG}, STRONG, {"date": STRONG, "border": NONE})
    assert verdict.verdict.startswith(
        "the model relies on the masked pixels of 'border': if they were exchanged, accuracy would fall by about 0.40 "
    )
    shown = [phrase for label, phrase in verdict.rows() if label == "mask"]
    assert shown == [
        "date: does not rely alone, 0.02 of accuracy, 0.00 to 0.07 at 90 %, 0.00 (0.00 to 0.07) beyond the others",
        "border: relies alone, 0.40 of accuracy, 0.35 to 0.45 at 90 %, 0.38 (0.31 to 0.43) beyond the others",
    ]


PATCH = masks.box((SIDE, SIDE), (0, 24, 8, 32))


class EitherPlace(nn.Module):
    """Sees a class if the corner or the patch shows it: each cue hides the other."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[:, :, None, None])
            self.features.bias.zero_()

    def forward(self, x):
        seen = self.features(x)
        return 10 * torch.maximum(3 * seen[:, :, 24:, 24:].mean((2, 3)), 4 * seen[:, :, 24:, :8].mean((2, 3)))


def test_a_cue_that_hides_another():
    images = [scene(i, (i // 2) % 2, i % 2) for i in range(24)]
    for image in images:
        image[:, PATCH] = image[:, CORNER]
    verdict = Explainer(EitherPlace()).reliance(images, {"corner": CORNER, "patch": PATCH, "disc": DISC})
    assert verdict.relies is True
    assert verdict.alone["disc"].relies is False
    assert verdict.loss == 1
    assert verdict.added["disc"][0] == 0
    assert verdict.added["patch"][0] > verdict.alone["patch"].loss - 1e-9


def test_one_named_mask_is_that_mask():
    one = Explainer(Reads(CORNER)).reliance(scenes(), {"corner": CORNER})
    assert one.relies is True
    assert one.alone["corner"] == Explainer(Reads(CORNER)).reliance(scenes(), CORNER)
    assert one.added == {}


def test_the_assertion_names_the_mask():
    Explainer(Reads(DISC)).assert_no_reliance(scenes(), {"corner": CORNER, "patch": PATCH})
    with pytest.raises(FocusError, match="relies on the masked pixels of 'corner'"):
        Explainer(Reads(CORNER)).assert_no_reliance(scenes(), {"corner": CORNER, "patch": PATCH})


@pytest.mark.parametrize(
    ("several", "without", "reason"),
    [
        ({}, None, "masks is empty; expected masks by their names"),
        ({"corner": CORNER, "disc": DISC}, scenes(2), "without= and pairs= take one mask at a time"),
        ({"corner": CORNER, "rest": ~CORNER}, None, "the masks together cover the whole view"),
        ({"corner": CORNER, "two": [CORNER, DISC]}, None, "there are 2 masks for 12 images"),
    ],
)
def test_masks_that_cannot_be_used(several, without, reason):
    with pytest.raises(HeatmapError, match=reason):
        Explainer(Reads(CORNER)).reliance(scenes(), several, without=without)
