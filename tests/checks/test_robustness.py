"""Curves over severity: what they hold, where they break first, and their picture."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from pytest_gradcam import Explainer, HeatmapError, Robustness, masks
from pytest_gradcam.cam.engine import Interface
from pytest_gradcam.checks.robustness import Step
from pytest_gradcam.perturbations import brightness, fog, shift
from tests.checks.test_stability import IMAGE, SQUARE, Colour, Counting, preprocess, square
from tests.sanity_models import explained_by


@pytest.fixture
def explainer():
    return Explainer(Colour().eval(), "features", preprocess=preprocess, classes=["red", "green"])


def test_each_step_is_what_the_explainer_says_of_the_perturbed_image(explainer):
    image = square(green=10)
    curve = explainer.robustness(image, "brightness", mask=SQUARE, severities=[0, 0.1, 0.4])
    assert isinstance(curve, Robustness)
    assert [step.severity for step in curve.steps] == [0, 0.1, 0.4]
    assert [step.predicted for step in curve.steps] == ["red", "red", "green"]
    for step in curve.steps:
        alone = explainer(brightness(step.severity)(image), "red")
        assert step.perturbation == f"brightness({step.severity:.1f})"
        assert step.score == pytest.approx(alone.score, abs=1e-5)
        assert step.mass == pytest.approx(alone.mass(SQUARE), abs=1e-6)
        assert step.probability == pytest.approx(alone.subject.probability, abs=1e-6)
    assert curve.steps[0].similarity == 1
    assert curve.first_break == 0.4
    assert curve.steps[2].broken == ("class",)
    assert not curve.recovers


@pytest.mark.parametrize(
    ("bounds", "first", "what"),
    [
        ({"score_within": 0.3}, 0.5, "score"),  # 10 * 200 / 16 / 255 = 0.49 falls in proportion, to 0 at 0.79
        ({"score_within": 0.4}, 0.7, "score"),
        ({"mass_at_least": 0.5, "mask": SQUARE}, 0.8, "mass"),  # black from there on: no evidence is no pass
        ({"mass_at_least": masks.lift(2), "mask": SQUARE}, 0.8, "lift"),
        ({"similarity_at_least": 0.5}, 0.8, "similarity"),
        ({}, None, None),
    ],
)
def test_the_first_severity_at_which_a_bound_breaks(explainer, bounds, first, what):
    curve = explainer.robustness(IMAGE, partial(brightness, down=True), **{"same_class": False, **bounds})
    assert curve.first_break == first
    if first is not None:
        step = next(step for step in curve.steps if step.severity == first)
        assert what in (*step.broken, *step.undecided)


def test_a_lift_has_its_own_curve_where_it_is_bounded(explainer):
    curve = explainer.robustness(IMAGE, "shift", mask=SQUARE, mass_at_least=masks.lift(2), severities=[0, 0.5])
    assert curve.bounds["lift"] == 2
    for step in curve.steps:
        assert step.lift == pytest.approx(step.mass / SQUARE.mean())
    assert explainer.robustness(IMAGE, "shift", mask=SQUARE, severities=[0]).steps[0].lift is None


def test_a_curve_that_recovers_is_not_monotone():
    def step(severity, *broken):
        return Step(severity, "fog", 1.0, broken=broken)

    steps = (step(0.0), step(0.1, "class"), step(0.2), step(0.3, "class"))
    curve = Robustness("fog", "a.png", "cat", 1.0, steps, {"class": 1.0})
    assert (curve.first_break, curve.recovers) == (0.1, True)
    assert str(curve) == "fog on a.png, 'cat': class breaks at 0.1, and holds again above"
    steady = Robustness("fog", "a.png", "cat", 1.0, (step(0.0), step(0.1, "class")), {"class": 1.0})
    assert (steady.first_break, steady.recovers) == (0.1, False)
    held = Robustness("fog", "a.png", "cat", 1.0, (step(0.0), step(0.5)), {"class": 1.0})
    assert (held.first_break, held.recovers) == (None, False)
    assert str(held) == "fog on a.png, 'cat': holds up to 0.5"
    never = Robustness("fog", "a.png", "cat", 1.0, (step(0.0, "mass"), step(0.5, "mass")), {"mass": 1.0})
    assert str(never) == "fog on a.png, 'cat': mass breaks on the original already"


def test_what_cannot_be_measured_is_none_and_does_not_hold(explainer):
    curve = explainer.robustness(IMAGE, partial(brightness, down=True), severities=[0, 1], similarity_at_least=0.1)
    assert curve.steps[1].similarity is None
    assert curve.steps[1].undecided == ("similarity",)
    assert curve.steps[1].holds is None
    assert curve.first_break == 1
    assert str(curve).endswith("similarity cannot be decided at 1")


def test_it_is_batched_with_one_pass_for_the_original():
    engine = Counting(Colour().eval(), Interface(preprocess), "features")
    explained_by(engine).robustness(IMAGE, fog)
    assert engine.passes == [1, 11]


def test_a_geometric_kind_moves_mask_and_heatmap(explainer):
    curve = explainer.robustness(IMAGE, shift, mask=SQUARE, severities=[0, 0.25, 0.5])
    assert all(step.mass == pytest.approx(curve.steps[0].mass, abs=0.05) for step in curve.steps)
    assert all(step.similarity > 0.9 for step in curve.steps)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "frog"}, "'frog' is not a kind of perturbation; did you mean 'fog'"),
        ({"kind": fog(0.3)}, "is not a kind of perturbation; expected a name, a class"),
        ({"kind": 3}, "is not a kind of perturbation"),
        ({"kind": lambda severity: severity}, "is a float; expected a perturbation"),
        ({"severities": []}, "do not rise; expected at least one"),
        ({"severities": [0.5, 0.1]}, "do not rise"),
        ({"severities": [0.1, 0.1]}, "do not rise"),
        ({"severities": [0, 1.5]}, "severity=1.5 of fog is not usable"),
        ({"severities": [0, float("nan")]}, "severity=nan of fog is not usable"),
        ({"mass_at_least": 0.5}, "no mask was passed; pass mask="),
        ({"similarity_at_least": 2}, "cannot decide anything"),
        ({"mask": np.ones((3, 3), bool)}, "shape"),
    ],
)
def test_malformed_arguments(explainer, arguments, words):
    with pytest.raises(HeatmapError, match=words):
        explainer.robustness(IMAGE, **{"kind": "fog", **arguments})


def test_the_picture_and_the_notebook(explainer):
    curve = explainer.robustness(
        square(green=10), "brightness", mask=SQUARE, mass_at_least=0.3, similarity_at_least=0.5, score_within=2
    )
    wide = curve.plot()
    assert wide.mode == "RGB"
    assert wide.width > 1.3 * explainer.robustness(IMAGE, "fog").plot().width  # a third panel, for the mass
    assert curve._repr_png_().startswith(b"\x89PNG")
