"""Engine compared: how alike two of them are, and every way in which that cannot be said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_gradcam import FocusError, Heatmap, HeatmapError, NoEvidenceError, overlay
from pytest_gradcam.checks import similarity
from pytest_gradcam.checks.baseline import MatchesBaseline
from pytest_gradcam.checks.similarity import Similar
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import Record, Subject
from pytest_gradcam.grids import averaged
from pytest_gradcam.heatmap import SeenImage
from tests.conftest import RecordingTest

SIZE = (64, 64)
VIEW = np.full((*SIZE, 3), 100, np.uint8)


def described(grid, shape=(8, 8), shade=100, **subject):
    return Heatmap(
        np.asarray(grid, np.float32),
        SeenImage(shape, lambda: (np.full((*shape, 3), shade, np.uint8), None)),
        Subject(**subject),
    )


def heatmap(grid, shape=SIZE):
    return described(grid, shape)


def spot(row, column, *, side=8, background=0.1):
    """A hot spot on a slope, so that every cell has a rank of its own."""
    grid = background * np.linspace(0, 1, side * side).reshape(side, side)
    grid[row, column] = 1
    grid[row, column + 1] = 0.8
    return heatmap(grid)


def test_similarity_is_the_rank_correlation_of_the_grids():
    """Against SciPy, which shares no code with ours."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 7, 7)).astype(np.float32)
    expected = stats.spearmanr(a.ravel(), b.ravel()).statistic
    assert heatmap(a).similarity(heatmap(b)) == pytest.approx(expected)


@given(arrays(np.float32, (5, 6), elements=st.floats(0, 100, width=16)), st.sampled_from(["spearman", "ssim", "iou"]))
def test_a_positive_factor_changes_nothing(grid, kind):
    assume(np.ptp(grid) > 1e-3 * grid.max())
    one = Heatmap.from_array(grid)
    assert one.similarity(Heatmap.from_array(4 * grid), kind=kind) == pytest.approx(1)


@given(arrays(np.float32, (4, 4), elements=st.floats(0, 100, width=16)))
def test_similarity_has_no_direction(grid):
    assume(np.ptp(grid) > 1e-3 * grid.max())
    one, other = heatmap(grid), spot(1, 1)
    assert one.similarity(other) == pytest.approx(other.similarity(one))


def test_a_finer_grid_is_averaged_over_the_coarser_ones_cells():
    rng = np.random.default_rng(0)
    coarse = rng.random((7, 7)).astype(np.float32)
    assert heatmap(coarse).similarity(heatmap(np.kron(coarse, np.ones((2, 2))))) == 1
    assert heatmap(coarse).similarity(heatmap(np.kron(coarse, np.ones((32, 32))))) == 1


@pytest.mark.parametrize(("fine", "coarse"), [((14, 14), (7, 7)), ((12, 12), (5, 5)), ((9, 5), (3, 2))])
def test_each_cell_is_the_mean_of_what_it_covers(fine, coarse):
    """Against the sum over a common refinement of both grids."""
    grid = np.random.default_rng(1).random(fine).astype(np.float32)
    common = np.kron(grid, np.ones(coarse))
    means = common.reshape(coarse[0], fine[0], coarse[1], fine[1]).mean((1, 3))
    np.testing.assert_allclose(averaged(grid, coarse), means, rtol=1e-5)


def test_passes_and_fails(recording):
    spot(1, 1).assert_similar(spot(1, 1), at_least=1)
    with pytest.raises(
        FocusError, match=r"^the heatmap has a rank correlation of 0\.\d+ with the one that it was compared"
    ):
        spot(1, 1).assert_similar(spot(6, 5), at_least=0.99)
    assert [record.outcome for record in recording.records] == ["passed", "failed"]
    assert recording.records[1].figure == pytest.approx(spot(1, 1).similarity(spot(6, 5)))


def test_the_bound_itself_passes_and_just_above_it_fails():
    one, other = spot(1, 1), spot(2, 4)
    figure = one.similarity(other)
    one.assert_similar(other, at_least=figure)
    with pytest.raises(FocusError):
        one.assert_similar(other, at_least=np.nextafter(figure, 1))


def test_what_the_other_heatmap_is_stands_in_the_message():
    with pytest.raises(FocusError) as caught:
        spot(1, 1).assert_similar(heatmap(np.eye(4)), at_least=0.9, kind="iou")
    assert str(caught.value).startswith("the heatmap above 0.2 of its maximum has an IoU of ")
    assert "other      grid 4 x 4" in str(caught.value)
    assert "compared   on 4 x 4 cells, each the mean of what it covers" in str(caught.value)


EMPTY, FLAT = heatmap(np.zeros((8, 8))), heatmap(np.ones((8, 8)))
NAN = heatmap(np.full((8, 8), np.nan))


UNDECIDABLE = pytest.mark.parametrize(
    ("one", "other", "error", "message"),
    [
        (
            EMPTY,
            heatmap(np.zeros((8, 8))),
            NoEvidenceError,
            "this heatmap cannot be compared: the heatmap is zero everywhere",
        ),
        (spot(1, 1), EMPTY, NoEvidenceError, "the other heatmap cannot be compared: the heatmap is zero everywhere"),
        (FLAT, heatmap(np.ones((8, 8))), NoEvidenceError, "this heatmap cannot be compared: .* same value everywhere"),
        (spot(1, 1), FLAT, NoEvidenceError, "the other heatmap cannot be compared: .* same value everywhere"),
        (spot(1, 1), NAN, HeatmapError, "the other heatmap cannot be compared: .* NaN"),
        (spot(1, 1), heatmap(np.eye(4), (32, 64)), HeatmapError, "views of 64 x 64 and 32 x 64 px differ in aspect"),
        (spot(1, 1), heatmap([[1.0]]), NoEvidenceError, "the other heatmap cannot be compared"),
        (
            heatmap(np.indices((8, 8)).sum(0) % 2),
            heatmap(np.arange(16).reshape(4, 4)),
            NoEvidenceError,
            "on 4 x 4 cells this heatmap is the same everywhere",
        ),
        (spot(1, 1), np.eye(8), HeatmapError, "ndarray is not a heatmap; pass a Heatmap to compare with"),
    ],
)


@UNDECIDABLE
def test_what_cannot_be_decided(recording, one, other, error, message):
    with pytest.raises(error, match=f"no verdict on similar: {message}"):
        one.assert_similar(other, at_least=0.1)
    assert recording.records[0].outcome == ("no evidence" if error is NoEvidenceError else "invalid")


@pytest.mark.parametrize("kind", ["spearman", "ssim", "iou"])
@UNDECIDABLE
def test_what_cannot_be_measured(one, other, error, message, kind):
    with pytest.raises(error, match=message):
        one.similarity(other, kind=kind)


def test_rounding_is_no_pattern():
    """Ranks of what float32 leaves on a map of one value would be a verdict on nothing."""
    noise = 1 + 1e-7 * np.random.default_rng(0).random((8, 8))
    with pytest.raises(NoEvidenceError, match="same"):
        heatmap(noise).similarity(spot(1, 1))


@pytest.mark.parametrize("at_least", [0, -1, 1.5, float("nan"), True, "0.8", None])
def test_bounds_that_decide_nothing(at_least):
    with pytest.raises(HeatmapError, match="cannot decide anything"):
        spot(1, 1).assert_similar(spot(1, 1), at_least=at_least)


def test_a_heatmap_is_not_compared_with_itself():
    one = spot(1, 1)
    assert one.similarity(one) == 1
    with pytest.raises(HeatmapError, match="always similar to itself"):
        one.assert_similar(one)


def test_an_unknown_kind_is_no_verdict():
    with pytest.raises(HeatmapError, match="kind='cosine' is not a similarity"):
        spot(1, 1).assert_similar(spot(1, 1), kind="cosine")


def test_the_picture_shows_both_and_what_changed():
    record = Record(check="similar", measure="similarity", figure=0.1, bound=0.8, outcome="failed")
    both = similarity.draw(spot(1, 1), spot(6, 5), ("this", "that"), record)
    alone = similarity.draw(spot(1, 1), None, ("this", "that"), record)
    assert both.height > 1.5 * alone.height
    assert both.mode == "RGB"


@pytest.mark.parametrize(
    ("one", "other", "comparable"),
    [
        ((224, 300), (112, 150), True),
        ((500, 333), (224, 149), True),
        ((224, 224), (224, 448), False),
        ((3, 3), (3, 4), False),
        ((7, 7), (224, 224), True),
    ],
)
def test_views_of_one_aspect_up_to_a_pixel(one, other, comparable):
    first, second = heatmap(np.eye(3), one), heatmap(np.eye(3), other)
    if comparable:
        assert first.similarity(second) == 1
    else:
        with pytest.raises(HeatmapError, match="differ in aspect"):
            first.similarity(second)


SLOPE = np.arange(16, dtype=np.float32).reshape(4, 4)
ABOUT = Subject(target="dog", score=9.31234, layer="last", method="gradcam", image="dog.png")
CHECK = Record(check="similar", measure="similarity", bound=0.5)


@pytest.fixture
def test(monkeypatch):
    monkeypatch.setattr(overlay, "draw_panels", lambda panels, *, title, lines: (panels, title, lines))
    recording = RecordingTest()
    with running(recording):
        yield recording


def said(run):
    with pytest.raises(HeatmapError) as caught:
        run()
    return str(caught.value)


def decided(figure, *, bound=0.5, kind="spearman", other=None, **subject):
    check = Similar(bound, kind, described(SLOPE) if other is None else other)
    return check.decided(check.checked(check.on(described(SLOPE, **subject))), figure)


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
        assert decided(0.25, kind=kind, other=described(SLOPE, target="dog"), target="cat").finding == (
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
        described(SLOPE).assert_similar(described(SLOPE))
        record = test.records[0]
        assert (record.check, record.measure, record.direction) == ("similar", "similarity", "at_least")
        assert (
            similarity.similarity(described(SLOPE), described(SLOPE**2)) == 1
        )  # of ranks, where nothing else is asked for

    def test_the_whole_of_it(self, test):
        with pytest.raises(FocusError) as caught:
            described(SLOPE).assert_similar(described(SLOPE[::-1, ::-1]))
        assert str(caught.value) == (
            "the heatmap has a rank correlation of -1 with the one that it was compared with; expected at least 0.8\n"
            "  other      grid 4 x 4\n"
            "  layer      grid 4 x 4 on a view of 8 x 8 px\n"
            "  try        look at the picture: it shows what is missing and what is new in this heatmap"
        )

    def test_what_the_other_one_is(self, test):
        fine = described(
            np.kron(SLOPE, np.ones((2, 2))), **{name: getattr(ABOUT, name) for name in ("target", "score")}
        )
        described(SLOPE, target="cat").assert_similar(fine)
        record = test.records[0]
        assert record.finding == (
            "the heatmap for 'cat' has a rank correlation of 1 with the one for 'dog'; expected at least 0.8"
        )
        assert record.details == (
            ("other", "'dog', score 9.312, grid 8 x 8"),
            ("compared", "on 4 x 4 cells, each the mean of what it covers"),
        )
        other = described(SLOPE)
        other.subject = ABOUT
        described(SLOPE).assert_similar(other)
        assert test.records[1].details == (("other", "'dog', score 9.312, last, gradcam, dog.png, grid 4 x 4"),)
        other.subject = replace(ABOUT, score=None)
        described(SLOPE).assert_similar(other)
        assert test.records[2].details == (("other", "'dog', last, gradcam, dog.png, grid 4 x 4"),)


class TestRefused:
    def test_itself(self):
        one = described(SLOPE)
        assert said(lambda: one.assert_similar(one)).splitlines()[0] == (
            "no verdict on similar: other is this very heatmap, which is always similar to itself; pass another one"
        )

    def test_what_is_no_heatmap(self):
        assert said(lambda: described(SLOPE).similarity(SLOPE)) == (
            "ndarray is not a heatmap; pass a Heatmap to compare with (Heatmap.from_array)"
        )

    def test_views_of_another_aspect(self):
        assert said(lambda: described(SLOPE).similarity(described(SLOPE, (8, 16)))) == (
            "views of 8 x 8 and 8 x 16 px differ in aspect, so no cell has a counterpart; compare equal crops"
        )

    def test_which_of_the_two_has_no_evidence(self):
        empty = described(np.zeros((4, 4)))
        assert said(lambda: empty.similarity(described(SLOPE))).startswith(
            "this heatmap cannot be compared: the heatmap is"
        )
        assert said(lambda: described(SLOPE).similarity(empty)).startswith("the other heatmap cannot be compared: the ")

    @pytest.mark.parametrize(("swapped", "which"), [(False, "this"), (True, "the other")])
    def test_a_pattern_that_is_lost_on_coarser_cells(self, swapped, which):
        fine, coarse = described(np.indices((4, 4)).sum(0) % 2), described([[1, 2], [3, 4]])
        one, other = (coarse, fine) if swapped else (fine, coarse)
        with pytest.raises(NoEvidenceError) as caught:
            one.similarity(other)
        assert str(caught.value) == (
            f"on 2 x 2 cells {which} heatmap is the same everywhere, so no similarity is defined; choose a layer with a "
            "finer grid"
        )

    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
    def test_rounding_is_relative_to_the_maximum(self, scale):
        """What a finer grid leaves on the coarser cells: half a millionth of the maximum is rounding, ten are a pattern."""
        checks, coarse = np.indices((4, 4)).sum(0) % 2, described([[1, 2], [3, 4]])
        for share, pattern in ((0.5e-6, False), (10e-6, True)):
            grid = scale * checks.astype(float)
            grid[:2, :2] += share * scale
            if pattern:
                assert -1 <= described(grid).similarity(coarse) <= 1
            else:
                assert "is the same everywhere" in said(lambda grid=grid: described(grid).similarity(coarse))

    @pytest.mark.parametrize(("fine", "coarse"), [((4, 6), (2, 8)), ((2, 8), (4, 6))])
    def test_each_side_of_the_grid_is_the_shorter_of_the_two(self, fine, coarse, test):
        rng = np.random.default_rng(0)
        one, other = described(rng.random(fine)), described(rng.random(coarse))
        with pytest.raises(FocusError):
            one.assert_similar(other, at_least=1)
        assert test.records[0].details[1] == ("compared", "on 2 x 6 cells, each the mean of what it covers")


class TestPicture:
    def test_both_and_what_is_missing_and_new(self, test):
        one, other = described([[0, 2], [0, 4]], (2, 2)), described([[10, 0], [0, 5]], (2, 2), shade=7)
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

    @pytest.mark.parametrize("other", [SLOPE, described(SLOPE, (8, 16))])
    def test_what_cannot_be_compared_is_shown_alone(self, test, other):
        with pytest.raises(HeatmapError):
            described(SLOPE).assert_similar(other)
        panels, title, _ = test.pictures[0]
        assert [panel.caption for panel in panels] == [""]
        np.testing.assert_array_equal(panels[0].heat, described(SLOPE).values)
        assert panels[0].view.shape == (8, 8, 3)
        assert title.startswith("no verdict on similar: ")

    def test_a_picture_does_not_name_itself(self, test):
        record = replace(CHECK, figure=0.1, outcome="failed", picture="p.png", image="i.png")
        _, _, lines = similarity.draw(described(SLOPE), None, ("a", "b"), record)
        assert lines == ["image      i.png"]

    def test_what_is_empty_or_not_finite_is_drawn_as_nothing(self, test):
        with pytest.raises(HeatmapError):
            described([[np.nan, 1], [0, 0]], (2, 2)).assert_similar(described(np.zeros((2, 2)), (2, 2)))
        this, that, *_ = test.pictures[0][0]
        np.testing.assert_array_equal(this.heat, [[0, 1], [0, 0]])
        np.testing.assert_array_equal(that.heat, np.zeros((2, 2)))

    def test_faint_and_infinite_heat(self, test):
        faint, infinite = described([[0, 0.25], [0, 0]], (2, 2)), described([[np.inf, 0], [0, 0.5]], (2, 2))
        with pytest.raises(HeatmapError):
            faint.assert_similar(infinite)
        this, that, *_ = test.pictures[0][0]
        np.testing.assert_array_equal(this.heat, [[0, 1], [0, 0]])
        np.testing.assert_array_equal(that.heat, [[0, 0], [0, 1]])
