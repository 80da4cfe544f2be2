"""The assertion: what fails, what warns, what passes, and what its record says."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

from pytest_gradcam import Explainer, FocusError, GradcamWarning, HeatmapError
from pytest_gradcam.checks import no_reliance
from pytest_gradcam.checks.loss import Loss
from pytest_gradcam.checks.no_reliance import NoReliance
from pytest_gradcam.checks.reliance_rule import Reliance
from pytest_gradcam.evidence.record import Subject
from tests.checks.test_reliance import CORNER, DISC, Reads, scenes


def found(claim, estimate, *, weak=False, **more):
    relies = None if claim == "undecided" else claim != "does not rely"
    lost = Loss(claim, estimate, (max(0.0, estimate - 0.05), estimate + 0.05), **more)
    return Reliance(
        relies,
        0.01,
        0.3,
        (0.2, 0.4),
        0.5,
        "swap",
        "why",
        50,
        weak=weak,
        lost=lost,
        reason="" if relies is not None else "why not",
    )


WEAK_LITTLE = found("relies weakly", 0.07, weak=True)
WEAK_MUCH = found("relies weakly", 0.12, weak=True)
STRONG = found("relies", 0.4)
NONE = found("does not rely", 0.02)


@pytest.mark.parametrize(
    ("weak", "result", "outcome"),
    [
        ("fail", NONE, "passed"),
        ("fail", WEAK_LITTLE, "passed"),
        ("fail", WEAK_MUCH, "failed"),
        ("fail", replace(WEAK_MUCH, lost=replace(WEAK_MUCH.lost, estimate=0.1)), "failed"),
        ("fail", STRONG, "failed"),
        ("warn", WEAK_MUCH, "passed"),
        ("allow", WEAK_MUCH, "passed"),
        ("warn", STRONG, "failed"),
        ("allow", STRONG, "failed"),
        ("allow", found("undecided", 0.1), "invalid"),
    ],
)
def test_what_a_weak_reliance_may_do(weak, result, outcome):
    check = NoReliance(None, weak=weak)
    record = check.judged(check.record(Subject()), result)
    assert record.outcome == outcome
    if outcome != "invalid":
        assert (record.measure, record.bound) == ("loss of accuracy", 0.1)
        assert record.figure == result.loss
        assert record.finding == result.verdict


def test_one_class_decides_by_its_own_loss():
    result = found(
        "relies", 0.05, single=True, worst="images of 'stop' lose 0.86 of their decisions", worst_estimate=0.86
    )
    check = NoReliance(None)
    record = check.judged(check.record(Subject()), result)
    assert (record.outcome, record.figure) == ("failed", 0.86)
    assert record.finding.endswith("; images of 'stop' lose 0.86 of their decisions")


def test_where_the_margin_decides_the_record_is_about_the_margin():
    result = replace(found("relies", 0.0, by_margin=True), effect=0.8)
    check = NoReliance(None)
    record = check.judged(check.record(Subject()), result)
    assert (record.outcome, record.measure, record.figure, record.bound) == ("failed", "fall of the margin", 0.8, 0.5)
    assert "without them it loses 0.80 of its margin" in record.finding
    assert record.finding.endswith("above 0.5 is reliance), and 0.00 of accuracy")


@pytest.mark.parametrize(("weak", "warned"), [("fail", True), ("warn", True), ("allow", False)])
def test_a_weak_reliance_that_passes_warns_unless_it_is_allowed(monkeypatch, weak, warned):
    monkeypatch.setattr(no_reliance, "judged_masks", lambda *_: WEAK_LITTLE)
    explainer = Explainer(Reads(DISC))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        explainer.assert_no_reliance(scenes(), CORNER, weak=weak)
    said = [str(one.message) for one in seen if one.category is GradcamWarning]
    assert said == ([WEAK_LITTLE.verdict] if warned else [])
    assert "relies weakly" in WEAK_LITTLE.verdict


def test_other_words_for_weak_are_refused():
    with pytest.raises(HeatmapError, match="weak='ignore'; expected one of 'fail', 'warn', 'allow'"):
        Explainer(Reads(DISC)).assert_no_reliance(scenes(), CORNER, weak="ignore")


def test_a_bound_on_the_margin_lets_the_margin_decide():
    Explainer(Reads(CORNER | DISC)).assert_no_reliance(scenes(24), CORNER, at_most=1)
    with pytest.raises(FocusError, match="without them it loses .* of its margin"):
        Explainer(Reads(CORNER | DISC)).assert_no_reliance(scenes(24), CORNER, at_most=0.2)


@pytest.mark.parametrize("empty", [[], ()])
def test_a_list_without_masks_is_refused(empty):
    with pytest.raises(HeatmapError, match="masks is empty; expected one mask for all images, or one per image"):
        Explainer(Reads(DISC)).assert_no_reliance(scenes(4), empty)
