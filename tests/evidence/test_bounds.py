"""Bounds: in shares, in lifts, and the ones on which a check could not both pass and fail."""

import json
import math
import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gradcam import FocusError, Heatmap, HeatmapError, masks
from pytest_gradcam.checks.focus import Overlap
from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.bounds import DISTANCE, Lift, argument, lift_within_reach
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import Subject
from tests.conftest import RecordingTest

HAND = np.arange(9, dtype=np.float32).reshape(3, 3)
CORNER = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]])  # mass 24/36 on 4/9 of the view: lift 1.5, and 2.25 at the most


@pytest.fixture
def hand():
    return Heatmap.from_array(HAND)


def test_a_lift_says_itself():
    assert repr(masks.lift(2)) == "masks.lift(2)"
    assert masks.lift(2) == Lift(2)


def test_a_lift_that_is_kept(hand, records):
    hand.assert_focus_within(CORNER, at_least=masks.lift(1.5))
    hand.assert_focus_avoids(CORNER, at_most=masks.lift(1.5))
    assert [record.outcome for record in records] == ["passed", "passed"]


def test_a_lift_that_is_broken_says_both_the_lift_and_the_share(hand, records):
    with pytest.raises(FocusError) as caught:
        hand.assert_focus_within(CORNER, at_least=masks.lift(2))
    assert str(caught.value).splitlines()[:2] == [
        "the attention has a lift of 1.5 on the mask, 66.7 % of it; expected at least 2, 88.9 % on 44.4 % of the view",
        "  attention  66.7 % of the relevance mass on 44.4 % of the view, lift 1.50 (1 is chance)",
    ]
    assert "grid 3 x 3 on a view of 3 x 3 px" in str(caught.value)


def test_a_lift_to_avoid_that_is_broken(hand):
    with pytest.raises(FocusError, match=r"^the attention has a lift of 1\.5.* on the mask to avoid, .*at most 1\.4"):
        hand.assert_focus_avoids(CORNER, at_most=masks.lift(1.4))


def test_the_record_keeps_both_and_says_which_the_bound_was_in(hand, records):
    hand.assert_focus_within(CORNER, at_least=masks.lift(1.2))
    hand.assert_focus_within(CORNER, at_least=0.4)
    in_lift, in_share = records
    assert (in_lift.measure, in_lift.bound, in_lift.figure) == ("lift", 1.2, pytest.approx(1.5))
    assert (in_share.measure, in_share.bound, in_share.figure) == ("relevance mass", 0.4, pytest.approx(24 / 36))
    assert in_lift.mass == in_share.mass == pytest.approx(24 / 36)
    assert in_lift.lift == in_share.lift == pytest.approx(1.5)


def test_the_bound_itself_holds_and_just_beyond_it_does_not(hand):
    lift = hand.lift(CORNER)
    hand.assert_focus_within(CORNER, at_least=masks.lift(lift))
    hand.assert_focus_avoids(CORNER, at_most=masks.lift(lift))
    with pytest.raises(FocusError):
        hand.assert_focus_within(CORNER, at_least=masks.lift(math.nextafter(lift, 9)))
    with pytest.raises(FocusError):
        hand.assert_focus_avoids(CORNER, at_most=masks.lift(math.nextafter(lift, 0)))


@given(area=st.integers(1, 15), heat=st.lists(st.integers(0, 9), min_size=16, max_size=16), times=st.floats(0.1, 16))
def test_a_lift_and_the_share_that_it_stands_for_come_to_the_same_verdict(area, heat, times):
    values, mask = np.array(heat, np.float32).reshape(4, 4), np.arange(16).reshape(4, 4) < area
    share = times * area / 16
    if values.min() == values.max() or share > 0.999 or abs(Heatmap.from_array(values).mass(mask) - share) < 1e-6:
        return
    assert outcome(values, mask, masks.lift(times)) == outcome(values, mask, share)


def outcome(values, mask, at_least):
    test = RecordingTest(draws=False)
    with running(test), warnings.catch_warnings(action="ignore"), suppress(FocusError):
        Heatmap.from_array(values).assert_focus_within(mask, at_least=at_least)
    return test.records[0].outcome


class TestRefused:
    """Bounds that every heatmap keeps, or none can, decide nothing."""

    @pytest.mark.parametrize(
        "times", [0, -1, math.nan, math.inf, True, "2", None, np.nan, np.float32(-2)], ids=lambda value: repr(value)
    )
    def test_what_is_no_lift(self, hand, records, times):
        with pytest.raises(
            HeatmapError, match=r"at_least=masks\.lift\(.*cannot decide anything; expected a lift above 0"
        ):
            hand.assert_focus_within(CORNER, at_least=masks.lift(times))
        json.dumps(records[0].to_plain(), allow_nan=False)  # whatever was passed, the record can travel

    def test_a_lift_that_no_mask_of_this_size_can_reach(self, hand, records):
        words = (
            r"at_least=masks\.lift\(2\.3\) can never hold: on a mask of 44\.4 % of the view no lift is above 2\.25; "
            "pass a lower lift, a share, or a smaller mask"
        )
        with pytest.raises(HeatmapError, match=words):
            hand.assert_focus_within(CORNER, at_least=masks.lift(2.3))
        assert (records[0].outcome, records[0].measure, records[0].bound) == ("invalid", "lift", 2.3)

    def test_a_lift_that_every_heatmap_keeps(self, hand):
        with pytest.raises(
            HeatmapError, match=r"at_most=masks\.lift\(2\.25\) holds for every heatmap: on a mask of 44"
        ):
            hand.assert_focus_avoids(CORNER, at_most=masks.lift(2.25))

    def test_the_highest_lift_there_is_can_be_asked_for(self):
        all_inside = Heatmap.from_array(np.where(CORNER, HAND, 0))
        all_inside.assert_focus_within(CORNER, at_least=masks.lift(2.25))
        all_inside.assert_focus_within(CORNER, at_least=masks.lift(9 / 4 * (1 + 1e-12)))

    def test_a_lift_of_zero_may_be_asked_for_at_the_most(self):
        Heatmap.from_array(np.where(CORNER, 0, HAND)).assert_focus_avoids(CORNER, at_most=masks.lift(0))
        with pytest.raises(HeatmapError, match="of at least 0"):
            Heatmap.from_array(HAND).assert_focus_avoids(CORNER, at_most=masks.lift(-1e-9))

    @pytest.mark.parametrize(
        ("check", "name", "measures"),
        [("assert_overlap", "at_least", "IoU"), ("assert_peak_within", "tolerance", "distance of the peak")],
    )
    def test_a_lift_where_something_else_is_measured(self, hand, check, name, measures):
        with pytest.raises(
            HeatmapError, match=rf"{name}=masks\.lift\(2\) bounds relevance mass, but .* {measures}.*; pass"
        ):
            getattr(hand, check)(CORNER, **{name: masks.lift(2)})

    @pytest.mark.parametrize(
        "bound", [0, -0.1, 1.01, 50, math.nan, math.inf, True, "0.5", None, [0.5], np.array([0.5])]
    )
    def test_what_is_no_share(self, hand, records, bound):
        with pytest.raises(
            HeatmapError, match=r"at_least=.* cannot decide anything; expected a share .* or masks\.lift"
        ):
            hand.assert_focus_within(CORNER, at_least=bound)
        json.dumps(records[0].to_plain(), allow_nan=False)

    @pytest.mark.parametrize("threshold", [None, "0.5", math.nan, True, [0.5]])
    def test_what_is_no_threshold(self, hand, records, threshold):
        with pytest.raises(HeatmapError, match="threshold=.* cannot be used; expected a finite number, such as 0.5"):
            hand.assert_overlap(CORNER, threshold=threshold)
        json.dumps(records[0].to_plain(), allow_nan=False)

    @pytest.mark.parametrize("bound", [np.float32(0.5), np.float64(0.5), np.int64(1)])
    def test_numbers_of_numpy_are_numbers(self, hand, records, bound):
        mask = np.where(np.arange(9).reshape(3, 3) > 0, 1, 0)  # all of the heat
        hand.assert_focus_within(mask, at_least=bound)
        json.dumps(records[0].to_plain(), allow_nan=False)


def test_a_lift_never_reads_like_the_bound_it_missed(hand, records):
    lift = hand.lift(CORNER)
    with pytest.raises(FocusError):
        hand.assert_focus_within(CORNER, at_least=masks.lift(lift + 1e-6))
    assert messages.headline(records[0]).startswith(
        "the attention has a lift of 1.5 on the mask, 66.66667 % of it; expected at least 1.500001, 66.66671 %"
    )


class TestWords:
    """What a refused bound says, to the letter: the words are the next thing to do."""

    def said(self, run):
        with pytest.raises(HeatmapError) as caught:
            run()
        return str(caught.value).splitlines()[0].partition(": ")[2]

    def test_of_a_tolerance(self, hand):
        assert self.said(lambda: hand.assert_peak_within(CORNER, tolerance=-1)) == (
            "tolerance=-1 cannot decide anything; expected a number of pixels of at least 0"
        )

    def test_of_a_share_to_have(self, hand):
        assert self.said(lambda: hand.assert_focus_within(CORNER, at_least=50)) == (
            "at_least=50 cannot decide anything; expected a share above 0 and up to 1, 0.5 for 50 percent, "
            "or masks.lift(2) for twice what chance would give"
        )

    def test_of_a_share_to_avoid(self, hand):
        assert self.said(lambda: hand.assert_focus_avoids(CORNER, at_most=1)) == (
            "at_most=1 cannot decide anything; expected a share from 0 to below 1, 0.1 for 10 percent, "
            "or masks.lift(2) for twice what chance would give"
        )

    def test_of_an_overlap(self, hand):
        assert self.said(lambda: hand.assert_overlap(CORNER, at_least=0)) == (
            "at_least=0 cannot decide anything; expected a share above 0 and up to 1, 0.5 for 50 percent"
        )

    def test_of_a_lift(self, hand):
        assert self.said(lambda: hand.assert_focus_within(CORNER, at_least=masks.lift(0))) == (
            "at_least=masks.lift(0) cannot decide anything; expected a lift above 0, "
            "masks.lift(2) for twice what chance would give"
        )


def test_nothing_at_all_may_be_asked_for_at_the_most():
    Heatmap.from_array(np.where(CORNER, 0, HAND)).assert_focus_avoids(CORNER, at_most=0)


def test_a_lift_of_any_size_above_zero_is_one(hand):
    hand.assert_focus_within(CORNER, at_least=masks.lift(1e-20))


def test_checking_makes_plain_numbers_of_numpys():
    check = Overlap(np.float32(0.5), np.float32(0.25))
    found = check.checked(check.record(Subject()))
    assert (type(found.bound), found.bound) == (float, 0.5)
    assert {name: type(value) for name, value in found.parameters.items()} == {"threshold": float}


def test_the_edge_of_what_a_lift_can_reach():
    """1e-9 over the ceiling is rounding, more is out of reach; at most, even 1e-9 below it holds for every heatmap."""
    assert lift_within_reach("at_least", 2 * (1 + 1e-9), 0.5) == 2
    with pytest.raises(HeatmapError, match="can never hold"):
        lift_within_reach("at_least", 2 * (1 + 1e-8), 0.5)
    with pytest.raises(HeatmapError, match="holds for every heatmap"):
        lift_within_reach("at_most", 2 * (1 - 1e-9), 0.5)
    assert lift_within_reach("at_most", 2 * (1 - 1e-8), 0.5) < 2


@pytest.mark.parametrize(
    ("measure", "direction", "name"),
    [("relevance mass", "at_least", "at_least"), ("lift", "at_most", "at_most"), (DISTANCE, "at_most", "tolerance")],
)
def test_what_the_bound_of_a_measure_is_called(measure, direction, name):
    assert argument(measure, direction) == name
