"""Engine compared: how alike two of them are, and every way in which that cannot be said."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_gradcam import FocusError, Heatmap, HeatmapError, NoEvidenceError
from pytest_gradcam.checks import similarity
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.grids import averaged

SIZE = (64, 64)
VIEW = np.full((*SIZE, 3), 100, np.uint8)


def heatmap(grid, shape=SIZE):
    return Heatmap(np.asarray(grid, np.float32), shape, lambda: (np.full((*shape, 3), 100, np.uint8), None))


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
    with pytest.raises(HeatmapError, match="kind='cosine' is no similarity"):
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
