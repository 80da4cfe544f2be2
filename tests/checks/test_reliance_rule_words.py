"""What a verdict on reliance says, to the letter, and the edges of each doubt."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_gradcam.checks import margins
from pytest_gradcam.checks.reliance_rule import Falls, judged

OTHERS = {"colour": "with the mean colour", "inpaint": "with what surrounds them, inpainted"}


def figures(main, around=0.0, intervention="swap", count=20, removed=None, **more):
    """Falls that are all alike: their interval is that of the least spread that counts."""
    others = {name: np.full(count, fall) for name, fall in (removed or {}).items()}
    return Falls(intervention, "why", np.full(count, main), np.full(count, around), others, **more)


class TestDoubts:
    def test_a_model_that_gives_every_image_the_same_scores(self):
        assert judged(figures(0.0, alive=False)).reason == (
            "the model gives every image the same scores, so it ignores them altogether; check the weights"
        )

    def test_too_few_images(self):
        assert judged(figures(0.5, count=1, intervention="colour")).reason == (
            "without the masked pixels the model loses 0.50 of its margin, but with 95 % confidence a side that may be 0.10 to "
            "0.90, which holds the bound of 0.45: one image is too few; pass more images"
        )
        assert judged(figures(0.7, count=2)).reason == (
            "without the masked pixels the model loses 0.70 of its margin, but with 95 % confidence a side that may be 0.25 to "
            "1.15, which holds the bound of 0.5: 2 images are too few, or differ too much; pass more images"
        )

    def test_pixels_around_that_move_it_as_well(self):
        assert judged(figures(1.0, 0.75)).reason == (
            "without the masked pixels the model loses 1.00 of its margin, and 0.75 without those right around the mask: it "
            "touches the object, or the artefact reaches beyond it; correct its outline, or pass more images"
        )

    def test_a_mask_that_may_hold_a_part(self):
        assert judged(figures(0.375, 0.25)).reason == (
            "without the masked pixels the model loses 0.38 of its margin, and 0.25 without those right around the mask: it "
            "may hold only a part of the artefact, or touch the object; correct its outline"
        )

    def test_both_together_up_to_the_bound_are_no_part_of_more(self):
        assert judged(figures(0.375, 0.125)).relies is False
        assert judged(figures(0.375, 0.126)).relies is None

    def test_a_class_that_needs_no_evidence(self):
        assert judged(figures(0.0, intervention="colour", fallback=1.0)).reason == (
            "the images' class is also what the model answers where there is nothing to see, so it would not fall when its "
            "evidence is taken away, wherever that lies; pass images that are predicted as other classes as well"
        )

    def test_one_image_that_loses_nothing(self):
        assert judged(figures(0.0, intervention="colour", count=1)).reason == (
            "one image cannot show that a model ignores a place, since a class may be told by what is missing in a place; "
            "pass images that are predicted as other classes as well"
        )

    def test_one_image_that_was_in_the_balance(self):
        assert judged(figures(2.5, intervention="colour", count=1)).reason == (
            "without the masked pixels the model loses 2.50 of its margin, so it is surer of another class than it was of this "
            "one, which any change may have cost; pass more images"
        )

    def test_a_little_that_is_taken_away(self):
        assert judged(figures(0.25, intervention="paste")).reason == (
            "to take the masked pixels away costs up to 0.29 of the margin, and what another class shows there, which these "
            "images did not bring in, may cost more; pass images that are predicted as other classes, or more images"
        )

    def test_another_way_to_replace_that_says_the_opposite(self):
        assert judged(figures(1.0, intervention="colour", removed={"inpaint": 0.0})).reason == (
            "replaced with the mean colour the masked pixels cost 1.00 of the margin, but 0.00 with what surrounds them, "
            "inpainted: the one may bring the cue back, or the other look unnatural; pass images that differ in these "
            "pixels, or look at the picture"
        )

    @pytest.mark.parametrize("order", [("colour", "inpaint"), ("inpaint", "colour")])
    def test_every_other_way_is_asked(self, order):
        falls = dict(zip(order, (0.0, 1.0), strict=True))
        found = judged(figures(0.0, removed=falls))
        assert found.relies is None
        assert f"but 1.00 {OTHERS[order[1]]}" in found.reason

    def test_what_is_unsure_by_itself_speaks_against_nothing_from_two_images_on(self):
        assert judged(figures(-0.2, count=2, removed={"colour": 0.45})).relies is False
        assert judged(figures(-0.2, count=1, removed={"colour": 0.45})).relies is None


class TestWords:
    def test_of_a_verdict_against(self):
        found = judged(figures(-0.004, 0.0, mean_heat=0.7))
        assert found.verdict == (
            "the model does not rely on the masked pixels: without them it loses 0.00 of its margin (-0.04 to 0.03; "
            "above 0.5 is reliance)"
        )
        assert dict(found.rows())["mean heat"] == "0.70 of the heatmaps' maxima in the mask: does not agree"

    def test_of_a_single_image(self):
        found = judged(figures(1.0, intervention="colour", count=1, removed={"inpaint": 1.0}))
        assert dict(found.rows()) == {
            "effect": "1.00 of the model's mean margin, 0.60 to 1.40 at 95 % a side, bound 0.45",
            "replaced": "with the mean colour: why",
            "around": "0.00 for the pixels right around the mask",
            "otherwise": "1.00 with what surrounds them, inpainted",
            "images": "1",
        }
        assert repr(found) == (
            "Reliance(relies=True, effect=1.000 (0.60 to 1.40), bound=0.45, p_value=none, intervention='colour', images=1)"
        )

    def test_of_images_without_the_artefact(self):
        found = judged(figures(1.25, intervention="paste", without=np.full(20, 0.25)))
        assert found.effect == 1
        assert ("without", "0.25 in the same place of images without the artefact, taken off") in found.rows()
        assert "without" not in dict(judged(figures(1.0, intervention="paste")).rows())

    def test_of_heat_where_there_is_no_verdict(self):
        found = judged(figures(0.5, mean_heat=0.7))
        assert dict(found.rows())["mean heat"] == "0.70 of the heatmaps' maxima in the mask"
        assert "mean heat" not in dict(judged(figures(0.5)).rows())

    def test_heat_at_its_bound_does_not_speak_for_reliance(self):
        assert judged(figures(0.0, mean_heat=margins.MEAN_HEAT)).agreement is True
        assert judged(figures(1.0, mean_heat=margins.MEAN_HEAT)).agreement is False
