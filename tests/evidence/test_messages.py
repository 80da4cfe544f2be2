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

    def test_of_a_record_without_a_finding(self):
        """Those of earlier versions: from measure, figure, bound and direction."""
        assert messages.headline(WITHIN) == "the relevance mass of the attention is 25.0 %; expected at least 50.0 %"
        assert messages.headline(replace(AVOIDS, target="cat")) == (
            "the relevance mass of the attention for 'cat' is 25.0 %; expected at most 10.0 %"
        )
        assert messages.headline(replace(PEAK, bound=2.5)) == (
            "the distance of the peak from the mask of the attention is 3; expected at most 2.5"
        )

    def test_figure_and_bound_get_the_digits_that_tell_them_apart(self):
        assert messages.headline(replace(WITHIN, figure=0.49996, bound=0.50004)) == (
            "the relevance mass of the attention is 49.996 %; expected at least 50.004 %"
        )
        record = Record(check="overlap", measure="IoU", figure=0.29996, bound=0.30004)
        assert messages.headline(record) == "the IoU of the attention is 0.29996; expected at least 0.30004"

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
    def test_is_the_checks_own(self):
        assert messages.advice(replace(WITHIN, advice="do this", rank=3)) == "do this"
        assert messages.advice(replace(WITHIN, advice="do this", picture="p.png")) == "do this"

    def test_a_picture_is_looked_at_where_there_is_one(self):
        record = replace(WITHIN, advice="look at heatmap.overlay(mask); then do this")
        assert messages.advice(record) == "look at heatmap.overlay(mask); then do this"
        assert messages.advice(replace(record, picture="p.png")) == "look at the picture; then do this"

    def test_a_record_without_any_has_its_picture(self):
        assert messages.advice(replace(WITHIN, picture="p.png")) == "look at the picture"
        assert messages.advice(WITHIN) == ""
        assert "try" not in messages.failure(WITHIN)


def test_the_lines_under_a_picture_are_the_rows_of_the_message_without_the_picture():
    record = replace(WITHIN, image="cat.png", picture="p.png", details=(("replay", "code"), ("note", "a")))
    assert messages.lines(record) == ["replay     code", "note       a", "image      cat.png"]
    assert messages.lines(record, without=("picture", "replay")) == ["note       a", "image      cat.png"]
    assert [f"  {line}" for line in messages.lines(record)] == messages.failure(record).splitlines()[1:4]


def test_a_long_label_is_kept_apart_from_its_phrase():
    assert messages.lines(replace(WITHIN, details=(("camera south", "50 %"),))) == ["camera south 50 %"]


def test_an_undecided_check_says_so_and_gives_its_circumstances_but_no_advice():
    record = replace(WITHIN, outcome="invalid", reason="the mask has no pixel", image="cat.png", advice="do this")
    assert messages.undecided(record) == "no verdict on focus_within: the mask has no pixel\n  image      cat.png"
