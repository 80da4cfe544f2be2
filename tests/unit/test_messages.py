"""Every sentence and row of a message, to the letter."""

from dataclasses import replace

import pytest

from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record

WITHIN = Record(
    check="focus_within", measure="relevance mass", outcome="failed", figure=0.25, bound=0.5, mask_area=0.1, mass=0.25
)
AVOIDS = replace(WITHIN, check="focus_avoids", direction="at_most", bound=0.1)
PEAK = Record(
    check="peak_within", measure="distance of the peak from the mask", figure=3.0, bound=0.0, direction="at_most"
)
LIFT = replace(WITHIN, measure="lift", figure=2.5, bound=5.0)


class TestNumbers:
    @pytest.mark.parametrize(
        ("value", "unlike", "text"),
        [
            (0.123456, None, "0.123"),
            (0.123456, 0.5, "0.123"),
            (0.123456, 0.123456, "0.123"),
            (0.123456, 0.1234, "0.1235"),
            (2.0, None, "2"),
            (1 / 3, 0.3333333333333333 - 2**-54, "0.3333333333333333"),
        ],
    )
    def test_three_digits_or_as_many_as_tell_it_apart(self, value, unlike, text):
        assert messages.number(value, unlike=unlike) == text

    def test_a_unit_follows(self):
        assert messages.number(3.0, unit=" px") == "3 px"

    @pytest.mark.parametrize(
        ("share", "unlike", "text"),
        [
            (0.5, 0.4, "50.0 %"),
            (0.5, 0.5 - 1e-13, "50.00000000000 %"),
            (0.5, 0.5 - 1e-15, "50.00000000000 %"),
            (1.0, None, "100.0 %"),
        ],
    )
    def test_shares_in_percent(self, share, unlike, text):
        assert messages.percent(share, unlike=unlike) == text


class TestHeadline:
    def test_a_finding_stands_for_itself(self):
        assert messages.headline(replace(WITHIN, finding="so it is")) == "so it is"

    @pytest.mark.parametrize("missing", [{"figure": None}, {"bound": None}])
    def test_of_what_is_undecided(self, missing):
        record = replace(WITHIN, reason="no mask", **missing)
        assert messages.headline(record) == "focus_within could not be decided: no mask"

    def test_of_a_share(self):
        assert messages.headline(WITHIN) == "25.0 % of the attention lies inside the mask; expected at least 50.0 %"
        assert messages.headline(replace(AVOIDS, target="cat")) == (
            "25.0 % of the attention for 'cat' lies inside the mask to avoid; expected at most 10.0 %"
        )

    def test_of_a_lift(self):
        assert messages.headline(LIFT) == (
            "the attention has a lift of 2.5 on the mask, 25.0 % of it; expected at least 5, 50.0 % on 10.0 % of the view"
        )
        avoids = replace(LIFT, check="focus_avoids", direction="at_most", bound=1.0, target="cat")
        assert messages.headline(avoids) == (
            "the attention for 'cat' has a lift of 2.5 on the mask to avoid, 25.0 % of it; "
            "expected at most 1, 10.0 % on 10.0 % of the view"
        )

    def test_both_of_a_share_and_its_bound_get_the_digits_that_tell_them_apart(self):
        assert messages.headline(replace(WITHIN, figure=0.49996, bound=0.50004)) == (
            "49.996 % of the attention lies inside the mask; expected at least 50.004 %"
        )
        record = Record(check="overlap", measure="IoU", figure=0.29996, bound=0.30004)
        assert messages.headline(record) == "the IoU of the attention is 0.29996; expected at least 0.30004"

    def test_a_lift_of_nothing(self):
        assert messages.headline(replace(LIFT, figure=0.0, bound=1.0, mass=0.0)) == (
            "the attention has a lift of 0 on the mask, 0.0 % of it; expected at least 1, 10.0 % on 10.0 % of the view"
        )

    def test_a_lift_just_short_of_its_bound_reads_so(self):
        record = replace(LIFT, figure=1.99996, bound=2.00004, mass=0.199996)
        assert messages.headline(record) == (
            "the attention has a lift of 1.99996 on the mask, 19.9996 % of it; "
            "expected at least 2.00004, 20.0004 % on 10.0 % of the view"
        )

    @pytest.mark.parametrize(
        ("figure", "bound", "text"),
        [
            (3.0, 0.0, "the attention peaks 3 px away from the mask; expected it inside"),
            (3.0, 2.5, "the attention peaks 3 px away from the mask; expected at most 2.5 px"),
            (0.0, 2.5, "the attention peaks inside the mask; expected at most 2.5 px"),
            (2.50001, 2.5, "the attention peaks 2.50001 px away from the mask; expected at most 2.5 px"),
        ],
    )
    def test_of_a_peak(self, figure, bound, text):
        assert messages.headline(replace(PEAK, figure=figure, bound=bound)) == text

    def test_of_anything_else(self):
        record = Record(check="overlap", measure="IoU", figure=0.29996, bound=0.3, target="cat")
        assert messages.headline(record) == "the IoU of the attention for 'cat' is 0.29996; expected at least 0.3"

    def test_of_an_overlap(self):
        record = Record(check="overlap", measure="IoU", figure=0.25, bound=0.3, parameters={"threshold": 0.5})
        assert messages.headline(record) == (
            "the attention above 0.5 of its maximum has an IoU of 0.25 with the mask; expected at least 0.3"
        )

    @pytest.mark.parametrize(("outcome", "decided"), [("passed", True), ("failed", True), ("invalid", False)])
    def test_a_picture_is_titled_by_the_outcome(self, outcome, decided):
        record = replace(WITHIN, outcome=outcome, reason="no mask")
        assert messages.title(record) == (
            f"focus_within {outcome}: {messages.headline(record)}" if decided else "no verdict on focus_within: no mask"
        )


class TestBrief:
    def test_shares_are_in_percent_and_the_rest_in_numbers(self):
        assert messages.brief(WITHIN) == "25.0 %, expected at least 50.0 %"
        assert messages.brief(replace(WITHIN, figure=0.49996)) == "49.996 %, expected at least 50.000 %"
        assert messages.brief(replace(PEAK, figure=2.50001, bound=2.5)) == "2.50001, expected at most 2.5"

    @pytest.mark.parametrize("missing", [{"figure": None}, {"bound": None}])
    def test_what_is_undecided_gives_the_first_line_of_its_reason(self, missing):
        assert messages.brief(replace(WITHIN, reason="no mask\nat all", **missing)) == "no mask"
        assert messages.brief(replace(WITHIN, **missing)) == ""


class TestRows:
    def rows(self, **fields):
        return messages.rows(Record(check="overlap", measure="IoU", **fields))

    def test_what_is_not_known_is_left_out(self):
        assert self.rows() == []

    def test_attention_takes_three_figures(self):
        three = {"mass": 0.25, "mask_area": 0.1, "lift": 2.5}
        text = "25.0 % of the relevance mass on 10.0 % of the view, lift 2.50 (1 is chance)"
        assert self.rows(**three) == [("attention", text)]
        for missing in three:
            assert self.rows(**{name: value for name, value in three.items() if name != missing}) == []

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            ({}, "'cat'"),
            ({"target_index": 3}, "'cat' (3)"),
            ({"score": 9.31234}, "'cat': score 9.312"),
            ({"rank": 2, "classes": 10}, "'cat': rank 2 of 10"),
            ({"probability": 0.12345}, "'cat': softmax 0.123"),
            ({"target_index": 0, "score": 1.0, "rank": 1, "classes": 2}, "'cat' (0): score 1, rank 1 of 2"),
        ],
    )
    def test_the_target(self, fields, text):
        assert self.rows(target="cat", **fields) == [("target", text)]
        assert self.rows(**fields) == []

    def test_the_prediction_where_it_is_another(self):
        both = {"predicted": "dog", "predicted_index": 4}
        assert self.rows(target_index=3, **both) == [("prediction", "the model predicts 'dog' (4)")]
        assert self.rows(target_index=4, **both) == []
        assert self.rows(target_index=4) == []

    def test_the_peak(self):
        assert self.rows(peak=(3, 5)) == [("peak", "x 3, y 5 in the view")]
        assert self.rows(peak=(3, 5), peaks=1) == [("peak", "x 3, y 5 in the view")]
        assert self.rows(peak=(3, 5), peaks=2) == [("peak", "x 3, y 5 in the view, the first of 2 equal maxima")]

    def test_the_layer(self):
        sizes = {"grid": (7, 9), "view": (224, 288)}
        assert self.rows(**sizes) == [("layer", "grid 7 x 9 on a view of 224 x 288 px")]
        assert self.rows(layer="last", method="gradcam", **sizes) == [
            ("layer", "last, grid 7 x 9 on a view of 224 x 288 px, method gradcam")
        ]
        assert self.rows(layer="last", grid=(7, 9)) == self.rows(layer="last", view=(224, 288)) == []

    def test_details_stand_before_the_circumstances(self):
        found = self.rows(details=(("note", "a"), ("note", "b")), peak=(0, 0), model="m", image="i", picture="p")
        assert found == [
            ("note", "a"),
            ("note", "b"),
            ("peak", "x 0, y 0 in the view"),
            ("model", "m"),
            ("image", "i"),
            ("picture", "p"),
        ]


class TestAdvice:
    LAST = "if the outline is right, change these pixels and see whether the prediction follows them"
    FAVOURS = (
        "the attention does favour the mask (lift {}): if its outline is right, a mask of this size may need a lower "
        "bound, or a target layer with a finer grid"
    )

    def test_the_checks_own(self):
        assert messages.advice(replace(WITHIN, advice="do this", rank=3)) == "do this"

    def test_a_picture_is_looked_at_where_there_is_one(self):
        assert messages.advice(WITHIN) == f"look at heatmap.overlay(mask); {self.LAST}"
        assert messages.advice(replace(WITHIN, picture="p.png")) == f"look at the picture; {self.LAST}"

    def test_a_wrong_prediction_comes_first(self):
        settle = (
            "look at heatmap.overlay(mask); the model predicts 'dog', so settle the prediction first, "
            "or leave target out to see what it was predicted by"
        )
        for rank in (2, 3):
            assert messages.advice(replace(WITHIN, rank=rank, predicted="dog", lift=2.0)) == settle
        assert (
            messages.advice(replace(WITHIN, rank=1, predicted="cat")) == f"look at heatmap.overlay(mask); {self.LAST}"
        )

    def test_a_mask_that_is_favoured_may_be_right(self):
        look = "look at heatmap.overlay(mask); "
        assert messages.advice(replace(WITHIN, lift=1.5)) == look + self.FAVOURS.format("1.5")
        assert messages.advice(replace(WITHIN, lift=1.49)) == look + self.LAST
        assert messages.advice(replace(AVOIDS, lift=1.5)) == look + self.LAST

    def test_a_mask_that_is_kept_off_may_be_large(self):
        look = "look at heatmap.overlay(mask); "
        off = replace(AVOIDS, mask_area=0.4, lift=1 / 1.5)
        assert messages.advice(off) == look + (
            "the attention does keep off the mask (lift 0.67): if its outline is right, a mask of 40.0 % of the view may "
            "need a higher bound, or a lift: at_most=masks.lift(0.5)"
        )
        assert messages.advice(replace(off, lift=0.67)) == look + self.LAST
        assert messages.advice(replace(off, check="peak_within")) == look + self.LAST
        assert messages.advice(replace(off, lift=None)) == look + self.LAST

    def test_of_a_class_it_can_be_asked_whether_the_prediction_hangs_on_the_pixels(self):
        says = (
            "look at heatmap.overlay(mask); if the outline is right, gradcam.{}(image, mask) says whether the prediction "
            "hangs on these pixels"
        )
        assert messages.advice(replace(WITHIN, target_index=0)) == says.format("assert_relies_on")
        assert messages.advice(replace(AVOIDS, target_index=0)) == says.format("assert_ignores")


def test_an_undecided_check_says_so_and_gives_its_circumstances_but_no_advice():
    record = replace(WITHIN, outcome="invalid", reason="the mask has no pixel", image="cat.png", advice="do this")
    assert messages.undecided(record) == "no verdict on focus_within: the mask has no pixel\n  image      cat.png"
