"""The verdict by lost decisions, from figures alone: yes, weakly, no and undecided, each way."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import cycle
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from pytest_gradcam.checks import loss
from pytest_gradcam.checks.averages import Averaged
from pytest_gradcam.checks.exchange import FEWEST, Difference, Exchange, Row, normal
from pytest_gradcam.checks.loss import Exchanged, Loss, estimated

NAMES = ("stop", "yield", "speed")


def pairs(counts):
    """Each image receives from two others of each class."""
    predicted = np.repeat(np.arange(len(counts)), counts)
    places = [np.flatnonzero(predicted == index) for index in range(len(counts))]
    chosen = [
        (i, place[(i + step) % len(place)])
        for i in range(len(predicted))
        for place in places
        for step in (1, 2)
        if place[(i + step) % len(place)] != i
    ]
    return predicted, *np.array(chosen).T


def exchange(counts, fall, own=0.0, lead=1.0):
    """`fall` of the margin for other classes' pixels, by (receiver, receiving class, donor class), `own` for the own class's."""
    predicted, to, donor = pairs(counts)
    other = predicted[to] != predicted[donor]
    falls = [fall(i, predicted[i], predicted[j]) for i, j in zip(to, donor, strict=True)]
    return Exchange(predicted, np.full(len(predicted), lead), to, donor, np.where(other, falls, own))


def verdict(counts, fall, own=0.0, **more):
    return estimated(Exchanged(exchange(counts, fall, own), name=NAMES.__getitem__, **more))


def every(period, fall, rest=0.0):
    """That fall for one image in so many."""
    return lambda i, a, b: fall if i % period == 0 else rest


def test_a_model_that_follows_the_pixels_relies():
    found = verdict((17, 17, 16), every(1, 2.0))
    assert (found.claim, found.relies, found.estimate) == ("relies", True, 1.0)
    assert found.interval[0] > 0.75
    assert found.interval[1] == 1
    assert found.by_class == {"stop": 1, "yield": 1, "speed": 1}
    assert found.p_value < 1e-6
    assert not found.single or found.decisive == 1


def test_a_model_that_nothing_moves_does_not():
    found = verdict((17, 17, 16), every(1, 0.0))
    assert (found.claim, found.relies, found.estimate, found.reason) == ("does not rely", False, 0.0, "")
    assert found.interval[0] == 0
    assert 0.03 < found.interval[1] < 0.08
    assert found.worst == ""
    assert found.p_value > 0.5
    assert found.sentence.startswith("if they were exchanged, accuracy would fall by about 0.00 (0.00 to 0.0")


def test_one_decision_in_twenty_is_no_reliance_and_one_in_four_is():
    assert verdict((25, 25), every(20, 1.5)).claim == "does not rely"
    assert verdict((25, 25), every(4, 1.5)).claim == "relies"


def test_between_them_it_relies_weakly():
    found = verdict((25, 25), every(7, 1.5, 0.2))
    assert (found.claim, found.relies) == ("relies weakly", True)
    assert found.estimate == pytest.approx(1 / 7, abs=0.02)
    assert found.interval[0] < loss.RELIES < found.interval[1]
    assert found.p_value < 0.05


def test_a_fall_of_the_margin_alone_is_weak_only_where_a_decision_is_lost():
    assert verdict((25, 25), every(50, 1.1, 0.35)).claim == "relies weakly"
    still = verdict((25, 25), every(1, 0.45))
    assert still.claim == "undecided"
    assert "and 0.45 to 0.45 of the margin" in still.reason


def test_what_the_own_class_costs_as_well_is_no_reliance():
    found = verdict((25, 25), every(1, 0.6), own=0.6)
    assert found.claim == "does not rely"


def test_few_images_leave_it_open_and_say_how_many_would_decide():
    found = verdict((4, 4), every(4, 1.5))
    assert (found.claim, found.relies) == ("undecided", None)
    assert "images like these would decide" in found.reason
    needed = int(found.reason.split("about ")[1].split()[0])
    assert needed > 8


def test_a_loss_at_the_bounds_says_that_more_images_hardly_decide():
    found = verdict((10, 10), lambda i, a, b: 1.2 if i % 8 == 0 else 0.1)
    assert found.claim == "undecided"
    assert "more images" in found.reason or "images like these" in found.reason


def test_one_class_of_five_decides_and_is_named():
    found = verdict((5, 23, 22), lambda i, a, b: 2.0 if a == 0 else 0.0)
    assert found.claim == "relies"
    assert found.single
    assert found.worst == "images of 'stop' lose 1.00 of their decisions"
    assert found.by_class["stop"] == 1
    assert found.decisive == 1 > found.estimate
    assert dict(found.rows())["worst"].startswith("images of 'stop' lose 1.00 of their decisions: at least 0.")
    assert found.p_value < 0.05


def test_the_pixels_of_one_class_decide_and_are_named():
    found = verdict((5, 23, 22), lambda i, a, b: 2.0 if b == 0 else 0.0)
    assert found.claim == "relies"
    assert found.worst == "images of other classes lose 1.00 of their decisions to the pixels of 'stop'"


def test_one_pair_of_classes_decides_and_is_named():
    found = verdict((17, 17, 16), lambda i, a, b: 2.0 if (a, b) == (1, 2) else 0.0)
    assert found.worst == "images of 'yield' lose 1.00 of their decisions to the pixels of 'speed'"
    assert found.matrix["yield", "speed"] == pytest.approx(1)
    assert found.matrix["speed", "yield"] == 0


def test_a_class_of_which_there_are_too_few_says_how_many_are_missing():
    found = verdict((25, 23, 2), every(1, 0.0))
    assert found.claim == "undecided"
    assert "only 2 of the images are predicted as 'speed'" in found.reason
    assert found.reason.endswith("pass 1 more of that class")
    shaken = verdict((25, 20, 5), lambda i, a, b: 0.6 if i == 45 else 0.0)  # half of a lead is lost: proof is needed
    assert "only 5 of the images are predicted as 'speed'" in shaken.reason
    assert shaken.reason.endswith("pass 3 more of that class")


def test_a_class_that_loses_some_is_not_cleared_by_the_others():
    found = verdict((40, 40, 9), lambda i, a, b: 1.5 if a == 2 and i % 3 == 0 else 0.0)
    assert found.claim == "undecided"
    assert "images of 'speed' lose 33 % of their decisions, perhaps up to " in found.reason


THROUGH = {"continuity": 0.9}


def test_where_the_scene_shows_through_what_it_costs_elsewhere_is_subtracted():
    control = exchange((25, 25), every(1, 2.0))
    lost = every(2, 1.5)
    assert verdict((25, 25), lost).claim == "relies"
    found = verdict((25, 25), lost, control=control, **THROUGH)
    assert found.claim == "undecided"
    assert found.estimate == 0
    assert found.interval[1] >= 0.5  # what the control takes away may be the artefact's
    assert "the scene shows through the masked pixels" in found.reason
    assert dict(found.rows())["scene"].startswith("1.00 for as many pixels elsewhere")
    assert verdict((25, 25), lost, control=exchange((25, 25), every(1, 0.0)), **THROUGH).claim == "relies"


def test_a_control_counts_only_where_the_scene_shows_through():
    control = exchange((25, 25), every(1, 2.0))
    assert verdict((25, 25), every(2, 1.5), control=control).claim == "relies"
    assert verdict((25, 25), every(2, 1.5), control=control).control is None


def test_a_control_never_adds():
    control = exchange((25, 25), every(1, 0.0), own=2.0)
    found = verdict((25, 25), every(10, 1.5), control=control, **THROUGH)
    assert found.control == -1
    assert found.estimate == pytest.approx(0.1)


def test_what_a_control_takes_away_is_no_ground_for_a_no():
    """It may be the artefact's: the loss and the fall before the control are held against the bounds of 'no'."""
    control = exchange((25, 25), every(1, 2.0))
    found = verdict((25, 25), every(6, 1.5), control=control, **THROUGH)
    assert (found.claim, found.estimate) == ("undecided", 0)
    assert (
        "which changes 18 % of the decisions and takes 0.27 of the margin; pass the same scenes without" in found.reason
    )
    assert "the scene shows through" in verdict((25, 25), every(1, 0.4), control=control, **THROUGH).reason
    near = verdict((25, 25), every(9, 1.5), control=control, **THROUGH)  # 12 %, perhaps 20 %: more images may decide
    assert (near.claim, "images like these would decide" in near.reason) == ("undecided", True)
    assert verdict((25, 25), every(1, 0.1), control=control, **THROUGH).claim == "does not rely"


def test_a_class_is_not_cleared_by_what_other_pixels_cost():
    control = exchange((40, 40, 9), every(1, 2.0))
    found = verdict((40, 40, 9), lambda i, a, b: 1.5 if a == 2 and i % 3 == 0 else 0.0, control=control, **THROUGH)
    assert "images of 'speed' lose 33 % of their decisions, perhaps up to " in found.reason


def test_where_the_scene_shows_through_one_class_decides_beyond_what_the_scene_costs_it():
    lost = lambda i, a, b: 2.0 if a == 0 else 0.0  # noqa: E731
    control = exchange((5, 23, 22), every(1, 0.0))
    found = verdict((5, 23, 22), lost, control=control, **THROUGH)
    assert (found.claim, found.single) == ("relies", True)
    assert found.worst == "images of 'stop' lose 1.00 of their decisions"
    assert found.by_class == {"stop": 1, "yield": 0, "speed": 0}
    scene = verdict((5, 23, 22), lost, control=exchange((5, 23, 22), lost), **THROUGH)
    assert (scene.claim, scene.single, scene.by_class["stop"]) == ("undecided", False, 0)
    unseen = exchange((1, 25, 24), every(1, 0.0))  # the control has too few images of the class
    assert verdict((5, 23, 22), lost, control=unseen, **THROUGH).single is False


def test_where_the_scene_shows_through_no_donor_class_decides_by_itself():
    lost = lambda i, a, b: 2.0 if b == 0 else 0.0  # noqa: E731
    found = verdict((2, 25, 23), lost, control=exchange((2, 25, 23), every(1, 0.0)), **THROUGH)
    assert found.worst == "" or "to the pixels" not in found.worst


def test_random_flips_are_covered_by_the_interval():
    """Images that flip at a rate: the 90 % interval holds it in most draws, and no claim is wrong in more than a few."""
    rng, held, claims = np.random.default_rng(0), [], []
    for rate in (0.0, 0.3):
        for _ in range(60):
            flips = cycle(rng.random(50) < rate)
            drawn = [next(flips) for _ in range(50)]
            found = verdict((25, 25), lambda i, a, b, drawn=drawn: 1.5 if drawn[i] else 0.0)
            held.append(found.interval[0] <= rate <= found.interval[1])
            claims.append((rate, found.claim))
    assert np.mean(held) > 0.85
    assert (0.0, "relies") not in claims
    assert (0.3, "does not rely") not in claims


def test_it_says_itself():
    found = verdict((25, 25), every(4, 1.5))
    low, high = (loss.share(end) for end in found.interval)
    assert found.sentence == f"if they were exchanged, accuracy would fall by about 0.26 ({low} to {high})"
    assert dict(found.rows())["loss"] == f"0.26 of accuracy, {low} to {high} at 90 %"
    assert dict(found.rows())["by class"] == "stop 0.28, yield 0.24"
    assert loss.percent(-0.01) == "0 %"
    assert loss.percent(1.2) == "100 %"
    assert (loss.share(-0.01), loss.share(1.2)) == ("0.00", "1.00")


Z = normal(loss.CONFIDENCE)
JUST = 1e-6  # beyond a bound


def figure(mean, error=0.0, *, images=25):
    return Difference(mean, error, 0.0, images, images)


def summary(flips=0.0, margin=0.0, entries=None, *, shaken=False, images=25, error=0.0, accuracy=None, rows=None):
    """What is asked of an exchange, with figures of one's own: `entries` by receiving and donor class, `rows` by class; the
    loss of accuracy is that of decisions, unless it is given.
    """
    classes = sorted({a for a, _ in entries or {} if a is not None})
    lost, fall = figure(flips, error, images=images), figure(margin, error, images=images)
    whole = Row(lost, lost if accuracy is None else figure(accuracy, error, images=images), fall)
    return SimpleNamespace(
        flips=lost,
        margin=fall,
        whole=whole,
        rows=rows or {},
        classes=np.array(classes, int),
        entries=entries or {},
        shaken=lambda _: shaken,
        predicted=np.repeat(classes, images),
        paired=np.zeros(1, bool),
    )


def claimed(lost, fall, **main):
    """The claim from a loss of decisions and a fall of the margin, whose bounds are they themselves."""
    return estimated(Exchanged(summary(lost, fall, **main), name=NAMES.__getitem__))


class TestBounds:
    """Each claim needs its figures beyond its bounds; on a bound it is not made."""

    @pytest.mark.parametrize(
        ("lost", "fall", "claim"),
        [
            (loss.RELIES + JUST, loss.WEAK_FALL + JUST, "relies"),
            (loss.RELIES, loss.WEAK_FALL + JUST, "relies weakly"),
            (loss.RELIES + JUST, loss.WEAK_FALL, "does not rely"),
            (loss.WEAK_LOSS + JUST, loss.WEAK_FALL + JUST, "relies weakly"),
            (loss.WEAK_LOSS, loss.WEAK_FALL + JUST, "does not rely"),
            (loss.WEAK_LOSS + JUST, loss.WEAK_FALL, "does not rely"),
            (JUST, loss.FALL_ALONE + JUST, "relies weakly"),
            (JUST, loss.FALL_ALONE, "does not rely"),
            (0.0, loss.FALL_ALONE + JUST, "does not rely"),
            (0.0, loss.NONE_FALL - JUST, "does not rely"),
            (0.0, loss.NONE_FALL, "undecided"),
            (loss.NONE_LOSS - JUST, 0.0, "does not rely"),
            (loss.NONE_LOSS, 0.0, "undecided"),
        ],
    )
    def test_what_is_claimed(self, lost, fall, claim):
        found = claimed(lost, fall)
        assert found.claim == claim
        assert found.relies is {"undecided": None, "does not rely": False}.get(claim, True)
        assert bool(found.reason) is (claim == "undecided")

    def test_the_lower_bounds_speak_for_and_the_upper_against(self):
        lost, fall = loss.RELIES + 0.1, loss.WEAK_FALL + 0.3
        error = 0.1 / Z
        assert estimated(Exchanged(summary(lost, fall, error=error * 0.99))).claim == "relies"
        assert estimated(Exchanged(summary(lost, fall, error=error * 1.01))).claim != "relies"
        no = loss.NONE_LOSS / Z
        assert estimated(Exchanged(summary(error=no * 0.99))).claim == "does not rely"
        assert estimated(Exchanged(summary(error=no * 1.01))).claim == "undecided"

    @pytest.mark.parametrize("through", [False, True])
    @pytest.mark.parametrize("at", [(loss.NONE_LOSS, 0.0), (0.0, loss.NONE_FALL)])
    def test_what_the_exchange_costs_in_all_bounds_a_no(self, through, at):
        continuity = loss.THROUGH + JUST if through else loss.THROUGH
        given = {"control": summary(1.0, 1.0), "continuity": continuity, "name": NAMES.__getitem__}
        found = estimated(Exchanged(summary(*at), **given))
        assert found.claim == "undecided"
        assert ("the scene shows through" in found.reason) is through
        below = (max(0.0, figure - JUST) for figure in at)
        assert estimated(Exchanged(summary(*below), **given)).claim == "does not rely"

    def test_a_control_that_is_uncertain_takes_nothing_from_a_no(self):
        given = {"control": summary(error=1.0), "continuity": 0.9}
        assert (
            estimated(Exchanged(summary(loss.NONE_LOSS - JUST, loss.NONE_FALL - JUST), **given)).claim
            == "does not rely"
        )
        assert estimated(Exchanged(summary(loss.NONE_LOSS, 0.0), **given)).claim == "undecided"
        assert estimated(Exchanged(summary(0.0, loss.NONE_FALL), **given)).claim == "undecided"

    def test_a_yes_counts_accuracy_and_a_no_every_decision(self):
        """Decisions that were a toss-up cost no accuracy: they are no ground for a yes, nor for a no."""
        assert claimed(0.3, 0.19, accuracy=0.3).claim == "relies"
        assert claimed(0.3, 0.19, accuracy=0.05).claim == "relies weakly"
        unsure = claimed(0.3, 0.19, accuracy=0.01)
        assert (unsure.claim, unsure.estimate) == ("undecided", 0.01)
        assert "between 30 % and 30 % of the decisions" in unsure.reason

    def test_the_control_is_taken_off_both_with_its_error(self):
        control = summary(0.1, 0.2, error=0.03)
        found = estimated(Exchanged(summary(0.3, 0.7, error=0.04), control, continuity=0.9))
        assert (found.estimate, found.control) == (pytest.approx(0.2), 0.1)
        reach = Z * math.hypot(0.05, loss.OFF + loss.OFF_PER_LOSS * 0.2)
        assert found.interval == pytest.approx((0.2 - reach, max(0.2 + reach, 0.3)))
        known = stats.t.sf((0.5 - loss.WEAK_FALL) / 0.05, 24)
        assert found.p_value == pytest.approx(known)


class TestClasses:
    """No class is cleared unseen."""

    FEW = math.ceil(3 / loss.NONE_IN_ONE)

    def claim(self, upper, images, *, shaken=True, **more):
        entries = {(0, None): figure(upper)}
        main = summary(entries=entries, shaken=shaken, images=images)
        return estimated(Exchanged(main, name=NAMES.__getitem__, **more))

    def test_a_class_that_was_shaken_needs_as_many_images_as_the_rule_of_three_says(self):
        assert self.claim(0.0, self.FEW).claim == "does not rely"
        found = self.claim(0.0, self.FEW - 1)
        assert found.claim == "undecided"
        assert found.reason.startswith(f"only {self.FEW - 1} of the images are predicted as 'stop'")
        assert found.reason.endswith("pass 1 more of that class")

    def test_one_that_was_not_needs_as_many_as_an_entry(self):
        assert self.claim(0.0, FEWEST, shaken=False).claim == "does not rely"
        assert self.claim(0.0, FEWEST - 1, shaken=False).claim == "undecided"

    def test_a_class_without_an_entry_says_that_one_is_missing(self):
        main = summary(entries={(0, None): figure(0.0), (1, None): figure(0.0)}, images=self.FEW)
        del main.entries[0, None]
        found = estimated(Exchanged(main, name=NAMES.__getitem__))
        assert found.claim == "undecided"
        assert f"only {self.FEW} of the images are predicted as 'stop'" in found.reason
        assert found.reason.endswith("pass 1 more of that class")

    def test_its_own_upper_bound_has_to_lie_below_its_own(self):
        assert self.claim(loss.NONE_IN_ONE - JUST, 25).claim == "does not rely"
        found = self.claim(loss.NONE_IN_ONE, 25)
        assert found.claim == "undecided"
        assert found.reason.startswith("images of 'stop' lose 40 % of their decisions, perhaps up to 40 %")
        assert self.claim(loss.NONE_IN_ONE, 25, shaken=False).claim == "does not rely"

    def test_what_the_scene_costs_clears_no_class(self):
        scene = {"continuity": 0.9, "control": summary(0.1)}
        assert self.claim(loss.NONE_IN_ONE - JUST, 25, **scene).claim == "does not rely"
        assert self.claim(loss.NONE_IN_ONE, 25, **scene).claim == "undecided"


class TestOneEntry:
    """One class's images or pixels may decide, corrected for having looked at all of them."""

    ALL = ((0, None), (1, None), (None, 0), (None, 1), (0, 1), (1, 0))

    def found(self, lower, fall=0.1, *, first=ALL[0], **more):
        entries = {place: figure(0.0) for place in self.ALL}
        entries[first] = figure(lower + normal(loss.CONFIDENCE, len(self.ALL)) * 0.1, 0.1)
        return estimated(Exchanged(summary(0.05, fall, entries), name=NAMES.__getitem__, **more))

    def test_it_decides_above_its_bound_where_the_margin_falls_at_all(self):
        assert self.found(loss.IN_ONE + JUST).claim == "relies"
        assert self.found(loss.IN_ONE + JUST).single is True
        assert self.found(loss.IN_ONE - JUST).single is False
        assert self.found(loss.IN_ONE + JUST, fall=0.0).single is False
        assert self.found(loss.IN_ONE + JUST, continuity=loss.THROUGH + JUST).single is False

    def test_its_figures(self):
        found = self.found(0.3)
        assert found.worst_lower == pytest.approx(0.3)
        assert found.worst_estimate == found.decisive == pytest.approx(0.3 + normal(loss.CONFIDENCE, 6) * 0.1)
        known = 6 * stats.t.sf((found.worst_estimate - loss.IN_ONE) / 0.1, 24)
        assert found.p_value == pytest.approx(known)
        assert found.by_class == {"stop": found.worst_estimate, "yield": 0}
        assert set(found.matrix) == {("stop", "yield"), ("yield", "stop")}

    def test_the_p_value_is_that_of_the_stronger_claim(self):
        assert self.found(loss.IN_ONE + JUST, fall=5.0).p_value < 1e-9
        assert self.found(0.0, fall=0.0).p_value > 0.5

    @pytest.mark.parametrize("place", ALL)
    def test_of_those_that_say_the_same_a_class_is_named_before_a_pair(self, place):
        entries = {each: figure(0.5) for each in self.ALL}
        entries = {each: figure(0.5 if None in each or each == place else 0.0) for each in entries}
        assert (
            estimated(Exchanged(summary(0.1, 0.1, entries), name=NAMES.__getitem__)).worst
            == "images of 'stop' lose 0.50 of their decisions"
        )

    @pytest.mark.parametrize(("cell", "named"), [(0.504, ""), (0.516, " to the pixels of 'yield'")])
    def test_what_differs_by_less_than_is_shown_is_the_same(self, cell, named):
        entries = {(0, None): figure(0.5), (0, 1): figure(cell)}
        found = estimated(Exchanged(summary(0.1, 0.1, entries), name=NAMES.__getitem__))
        assert found.worst == f"images of 'stop' lose {0.52 if named else 0.5:.2f} of their decisions{named}"

    @pytest.mark.parametrize(("net", "shown"), [(0.0, True), (loss.IN_ONE - 0.1, True), (loss.IN_ONE, False)])
    def test_what_does_not_stand_out_is_not_named(self, net, shown):
        entries = {(0, None): figure(loss.IN_ONE)}
        found = estimated(Exchanged(summary(net, 0.1, entries), name=NAMES.__getitem__))
        assert bool(found.worst) is shown
        assert found.worst_estimate == loss.IN_ONE
        assert found.single is False  # on its bound
        assert ("worst" in dict(found.rows())) is shown
        little = {(0, None): figure(loss.IN_ONE - JUST)}
        assert estimated(Exchanged(summary(0.0, 0.1, little), name=NAMES.__getitem__)).worst == ""

    @pytest.mark.parametrize(
        ("accuracy", "fall", "claim"),
        [
            (loss.WEAK_IN_ONE, loss.FALL_ALONE + JUST, "relies weakly"),
            (loss.WEAK_IN_ONE - JUST, loss.FALL_ALONE + JUST, "undecided"),
            (loss.WEAK_IN_ONE, loss.FALL_ALONE, "does not rely"),
        ],
    )
    @pytest.mark.parametrize("through", [False, True])
    def test_one_class_may_rely_weakly(self, accuracy, fall, claim, through):
        """Accuracy is lost and the margin falls; with less of either it does not, but a class whose margin falls is not cleared
        if a tenth of its decisions are lost.
        """
        row = Row(figure(0.15), figure(accuracy), figure(fall))
        entries = {(0, None): figure(0.15), (1, None): figure(0.0)}
        rows = {0: row, 1: Row(figure(0.0), figure(0.0), figure(0.0))}
        more = {"control": summary(rows={0: rows[1], 1: rows[1]}), "continuity": 0.9} if through else {}
        found = estimated(Exchanged(summary(0.05, 0.1, entries, rows=rows), name=NAMES.__getitem__, **more))
        assert found.claim == claim
        assert found.single is (claim == "relies weakly")
        if found.single:
            assert found.worst == "images of 'stop' lose 0.15 of their decisions"
            assert found.decisive == 0.15
            assert "; images of 'stop' lose 0.15 of their decisions" in found.sentence
        if claim == "undecided":
            assert found.reason == (
                "images of 'stop' lose 15 % of their decisions and 0.20 of the margin; pass more images of that class"
            )

    def test_the_margin_of_one_class_is_corrected_for_looking_at_all_of_them(self):
        row = lambda fall: Row(figure(0.5), figure(0.5), figure(fall, 0.1))  # noqa: E731
        just = loss.FALL_ALONE + normal(loss.CONFIDENCE) * 0.1 + JUST
        assert loss._weakest({0: row(just)}) == 0
        assert loss._weakest({0: row(just), 1: row(0.0)}) is None
        assert loss._weakest({0: row(just + 0.05), 1: row(0.0)}) == 0  # 1.96 instead of 1.64 standard errors

    def test_where_the_scene_shows_through_a_class_loses_what_the_scene_does_not_cost_it(self):
        row, scene = Row(figure(0.6), figure(0.6), figure(0.9)), Row(figure(0.3), figure(0.3), figure(0.6))
        found = Exchanged(summary(rows={0: row, 1: row}), summary(rows={0: scene}), continuity=0.9)
        assert loss._looked_at(found) == {
            (0, None): found.main.rows[0].flips.less(scene.flips)
        }  # of 1 there is no control
        net = loss._rows(found)[0]
        assert [part.mean for part in (net.flips, net.accuracy, net.fall)] == pytest.approx([0.3, 0.3, 0.3])
        assert loss._rows(replace(found, control=None)) == {}
        assert loss._rows(replace(found, continuity=0.0)) == {0: row, 1: row}

    def test_the_loss_that_decides(self):
        one = {"interval": (0.0, 0.2), "worst_estimate": 0.5}
        assert Loss("relies", 0.1, single=True, **one).decisive == 0.5
        assert Loss("relies", 0.6, single=True, **one).decisive == 0.6
        assert Loss("relies", 0.1, **one).decisive == 0.1


class TestHowManyMore:
    """The number of images at which a bound would lie on its mean's side of the nearer claim, if the spread stays."""

    def needed(self, lost, fall, error, images=25):
        main = summary(lost, fall, error=error, images=images)
        found = loss._open(Exchanged(main), main.flips, main.margin)
        return int(found.split("about ")[1].split()[0]) if "about " in found else found

    def test_for_a_no(self):
        error = 2 * loss.NONE_LOSS / Z  # twice too wide, and the margin not much
        other = (2 * loss.NONE_LOSS / loss.NONE_FALL) ** 2 * 25
        assert self.needed(0.0, 0.0, error) == math.ceil(max(4 * 25 - 1e-9, other))

    def test_for_reliance(self):
        above = 0.2
        error = 3 * above / Z
        needed = [above, max(loss.NONE_FALL - 1.0, 1.0 - loss.FALL_ALONE)]
        known = max(25 * (3 * above / distance) ** 2 for distance in needed)
        assert self.needed(loss.RELIES + above, 1.0, error) == math.ceil(known - 1e-9)

    def test_the_margin_may_need_the_most(self):
        fall = (loss.NONE_FALL + loss.FALL_ALONE) / 2
        reach = abs(loss.NONE_FALL - fall)
        assert self.needed(1.0, fall, 3 * reach / Z) == math.ceil(9 * 25 - 1e-9)

    def test_at_least_one_more(self):
        assert self.needed(loss.NONE_LOSS, 0.0, 1e-6) == 26

    def test_too_near_to_say(self):
        middle = (loss.NONE_LOSS + loss.RELIES) / 2
        reach = abs(loss.NONE_LOSS - middle)
        far, near = (math.sqrt(factor) * reach / Z for factor in (20.5, 19.5))
        assert "more images would hardly decide" in self.needed(middle, 0.0, far)
        assert self.needed(middle, 0.0, near) == math.ceil(19.5 * 25)


def test_what_is_open_is_said_from_bound_to_bound():
    main = summary(0.3, 0.5, error=0.1 / Z)
    said = loss._open(Exchanged(main), main.flips, main.margin)
    assert "between 20 % and 40 % of the decisions and 0.40 to 0.60 of the margin; " in said


def test_p_values_are_those_of_students_t():
    found = Difference(0.3, 0.1, 0.0, 12, 8)
    assert loss._p_value(found, 0.1) == pytest.approx(stats.t.sf(2, 7))
    assert loss._p_value(found, 0.1, 3) == pytest.approx(3 * stats.t.sf(2, 7))
    assert loss._p_value(found, 0.5, 10) == 1
    assert loss._p_value(Difference(0.3, 0.1, 0.0, 12, 1), 0.1) == 1
    assert loss._p_value(Difference(0.3, 0.1, 0.0, 2, 2), 0.1) == pytest.approx(stats.t.sf(2, 1))
    assert loss._p_value(Difference(0.3, 0.0, 0.0, 9, 9), 0.1) < 1e-9


def test_the_interval_stays_a_share():
    assert loss._interval(figure(0.0), 0.0)[0] == 0
    assert loss._interval(figure(0.0), 0.0)[1] == pytest.approx(Z * loss.OFF)
    assert loss._interval(figure(-0.5), 0.0) == (0, pytest.approx(Z * loss.OFF))
    assert loss._interval(figure(-0.5), -0.1)[1] == pytest.approx(Z * loss.OFF)
    assert loss._interval(figure(1.0), 1.0) == (pytest.approx(1 - Z * (loss.OFF + loss.OFF_PER_LOSS)), 1)


def test_at_most_five_classes_are_listed_and_the_worst_first():
    names = "abcdefg"
    by_class = {name: 0.1 * place for place, name in enumerate(names)}
    found = Loss("relies", 0.3, (0.2, 0.4), by_class=by_class)
    assert dict(found.rows())["by class"] == "g 0.60, f 0.50, e 0.40, d 0.30, c 0.20 and 2 more"
    five = Loss("relies", 0.3, (0.2, 0.4), by_class={**dict.fromkeys("abcd", 0.1), "e": -0.1})
    assert dict(five.rows())["by class"] == "a 0.10, b 0.10, c 0.10, d 0.10, e 0.00"
    none = Loss("does not rely", 0.0, (0.0, 0.1), worst_lower=0.1)
    assert [label for label, _ in none.rows()] == ["loss"]
    worst = Loss("relies", 0.3, (0.2, 0.4), worst="images of 'a' lose 0.5", worst_lower=-0.1)
    assert dict(worst.rows())["worst"].startswith("images of 'a' lose 0.5: at least 0.00, corrected")


def test_what_the_own_class_changes_may_be_the_artefacts_where_the_scene_shows_through():
    """Donors of the own class may carry another artefact, so what they flip is no ground for a no."""
    predicted, to, donor = pairs((25, 25))
    main = Exchange(predicted, np.ones(50), to, donor, np.where(to % 5 == 0, 1.5, 0.0))
    control = exchange((25, 25), every(1, 0.0))
    found = estimated(Exchanged(main, control, name=NAMES.__getitem__, **THROUGH))
    assert (found.claim, found.estimate) == ("undecided", 0.0)
    assert "which changes 20 % of the decisions" in found.reason
    assert estimated(Exchanged(main, name=NAMES.__getitem__)).claim == "does not rely"


class TestAverages:
    """Where the scene shows through, exchanged means say what is lost, and the exchanged images whether that may be nothing."""

    def means(self, lost=8, images=20, mirrored=0):
        falls = np.zeros((2, images))
        falls[0, :lost], falls[1, :mirrored] = 1.5, 1.5
        return Averaged(np.zeros(images, int), np.ones(images), falls, 0.5 * (falls > 1))

    def found(self, flips=0.0, margin=0.0, *, means=None, **more):
        means = self.means() if means is None else means
        return estimated(Exchanged(summary(flips, margin, **more), None, 0.9, NAMES.__getitem__, means))

    def test_they_tell_the_loss(self):
        found = self.found(0.9, 0.9)
        assert found.estimate == pytest.approx(0.2)  # eight of twenty, each at half a unit of accuracy
        spread = np.r_[np.full(8, 0.5), np.zeros(12)].std(ddof=1) / math.sqrt(20)
        least = math.sqrt(1 / 22 * 21 / 22 / 20)
        reach = Z * math.hypot(math.hypot(spread, least), loss.OFF + loss.OFF_PER_LOSS * 0.2)
        assert found.interval == pytest.approx((0.2 - reach, 0.2 + reach))
        assert found.control == 0
        assert found.claim == "relies weakly"
        assert self.found(means=self.means(18)).claim == "relies"

    def test_what_the_mirrored_place_costs_is_no_loss_but_may_have_been_one(self):
        found = self.found(0.9, 0.9, means=self.means(8, 20, 8))
        assert (found.estimate, found.control, found.claim) == (0, pytest.approx(0.2), "undecided")
        assert found.interval[1] == pytest.approx(0.2)
        assert "the scene shows through" in found.reason

    def test_they_are_no_ground_for_a_no(self):
        none = self.means(0)
        assert self.found(loss.NONE_LOSS, 0.0, means=none).claim == "undecided"
        assert self.found(0.0, loss.NONE_FALL, means=none).claim == "undecided"
        assert self.found(loss.NONE_LOSS - JUST, 0.0, means=none).claim == "does not rely"

    def test_where_the_mask_hides_the_scene_they_say_nothing(self):
        given = Exchanged(summary(0.0, 0.0), None, 0.0, NAMES.__getitem__, self.means())
        assert (estimated(given).claim, estimated(given).estimate) == ("does not rely", 0)


class TestRemoved:
    """Pixels that are the same in all images are removed: a share of decisions, whose interval is exact."""

    def costs(self, lost, images, each=1.0):
        return np.r_[np.full(lost, each), np.zeros(images - lost)]

    def test_the_interval_is_that_of_clopper_and_pearson(self):
        found = loss.removed(self.costs(5, 30), "replaced with the mean colour")
        low, high = stats.beta.ppf(0.05, 5, 26), stats.beta.ppf(0.95, 6, 25)
        assert (low, high) == (pytest.approx(0.0681, abs=1e-4), pytest.approx(0.3190, abs=1e-4))
        assert found.claim == "relies weakly"
        assert found.estimate == pytest.approx(5 / 30)
        assert found.interval == pytest.approx((low, high))
        assert found.p_value == pytest.approx(stats.binom.sf(4, 30, loss.WEAK_LOSS))
        assert found.sentence == (
            "if they were replaced with the mean colour, accuracy would fall by about 0.17 (0.07 to 0.32)"
        )

    def test_a_toss_up_costs_less(self):
        found = loss.removed(self.costs(5, 30, 0.4), "removed")
        assert found.estimate == pytest.approx(0.4 * 5 / 30)
        assert found.interval == pytest.approx((0.4 * 0.0681, 0.4 * 0.3190), abs=1e-4)

    @pytest.mark.parametrize(("lost", "images", "some"), [(0, 30, False), (2, 30, False), (3, 30, True), (1, 3, False)])
    def test_what_may_be_chance_is_none(self, lost, images, some):
        """Of 30 images three, at 0.028 or more, and not two, at 0.012: above 0.02."""
        assert (loss.removed(self.costs(lost, images), "removed") is not None) is some

    def test_all_may_be_lost(self):
        assert loss.removed(self.costs(4, 4), "removed").interval == pytest.approx((0.05**0.25, 1))
