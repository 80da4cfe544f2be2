"""What the checks on a heatmap are held to by default, what they leave behind, and what they say, to the letter."""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from pytest_gradcam import FocusError, GradcamWarning, Heatmap, HeatmapError, NoEvidenceError, masks, overlay
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.grids import resize
from pytest_gradcam.heatmap import Peak
from pytest_gradcam.questions.protocols import MaskInView
from tests.conftest import RecordingTest

HAND = np.arange(9, dtype=np.float32).reshape(3, 3)
CORNER = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]], bool)  # mass 24/36 on 4/9 of the view: lift 1.5
ABOUT = Subject(target="cat", target_index=3, score=9.25, layer="last", method="gradcam", image="cat.png", model="Net")


class Drawn:
    """What `overlay.draw` was asked for."""

    def __init__(self, values, view, *, mask=None, level=None, peak=None, title="", lines=()):
        self.values, self.view, self.mask, self.title, self.lines = values, view, mask, title, list(lines)
        self.level, self.peak = level, peak


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
        heatmap = Heatmap(HAND, (6, 9), lambda: (np.zeros((6, 9, 3), np.uint8), None), subject=ABOUT)
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
        heatmap.subject = ABOUT
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
        empty.subject = ABOUT
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
            HAND, (3, 3), lambda: (None, None), carry=lambda mask: MaskInView(np.zeros((3, 3), bool), seen)
        )
        assert said(lambda: heatmap.mass(CORNER)) == (
            f"the preprocess kept 0 % of the mask: {seen}; check the mask, or the crop of the preprocess"
        )

    def test_padding_is_a_mask_where_there_is_some(self):
        heatmap = Heatmap(HAND, (3, 3), lambda: (np.zeros((3, 3, 3), np.uint8), CORNER))
        assert heatmap.mass(heatmap.padding) == pytest.approx(24 / 36)
        carried = Heatmap(
            HAND, (3, 3), heatmap._look, carry=lambda mask: pytest.fail("padding lies in the view already")
        )
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
            f"values of shape {array.shape} and type {array.dtype} are no heatmap; expected real numbers (h, w)"
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
