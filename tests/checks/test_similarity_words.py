"""What the check of likeness says and leaves behind, to the letter, and what its picture shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_gradcam import FocusError, Heatmap, HeatmapError, NoEvidenceError, overlay
from pytest_gradcam.checks import similarity
from pytest_gradcam.checks.baseline import MatchesBaseline
from pytest_gradcam.checks.similarity import Similar
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import Record, Subject
from tests.conftest import RecordingTest

SLOPE = np.arange(16, dtype=np.float32).reshape(4, 4)
ABOUT = Subject(target="dog", score=9.31234, layer="last", method="gradcam", image="dog.png")
CHECK = Record(check="similar", measure="similarity", bound=0.5)


@pytest.fixture
def test(monkeypatch):
    monkeypatch.setattr(overlay, "draw_panels", lambda panels, *, title, lines: (panels, title, lines))
    recording = RecordingTest()
    with running(recording):
        yield recording


def heatmap(grid, shape=(8, 8), shade=100, **subject):
    return Heatmap(
        np.asarray(grid, np.float32),
        shape,
        lambda: (np.full((*shape, 3), shade, np.uint8), None),
        subject=Subject(**subject),
    )


def said(run):
    with pytest.raises(HeatmapError) as caught:
        run()
    return str(caught.value)


def decided(figure, *, bound=0.5, kind="spearman", other=None, **subject):
    check = Similar(bound, kind, heatmap(SLOPE) if other is None else other)
    return check.decided(check.checked(check.on(heatmap(SLOPE, **subject))), figure)


class TestDecided:
    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            ("spearman", "has a rank correlation of 0.25"),
            ("ssim", "has a structural similarity of 0.25"),
            ("iou", "above 0.2 of its maximum has an IoU of 0.25"),
        ],
    )
    def test_each_kind_in_its_words(self, kind, words):
        assert decided(0.25, kind=kind).finding == (
            f"the heatmap {words} with the one that it was compared with; expected at least 0.5"
        )
        assert decided(0.25, kind=kind, other=heatmap(SLOPE, target="dog"), target="cat").finding == (
            f"the heatmap for 'cat' {words} with the one for 'dog'; expected at least 0.5"
        )

    @pytest.mark.parametrize(("figure", "outcome"), [(0.5, "passed"), (0.49996, "failed")])
    def test_the_bound_itself_passes(self, figure, outcome):
        record = decided(figure)
        assert (record.outcome, record.figure, record.bound) == (outcome, figure, 0.5)
        assert f" of {figure} with " in record.finding
        assert record.finding.endswith("; expected at least 0.5")

    def test_figure_and_bound_have_the_digits_that_tell_them_apart(self):
        finding = decided(0.49996, bound=0.50004).finding
        assert finding.startswith("the heatmap has a rank correlation of 0.49996 with ")
        assert finding.endswith("; expected at least 0.50004")

    def test_each_check_has_its_own_advice(self):
        assert decided(0.1).advice == "look at the picture: it shows what is missing and what is new in this heatmap"
        record = MatchesBaseline(0.5).decided(Record(check="matches_baseline", measure="", bound=0.5), 0.1)
        assert record.finding == "the heatmap has a rank correlation of 0.1 with its baseline; expected at least 0.5"
        assert record.advice == (
            "look at the picture: it shows what is missing and what is new; if this is the heatmap that you want, run this "
            "test with --gradcam-update and commit the file"
        )


class TestMessage:
    def test_what_is_measured(self, test):
        heatmap(SLOPE).assert_similar(heatmap(SLOPE))
        record = test.records[0]
        assert (record.check, record.measure, record.direction) == ("similar", "similarity", "at_least")
        assert (
            similarity.similarity(heatmap(SLOPE), heatmap(SLOPE**2)) == 1
        )  # of ranks, where nothing else is asked for

    def test_the_whole_of_it(self, test):
        with pytest.raises(FocusError) as caught:
            heatmap(SLOPE).assert_similar(heatmap(SLOPE[::-1, ::-1]))
        assert str(caught.value) == (
            "the heatmap has a rank correlation of -1 with the one that it was compared with; expected at least 0.8\n"
            "  other      grid 4 x 4\n"
            "  layer      grid 4 x 4 on a view of 8 x 8 px\n"
            "  try        look at the picture: it shows what is missing and what is new in this heatmap"
        )

    def test_what_the_other_one_is(self, test):
        fine = heatmap(np.kron(SLOPE, np.ones((2, 2))), **{name: getattr(ABOUT, name) for name in ("target", "score")})
        heatmap(SLOPE, target="cat").assert_similar(fine)
        record = test.records[0]
        assert record.finding == (
            "the heatmap for 'cat' has a rank correlation of 1 with the one for 'dog'; expected at least 0.8"
        )
        assert record.details == (
            ("other", "'dog', score 9.312, grid 8 x 8"),
            ("compared", "on 4 x 4 cells, each the mean of what it covers"),
        )
        other = heatmap(SLOPE)
        other.subject = ABOUT
        heatmap(SLOPE).assert_similar(other)
        assert test.records[1].details == (("other", "'dog', score 9.312, last, gradcam, dog.png, grid 4 x 4"),)
        other.subject = replace(ABOUT, score=None)
        heatmap(SLOPE).assert_similar(other)
        assert test.records[2].details == (("other", "'dog', last, gradcam, dog.png, grid 4 x 4"),)


class TestRefused:
    def test_itself(self):
        one = heatmap(SLOPE)
        assert said(lambda: one.assert_similar(one)).splitlines()[0] == (
            "no verdict on similar: other is this very heatmap, which is always similar to itself; pass another one"
        )

    def test_what_is_no_heatmap(self):
        assert said(lambda: heatmap(SLOPE).similarity(SLOPE)) == (
            "ndarray is not a heatmap; pass a Heatmap to compare with (Heatmap.from_array)"
        )

    def test_views_of_another_aspect(self):
        assert said(lambda: heatmap(SLOPE).similarity(heatmap(SLOPE, (8, 16)))) == (
            "views of 8 x 8 and 8 x 16 px differ in aspect, so no cell has a counterpart; compare equal crops"
        )

    def test_which_of_the_two_has_no_evidence(self):
        empty = heatmap(np.zeros((4, 4)))
        assert said(lambda: empty.similarity(heatmap(SLOPE))).startswith(
            "this heatmap cannot be compared: the heatmap is"
        )
        assert said(lambda: heatmap(SLOPE).similarity(empty)).startswith("the other heatmap cannot be compared: the ")

    @pytest.mark.parametrize(("swapped", "which"), [(False, "this"), (True, "the other")])
    def test_a_pattern_that_is_lost_on_coarser_cells(self, swapped, which):
        fine, coarse = heatmap(np.indices((4, 4)).sum(0) % 2), heatmap([[1, 2], [3, 4]])
        one, other = (coarse, fine) if swapped else (fine, coarse)
        with pytest.raises(NoEvidenceError) as caught:
            one.similarity(other)
        assert str(caught.value) == (
            f"on 2 x 2 cells {which} heatmap is the same everywhere, so no similarity means anything; choose a layer with a "
            "finer grid"
        )

    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
    def test_rounding_is_relative_to_the_maximum(self, scale):
        """What a finer grid leaves on the coarser cells: half a millionth of the maximum is rounding, ten are a pattern."""
        checks, coarse = np.indices((4, 4)).sum(0) % 2, heatmap([[1, 2], [3, 4]])
        for share, pattern in ((0.5e-6, False), (10e-6, True)):
            grid = scale * checks.astype(float)
            grid[:2, :2] += share * scale
            if pattern:
                assert -1 <= heatmap(grid).similarity(coarse) <= 1
            else:
                assert "is the same everywhere" in said(lambda grid=grid: heatmap(grid).similarity(coarse))

    @pytest.mark.parametrize(("fine", "coarse"), [((4, 6), (2, 8)), ((2, 8), (4, 6))])
    def test_each_side_of_the_grid_is_the_shorter_of_the_two(self, fine, coarse, test):
        rng = np.random.default_rng(0)
        one, other = heatmap(rng.random(fine)), heatmap(rng.random(coarse))
        with pytest.raises(FocusError):
            one.assert_similar(other, at_least=1)
        assert test.records[0].details[1] == ("compared", "on 2 x 6 cells, each the mean of what it covers")


class TestPicture:
    def test_both_and_what_is_missing_and_new(self, test):
        one, other = heatmap([[0, 2], [0, 4]], (2, 2)), heatmap([[10, 0], [0, 5]], (2, 2), shade=7)
        with pytest.raises(FocusError) as caught:
            one.assert_similar(other)
        panels, title, lines = test.pictures[0]
        assert [panel.caption for panel in panels] == ["this heatmap", "the other", "missing here", "new here"]
        for panel, heat in zip(
            panels, ([[0, 0.5], [0, 1]], [[1, 0], [0, 0.5]], [[1, 0], [0, 0]], [[0, 0.5], [0, 0.5]]), strict=True
        ):
            np.testing.assert_allclose(panel.heat, heat)
        assert [panel.top for panel in panels] == [1, 1, 1, 1]
        assert [int(panel.view[0, 0, 0]) for panel in panels] == [100, 7, 100, 100]
        headline, *rows = str(caught.value).splitlines()
        assert title == f"similar failed: {headline}"
        assert [f"  {line}" for line in lines] == rows[:-1]

    @pytest.mark.parametrize("other", [SLOPE, heatmap(SLOPE, (8, 16))])
    def test_what_cannot_be_compared_is_shown_alone(self, test, other):
        with pytest.raises(HeatmapError):
            heatmap(SLOPE).assert_similar(other)
        panels, title, _ = test.pictures[0]
        assert [panel.caption for panel in panels] == [""]
        np.testing.assert_array_equal(panels[0].heat, heatmap(SLOPE).values)
        assert panels[0].view.shape == (8, 8, 3)
        assert title.startswith("no verdict on similar: ")

    def test_a_picture_does_not_name_itself(self, test):
        record = replace(CHECK, figure=0.1, outcome="failed", picture="p.png", image="i.png")
        _, _, lines = similarity.draw(heatmap(SLOPE), None, ("a", "b"), record)
        assert lines == ["image      i.png"]

    def test_what_is_empty_or_not_finite_is_drawn_as_nothing(self, test):
        with pytest.raises(HeatmapError):
            heatmap([[np.nan, 1], [0, 0]], (2, 2)).assert_similar(heatmap(np.zeros((2, 2)), (2, 2)))
        this, that, *_ = test.pictures[0][0]
        np.testing.assert_array_equal(this.heat, [[0, 1], [0, 0]])
        np.testing.assert_array_equal(that.heat, np.zeros((2, 2)))

    def test_faint_and_infinite_heat(self, test):
        faint, infinite = heatmap([[0, 0.25], [0, 0]], (2, 2)), heatmap([[np.inf, 0], [0, 0.5]], (2, 2))
        with pytest.raises(HeatmapError):
            faint.assert_similar(infinite)
        this, that, *_ = test.pictures[0][0]
        np.testing.assert_array_equal(this.heat, [[0, 1], [0, 0]])
        np.testing.assert_array_equal(that.heat, [[0, 0], [0, 1]])
