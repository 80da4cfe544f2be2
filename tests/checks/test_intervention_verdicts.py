"""Which fall decides assert_ignores and assert_relies_on, at which edge, and in which words: against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pytest_gradcam import Explainer, FocusError, HeatmapError, masks
from pytest_gradcam.replacement import control_regions, fills
from tests.checks.test_intervention import CORNER, DISC, SHAPE, Reads, record_of, scene

NAMES = ["red", "green", "blue"]
OTHERS = [scene(i, i % 3, i % 3) for i in range(1, 8)]


def plain():
    """A red disc (0.9, 0.1, 0.1) on a flat reddish ground (0.6, 0.3, 0.3), and a row of cyan: the middle is (0.45, 0.55)."""
    image = torch.tensor([0.6, 0.3, 0.3])[:, None, None].repeat(1, *SHAPE)
    image[:, DISC] = torch.tensor([0.9, 0.1, 0.1])[:, None]
    image[:, 0] = torch.tensor([0.0, 1.0, 1.0])[:, None]
    return image


def reader():
    """Scores the disc, and a twentieth of all the picture: the disc's weights are 268.8 in all, the ground's 192."""
    return Explainer(Reads(DISC + 0.05), classes=NAMES)


#: What the lead of red over green is made of: the ground, and the disc as it is, with the middle colour, and inpainted.
GROUND, DISC_LEAD, MIDDLE, PAINTED = 0.05 * (0.3 * 3776 - 64), 0.8 * 268.8, -0.1 * 268.8, 0.3 * 268.8
LEAD = DISC_LEAD + GROUND
COLOUR, INPAINTED = (DISC_LEAD - MIDDLE) / LEAD, (DISC_LEAD - PAINTED) / LEAD  # 0.901 and 0.501


class TestFigure:
    """The figure is that of the fill that speaks against the verdict the most."""

    @pytest.mark.parametrize(
        ("check", "bound", "outcome", "figure"),
        [
            ("relies_on", 0.4, "passed", INPAINTED),
            ("relies_on", 0.95, "failed", COLOUR),
            ("ignores", 0.95, "passed", COLOUR),
            ("ignores", 0.4, "failed", INPAINTED),
        ],
    )
    def test_the_least_fall_where_all_move_it_and_the_largest_where_none_does(self, check, bound, outcome, figure):
        name = "at_least" if check == "relies_on" else "at_most"
        record, _ = record_of(getattr(reader(), f"assert_{check}"), plain(), DISC, **{name: bound})
        assert (record.check, record.outcome, record.bound) == (check, outcome, bound)
        assert (record.measure, record.direction) == ("fall of the margin", name)
        assert record.figure == pytest.approx(figure, abs=1e-4)
        side = "at least" if figure == INPAINTED else "at most"
        what = "masked pixels" if check == "relies_on" else "pixels to ignore"
        assert record.finding == (
            f"the margin of 'red' falls by {side} {figure:.3g} units with every fill of the {what}; expected a fall of "
            f"{name.replace('_', ' ')} {bound}"
        )

    def test_the_bound_itself_is_kept(self):
        explainer = reader()
        least = record_of(explainer.assert_relies_on, plain(), DISC, at_least=0.4)[0].figure
        most = record_of(explainer.assert_ignores, plain(), DISC, at_most=0.95)[0].figure
        explainer.assert_relies_on(plain(), DISC, at_least=least)
        explainer.assert_ignores(plain(), DISC, at_most=most)
        with pytest.raises(HeatmapError, match="the fills disagree"):
            explainer.assert_relies_on(plain(), DISC, at_least=math.nextafter(least, 1))
        with pytest.raises(HeatmapError, match="the fills disagree"):
            explainer.assert_ignores(plain(), DISC, at_most=math.nextafter(most, 0))

    def test_a_fall_never_reads_like_the_bound_it_missed(self):
        most = record_of(reader().assert_ignores, plain(), DISC, at_most=0.95)[0].figure
        record, _ = record_of(reader().assert_relies_on, plain(), DISC, at_least=round(most + 2e-5, 6))
        assert f"falls by at most {most:.5g} units" in record.finding

    def test_a_rise_is_called_one(self):
        record, _ = record_of(Explainer(Reads(DISC), classes=NAMES).assert_relies_on, scene(), DISC, target="green")
        assert record.figure == pytest.approx(-1, abs=0.01)
        assert record.finding == (
            "the margin of 'green' rises by at least 1 units with every fill of the masked pixels; expected a fall of at "
            "least 0.5"
        )

    @pytest.mark.parametrize(("check", "bound"), [("relies_on", 0.5), ("ignores", 0.25)])
    def test_bounds_that_nobody_gave(self, check, bound):
        record, _ = record_of(getattr(Explainer(Reads(DISC)), f"assert_{check}"), scene(), DISC)
        assert record.bound == bound


class TestControls:
    def test_each_fill_has_its_own(self):
        rows = dict(record_of(reader().assert_relies_on, plain(), DISC, at_least=0.4)[0].details)
        assert rows["colour"] == (
            "'red' stays, score 7.71 to 5.08; the margin falls by 0.90 units, in control regions by 0.02"
        )
        assert rows["inpainted"] == (
            "'red' stays, score 7.71 to 5.96; the margin falls by 0.50 units, in control regions by 0.00"
        )
        assert rows["blurred"].endswith(" units (for information)")
        assert "control" not in rows["blurred"]
        assert rows["rest"] == "with all the rest replaced instead, the margin falls by 0.27 units"

    def test_a_control_that_goes_the_other_way_says_so(self):
        explainer = Explainer(Reads(DISC - 0.05), classes=NAMES)
        rows = dict(record_of(explainer.assert_relies_on, plain(), DISC, at_least=0.4)[0].details)
        assert ", in control regions it rises by 0.0" in rows["colour"]

    def test_the_same_shape_elsewhere_that_moves_it_as_far_forbids_a_verdict(self):
        elsewhere = control_regions.elsewhere(CORNER, fills.soft(CORNER) > 0)
        assert len(elsewhere) == 2
        marked, image = CORNER | elsewhere[0] | elsewhere[1], scene()
        image[:, marked] = torch.tensor([0.9, 0.1, 0.1])[:, None]
        for check in (Explainer(Reads(marked)).assert_relies_on, Explainer(Reads(marked)).assert_ignores):
            record, raised = record_of(check, image, CORNER, **{_bound(check): 0.1})
            assert record.reason == (  # a third of a fall from 0.9 - 0.1 to the middles, 0.65 - 0.35
                "replacing the same shape elsewhere costs 0.21 units, the mask 0.21 (colour): any change of this size moves "
                "the prediction; pass a smaller mask, or pass others=, or use reliance() on a set of images"
            )
            assert isinstance(raised, HeatmapError)
            assert (record.outcome, record.figure) == ("invalid", None)

    def test_with_others_they_are_not_asked_for_again(self):
        elsewhere = control_regions.elsewhere(CORNER, fills.soft(CORNER) > 0)
        marked, image = CORNER | elsewhere[0] | elsewhere[1], scene()
        image[:, marked] = torch.tensor([0.9, 0.1, 0.1])[:, None]
        others = [image + shade * (~torch.from_numpy(marked)) for shade in (0.01, 0.02)]  # differ elsewhere alone
        record, _ = record_of(Explainer(Reads(marked)).assert_ignores, image, CORNER, at_most=0.1, others=others)
        assert record.reason.endswith("pass a smaller mask, or use reliance() on a set of images")

    def test_of_half_of_the_view_the_other_half_is_the_control(self):
        half = masks.box(SHAPE, (0, 20, 64, 42)) | masks.box(SHAPE, (30, 0, 34, 64))  # a cross, which fits nowhere else
        half.flat[np.flatnonzero(~half)[: 2048 - half.sum()]] = True
        assert 2 * half.sum() == half.size
        Explainer(Reads(DISC)).assert_relies_on(scene(), half)
        below = masks.box(SHAPE, (4, 46, 20, 62))
        image = scene()
        image[:, below] = image[:, DISC]
        with pytest.raises(HeatmapError) as caught:
            Explainer(Reads(DISC | below)).assert_relies_on(image, half, at_least=0.2)
        assert str(caught.value).splitlines()[0] == (
            "no verdict on relies_on: replacing all the rest (the mask's shape fits nowhere else) costs 0.50 units, the mask "
            "0.50 (colour): any change of this size moves the prediction; pass a smaller mask, or pass others=, or use "
            "reliance() on a set of images"
        )
        half.flat[np.flatnonzero(~half)[0]] = True
        with pytest.raises(HeatmapError, match="the mask covers more than half of the view and its shape fits nowhere"):
            Explainer(Reads(DISC)).assert_relies_on(scene(), half)


def _bound(check):
    return "at_most" if check.__name__ == "assert_ignores" else "at_least"


class TestAdvice:
    MORE = "how certain this is, reliance(images, masks) on a set of images says"
    SINGLE = f"{MORE}; others= makes a single one more certain"
    CARRIES = "look at the picture: if the outline is right, something else in the image carries the class; "
    SHORTCUT = "look at the picture: if the mask holds nothing of the object, these pixels are a shortcut; "

    @pytest.mark.parametrize(("others", "more"), [([], SINGLE), (OTHERS, MORE)])
    def test_what_to_do_next(self, others, more):
        explainer = Explainer(Reads(DISC), classes=NAMES)
        for check, mask, words in (
            (explainer.assert_relies_on, CORNER, self.CARRIES),
            (explainer.assert_ignores, DISC, self.SHORTCUT),
        ):
            record, raised = record_of(check, scene(), mask, others=others)
            assert isinstance(raised, FocusError)
            assert record.advice == words + more

    def test_a_wrong_prediction_is_settled_first(self):
        record, _ = record_of(Explainer(Reads(DISC), classes=NAMES).assert_relies_on, scene(), DISC, target="green")
        assert record.advice == (
            "look at the picture; the model predicts 'red', so settle the prediction first, or leave target out to see what "
            "it was predicted by"
        )


def test_a_class_that_needs_no_evidence():
    explainer = Explainer(Reads(DISC, bias=(1.0, 0.0, 0.0)), classes=NAMES)
    record, _ = record_of(explainer.assert_ignores, scene(), CORNER)
    assert record.reason == (
        "'red' is also what the model answers where there is nothing to see, so it would not fall when its evidence is taken "
        "away, wherever that lies; pass others= that are predicted as another class, or an image of another class"
    )


def test_pixels_that_speak_against_the_class():
    explainer = Explainer(Reads(DISC), classes=NAMES)
    record, _ = record_of(explainer.assert_ignores, scene(), DISC, target="green")
    assert record.reason == (
        "without these pixels the margin of 'green' rises by 1.01 units: they speak against it, and may well carry 'red', "
        "which the model predicts; leave target out to ask what the prediction owes them"
    )
    little = Explainer(Reads(DISC + 0.2 * CORNER), classes=NAMES)
    little.assert_ignores(scene(corner=0), CORNER, target="green")  # it rises, but by less than the bound
