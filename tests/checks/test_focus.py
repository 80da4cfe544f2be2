"""The checks on where one heatmap lies, each an object: its bound, its verdict, its words, its advice."""

from dataclasses import replace

import numpy as np
import pytest

from pytest_gradcam import FocusError, Heatmap, HeatmapError, masks
from pytest_gradcam.checks.focus import FocusAvoids, FocusWithin, Overlap, PeakWithin
from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import Subject
from tests.conftest import RecordingTest

HAND = np.arange(9, dtype=np.float32).reshape(3, 3)
CORNER = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]], bool)  # mass 24/36 on 4/9 of the view: lift 1.5
CAT = {"target": "cat", "target_index": 3}


def decided(check, figure, *, subject=None, **known):
    """The record of a check with this figure; `known` is what else was measured."""
    record = check.checked(check.record(Subject(**(subject or {}))))
    return check.decided(replace(record, **known), figure)


class TestVerdict:
    @pytest.mark.parametrize(
        ("check", "holds", "breaks"),
        [
            (FocusWithin(0.5), 0.5, np.nextafter(0.5, 0)),
            (FocusAvoids(0.1), 0.1, np.nextafter(0.1, 1)),
            (FocusWithin(masks.lift(2)), 2.0, np.nextafter(2.0, 0)),
            (FocusAvoids(masks.lift(2)), 2.0, np.nextafter(2.0, 3)),
            (PeakWithin(3), 3.0, np.nextafter(3.0, 4)),
            (Overlap(0.3, 0.5), 0.3, np.nextafter(0.3, 0)),
        ],
    )
    def test_the_bound_itself_holds_and_just_beyond_it_does_not(self, check, holds, breaks):
        assert decided(check, holds).outcome == "passed"
        assert decided(check, float(breaks)).outcome == "failed"

    @pytest.mark.parametrize(
        ("check", "name", "measure", "direction", "figure"),
        [
            (FocusWithin(0.5), "focus_within", "relevance mass", "at_least", 24 / 36),
            (FocusAvoids(0.5), "focus_avoids", "relevance mass", "at_most", 24 / 36),
            (FocusWithin(masks.lift(1)), "focus_within", "lift", "at_least", 1.5),
            (FocusAvoids(masks.lift(1)), "focus_avoids", "lift", "at_most", 1.5),
            (PeakWithin(0), "peak_within", "distance of the peak from the mask", "at_most", 0),
            (Overlap(0.3, 0.5), "overlap", "IoU", "at_least", 4 / 5),
        ],
    )
    def test_what_is_measured_and_what_the_record_calls_it(self, check, name, measure, direction, figure):
        record = check.checked(check.on(Heatmap.from_array(HAND)))
        assert (record.check, record.measure, record.direction) == (name, measure, direction)
        assert (record.outcome, record.grid, record.view) == ("invalid", (3, 3), (3, 3))
        assert check.figure(HAND, CORNER) == pytest.approx(figure)


class TestFinding:
    def test_of_a_share(self):
        assert decided(FocusWithin(0.5), 0.25).finding == (
            "25.0 % of the attention lies inside the mask; expected at least 50.0 %"
        )
        assert decided(FocusAvoids(0.1), 0.25, subject=CAT).finding == (
            "25.0 % of the attention for 'cat' lies inside the mask to avoid; expected at most 10.0 %"
        )

    def test_a_share_and_its_bound_get_the_digits_that_tell_them_apart(self):
        assert decided(FocusWithin(0.50004), 0.49996).finding == (
            "49.996 % of the attention lies inside the mask; expected at least 50.004 %"
        )

    def test_of_a_lift(self):
        assert decided(FocusWithin(masks.lift(5)), 2.5, mass=0.25, mask_area=0.1).finding == (
            "the attention has a lift of 2.5 on the mask, 25.0 % of it; expected at least 5, 50.0 % on 10.0 % of the view"
        )
        assert decided(FocusAvoids(masks.lift(1)), 2.5, subject=CAT, mass=0.25, mask_area=0.1).finding == (
            "the attention for 'cat' has a lift of 2.5 on the mask to avoid, 25.0 % of it; "
            "expected at most 1, 10.0 % on 10.0 % of the view"
        )
        assert decided(FocusWithin(masks.lift(1)), 0.0, mass=0.0, mask_area=0.1).finding == (
            "the attention has a lift of 0 on the mask, 0.0 % of it; expected at least 1, 10.0 % on 10.0 % of the view"
        )

    def test_a_lift_just_short_of_its_bound_reads_so(self):
        assert decided(FocusWithin(masks.lift(2.00004)), 1.99996, mass=0.199996, mask_area=0.1).finding == (
            "the attention has a lift of 1.99996 on the mask, 19.9996 % of it; "
            "expected at least 2.00004, 20.0004 % on 10.0 % of the view"
        )

    @pytest.mark.parametrize(
        ("figure", "tolerance", "text"),
        [
            (3.0, 0, "the attention peaks 3 px away from the mask; expected it inside"),
            (3.0, 2.5, "the attention peaks 3 px away from the mask; expected at most 2.5 px"),
            (0.0, 2.5, "the attention peaks inside the mask; expected at most 2.5 px"),
            (2.50001, 2.5, "the attention peaks 2.50001 px away from the mask; expected at most 2.5 px"),
        ],
    )
    def test_of_a_peak(self, figure, tolerance, text):
        assert decided(PeakWithin(tolerance), figure).finding == text

    def test_of_an_overlap(self):
        assert decided(Overlap(0.3, 0.5), 0.25).finding == (
            "the attention above 0.5 of its maximum has an IoU of 0.25 with the mask; expected at least 0.3"
        )
        assert decided(Overlap(0.30004, 0.2), 0.29996, subject=CAT).finding == (
            "the attention for 'cat' above 0.2 of its maximum has an IoU of 0.29996 with the mask; "
            "expected at least 0.30004"
        )


class TestAdvice:
    LAST = "if the outline is right, change these pixels and see whether the prediction follows them"
    FAVOURS = (
        "the attention does favour the mask (lift {}): if its outline is right, a mask of this size may need a lower "
        "bound, or a target layer with a finer grid"
    )
    WITHIN, AVOIDS, PEAK = FocusWithin(0.5), FocusAvoids(0.1), PeakWithin(0)

    def advice(self, check, *, subject=None, **known):
        look, _, rest = decided(check, 0.25, subject=subject, **known).advice.partition("; ")
        assert look == messages.LOOK
        return rest

    def test_a_wrong_prediction_comes_first(self):
        for rank in (2, 3):
            wrong = {"rank": rank, "predicted": "dog"}
            assert self.advice(self.WITHIN, subject=wrong, lift=2.0) == (
                "the model predicts 'dog', so settle the prediction first, "
                "or leave target out to see what it was predicted by"
            )
        assert self.advice(self.WITHIN, subject={"rank": 1, "predicted": "cat"}) == self.LAST

    def test_a_mask_that_is_favoured_may_be_right(self):
        assert self.advice(self.WITHIN, lift=1.5) == self.FAVOURS.format("1.5")
        assert self.advice(Overlap(0.3, 0.5), lift=2.25) == self.FAVOURS.format("2.2")
        assert self.advice(self.WITHIN, lift=1.49) == self.LAST
        assert self.advice(self.AVOIDS, lift=1.5) == self.LAST

    def test_a_mask_that_is_avoided_may_be_large(self):
        off = {"mask_area": 0.4, "lift": 1 / 1.5}
        assert self.advice(self.AVOIDS, **off) == (
            "the attention does avoid the mask (lift 0.67): if its outline is right, a mask of 40.0 % of the view may "
            "need a higher bound, or a lift: at_most=masks.lift(0.5)"
        )
        assert self.advice(self.AVOIDS, mask_area=0.4, lift=0.67) == self.LAST
        assert self.advice(self.PEAK, **off) == self.LAST
        assert self.advice(self.AVOIDS, mask_area=0.4) == self.LAST

    @pytest.mark.parametrize(
        ("check", "call"),
        [
            (WITHIN, "assert_relies_on"),
            (PEAK, "assert_relies_on"),
            (Overlap(0.3, 0.5), "assert_relies_on"),
            (AVOIDS, "assert_ignores"),
        ],
    )
    def test_of_a_class_it_can_be_asked_whether_the_prediction_depends_on_the_pixels(self, check, call):
        assert self.advice(check, subject={"target_index": 0}) == (
            f"if the outline is right, gradcam.{call}(image, mask) tells whether the prediction depends on these pixels"
        )


ABOUT = Subject(
    target="Egyptian cat",
    target_index=285,
    score=9.312,
    probability=0.793,
    rank=1,
    classes=1000,
    predicted="Egyptian cat",
    predicted_index=285,
    model="EfficientNet (4.65 M parameters)",
    layer="_conv_head",
    method="gradcam",
    image="chelsea.png",
)
WHOLE = {
    "focus_within": (
        lambda heatmap: heatmap.assert_focus_within(CORNER, at_least=0.9),
        "66.7 % of the attention for 'Egyptian cat' lies inside the mask; expected at least 90.0 %",
        "the attention does favour the mask (lift 1.5): if its outline is right, a mask of this size may need a lower bound, "
        "or a target layer with a finer grid",
    ),
    "focus_avoids": (
        lambda heatmap: heatmap.assert_focus_avoids(CORNER),
        "66.7 % of the attention for 'Egyptian cat' lies inside the mask to avoid; expected at most 10.0 %",
        "if the outline is right, gradcam.assert_ignores(image, mask) tells whether the prediction depends on these pixels",
    ),
    "overlap": (
        lambda heatmap: heatmap.assert_overlap(CORNER, at_least=0.9),
        "the attention for 'Egyptian cat' above 0.5 of its maximum has an IoU of 0.8 with the mask; expected at least 0.9",
        "the attention does favour the mask (lift 1.5): if its outline is right, a mask of this size may need a lower bound, "
        "or a target layer with a finer grid",
    ),
}


@pytest.mark.parametrize("picture", [None, "gradcam-report/pictures/cat.png"])
@pytest.mark.parametrize("check", WHOLE)
def test_the_whole_message(check, picture):
    assertion, finding, advice = WHOLE[check]
    heatmap, keeper = Heatmap.from_array(HAND), RecordingTest(draws=False)
    heatmap.subject = ABOUT
    keeper.keep = lambda record, _draw: replace(record, picture=picture)
    with running(keeper), pytest.raises(FocusError) as caught:
        assertion(heatmap)
    assert str(caught.value) == (
        f"{finding}\n"
        "  attention  66.7 % of the relevance mass on 44.4 % of the view, lift 1.50 (1 is chance)\n"
        "  target     'Egyptian cat' (285): score 9.312, rank 1 of 1000, softmax 0.793\n"
        "  peak       x 2, y 2 in the view\n"
        "  layer      _conv_head, grid 3 x 3 on a view of 3 x 3 px, method gradcam\n"
        "  model      EfficientNet (4.65 M parameters)\n"
        "  image      chelsea.png\n"
        + (f"  picture    {picture}\n" if picture else "")
        + f"  try        look at {'the picture' if picture else 'heatmap.overlay(mask)'}; {advice}"
    )


def test_the_whole_message_of_a_peak():
    corner = np.zeros((3, 3), bool)
    corner[0, 0] = True
    with pytest.raises(FocusError) as caught:
        Heatmap.from_array(HAND).assert_peak_within(corner, tolerance=2)
    assert str(caught.value) == (
        "the attention peaks 2.83 px away from the mask; expected at most 2 px\n"
        "  attention  0.0 % of the relevance mass on 11.1 % of the view, lift 0.00 (1 is chance)\n"
        "  peak       x 2, y 2 in the view\n"
        "  layer      grid 3 x 3 on a view of 3 x 3 px\n"
        "  try        look at heatmap.overlay(mask); if the outline is right, change these pixels and see whether the "
        "prediction follows them"
    )


def test_a_wrong_prediction_is_said_and_leads_the_advice():
    heatmap = Heatmap.from_array(HAND)
    heatmap.subject = replace(ABOUT, rank=3, predicted="tabby", predicted_index=281)
    with pytest.raises(FocusError) as caught:
        heatmap.assert_focus_within(CORNER, at_least=0.9)
    assert "  prediction the model predicts 'tabby' (281)\n" in str(caught.value)
    assert "the model predicts 'tabby', so settle the prediction first" in str(caught.value)


def test_what_is_kept_says_itself_also_where_it_passed():
    heatmap, keeper = Heatmap.from_array(HAND), RecordingTest(draws=False)
    with running(keeper):
        heatmap.assert_focus_within(CORNER)
    record = keeper.records[0]
    assert record.finding == "66.7 % of the attention lies inside the mask; expected at least 50.0 %"
    assert messages.title(record) == f"focus_within passed: {record.finding}"


def test_what_has_no_verdict_has_neither_finding_nor_advice():
    heatmap, keeper = Heatmap.from_array(HAND), RecordingTest(draws=False)
    with running(keeper), pytest.raises(HeatmapError) as caught:
        heatmap.assert_focus_within(np.zeros((3, 3)))
    record = keeper.records[0]
    assert (record.outcome, record.finding, record.advice) == ("invalid", "", "")
    assert str(caught.value) == (
        "no verdict on focus_within: the mask has no pixel; check how it was made\n"
        "  layer      grid 3 x 3 on a view of 3 x 3 px"
    )
