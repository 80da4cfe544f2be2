"""Engine: what is measured on them, and every way a check passes, fails or cannot be decided."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pytest_gradcam import FocusError, GradcamWarning, Heatmap, HeatmapError, NoEvidenceError, masks
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.grids import resize
from tests.conftest import RecordingTest

HAND = np.arange(9, dtype=np.float32).reshape(3, 3)
CORNER = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]])  # mass 24/36, lift 1.5


@pytest.fixture
def hand():
    return Heatmap.from_array(HAND)


@pytest.fixture
def spot():
    """All heat on x 32-63, y 0-31 of an image of 64 x 64."""
    grid = np.zeros((8, 8), np.float32)
    grid[:4, 4:] = 1
    grid[1, 6] = 2
    return Heatmap.from_array(grid, np.full((64, 64, 3), 100, np.uint8))


TOP_RIGHT = masks.box((64, 64), (32, 0, 64, 32))
LEFT = masks.box((64, 64), (0, 0, 32, 64))


def test_the_hand_fixture(hand):
    assert hand.mass(CORNER) == pytest.approx(24 / 36)
    assert hand.lift(CORNER) == pytest.approx(1.5)
    assert hand.rank_accuracy(CORNER) == pytest.approx(3 / 4)
    assert hand.mean_heat(CORNER) == pytest.approx(6 / 8)
    assert hand.hits(CORNER)
    assert hand.peak == (2, 2, 1)
    assert hand.iou(CORNER, threshold=0.5) == pytest.approx(4 / 5)


def test_negative_values_are_clipped():
    assert Heatmap.from_array([[-5.0, 1.0], [1.0, 2.0]]).mass([[1, 1], [0, 0]]) == pytest.approx(0.25)


@pytest.mark.parametrize("shape", [(7, 9), (7, 33)])
def test_values_are_the_grid_resized_bilinearly(shape):
    """Against torch's own interpolation, an implementation that shares no code with ours."""
    import torch

    grid = np.random.default_rng(0).random(shape).astype(np.float32)
    ours = resize(grid, (61, 224))
    theirs = torch.nn.functional.interpolate(torch.tensor(grid)[None, None], size=(61, 224), mode="bilinear")[0, 0]
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.numpy(), atol=3e-6)  # float32 there


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 1000, width=32)))
def test_resizing_keeps_the_range(grid):
    out = resize(grid, (17, 13))
    assert out.min() >= 0
    assert out.max() <= grid.max()


@given(st.floats(2.0**-60, 2.0**60, width=32), st.integers(2, 16), st.integers(16, 300))
def test_cells_that_are_equal_stay_equal(value, cells, pixels):
    """A peak of several cells is every pixel between their centres: the pointing game counts them all."""
    grid = np.full((1, cells + 2), value, np.float32)
    grid[0, [0, -1]] = 0
    row = resize(grid, (1, pixels))[0]
    centres = (np.arange(pixels) + 0.5) * (cells + 2) / pixels - 0.5
    inside = (centres > 1 + 1e-9) & (centres < cells - 1e-9)
    assert (row[inside] == row.max()).all()


@pytest.mark.parametrize("values", [[1, 2], [[]], [["a"]], [[1j]], [[[1]]]])
def test_what_is_no_heatmap(values):
    with pytest.raises(HeatmapError, match="not a heatmap"):
        Heatmap.from_array(values)


def test_rounding_on_a_map_of_one_value_is_no_evidence():
    """What float32 arithmetic leaves would otherwise decide where the peak is, and who ranks before whom."""
    grid = 1 + 1e-7 * np.random.default_rng(0).random((4, 4))
    with pytest.raises(NoEvidenceError, match="same value everywhere"):
        Heatmap.from_array(grid).assert_peak_within(np.eye(4))
    Heatmap.from_array(grid + 1e-4 * np.eye(4)).assert_peak_within(np.eye(4))


class TestFocusWithin:
    def test_passes(self, spot):
        spot.assert_focus_within(TOP_RIGHT, at_least=0.8)

    def test_fails(self, spot):
        with pytest.raises(FocusError, match=r"^\d+\.\d % of the attention lies inside the mask; expected at least 50"):
            spot.assert_focus_within(LEFT)

    def test_the_bound_itself_passes_and_just_above_it_fails(self, hand):
        share = hand.mass(CORNER)
        hand.assert_focus_within(CORNER, at_least=share)
        with pytest.raises(FocusError):
            hand.assert_focus_within(CORNER, at_least=math.nextafter(share, 1))

    def test_a_pass_on_less_than_chance_warns(self, hand):
        mask = ~np.array(CORNER, bool)
        mask[0, 0] = False
        mask[1, 1] = True  # 12 - 0 + 4 of 36 on 5 of 9 pixels
        with pytest.warns(GradcamWarning, match=r"less attention than chance \(lift 0\.80\)"):
            hand.assert_focus_within(mask, at_least=0.4)


class TestFocusAvoids:
    def test_passes(self, spot):
        spot.assert_focus_avoids(LEFT)

    def test_fails(self, spot):
        with pytest.raises(FocusError, match="inside the mask to avoid; expected at most 10.0 %"):
            spot.assert_focus_avoids(TOP_RIGHT)

    def test_the_bound_itself_passes_and_just_below_it_fails(self, hand):
        share = hand.mass(CORNER)
        hand.assert_focus_avoids(CORNER, at_most=share)
        with pytest.raises(FocusError):
            hand.assert_focus_avoids(CORNER, at_most=math.nextafter(share, 0))


class TestPeakWithin:
    def test_passes(self, spot):
        spot.assert_peak_within(TOP_RIGHT)

    def test_fails_and_says_how_far_off(self, spot):
        with pytest.raises(FocusError, match=r"peaks 2\d px away from the mask; expected it inside"):
            spot.assert_peak_within(LEFT)

    def test_tolerance_is_a_distance_in_pixels(self):
        heat = np.zeros((20, 20), np.float32)
        heat[10, 10] = 1
        mask = masks.box((20, 20), (13, 14, 20, 20))  # 3 to the right and 4 below: 5 away
        heatmap = Heatmap.from_array(heat)
        heatmap.assert_peak_within(mask, tolerance=5)
        with pytest.raises(FocusError, match="peaks 5 px away from the mask; expected at most 4.99 px"):
            heatmap.assert_peak_within(mask, tolerance=4.99)

    def test_every_one_of_several_maxima_must_hit(self):
        heat = np.zeros((4, 4), np.float32)
        heat[0, 0] = heat[3, 3] = 1
        heatmap = Heatmap.from_array(heat)
        both, first = np.eye(4, dtype=bool), masks.box((4, 4), (0, 0, 2, 2))
        heatmap.assert_peak_within(both)
        with pytest.raises(FocusError, match="the first of 2 equal maxima"):
            heatmap.assert_peak_within(first)


class TestOverlap:
    def test_passes(self, spot):
        spot.assert_overlap(TOP_RIGHT, at_least=0.7)

    def test_fails(self, spot):
        with pytest.raises(
            FocusError,
            match=r"^the attention above 0.5 of its maximum has an IoU of 0\S* with the mask; expected at least 0.3",
        ):
            spot.assert_overlap(LEFT)


CHECKS = ["assert_focus_within", "assert_focus_avoids", "assert_peak_within", "assert_overlap"]


@pytest.mark.parametrize("check", CHECKS)
class TestUndecidable:
    """The rows of 'Undecidable is not passed' that do not need a model."""

    def decide(self, check, heatmap, mask, error=HeatmapError, match=None, **bounds):
        test = RecordingTest(draws=False)
        with running(test), pytest.raises(error, match=match) as caught:
            getattr(heatmap, check)(mask, **bounds)
        assert not isinstance(caught.value, AssertionError)
        assert [record.outcome for record in test.records] == ["no evidence" if error is NoEvidenceError else "invalid"]
        assert test.records[0].figure is None

    def test_an_empty_mask(self, check, spot):
        self.decide(check, spot, np.zeros((64, 64), bool), match="no pixel")

    def test_a_mask_that_covers_everything(self, check, spot):
        self.decide(check, spot, np.ones((64, 64), bool), match="covers the whole view")

    def test_a_heatmap_of_zeros(self, check):
        self.decide(check, Heatmap.from_array(np.zeros((3, 3))), CORNER, NoEvidenceError, "zero everywhere")

    def test_a_heatmap_of_negative_values(self, check):
        self.decide(check, Heatmap.from_array(-HAND), CORNER, NoEvidenceError, "zero everywhere")

    def test_a_constant_heatmap(self, check):
        self.decide(check, Heatmap.from_array(np.full((3, 3), 0.7)), CORNER, NoEvidenceError, "same value everywhere")

    def test_a_grid_of_one_cell(self, check):
        heatmap = Heatmap.from_array([[3.0]], np.zeros((8, 8), np.uint8))
        self.decide(check, heatmap, masks.box((8, 8), (0, 0, 4, 4)), NoEvidenceError, "same value everywhere")

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_values_that_are_not_finite(self, check, value):
        values = HAND.copy()
        values[1, 1] = value
        self.decide(check, Heatmap.from_array(values), CORNER, match="NaN or infinite")

    def test_a_mask_of_another_shape(self, check, spot):
        self.decide(check, spot, np.ones((64, 32), bool), match=r"64.*32.*64.*64")

    def test_a_mask_of_labels(self, check, hand):
        self.decide(check, hand, np.array([[0, 1, 2]] * 3), match="mask")

    def test_a_mask_with_nan(self, check, hand):
        self.decide(check, hand, np.array([[0, 1, math.nan]] * 3), match="NaN")

    def test_no_mask(self, check, hand):
        self.decide(check, hand, None, match="mask")

    def test_padding_where_there_is_none(self, check, hand):
        self.decide(check, hand, hand.padding, match="no padding")

    @pytest.mark.parametrize("bound", [math.nan, math.inf, -0.1, "0.5", None, True])
    def test_a_bound_that_is_none(self, check, hand, bound):
        name = {"assert_focus_avoids": "at_most", "assert_peak_within": "tolerance"}.get(check, "at_least")
        self.decide(check, hand, CORNER, match=f"{name}=.* cannot decide anything", **{name: bound})


@pytest.mark.parametrize(
    ("check", "bound"),
    [
        ("assert_focus_within", {"at_least": 0}),
        ("assert_focus_within", {"at_least": 50}),
        ("assert_focus_avoids", {"at_most": 1}),
        ("assert_focus_avoids", {"at_most": 10}),
        ("assert_overlap", {"at_least": 0}),
        ("assert_overlap", {"at_least": 30}),
        ("assert_overlap", {"threshold": 0}),
        ("assert_overlap", {"threshold": 20}),
        ("assert_overlap", {"threshold": math.nan}),
    ],
)
def test_a_bound_that_every_heatmap_meets_or_none_does(hand, check, bound):
    with pytest.raises(HeatmapError, match=next(iter(bound))):
        getattr(hand, check)(CORNER, **bound)


def test_a_mask_finer_than_a_cell_is_decided_with_a_warning(spot):
    tiny = masks.box((64, 64), (50, 10, 55, 14))
    with pytest.warns(GradcamWarning, match="one cell of the heatmap, 8 x 8 px, is coarser than the mask"):
        spot.assert_peak_within(tiny, tolerance=8)
    with pytest.raises(FocusError, match="note       one cell of the heatmap, 8 x 8 px, is coarser than the mask"):
        spot.assert_peak_within(masks.box((64, 64), (2, 2, 5, 5)))


def test_a_warning_that_is_an_error_leaves_the_record(spot, records):
    with pytest.raises(GradcamWarning):
        spot.assert_peak_within(masks.box((64, 64), (50, 10, 55, 14)), tolerance=8)
    assert records[0].outcome == "passed"
    assert records[0].details[0][0] == "note"


def test_a_figure_just_short_of_its_bound_reads_so(hand):
    bound = math.nextafter(hand.mass(CORNER), 1)
    with pytest.raises(FocusError) as caught:
        hand.assert_focus_within(CORNER, at_least=0.666_700)
    assert str(caught.value).startswith("66.667 % of the attention lies inside the mask; expected at least 66.670 %")
    with pytest.raises(FocusError):
        hand.assert_focus_within(CORNER, at_least=bound)


def test_masks_come_as_arrays_pictures_and_files(spot, tmp_path):
    share = spot.mass(TOP_RIGHT)
    as_image = Image.fromarray(TOP_RIGHT.astype(np.uint8) * 255)
    as_image.save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", TOP_RIGHT)
    for mask in (
        TOP_RIGHT.astype(int),
        TOP_RIGHT.astype(np.uint8) * 255,
        TOP_RIGHT.astype(float),
        TOP_RIGHT.tolist(),
        as_image,
    ):
        assert spot.mass(mask) == share
    for path in (tmp_path / "mask.png", str(tmp_path / "mask.png"), tmp_path / "mask.npy"):
        assert spot.mass(path) == share


def test_the_callers_arrays_stay_as_they_are():
    values, mask = HAND.copy(), np.array(CORNER)
    heatmap = Heatmap.from_array(values)
    heatmap.assert_focus_within(mask)
    np.testing.assert_array_equal(values, HAND)
    np.testing.assert_array_equal(mask, CORNER)


def test_the_overlay_is_a_picture_with_an_outline(spot, tmp_path):
    plain, outlined = np.asarray(spot.overlay()), np.asarray(spot.overlay(TOP_RIGHT))
    cyan = (0, 229, 255)
    assert (plain == cyan).all(axis=2).sum() == 0
    assert (outlined == cyan).all(axis=2).sum() > 100
    spot.save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as saved:
        assert saved.size == spot.overlay().size
    assert spot._repr_png_().startswith(b"\x89PNG")


def test_a_picture_can_be_drawn_of_what_has_no_evidence():
    Heatmap.from_array(np.zeros((3, 3))).overlay(CORNER)
    Heatmap.from_array(np.full((3, 3), np.nan)).overlay(CORNER)
