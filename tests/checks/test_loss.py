"""The verdict by lost decisions, from figures alone: yes, weakly, no and undecided, each way."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest

from pytest_gradcam.checks import loss
from pytest_gradcam.checks.exchange import Exchange
from pytest_gradcam.checks.loss import Exchanged, estimated

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
    assert found.sentence.startswith("if they were exchanged, 0 % of the decisions would be lost (0 % to ")


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
    assert found.matrix["yield", "speed"] == 1
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
    assert dict(found.rows())["scene"].startswith("100 % for as many pixels elsewhere")
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
    assert "which changes 18 % of the decisions and takes 0.27 of the margin; pass images `without=`" in found.reason
    assert "the scene shows through" in verdict((25, 25), every(1, 0.4), control=control, **THROUGH).reason
    near = verdict((25, 25), every(9, 1.5), control=control, **THROUGH)  # 12 %, perhaps 20 %: more images may decide
    assert (near.claim, "images like these would decide" in near.reason) == ("undecided", True)
    assert verdict((25, 25), every(1, 0.1), control=control, **THROUGH).claim == "does not rely"


def test_a_class_is_not_cleared_by_what_other_pixels_cost():
    control = exchange((40, 40, 9), every(1, 2.0))
    found = verdict((40, 40, 9), lambda i, a, b: 1.5 if a == 2 and i % 3 == 0 else 0.0, control=control, **THROUGH)
    assert "images of 'speed' lose 33 % of their decisions, perhaps up to " in found.reason


def test_where_the_scene_shows_through_no_entry_decides_by_itself():
    lost = lambda i, a, b: 2.0 if a == 0 else 0.0  # noqa: E731
    control = exchange((5, 23, 22), every(1, 0.0))
    assert verdict((5, 23, 22), lost, control=control, **THROUGH).single is False


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
    low, high = (loss.percent(end) for end in found.interval)
    assert found.sentence == f"if they were exchanged, 26 % of the decisions would be lost ({low} to {high})"
    assert dict(found.rows())["by class"] == "stop 0.28, yield 0.24"
    assert loss.percent(-0.01) == "0 %"
    assert loss.percent(1.2) == "100 %"
