"""The verdict on reliance from figures alone: each way to decide it, and each way not to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pytest_gradcam import HeatmapError, Reliance
from pytest_gradcam.checks import loss, margins, reliance_rule
from pytest_gradcam.checks.doubts import Falls
from pytest_gradcam.checks.loss import THROUGH, Exchanged, Loss, estimated
from pytest_gradcam.checks.outline import Fault
from pytest_gradcam.checks.reliance_rule import finite, judged
from tests.checks.test_loss import every, exchange


def falls(mean, count=20, spread=0.2):
    """Falls with exactly this mean and standard deviation."""
    steps = np.linspace(-1, 1, count)
    return mean + spread * steps / steps.std(ddof=1) if count > 1 else np.array([mean])


def figures(main, around=0.0, intervention="swap", count=20, **more):
    removed = {} if intervention == "colour" else {"colour": falls(main / 2, count)}
    given = {"removed": removed, **more}
    return Falls(intervention, "why", falls(main, count), falls(around, count), **given)


@pytest.mark.parametrize("intervention", list(margins.BOUNDS))
def test_the_lower_bound_decides_for_and_the_upper_against(intervention):
    bound, reach = margins.BOUNDS[intervention], 1.7291 * 0.2 / np.sqrt(20)  # t of 19 degrees of freedom, one-sided
    no = -reach - (0 if intervention in ("pair", "swap") else bound / 2)  # what only takes away has to be clearer
    for mean, expected in ((reach + 1e-3, True), (reach - 1e-3, None), (no + 1e-3, None), (no - 1e-3, False)):
        found = judged(figures(bound + mean, intervention=intervention, removed={}))
        assert found.relies is expected, mean
        assert found.bound == bound
        assert found.interval == pytest.approx((bound + mean - reach, bound + mean + reach), abs=1e-4)
        assert (found.p_value < 0.05) is (expected is True)
        assert (found.p_value > 0.95) is (found.interval[1] < bound)


@pytest.mark.parametrize("intervention", ["paste", "colour", "inpaint"])
def test_a_loss_that_no_other_class_brought_about_may_be_more_than_it_seems(intervention):
    found = judged(figures(0.3, intervention=intervention, removed={}))
    assert found.relies is None
    assert "costs up to 0.38 of the margin" in found.reason
    assert "pass images that are predicted as other classes, or more images" in found.reason
    assert judged(figures(0.1, intervention=intervention, removed={})).relies is False


def test_the_mean_colour_alone_does_not_clear_images_that_are_all_of_one_class():
    found = judged(figures(0.05, intervention="colour", alike=True))
    assert found.relies is None
    assert "all images are of one class, so they bring in no other pixels" in found.reason
    assert judged(figures(0.05, intervention="colour")).relies is False
    assert judged(figures(0.05, intervention="paste", alike=True)).relies is False
    assert judged(figures(0.9, intervention="colour", alike=True)).relies is True


def test_it_is_no_truth_value():
    found = judged(figures(0.0))
    with pytest.raises(HeatmapError, match="a Reliance is neither true nor false; ask for its `relies`"):
        assert found


def test_another_bound():
    assert judged(figures(0.7), 0.9).relies is False
    assert judged(figures(0.7), 0.5).relies is True
    assert judged(figures(0.7), 0.9).bound == 0.9


def test_too_few_images_say_so():
    found = judged(figures(0.7, count=2))
    assert found.relies is None
    assert "which contains the bound of 0.5: 2 images are too few" in found.reason
    assert found.verdict.startswith(
        "undecided whether the model relies on the masked pixels: without the masked pixels"
    )


def test_a_model_that_ignores_its_input_is_no_model_that_ignores_the_place():
    found = judged(figures(0.0, alive=False))
    assert found.relies is None
    assert "ignores them altogether" in found.reason


@pytest.mark.parametrize("main", [1.0, 2.0])
@pytest.mark.parametrize(("beyond", "expected"), [(0.26, True), (0.25, None), (-0.4, None)])
def test_reliance_is_what_the_mask_costs_beyond_the_pixels_around_it(main, beyond, expected):
    reach = 1.7291 * 0.1 / np.sqrt(20)  # falls that differ by as much in all images still spread by 0.1
    found = judged(figures(main, main - beyond - reach))
    assert found.relies is expected
    if expected is None:
        assert f"loses {main:.2f} of its margin, and {main - beyond - reach:.2f} without those right" in found.reason
        assert "it touches the object, or the artefact reaches beyond it" in found.reason


def test_an_object_that_counts_as_well_does_not_hide_a_background_that_counts_more():
    assert judged(figures(1.1, 0.55)).relies is True  # the object is all that lies around a background
    assert judged(figures(0.7, 0.45)).relies is None  # the object of a clean model, and a mask across it


def test_a_difference_that_varies_from_image_to_image_is_less_sure():
    order = np.random.default_rng(0).permutation(20)
    assert judged(figures(1.0, 0.65)).relies is True
    assert judged(replace(figures(1.0), around=falls(0.65, spread=0.4)[order])).relies is None


@pytest.mark.parametrize(("core", "expected"), [(0.59, True), (0.57, None), (-1.0, None)])
def test_a_mask_of_most_of_the_view_that_costs_as_much_without_its_outline_needs_no_surroundings(core, expected):
    found = judged(figures(1.0, 0.9, core=falls(core)))  # the lower bound lies 0.077 below
    assert found.relies is expected
    assert found.core == pytest.approx(core)
    assert ("correct its outline" in found.reason) is (expected is None)
    assert ("core", f"{core:.2f} for the mask without its outline") in found.rows()


def test_the_core_alone_bears_no_verdict():
    assert judged(figures(0.1, 0.1, core=falls(0.9))).relies is False
    assert judged(figures(0.55, 0.1, core=falls(0.9))).relies is None
    assert judged(figures(1.0, core=falls(0.0))).relies is True


def test_the_core_is_held_to_the_bound_that_was_asked_for_and_to_the_donors():
    assert judged(figures(1.0, 0.9, core=falls(0.7)), 0.5).relies is True
    assert judged(figures(1.0, 0.9, core=falls(0.7)), 0.7).relies is None
    assert judged(figures(1.0, 0.9, core=falls(0.6), worth=5)).relies is None


def test_few_donors_leave_it_open_what_the_mask_costs_beyond_the_pixels_around_it():
    assert judged(figures(1.4, 1.05, worth=12)).relies is True
    assert judged(figures(1.4, 1.05, worth=4)).relies is None


@pytest.mark.parametrize(
    ("main", "around", "expected"),
    [
        (0.36, 0.7, None),
        (0.36, 0.2, None),
        (0.36, 0.1, False),
        (0.3, 0.7, False),
    ],
)
def test_pixels_around_that_matter_make_it_doubtful_that_a_little_is_nothing(main, around, expected):
    found = judged(figures(main, around))
    assert found.relies is expected
    if expected is None:
        assert "it may contain only a part of the artefact" in found.reason


@pytest.mark.parametrize("intervention", ["swap", "paste"])
def test_the_mean_colour_speaks_against_a_swap_that_shows_nothing(intervention):
    hidden = figures(0.0, intervention=intervention, removed={"colour": falls(1.0)})
    found = judged(hidden)
    assert found.relies is None
    assert "cost 0.00 of the margin, but 1.00 with the mean colour" in found.reason
    unsure = judged(replace(hidden, removed={"colour": falls(0.45)}))  # undecided by itself
    assert unsure.relies is (False if intervention == "swap" else None)  # a paste may bring the same cue back
    assert judged(replace(hidden, removed={"colour": falls(0.0)})).relies is False
    shown = figures(1.0, intervention=intervention, removed={"colour": falls(0.0)})
    assert judged(shown).relies is True


@pytest.mark.parametrize("intervention", list(margins.BOUNDS))
@pytest.mark.parametrize(("fallback", "clear"), [(0.5, True), (0.51, False), (1.0, False)])
def test_a_class_that_needs_no_evidence_is_never_shown_not_to_rely(intervention, fallback, clear):
    still = judged(figures(0.0, intervention=intervention, removed={}, fallback=fallback))
    assert still.relies is (False if clear or intervention == "swap" else None)
    assert still.relies is False or "for a blank image" in still.reason
    assert judged(figures(1.0, intervention=intervention, removed={}, fallback=fallback)).relies is True


def test_inpainting_speaks_against_the_mean_colour_both_ways():
    for main, other in ((1.0, 0.0), (0.0, 1.0)):
        found = judged(figures(main, intervention="colour", removed={"inpaint": falls(other)}))
        assert found.relies is None
        assert "one may bring the cue back, or the other may look unnatural" in found.reason
    assert judged(figures(1.0, intervention="colour", removed={"inpaint": falls(0.4)})).relies is True


@pytest.mark.parametrize(
    ("main", "other", "expected"),
    [(1.0, 1.0, True), (2.0, 2.0, True), (2.1, 2.1, None), (1.0, 0.6, None), (0.5, 0.5, None), (0.0, 0.0, None)],
)
def test_one_image_needs_a_clear_figure_both_ways_and_never_shows_a_no(main, other, expected):
    one = figures(main, intervention="colour", count=1, removed={"inpaint": falls(other, 1)})
    found = judged(one)
    assert found.relies is expected
    assert found.p_value is None
    assert found.images == 1
    if main == 0:
        assert "a class may be recognised by what is missing there" in found.reason
    if main > 2:
        assert "more certain of another class than it was of this one" in found.reason


def test_only_of_one_image_does_a_fall_of_more_than_its_lead_twice_say_nothing():
    assert judged(figures(2.1, intervention="colour", count=2, removed={"inpaint": falls(2.1, 2)})).relies is True


def test_few_donors_widen_the_interval():
    assert judged(figures(0.7)).relies is True
    assert judged(figures(0.7, worth=3)).relies is None


def test_images_without_the_artefact_take_their_own_fall_off():
    assert judged(figures(1.0, intervention="paste")).relies is True
    found = judged(figures(1.0, intervention="paste", without=falls(0.95), removed={"colour": falls(0.0)}))
    assert found.relies is False
    assert found.effect == pytest.approx(0.05)
    assert found.without == pytest.approx(0.95)
    assert judged(figures(1.2, intervention="paste", without=falls(0.2))).relies is True
    assert judged(figures(1.2, 0.4, intervention="paste", without=falls(0.2))).relies is True
    assert judged(figures(1.2, 0.5, intervention="paste", without=falls(0.5))).relies is None


@pytest.mark.parametrize(
    ("heat", "main", "agreement"),
    [(0.5, 1.0, True), (0.2, 1.0, False), (0.2, 0.0, True), (0.5, 0.0, False), (None, 0, None)],
)
def test_the_heatmap_is_information(heat, main, agreement):
    found = judged(figures(main, mean_heat=heat))
    assert found.agreement is agreement
    assert found.relies is (main == 1.0)


def test_no_verdict_agrees_with_nothing():
    assert judged(figures(0.5, mean_heat=0.9)).agreement is None


def test_it_says_itself():
    found = judged(figures(1.0, 0.1, mean_heat=0.7))
    assert repr(found) == (
        "Reliance(relies=True, effect=1.000 (0.92 to 1.08), bound=0.5, p_value=4.2e-10, intervention='swap', images=20)"
    )
    assert found.verdict == (
        "the model relies on the masked pixels: without them it loses 1.00 of its margin (0.92 to 1.08; "
        "above 0.5 is reliance)"
    )
    assert dict(found.rows()) == {
        "effect": "1.00 of the model's mean margin, 0.92 to 1.08 at 95 % on each side, bound 0.5, p 4.2e-10",
        "replaced": "with pixels of images predicted as another class: why",
        "around": "0.10 for the pixels right around the mask",
        "otherwise": "0.50 with the mean colour",
        "mean heat": "0.70 of the heatmaps' maxima in the mask: agrees",
        "images": "20",
    }
    assert all(len(label) <= 10 for label, _ in found.rows())
    assert "does not rely" in judged(figures(0.0)).verdict
    assert "reason='without the masked pixels" in repr(judged(figures(0.5)))


def test_a_picture_needs_an_explainer():
    found = judged(figures(1.0))
    assert isinstance(found, Reliance)
    with pytest.raises(HeatmapError, match="this Reliance was not made by an explainer"):
        _ = found.picture
    said = []
    drawn = replace(found, draw=lambda title, lines: said.append((title, lines)) or Image.new("RGB", (4, 4)))
    assert drawn.picture.size == (4, 4)
    assert said[0][0] == found.verdict
    assert drawn == found


def test_images_to_which_nothing_was_done_do_not_count():
    np.testing.assert_array_equal(finite(np.array([0.5, np.nan, 1.0])), [0.5, 1.0])


OTHERS = {"colour": "with the mean colour", "inpaint": "with what surrounds them, inpainted"}


def level_figures(main, around=0.0, intervention="swap", count=20, removed=None, **more):
    """Falls that are all alike: their interval is that of the least spread that counts."""
    others = {name: np.full(count, fall) for name, fall in (removed or {}).items()}
    return Falls(intervention, "why", np.full(count, main), np.full(count, around), others, **more)


class TestDoubts:
    def test_a_model_that_gives_every_image_the_same_scores(self):
        assert judged(level_figures(0.0, alive=False)).reason == (
            "the model gives every image the same scores, so it ignores them altogether; check the weights"
        )

    def test_too_few_images(self):
        assert judged(level_figures(0.5, count=1, intervention="colour")).reason == (
            "without the masked pixels the model loses 0.50 of its margin, but the true loss may be anywhere from 0.10 to "
            "0.90 (95 % confidence on each side), which contains the bound of 0.45: one image is too few; pass more images"
        )
        assert judged(level_figures(0.7, count=2)).reason == (
            "without the masked pixels the model loses 0.70 of its margin, but the true loss may be anywhere from 0.25 to "
            "1.15 (95 % confidence on each side), which contains the bound of 0.5: "
            "2 images are too few, or differ too much; pass more images"
        )

    def test_pixels_around_that_move_it_as_well(self):
        assert judged(level_figures(1.0, 0.75)).reason == (
            "without the masked pixels the model loses 1.00 of its margin, and 0.75 without those right around the mask: it "
            "touches the object, or the artefact reaches beyond it; correct its outline, or pass more images"
        )

    def test_a_mask_that_may_hold_a_part(self):
        assert judged(level_figures(0.375, 0.25)).reason == (
            "without the masked pixels the model loses 0.38 of its margin, and 0.25 without those right around the mask: it "
            "may contain only a part of the artefact, or touch the object; correct its outline"
        )

    def test_both_together_up_to_the_bound_are_no_part_of_more(self):
        assert judged(level_figures(0.375, 0.125)).relies is False
        assert judged(level_figures(0.375, 0.126)).relies is None

    def test_a_class_that_needs_no_evidence(self):
        assert judged(level_figures(0.0, intervention="colour", fallback=1.0)).reason == (
            "the model predicts this class for a blank image as well, so the margin would not fall wherever the "
            "evidence was removed; pass images that are predicted as other classes as well"
        )

    def test_one_image_that_loses_nothing(self):
        assert judged(level_figures(0.0, intervention="colour", count=1)).reason == (
            "one image cannot show that a model ignores these pixels, since a class may be recognised by what is missing there; "
            "pass images that are predicted as other classes as well"
        )

    def test_one_image_that_was_in_the_balance(self):
        assert judged(level_figures(2.5, intervention="colour", count=1)).reason == (
            "without the masked pixels the model loses 2.50 of its margin, so it is now more certain of another "
            "class than it was of this one, which any change may have caused; pass more images"
        )

    def test_a_little_that_is_taken_away(self):
        assert judged(level_figures(0.25, intervention="paste")).reason == (
            "removing the masked pixels costs up to 0.29 of the margin, and the pixels of another class, which these "
            "images did not bring in, may cost more; pass images that are predicted as other classes, or more images"
        )

    def test_another_way_to_replace_that_says_the_opposite(self):
        assert judged(level_figures(1.0, intervention="colour", removed={"inpaint": 0.0})).reason == (
            "replaced with the mean colour the masked pixels cost 1.00 of the margin, but 0.00 with what surrounds them, "
            "inpainted: one may bring the cue back, or the other may look unnatural; pass images that differ in these "
            "pixels, or look at the picture"
        )

    @pytest.mark.parametrize("order", [("colour", "inpaint"), ("inpaint", "colour")])
    def test_every_other_way_is_asked(self, order):
        falls = dict(zip(order, (0.0, 1.0), strict=True))
        found = judged(level_figures(0.0, removed=falls))
        assert found.relies is None
        assert f"but 1.00 {OTHERS[order[1]]}" in found.reason

    def test_what_is_unsure_by_itself_speaks_against_nothing_from_two_images_on(self):
        assert judged(level_figures(-0.2, count=2, removed={"colour": 0.45})).relies is False
        assert judged(level_figures(-0.2, count=1, removed={"colour": 0.45})).relies is None


class TestWords:
    def test_of_copies(self):
        assert dict(judged(level_figures(0.0, copies=3)).rows())["images"].endswith(": 3 copies do not count")

    def test_of_a_verdict_against(self):
        found = judged(level_figures(-0.004, 0.0, mean_heat=0.7))
        assert found.verdict == (
            "the model does not rely on the masked pixels: without them it loses 0.00 of its margin (-0.04 to 0.03; "
            "above 0.5 is reliance)"
        )
        assert dict(found.rows())["mean heat"] == "0.70 of the heatmaps' maxima in the mask: does not agree"

    def test_of_a_single_image(self):
        found = judged(level_figures(1.0, intervention="colour", count=1, removed={"inpaint": 1.0}))
        assert dict(found.rows()) == {
            "effect": "1.00 of the model's mean margin, 0.60 to 1.40 at 95 % on each side, bound 0.45",
            "replaced": "with the mean colour: why",
            "around": "0.00 for the pixels right around the mask",
            "otherwise": "1.00 with what surrounds them, inpainted",
            "images": "1",
        }
        assert repr(found) == (
            "Reliance(relies=True, effect=1.000 (0.60 to 1.40), bound=0.45, p_value=none, intervention='colour', images=1)"
        )

    def test_of_images_without_the_artefact(self):
        found = judged(level_figures(1.25, intervention="paste", without=np.full(20, 0.25)))
        assert found.effect == 1
        assert ("without", "0.25 for the same pixels of images without the artefact, subtracted") in found.rows()
        assert "without" not in dict(judged(level_figures(1.0, intervention="paste")).rows())

    def test_of_heat_where_there_is_no_verdict(self):
        found = judged(level_figures(0.5, mean_heat=0.7))
        assert dict(found.rows())["mean heat"] == "0.70 of the heatmaps' maxima in the mask"
        assert "mean heat" not in dict(judged(level_figures(0.5)).rows())

    def test_heat_at_its_bound_does_not_speak_for_reliance(self):
        assert judged(level_figures(0.0, mean_heat=margins.MEAN_HEAT)).agreement is True
        assert judged(level_figures(1.0, mean_heat=margins.MEAN_HEAT)).agreement is False


def exchanged(lost, continuity=0.0):
    """Exchanges between 25 images of each of two classes, after which one decision in so many is lost; None: none."""
    moved = every(1, 0.0) if lost is None else every(lost, 1.5)
    return Exchanged(exchange((25, 25), moved), continuity=continuity)


def by_loss(lost, main, around=0.0, *, continuity=0.0, **more):
    return judged(figures(main, around, exchanged=exchanged(lost, continuity), **more))


@pytest.fixture
def claims(monkeypatch):
    """What is claimed from the exchanged decisions, whatever they were."""

    def claim(words, reason=""):
        lost = Loss(words, 0.07, (0.03, 0.12), reason, p_value=0.03)
        monkeypatch.setattr(reliance_rule, "estimated", lambda _: lost)

    return claim


class TestExchangedDecisions:
    """The loss of decisions decides, and the fall of the margin where it shows more."""

    def test_many_lost_decisions_are_reliance_whatever_the_margin(self):
        found = by_loss(2, 0.0)
        assert (found.relies, found.weak, found.claim, found.reason) == (True, False, "relies", "")
        assert found.lost.by_margin is False
        assert found.loss == 0.5
        assert found.p_value == found.lost.p_value < 0.01
        assert found.verdict.startswith(
            "the model relies on the masked pixels: if they were exchanged, accuracy would fall by about 0.50"
        )
        assert "bound" not in dict(found.rows())["effect"]
        assert found.figure == found.lost.decisive >= found.loss

    def test_its_figures_are_those_of_the_loss(self):
        found, lost = by_loss(2, 0.0), estimated(exchanged(2))
        assert (found.loss, found.loss_interval, found.by_class) == (lost.estimate, lost.interval, lost.by_class)
        assert found.matrix == lost.matrix
        assert set(found.matrix) == {("0", "1"), ("1", "0")}
        assert replace(found, lost=replace(lost, worst="images of '0' lose all")).worst == "images of '0' lose all"
        assert set(lost.rows()) <= set(found.rows())

    def test_without_exchanged_decisions_there_are_none(self):
        found = judged(figures(0.0))
        assert (found.loss, found.loss_interval, found.by_class, found.matrix, found.worst) == (None, None, {}, {}, "")

    def test_no_lost_decision_and_no_fall_is_a_no(self):
        found = by_loss(None, 0.0)
        assert (found.relies, found.weak, found.claim, found.reason) == (False, False, "does not rely", "")
        assert found.p_value > 0.5
        assert (found.loss, found.loss_interval[0], found.figure) == (0, 0, 0)

    def test_a_fall_of_the_margin_above_its_bound_is_reliance_whatever_the_decisions(self):
        found = by_loss(None, 0.9)
        assert found.lost.claim == "relies"
        assert (found.relies, found.weak, found.claim, found.reason) == (True, False, "relies", "")
        assert found.lost.by_margin is True
        assert found.p_value == judged(figures(0.9)).p_value < 0.01
        assert found.verdict.endswith("above 0.5 is reliance), and 0.00 of accuracy")

    def test_of_a_weak_claim_it_makes_a_strong_one(self, claims):
        claims("relies weakly")
        assert by_loss(None, 0.2).claim == "relies weakly"
        assert by_loss(None, 0.2).weak is True
        found = by_loss(None, 0.9)
        assert (found.claim, found.weak, found.relies) == ("relies", False, True)

    def test_a_doubt_about_the_margin_takes_nothing_from_a_weak_claim(self, claims):
        claims("relies weakly")
        found = by_loss(None, 0.5)
        assert (found.claim, found.weak, found.reason) == ("relies weakly", True, "")

    def test_where_the_scene_shows_through_the_control_says_more_than_the_margin(self):
        assert by_loss(None, 0.9, continuity=THROUGH).relies is True  # up to there it is hidden
        found = by_loss(None, 0.9, continuity=THROUGH + 0.01)
        assert (found.relies, found.lost.by_margin) == (False, False)

    def test_a_margin_that_may_lie_beyond_its_bound_leaves_a_no_open(self):
        found = by_loss(None, 0.5)
        assert (found.relies, found.claim) == (None, "undecided")
        assert found.reason == judged(figures(0.5)).reason
        assert "which contains the bound of 0.5" in found.reason

    def test_and_says_that_the_outline_is_in_doubt_where_it_is(self):
        found = by_loss(None, 0.9, 0.8)
        assert found.relies is None
        assert "correct its outline" in found.reason

    def test_a_margin_that_is_open_but_low_does_not(self):
        low = margins.PART * margins.BOUNDS["swap"]
        wide = {"main": falls(low, spread=1.0), "around": falls(0.0)}
        open_but_low = replace(figures(0.0, removed={}, exchanged=exchanged(None)), **wide)
        assert judged(replace(open_but_low, exchanged=None)).relies is None
        assert judged(open_but_low).relies is False

    def test_what_the_decisions_leave_open_keeps_their_reason(self, claims):
        claims("undecided", "too few images of a class")
        assert by_loss(None, 0.0).reason == by_loss(None, 0.5).reason == "too few images of a class"
        assert by_loss(None, 0.5).relies is None
        assert "correct its outline" in by_loss(None, 0.9, 0.8).reason  # more images would not mend that

    def test_a_mask_that_misses_a_part_of_the_artefact_is_no_ground_for_a_no(self):
        small = Fault("too small", 3)
        found = by_loss(None, 0.0, fault=small)
        assert (found.relies, found.reason, found.fault) == (None, small.sentence, small.sentence)
        assert ("mask", small.sentence) in found.rows()
        assert by_loss(2, 0.0, fault=small).relies is True
        wide = Fault("too wide", 3)
        found = by_loss(None, 0.0, fault=wide)
        assert (found.relies, found.reason, found.fault) == (False, "", wide.sentence)

    def test_the_mean_colour_that_costs_more_than_the_bound_speaks_against_a_no(self):
        found = by_loss(None, 0.0, removed={"colour": falls(1.0)})
        assert found.relies is None
        assert "cost 0.00 of the margin, but 1.00 with the mean colour" in found.reason
        assert by_loss(None, 0.0, removed={"colour": falls(0.0)}).relies is False
        assert by_loss(2, 0.0, removed={"colour": falls(0.0)}).relies is True

    def test_a_bound_that_was_asked_for_makes_it_a_verdict_on_the_margin(self):
        given = figures(0.3, exchanged=exchanged(2))
        assert judged(given).relies is True
        found = judged(given, 0.5)
        assert (found.relies, found.lost, found.loss, found.by_class) == (False, None, None, {})

    def test_a_model_that_ignores_its_input_has_no_decisions_to_lose(self):
        found = by_loss(None, 0.0, alive=False)
        assert (found.relies, found.lost) == (None, None)
        assert "ignores them altogether" in found.reason

    def test_the_heatmap_is_held_against_the_verdict(self):
        assert by_loss(2, 0.0, mean_heat=0.9).agreement is True
        assert by_loss(2, 0.0, mean_heat=0.1).agreement is False
        assert by_loss(None, 0.0, mean_heat=0.1).agreement is True
        assert by_loss(None, 0.5, mean_heat=0.9).agreement is None

    def test_it_says_itself(self):
        found = by_loss(2, 0.0)
        low, high = found.loss_interval
        assert repr(found).startswith(f"Reliance(relies=True, loss=0.500 ({low:.2f} to {high:.2f}), effect=0.000 (")
        assert "bound=" not in repr(found)
        assert "weak=True" in repr(replace(found, weak=True))


class TestRemovedMark:
    """A mark that is the same in all images is removed. That may show a weak reliance, where it shows no strong one."""

    def found(self, main=0.4, around=0.0, other=0.4, lost=5, **more):
        given = {"costs": np.r_[np.full(lost, 0.9), np.zeros(20 - lost)], "alike": True, **more}
        return judged(level_figures(main, around, "colour", removed={"inpaint": other}, **given))

    def test_lost_decisions_and_a_margin_that_falls_either_way(self):
        found = self.found()
        assert (found.relies, found.weak, found.claim, found.reason) == (True, True, "relies weakly", "")
        assert (found.loss, found.effect, found.intervention) == (pytest.approx(0.225), pytest.approx(0.4), "colour")
        assert found.by_loss
        assert found.figure == found.loss
        assert found.verdict == (
            "the model relies weakly on the masked pixels: if they were replaced with the mean colour, accuracy would fall by "
            "about 0.23 (0.09 to 0.41)"
        )
        assert found.p_value < 0.01

    REACH = 1.7291 * 0.1 / np.sqrt(20)  # falls that are all alike still spread by 0.1

    @pytest.mark.parametrize(
        "more",
        [
            {"lost": 0},
            {"lost": 1},
            {"main": loss.FALL_ALONE + REACH - 1e-4},
            {"around": 0.4 - loss.FALL_ALONE - REACH + 1e-4},
            {"other": loss.WEAK_FALL + REACH - 1e-4},
            {"costs": None},
            {"alive": False},
        ],
    )
    def test_each_is_needed(self, more):
        found = self.found(**more)
        assert (found.relies, found.weak, found.lost) == (None, False, None)

    def test_just_enough(self):
        figures = {"main": loss.FALL_ALONE, "other": loss.WEAK_FALL}
        assert self.found(**{name: least + self.REACH + 1e-4 for name, least in figures.items()}).weak
        assert self.found(around=0.4 - loss.FALL_ALONE - self.REACH - 1e-4).weak

    def test_a_strong_claim_stays_one_and_a_doubt_about_it_a_doubt(self):
        assert (self.found(0.9, other=0.9).claim, self.found(0.9, other=0.9).lost) == ("relies", None)
        assert self.found(0.9, other=0.3).claim == "undecided"  # inpainting contradicts it
        assert self.found(0.9, 0.75, other=0.9).claim == "undecided"  # so do the pixels around it

    def test_two_images_show_nothing(self):
        costs = np.full(2, 0.9)
        assert judged(level_figures(0.4, 0.0, "colour", 2, removed={"inpaint": 0.4}, costs=costs)).lost is None

    def test_a_bound_that_was_asked_for_decides_by_itself(self):
        given = level_figures(0.4, 0.0, "colour", removed={"inpaint": 0.4}, costs=np.full(20, 0.9))
        assert judged(given, 0.6).claim != "relies weakly"
        assert judged(given, 0.3).claim == "relies"


class TestSeveralMasks:
    def found(self):
        lost, none = by_loss(2, 0.0), by_loss(None, 0.0)
        added = {"mark": (0.5, (0.4, 0.6)), "edge": None}
        return replace(lost, alone={"mark": by_loss(2, 0.1), "edge": none, "text": judged(figures(0.0))}, added=added)

    def test_those_that_it_relies_on_are_named(self):
        assert "relies on the masked pixels of 'mark': if they were" in self.found().verdict
        both = replace(self.found(), alone={"mark": by_loss(2, 0.0), "edge": by_loss(2, 0.0)})
        assert "relies on the masked pixels of 'mark' and 'edge': if" in both.verdict

    def test_each_has_a_row(self):
        rows = [phrase for label, phrase in self.found().rows() if label == "mask"]
        assert [row.split(",")[0] for row in rows] == [
            "mark: relies alone",
            "edge: does not rely alone",
            "text: does not rely alone",
        ]
        assert rows[0].endswith(" at 90 %, 0.50 (0.40 to 0.60) beyond the others")
        assert rows[1].endswith(" at 90 %")

    def test_the_figure_is_that_of_the_one_that_loses_most(self):
        found = self.found()
        assert found.figure == found.lost.decisive
        more = replace(found.lost, estimate=0.9)
        assert replace(found, alone={"mark": replace(found, lost=more)}).figure == 0.9
