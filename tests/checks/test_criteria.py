"""Each criterion by itself: its figure, the edge of its bound, and its words to the letter."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_gradcam import Heatmap, HeatmapError, NoEvidenceError
from pytest_gradcam.checks.criteria import Bounds, LiftAtLeast, MassAtLeast, SameClass, ScoreWithin, SimilarityAtLeast
from pytest_gradcam.checks.perturbed import PerturbedImage
from pytest_gradcam.evidence.bounds import Lift
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.perturbations import fog, identity

GRID = np.arange(16, dtype=np.float32).reshape(4, 4)
MASK = np.zeros((4, 4), bool)
MASK[2:] = True  # 92 of 120


def heatmap(grid=GRID, **subject):
    made = Heatmap.from_array(grid)
    about = Subject(target="cat", target_index=3, score=4.0, predicted="cat", predicted_index=3)
    made.subject = replace(about, **subject)
    return made


def trial(after=GRID, mask=None, **subject):
    return PerturbedImage(identity, heatmap(), heatmap(after, **subject), lambda mask: mask, lambda: None, mask)


DOG = {"predicted": "dog", "predicted_index": 5}


def test_the_class_is_kept_or_not():
    criterion = SameClass(1.0)
    assert (criterion.label, criterion.measure, criterion.direction) == (
        "class",
        "the predicted class is kept",
        "at_least",
    )
    assert criterion.figure(trial()) == 1.0
    assert criterion.figure(trial(**DOG)) == 0.0
    assert criterion.holds(1.0)
    assert not criterion.holds(0.0)
    assert criterion.finding(trial(**DOG), 0.0) == (
        "the model predicts 'dog' (5), no longer 'cat' (3); expected the same class"
    )
    assert criterion.phrase(trial(**DOG), 0.0) == "'cat' before, 'dog' after; expected the same"


@pytest.mark.parametrize("before", [True, False])
def test_without_a_predicted_class_none_is_kept(before):
    none = heatmap(predicted=None, predicted_index=None)
    found = replace(trial(), **{"before" if before else "after": none})
    with pytest.raises(HeatmapError) as caught:
        SameClass(1.0).figure(found)
    assert str(caught.value) == (
        "a callable target has no predicted class to compare; pass same_class=False, and bound the score"
    )


def test_the_score_changes_up_and_down():
    criterion = ScoreWithin(0.5)
    assert (criterion.label, criterion.measure, criterion.direction) == ("score", "change of the score", "at_most")
    assert criterion.figure(trial(score=3.25)) == criterion.figure(trial(score=4.75)) == 0.75
    assert criterion.holds(0.5)
    assert not criterion.holds(math.nextafter(0.5, 1))
    assert criterion.finding(trial(score=3.25), 0.75) == "the score of 'cat' changes by 0.75; expected at most 0.5"
    assert criterion.phrase(trial(score=3.25), 0.75) == ("4 before, 3.25 after, a change of 0.75; expected at most 0.5")
    assert criterion.finding(trial(), 0.50004) == "the score of 'cat' changes by 0.50004; expected at most 0.5"
    assert "a change of 0.50004;" in criterion.phrase(trial(), 0.50004)


def test_the_mass_stays_in_the_mask():
    criterion = MassAtLeast(0.5)
    assert (criterion.label, criterion.measure, criterion.direction) == (
        "mass",
        "relevance mass in the moved mask",
        "at_least",
    )
    turned = trial(GRID[::-1], MASK)
    assert criterion.figure(turned) == pytest.approx(28 / 120)
    assert criterion.holds(0.5)
    assert not criterion.holds(math.nextafter(0.5, 0))
    assert criterion.finding(turned, 28 / 120) == (
        "23.3 % of the attention for 'cat' lies inside the mask; expected at least 50.0 %"
    )
    assert (
        criterion.phrase(turned, 28 / 120) == "76.7 % of it in the mask before, 23.3 % after; expected at least 50.0 %"
    )
    assert criterion.finding(turned, 0.49996).startswith("49.996 % of the attention")
    assert " 49.996 % after; " in criterion.phrase(turned, 0.49996)


def test_the_lift_stays_in_the_mask():
    criterion = LiftAtLeast(1.5)
    assert (criterion.label, criterion.measure, criterion.direction) == ("lift", "lift in the moved mask", "at_least")
    turned = trial(GRID[::-1], MASK)
    assert criterion.figure(turned) == pytest.approx(2 * 28 / 120)
    assert criterion.before(turned) == pytest.approx(2 * 92 / 120)
    assert MassAtLeast(0.5).before(turned) == pytest.approx(92 / 120)
    assert criterion.holds(1.5)
    assert not criterion.holds(math.nextafter(1.5, 0))
    assert criterion.finding(turned, 1.49996) == (
        "the attention for 'cat' has a lift of 1.49996 inside the mask, 1 is chance; expected at least 1.5"
    )
    assert criterion.phrase(turned, 1.49996) == (
        "1.53 in the mask before, 1.49996 after, 1 is chance; expected at least 1.5"
    )


def test_a_lift_that_the_moved_mask_can_not_reach():
    assert LiftAtLeast(2 * (1 + 1e-10)).figure(trial(GRID, MASK)) == pytest.approx(2 * 92 / 120)
    with pytest.raises(HeatmapError) as caught:
        LiftAtLeast(2.5).figure(trial(GRID, MASK))
    assert str(caught.value) == (
        "mass_at_least=masks.lift(2.5) can never hold: on the moved mask, 50.0 % of the view, no lift is above 2; pass a "
        "lower lift, a share, or a smaller mask"
    )
    with pytest.raises(HeatmapError, match="can never hold"):
        LiftAtLeast(2 * (1 + 1e-8)).figure(trial(GRID, MASK))


@pytest.mark.parametrize("criterion", [MassAtLeast(0.5), LiftAtLeast(1.5)])
def test_what_shall_survive_has_to_be_there(criterion):
    gone = replace(trial(GRID, MASK), before=heatmap(np.zeros((4, 4))))
    with pytest.raises(NoEvidenceError):
        criterion.figure(gone)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (None, "the relevance mass needs a mask of where it should lie; pass mask="),
        (
            np.zeros((4, 4), bool),
            "nothing of the mask is left in the view; pass a milder perturbation, or check the mask and the crop of the "
            "preprocess",
        ),
        (
            np.ones((4, 4), bool),
            "the mask covers the whole view, so there is nothing to test; pass a smaller mask",
        ),
    ],
)
def test_a_mask_that_can_hold_no_share(mask, words):
    with pytest.raises(HeatmapError) as caught:
        _ = trial(GRID, mask).mass
    assert str(caught.value) == words


def test_the_heatmap_stays_like_itself():
    criterion = SimilarityAtLeast(0.5)
    assert (criterion.label, criterion.measure, criterion.direction) == (
        "similarity",
        "similarity of the heatmaps",
        "at_least",
    )
    assert criterion.figure(trial(GRID[::-1, ::-1])) == pytest.approx(-1)
    assert criterion.holds(0.5)
    assert not criterion.holds(math.nextafter(0.5, 0))
    assert criterion.finding(trial(), 0.49996) == (
        "the heatmap for 'cat' has a rank correlation of 0.49996 with that of the original; expected at least 0.5"
    )
    assert criterion.phrase(trial(), 0.49996) == "rank correlation 0.49996; expected at least 0.5"


def made(**asked):
    nothing = {"same_class": False, "score_within": None, "mass_at_least": None, "similarity_at_least": None}
    return Bounds(**{**nothing, **asked}).criteria(MASK)


def test_criteria_are_those_that_were_made():
    assert made() == []
    assert made(same_class=True) == [SameClass(1.0)]
    assert made(similarity_at_least=1, mass_at_least=0.3, score_within=2, same_class=True) == [
        SameClass(1.0),
        ScoreWithin(2.0),
        MassAtLeast(0.3),
        SimilarityAtLeast(1.0),
    ]
    assert type(made(score_within=np.float32(2))[0].bound) is float
    assert made(mass_at_least=Lift(2), same_class=True) == [SameClass(1.0), LiftAtLeast(2.0)]
    assert made(mass_at_least=Lift(1e-9)) == [LiftAtLeast(1e-9)]
    assert type(made(mass_at_least=Lift(np.float32(2)))[0].bound) is float


@pytest.mark.parametrize("flag", [1, 0, None, "yes"])
def test_a_flag_is_true_or_false(flag):
    with pytest.raises(HeatmapError) as caught:
        made(same_class=flag)
    assert str(caught.value) == f"same_class={flag!r} cannot be used; expected True or False"


@pytest.mark.parametrize("bound", [0, -1, math.nan, math.inf, True, "0.5", [0.5]])
def test_a_bound_that_cannot_decide(bound):
    for name, expected in {
        "score_within": "a number above 0, in units of the score",
        "mass_at_least": "a number above 0 and up to 1",
        "similarity_at_least": "a number above 0 and up to 1",
    }.items():
        with pytest.raises(HeatmapError) as caught:
            made(**{name: bound})
        assert str(caught.value) == f"{name}={bound!r} cannot decide anything; expected {expected}"


@pytest.mark.parametrize("times", [0, -1, math.nan, math.inf, True, "2", None])
def test_a_lift_that_cannot_decide(times):
    with pytest.raises(HeatmapError) as caught:
        made(mass_at_least=Lift(times))
    assert str(caught.value) == (
        f"mass_at_least=masks.lift({times!r}) cannot decide anything; expected a lift above 0, masks.lift(2) for twice what "
        "chance would give"
    )


def test_only_shares_and_correlations_end_at_one():
    assert made(score_within=math.nextafter(1, 2), mass_at_least=1, similarity_at_least=1)
    for name in ("mass_at_least", "similarity_at_least"):
        with pytest.raises(HeatmapError, match=f"{name}=1.0000000000000002 cannot decide anything"):
            made(**{name: math.nextafter(1, 2)})
    assert made(score_within=1e-9, mass_at_least=1e-9, similarity_at_least=1e-9)


def test_a_perturbation_that_leaves_nothing_comparable():
    found = replace(trial(), perturbation=fog(0.5), before=heatmap(np.ones((4, 4))))
    with pytest.raises(NoEvidenceError):
        _ = found.similarity
