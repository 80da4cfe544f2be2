"""How a check comes to its record: measured, undecided, refused; whole messages, and the edges of the refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_gradcam import FocusError, Heatmap, HeatmapError, NoEvidenceError, masks
from pytest_gradcam.evidence import settle
from pytest_gradcam.evidence.record import Record, Subject
from pytest_gradcam.heatmap import SeenImage

CHECK = Record(check="overlap", measure="IoU", bound=0.5)


def draw(record):
    return f"a picture of {record.check} {record.outcome}"


def measured(outcome):
    def measure(check):
        assert check is CHECK
        return replace(check, outcome=outcome, figure=0.6)

    return measure


def test_a_check_that_holds_is_kept_drawn_and_handed_on(recording):
    record = settle.judge(CHECK, measured("passed"), draw)
    assert (record.check, record.outcome, record.figure) == ("overlap", "passed", 0.6)
    assert [kept.outcome for kept in recording.records] == ["passed"]
    assert recording.pictures[0] == "a picture of overlap passed"


def test_a_check_that_does_not_hold_raises_after_it_was_kept(recording):
    with pytest.raises(FocusError):
        settle.judge(CHECK, measured("failed"), draw)
    assert [kept.outcome for kept in recording.records] == ["failed"]


@pytest.mark.parametrize(("error", "outcome"), [(HeatmapError, "invalid"), (NoEvidenceError, "no evidence")])
def test_what_keeps_a_check_from_being_decided_is_its_reason(recording, error, outcome):
    def measure(_check):
        raise error("there is nothing; look elsewhere")

    with pytest.raises(error, match="no verdict on overlap: there is nothing; look elsewhere") as caught:
        settle.judge(CHECK, measure, draw)
    assert type(caught.value) is error
    kept = recording.records[0]
    assert (kept.outcome, kept.figure, kept.bound) == (outcome, None, 0.5)
    assert kept.reason == "there is nothing; look elsewhere"


GRID = np.zeros((6, 6), np.float32)
GRID[0, 5] = 1
BOX = masks.box((6, 6), (0, 0, 3, 3))
FARTHEST = math.hypot(3, 3)  # from the lower right pixel to the box's


def test_a_tolerance_that_reaches_the_farthest_pixel_decides_nothing():
    with pytest.raises(HeatmapError) as caught:
        Heatmap.from_array(GRID).assert_peak_within(BOX, tolerance=FARTHEST)
    assert str(caught.value).splitlines()[0] == (
        "no verdict on peak_within: tolerance=4.24264 holds for every heatmap: no pixel of the view lies more than "
        "4.243 px from the mask; pass a lower one"
    )


def test_a_tolerance_just_below_it_decides():
    Heatmap.from_array(GRID).assert_peak_within(BOX, tolerance=math.nextafter(FARTHEST, 0))
    corner = np.zeros((6, 6), np.float32)
    corner[5, 5] = 1
    with pytest.raises(FocusError):
        Heatmap.from_array(corner).assert_peak_within(BOX, tolerance=math.nextafter(FARTHEST, 0))


def empty(values, **subject):
    heatmap = Heatmap(np.asarray(values, np.float32), SeenImage((6, 6), lambda: (np.zeros((6, 6, 3), np.uint8), None)))
    heatmap.subject = Subject(**subject)
    with pytest.raises(HeatmapError) as caught:
        _ = heatmap.peak
    return str(caught.value)


NOTHING = (
    "there is no positive evidence for the target; explain another target, or choose another layer or method (hirescam)"
)
FLAT = "so it points nowhere; choose a layer with a finer grid, and check that the weights are trained"


def test_what_an_empty_heatmap_says():
    zero = np.zeros((2, 2))
    assert empty(zero) == f"the heatmap is zero everywhere: {NOTHING}"
    assert empty(zero, layer="last") == f"the heatmap is zero everywhere at layer last: {NOTHING}"
    assert empty(zero, target="cat", score=1.5, layer="last") == (
        f"the heatmap is zero everywhere for 'cat' (score 1.5) at layer last: {NOTHING}"
    )
    assert empty(zero, target="cat") == f"the heatmap is zero everywhere: {NOTHING}"


def test_what_a_flat_heatmap_says():
    assert empty(np.ones((2, 2))) == f"the heatmap has the same value everywhere, {FLAT}"
    assert empty([[1.0]], layer="last") == f"the heatmap has the same value everywhere at layer last, {FLAT}"


def test_what_a_heatmap_with_nan_says():
    assert empty([[1.0, math.nan]]) == (
        "the heatmap holds NaN or infinite values; check the model's activations and weights"
    )


def test_an_undecided_check_keeps_the_parameters_that_are_numbers():
    check = replace(CHECK, parameters={"threshold": 0.5, "orders": "many", "seed": math.nan, "on": True})
    assert settle.undecided(check, HeatmapError("no")).parameters == {"threshold": 0.5}
