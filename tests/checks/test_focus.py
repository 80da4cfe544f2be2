"""The checks on where one heatmap lies, each an object: its bound, its verdict, its words, its advice."""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from pytest_gradcam import FocusError, GradcamWarning, Heatmap, HeatmapError, NoEvidenceError, masks, overlay
from pytest_gradcam.checks.focus import FocusAvoids, FocusWithin, Overlap, PeakWithin
from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.grids import resize
from pytest_gradcam.heatmap import Peak, SeenImage
from pytest_gradcam.questions.protocols import MaskInView
from tests.conftest import ABOUT, RecordingTest

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
        ("check", "words"),
        [(FocusWithin(masks.lift(3)), "can never hold"), (FocusAvoids(masks.lift(3)), "holds for every heatmap")],
    )
    def test_a_lift_that_no_heatmap_or_every_one_has_on_this_mask(self, check, words):
        """On 4 of 9 pixels no lift is above 2.25."""
        record = check.checked(check.record(Subject()))
        with pytest.raises(HeatmapError, match=words):
            check.within_reach(record, CORNER)

    def test_the_highest_lift_is_within_reach_and_so_is_any_share(self):
        for bound, known in ((masks.lift(np.nextafter(2.25, 3)), 2.25), (0.5, 0.5)):
            check = FocusWithin(bound)
            assert check.within_reach(check.checked(check.record(Subject())), CORNER).bound == known

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
            wrong = {"rank": rank, "target_index": 3, "predicted": "dog", "predicted_index": 5}
            assert self.advice(self.WITHIN, subject=wrong, lift=2.0) == (
                "the model predicts 'dog', so look into the prediction first, or leave target out to see what the "
                "prediction is based on"
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
    with running(None), pytest.raises(FocusError) as caught:
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
    assert "the model predicts 'tabby', so look into the prediction first" in str(caught.value)


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


SUBJECT = Subject(
    target="cat", target_index=3, score=9.25, layer="last", method="gradcam", image="cat.png", model="Net"
)


class Drawn:
    """What `overlay.draw` was asked for."""

    def __init__(self, panel, *, title="", lines=()):
        self.values, self.view, self.mask, self.title, self.lines = (
            panel.heat,
            panel.view,
            panel.mask,
            title,
            list(lines),
        )
        self.level, self.peak = panel.level, panel.peak


@pytest.fixture
def test(monkeypatch):
    monkeypatch.setattr(overlay, "draw", Drawn)
    recording = RecordingTest()
    with running(recording):
        yield recording


def hand(**subject):
    heatmap = Heatmap.from_array(HAND)
    heatmap.subject = Subject(**subject)
    return heatmap


def said(run, error=HeatmapError):
    with pytest.raises(error) as caught:
        run()
    return str(caught.value)


class TestDefaults:
    """A bound that nobody gave is the one that the documentation names."""

    def record(self, test, run):
        with suppress(FocusError):
            run()
        return test.records[-1]

    def test_of_the_focus_checks(self, test):
        inside = self.record(test, lambda: hand().assert_focus_within(CORNER))
        assert (inside.check, inside.measure, inside.bound, inside.direction) == (
            "focus_within",
            "relevance mass",
            0.5,
            "at_least",
        )
        avoided = self.record(test, lambda: hand().assert_focus_avoids(CORNER))
        assert (avoided.check, avoided.measure, avoided.bound, avoided.direction) == (
            "focus_avoids",
            "relevance mass",
            0.1,
            "at_most",
        )

    def test_of_the_peak(self, test):
        record = self.record(test, lambda: hand().assert_peak_within(CORNER))
        assert (record.check, record.measure, record.bound, record.direction) == (
            "peak_within",
            "distance of the peak from the mask",
            0,
            "at_most",
        )

    def test_of_the_overlap(self, test):
        record = self.record(test, lambda: hand().assert_overlap(CORNER))
        assert (record.check, record.measure, record.bound, record.direction, record.parameters) == (
            "overlap",
            "IoU",
            0.3,
            "at_least",
            {"threshold": 0.5},
        )
        assert record.figure == pytest.approx(4 / 5)
        high = self.record(test, lambda: hand().assert_overlap(CORNER, threshold=0.9))
        assert (high.figure, high.parameters) == (pytest.approx(1 / 4), {"threshold": 0.9})

    def test_of_likeness(self, test):
        record = self.record(test, lambda: hand().assert_similar(hand()))
        assert (record.check, record.bound, record.figure) == ("similar", 0.8, 1.0)
        assert record.finding.startswith("the heatmap has a rank correlation of 1 ")
        assert "structural similarity" in self.record(test, lambda: hand().assert_similar(hand(), kind="ssim")).finding

    def test_of_a_baseline(self, monkeypatch):
        asked = []
        monkeypatch.setattr(
            "pytest_gradcam.checks.baseline.assert_matches", lambda *given, **named: asked.append((given, named))
        )
        heatmap = hand()
        heatmap.assert_matches_baseline()
        heatmap.assert_matches_baseline(at_least=0.5, name="here")
        assert asked == [
            ((heatmap,), {"at_least": 0.95, "name": None}),
            ((heatmap,), {"at_least": 0.5, "name": "here"}),
        ]

    def test_of_the_figures(self):
        assert hand().mean_heat(CORNER) == pytest.approx(6 / 8)
        assert hand().rank_accuracy(CORNER) == pytest.approx(3 / 4)
        beside = np.zeros((3, 3), bool)
        beside[2, 1] = True  # a pixel from the peak
        assert hand().hits(beside) is False
        assert hand().hits(beside, 1) is True
        assert hand().hits(beside, tolerance=0.9) is False
        assert hand().iou(CORNER) == hand().iou(CORNER, 0.5) == pytest.approx(4 / 5)
        assert hand().iou(CORNER, 0.9) == pytest.approx(1 / 4)
        turned = Heatmap.from_array(HAND**2)
        assert hand().similarity(turned) == hand().similarity(turned, kind="spearman") == 1
        assert hand().similarity(turned, kind="ssim") < 1


class TestRecord:
    def test_it_says_what_the_check_is_about_and_what_was_measured(self, test):
        heatmap = Heatmap(HAND, SeenImage((6, 9), lambda: (np.zeros((6, 9, 3), np.uint8), None)), SUBJECT)
        heatmap.assert_focus_within(masks.box((6, 9), (3, 2, 9, 6)))
        record = test.records[0]
        assert (record.target, record.target_index, record.score, record.layer) == ("cat", 3, 9.25, "last")
        assert (record.grid, record.view) == ((3, 3), (6, 9))
        assert record.mask_area == pytest.approx(24 / 54)
        assert record.figure == record.mass
        assert record.lift == pytest.approx(record.mass / record.mask_area)
        assert (record.peak, record.peaks) == ((7, 5), 2)  # the edge is held
        assert (record.details, record.reason) == ((), "")

    def test_the_picture_is_of_this_heatmap_and_this_mask_under_its_message(self, test):
        heatmap = Heatmap.from_array(HAND, np.full((3, 3, 3), 7, np.uint8))
        heatmap.subject = SUBJECT
        with pytest.raises(FocusError) as caught:
            heatmap.assert_focus_within(CORNER, at_least=0.9)
        picture = test.pictures[0]
        np.testing.assert_array_equal(picture.values, HAND)
        assert (picture.view == 7).all()
        np.testing.assert_array_equal(picture.mask, CORNER)
        headline, *rows = str(caught.value).splitlines()
        assert picture.title == f"focus_within failed: {headline}"
        assert [f"  {line}" for line in picture.lines] == rows[:-1]  # all but what to try

    def test_a_picture_does_not_name_itself(self, test):
        test.keep = lambda record, draw: test.pictures.append(draw(replace(record, picture="p.png"))) or record
        hand().assert_focus_within(CORNER)
        assert [line.split()[0] for line in test.pictures[0].lines] == ["attention", "peak", "layer"]

    def test_the_peak_is_marked_and_the_level_outlined_where_they_decide(self, test):
        hand().assert_peak_within(CORNER)
        hand().assert_overlap(CORNER, threshold=0.75)
        hand().assert_focus_within(CORNER)
        assert [(picture.peak, picture.level) for picture in test.pictures] == [
            ((2, 2), None),
            (None, 6.0),
            (None, None),
        ]

    def test_what_has_no_verdict_is_drawn_too(self, test):
        assert said(lambda: hand().assert_focus_within(None)).startswith("no verdict on focus_within: ")
        assert test.pictures[0].mask is None
        assert test.pictures[0].title.startswith("no verdict on focus_within: ")


class TestGate:
    def test_a_reason_to_give_no_verdict_is_given(self, test):
        heatmap = hand()
        heatmap.gate = lambda: "the gate stays shut"
        assert said(lambda: heatmap.assert_focus_within(CORNER)).startswith(
            "no verdict on focus_within: the gate stays shut\n"
        )
        assert (test.records[0].outcome, test.records[0].figure) == ("invalid", None)

    def test_a_bound_is_refused_before_it_is_asked(self, test):
        heatmap = hand()
        heatmap.gate = lambda: pytest.fail("asked")
        assert "cannot decide anything" in said(lambda: heatmap.assert_focus_within(CORNER, at_least=2))


class TestSeveral:
    """A check that must hold for other heatmaps as well."""

    def test_all_are_judged_and_the_first_is_raised_with_a_note_on_each_other(self, test):
        first, *others = made = [hand(target=name) for name in ("cat", "dog", "cow")]
        first.also = tuple(others)
        with pytest.raises(FocusError, match="for 'cat'") as caught:
            first.assert_focus_within(CORNER, at_least=0.9)
        assert [record.target for record in test.records] == ["cat", "dog", "cow"]
        dog, cow = caught.value.__notes__
        assert dog.startswith("and on the other heatmap:\n66.7 % of the attention for 'dog' lies inside the mask")
        assert cow.startswith("and on the other heatmap:\n66.7 % of the attention for 'cow' lies inside the mask")
        assert [heatmap.also for heatmap in made[1:]] == [(), ()]

    def test_one_that_fails_is_enough(self, test):
        first = hand()
        first.also = (hand(), Heatmap.from_array(HAND[::-1, ::-1]))
        with pytest.raises(FocusError, match=r"^22\.2 % of the attention") as caught:
            first.assert_focus_within(CORNER)
        assert not hasattr(caught.value, "__notes__")
        assert [record.outcome for record in test.records] == ["passed", "passed", "failed"]

    def test_one_without_a_verdict_is_enough(self, test):
        first = hand()
        first.also = (Heatmap.from_array(np.zeros((3, 3))),)
        with pytest.raises(NoEvidenceError):
            first.assert_focus_within(CORNER)
        assert [record.outcome for record in test.records] == ["passed", "no evidence"]


class TestEvidence:
    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
    def test_rounding_is_relative_to_the_maximum(self, scale):
        """A spread of a millionth of the maximum is what float32 leaves; of ten millionths, evidence."""
        flat, rising = np.full((2, 2), scale), np.full((2, 2), scale)
        flat[0, 0], rising[0, 0] = scale * (1 - 0.5e-6), scale * (1 - 10e-6)
        with pytest.raises(NoEvidenceError, match="same value everywhere"):
            _ = Heatmap.from_array(flat).peak
        assert Heatmap.from_array(rising).peak == (1, 0, 3)

    def test_no_layer_is_named_where_there_is_none(self):
        assert said(lambda: Heatmap.from_array(np.zeros((2, 2))).peak).startswith(
            "the heatmap is zero everywhere: there"
        )
        about = "the heatmap is zero everywhere for 'cat' (score 9.25) at layer last: there is no"
        empty = Heatmap.from_array(np.zeros((2, 2)))
        empty.subject = SUBJECT
        assert said(lambda: empty.peak).startswith(about)


class TestMasks:
    def test_what_is_left_of_none(self):
        padded = hand()
        assert said(lambda: padded.mass(padded.padding)) == (
            "the preprocess added no padding to this image; leave the check out where there is none"
        )
        assert said(lambda: hand().mass(np.zeros((3, 3), bool))) == "the mask has no pixel; check how it was made"
        assert said(lambda: hand().mass(np.ones((3, 3), bool))) == (
            "the mask covers the whole view, so there is nothing to test; pass a smaller mask"
        )

    def test_a_mask_outside_of_what_the_model_saw(self):
        seen = "the view shows x 0 to 3 of it"
        heatmap = Heatmap(
            HAND, SeenImage((3, 3), lambda: (None, None), lambda mask: MaskInView(np.zeros((3, 3), bool), seen))
        )
        assert said(lambda: heatmap.mass(CORNER)) == (
            f"the preprocess kept 0 % of the mask: {seen}; check the mask, or the crop of the preprocess"
        )

    def test_padding_is_a_mask_where_there_is_some(self):
        seen = SeenImage((3, 3), lambda: (np.zeros((3, 3, 3), np.uint8), CORNER))
        heatmap = Heatmap(HAND, seen)
        assert heatmap.mass(heatmap.padding) == pytest.approx(24 / 36)
        carried = Heatmap(HAND, replace(seen, carry=lambda mask: pytest.fail("padding lies in the view already")))
        assert carried.mass(carried.padding) == pytest.approx(24 / 36)

    def test_a_mask_of_another_shape_is_refused(self):
        assert "(2, 2)" in said(lambda: hand().mass(np.eye(2)))


class TestDoubts:
    """A check that was decided on thin ground warns; the warning stands in the record."""

    def doubts(self, test, run):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
        assert all(warning.category is GradcamWarning for warning in caught)
        texts = [str(warning.message) for warning in caught]
        assert test.records[-1].details == tuple(("note", text) for text in texts)
        return texts

    CELL = "one cell of the heatmap, {} px, is coarser than the mask; choose a layer with a finer grid"

    @pytest.mark.parametrize(("width", "doubtful"), [(3, True), (4, False)])
    def test_a_mask_of_less_than_a_cell(self, test, width, doubtful):
        heatmap = Heatmap.from_array([[1, 0], [0, 0]], np.zeros((8, 6, 3), np.uint8))  # cells of 4 x 3 px: 12 pixels
        mask = masks.box((8, 6), (0, 0, 3, width))
        found = self.doubts(test, lambda: heatmap.assert_peak_within(mask))
        assert found == ([self.CELL.format("4 x 3")] if doubtful else [])

    def test_a_pass_on_less_than_chance(self, test):
        mask = ~np.eye(3, dtype=bool)  # 24 of 36 on 6 of 9: chance to the last bit
        assert self.doubts(test, lambda: hand().assert_focus_within(mask)) == []
        mask[0, 0], mask[0, 2] = True, False  # 22 of 36 on as many
        assert self.doubts(test, lambda: hand().assert_focus_within(mask)) == [
            "focus_within passed on less attention than chance (lift 0.92): the mask covers 66.7 % of the view; "
            "raise at_least above that"
        ]
        assert self.doubts(test, lambda: hand().assert_focus_avoids(mask, at_most=0.9)) == []

    def test_one_that_fails_names_the_grid_in_its_message_and_does_not_warn(self, test):
        heatmap = Heatmap.from_array([[1, 0], [0, 0]], np.zeros((8, 6, 3), np.uint8))
        with pytest.raises(FocusError, match=f"\n  note       {self.CELL.format('4 x 3')}\n"):
            heatmap.assert_peak_within(masks.box((8, 6), (3, 4, 5, 8)))

    def test_what_fails_or_has_no_verdict_says_so_itself(self, test):
        mask = ~np.eye(3, dtype=bool)
        mask[0, 0], mask[0, 2] = True, False
        with pytest.raises(FocusError):  # and no warning, which would be an error
            hand().assert_focus_within(mask, at_least=0.9)
        assert test.records[-1].details == ()
        with pytest.raises(HeatmapError):
            Heatmap.from_array(np.zeros((2, 2)), np.zeros((8, 8, 3), np.uint8)).assert_focus_within(
                masks.box((8, 8), (0, 0, 2, 2))
            )
        assert test.records[-1].details == ()


class TestArrays:
    @pytest.mark.parametrize("values", [[1, 2], [[]], [["a"]], [[1j]], [[[1]]]])
    def test_what_is_no_heatmap(self, values):
        array = np.asarray(values)
        assert said(lambda: Heatmap.from_array(values)) == (
            f"values of shape {array.shape} and type {array.dtype} are not a heatmap; expected real numbers (h, w)"
        )

    @pytest.mark.parametrize("kind", [np.float16, np.int8, np.uint8, bool])
    def test_real_numbers_of_any_type(self, kind):
        heatmap = Heatmap.from_array(np.array([[0, 1]], kind))
        assert heatmap.grid.dtype == heatmap.values.dtype == np.float32
        assert heatmap.peak == Peak(1, 0, 1)

    def test_a_single_row_is_a_heatmap(self):
        assert Heatmap.from_array([[1.0, 2.0]]).mass([[0, 1]]) == pytest.approx(2 / 3)

    def test_without_an_image_the_view_is_black_and_of_the_values_size(self):
        heatmap = Heatmap.from_array(np.ones((2, 5)))
        assert (heatmap.view.shape, heatmap.view.dtype, heatmap.view.max()) == ((2, 5, 3), np.uint8, 0)
        assert (heatmap.padding.shape, heatmap.padding.any()) == ((2, 5), False)
        assert heatmap.subject == Subject()

    def test_with_one_it_is_the_image(self):
        heatmap = Heatmap.from_array(np.eye(2), np.full((4, 6), 9, np.uint8))
        assert (heatmap.view.shape, heatmap.values.shape) == ((4, 6, 3), (4, 6))
        assert (heatmap.view == 9).all()
        assert heatmap.subject.image

    def test_negative_values_are_no_evidence(self):
        np.testing.assert_array_equal(Heatmap.from_array([[-2.0, 0.0], [1.0, 3.0]]).grid, [[0, 0], [1, 3]])

    def test_its_own_phrase(self):
        assert repr(Heatmap.from_array(np.eye(2), np.zeros((4, 6, 3), np.uint8))) == (
            "<Heatmap: grid 2 x 2 on a view of 4 x 6 px>"
        )
        assert repr(hand(target="cat", layer="last")) == (
            "<Heatmap of 'cat' at last: grid 3 x 3 on a view of 3 x 3 px>"
        )

    @pytest.mark.parametrize(
        ("subject", "title"),
        [
            ({}, ""),
            ({"target": "cat"}, "cat"),
            ({"score": 1.0}, ""),
            ({"target": "cat", "score": 9.31234}, "cat 9.312"),
        ],
    )
    def test_an_overlay_is_titled(self, test, subject, title):
        assert hand(**subject).overlay().title == title
        np.testing.assert_array_equal(hand().overlay(CORNER).mask, CORNER)
        assert hand().overlay().mask is None
        np.testing.assert_array_equal(hand().overlay().values, HAND)
        np.testing.assert_array_equal(hand().overlay().view, np.zeros((3, 3, 3)))


@pytest.mark.parametrize("shape", [(16, 16), (17, 5), (5, 17)])
@pytest.mark.parametrize("size", [(16, 16), (40, 16), (16, 40), (3, 4)])
def test_the_two_ways_to_resize_come_to_the_same(shape, size):
    """Small grids are resized by products of matrices, large ones and those made smaller by Pillow."""
    from PIL.Image import Resampling, fromarray

    grid = np.random.default_rng(0).random(shape).astype(np.float32)
    expected = np.array(fromarray(grid).resize((size[1], size[0]), Resampling.BILINEAR))
    found = resize(grid, size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_tolerance_of_nothing_is_never_too_far():
    mask = np.ones((3, 3), bool)
    mask[0, 0] = False
    hand().assert_peak_within(mask)
    hand().assert_peak_within(mask, tolerance=math.nextafter(1, 0))
    assert said(lambda: hand().assert_peak_within(mask, tolerance=1)).splitlines()[0] == (
        "no verdict on peak_within: tolerance=1 holds for every heatmap: no pixel of the view lies more than 1 px from the "
        "mask; pass a lower one"
    )
