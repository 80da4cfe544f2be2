"""Reliance a group at a time: one of several groups may show what the mean hides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_gradcam import Case, Explainer, FocusError
from pytest_gradcam.checks.loss import RELIES
from pytest_gradcam.data.group_reliance import NoRelianceBy
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from tests.checks.test_no_reliance import found

from .test_suspects import CORNER, OBJECT, SIDE, Regions, corner, pictures, to_tensor


def explainer(region):
    return Explainer(Regions(region).eval(), "features", preprocess=to_tensor)


def cases(count=48):
    return [
        Case(each, invalid=corner(), mask=OBJECT, slices={"site": "ab"[n // 3 % 2]}, id=str(n))
        for n, each in enumerate(pictures(count))
    ]


def test_a_model_that_does_not_rely(records):
    audit = explainer(OBJECT).audit(cases())
    audit.assert_no_reliance()
    audit.assert_no_reliance(by="site")
    assert [record.outcome for record in records] == ["passed", "passed"]
    assert records[1].finding.startswith("the model does not rely on the masked pixels in any of 2 values of site")


def test_a_model_that_relies(recording):
    with pytest.raises(FocusError, match="the model relies on the masked pixels for site a, b"):
        explainer(corner()).audit(cases()).assert_no_reliance(by="site")
    assert dict(recording.records[0].details)["site a"].startswith("24 images: the model relies")
    assert recording.pictures[0].width > 100


def test_one_group_only_is_found(records):
    """In the images of site a the mark is missing, so only those of site b can show that the model uses it."""
    both = Regions(corner() | OBJECT)
    own = []
    for n, each in enumerate(pictures(72)):
        site = "ab"[n // 3 % 2]
        image = each.copy()
        image[12:36, 12:36] = 100 if site == "b" else image[12:36, 12:36]
        image[CORNER] = 100 if site == "a" else image[CORNER]
        own.append(Case(image, invalid=corner(), mask=OBJECT, slices={"site": site}, id=str(n)))
    audit = Explainer(both.eval(), "features", preprocess=to_tensor).audit(own, ["focus_avoids"])
    with pytest.raises(FocusError, match="relies on the masked pixels for site b:"):
        audit.assert_no_reliance(by="site")


def test_undecided_groups_never_pass(records):
    alone = [Case(each.image, invalid=corner(), slices={"site": each.id}) for each in cases(6)]
    audit = explainer(OBJECT).audit(alone)
    with pytest.raises(HeatmapError, match="undecided for site"):
        audit.assert_no_reliance(by="site")


def test_without_masks():
    audit = explainer(OBJECT).audit([Case(np.zeros((SIDE, SIDE, 3), np.uint8), mask=OBJECT)])
    with pytest.raises(HeatmapError, match="no case has invalid pixels"):
        audit.assert_no_reliance()
    with pytest.raises(HeatmapError, match="on='masks' is not a mask of a case"):
        audit.assert_no_reliance(on="masks")


def test_by_class_is_one_verdict_on_all_classes(records):
    """A class exchanges pixels with the others, so the rule looks at each class itself."""
    with pytest.raises(FocusError, match="the model relies on the masked pixels: "):
        explainer(corner()).audit(cases()).assert_no_reliance(by="class")
    found = explainer(OBJECT).audit(cases()).reliance_by(by="class")
    assert list(found) == [""]
    assert found[""].relies is False
    assert found[""].images == 48


def group(claim, p_value=0.9, loss=None):
    lost = {"relies": 0.5, "relies weakly": 0.05}.get(claim, 0.0) if loss is None else loss
    return replace(found(claim, lost, weak=claim == "relies weakly"), p_value=p_value)


def by_margin(claim, p_value=0.9, effect=0.0):
    return replace(group(claim, p_value), lost=None, effect=effect)


def judged(by="site", **groups):
    check = NoRelianceBy(None)
    return check.judged(check.record(Subject()), groups, by)


class TestVerdict:
    """From the verdicts on the groups: one that relies fails it, one that is undecided leaves it open."""

    def test_no_group_relies(self):
        record = judged(a=group("does not rely", loss=0.01), b=group("does not rely", loss=0.02))
        assert (record.outcome, record.figure, record.bound, record.reason) == ("passed", 0.02, RELIES, "")
        assert record.measure == "loss of accuracy"
        assert record.finding.startswith("the model does not rely on the masked pixels in any of 2 values of site: the")
        assert [label for label, _ in record.details] == ["site a", "site b"]

    def test_of_all_images_together(self):
        check = NoRelianceBy(None)
        record = check.judged(check.record(Subject()), {"": group("does not rely")}, None)
        assert record.outcome == "passed"
        assert record.finding.startswith("the model does not rely on the masked pixels: the model")
        assert record.details[0][0] == "all images"

    @pytest.mark.parametrize(
        ("p_values", "accused"),
        [
            ((0.05,), "a"),
            ((0.051,), ""),
            ((0.025, 0.9), "a"),
            ((0.026, 0.9), ""),
            ((0.025, 0.05), "a, b"),
            ((0.01, 0.01, 0.051), "a, b"),
            ((None,), ""),
        ],
    )
    def test_groups_are_accused_at_the_level_of_all_of_them_together(self, p_values, accused):
        groups = {name: group("relies", p_value) for name, p_value in zip("abc", p_values, strict=False)}
        record = judged(**groups)
        assert record.outcome == ("failed" if accused else "invalid")
        if accused:
            assert record.finding.startswith(f"the model relies on the masked pixels for site {accused}: ")
            assert record.advice.startswith("look at the picture")
        else:
            assert record.reason.startswith(f"undecided for site {', '.join(groups)}: ")

    def test_an_image_that_cannot_be_read_is_no_hypothesis(self):
        assert judged(a=group("relies", 0.05), b="there is no file").outcome == "failed"

    def test_the_group_that_loses_most_is_shown(self):
        record = judged(a=group("relies", 0.001, 0.3), b=group("relies", 0.002, 0.8), c=group("does not rely"))
        assert (record.outcome, record.figure, record.bound) == ("failed", 0.8, RELIES)

    def test_where_nothing_was_exchanged_the_fall_of_the_margin_is_shown(self):
        record = judged(
            a=by_margin("relies", 0.001, 0.6), b=by_margin("relies", 0.002, 0.8), c=by_margin("does not rely", 0.9, 0.9)
        )
        assert (record.outcome, record.figure, record.bound) == ("failed", 0.8, 0.5)
        assert record.measure == "fall of the margin"

    def test_a_group_that_relies_weakly_fails_where_the_check_of_one_set_does(self):
        little = judged(a=group("relies weakly", 0.001), b=group("does not rely"))
        assert (little.outcome, little.figure) == ("passed", 0.05)
        assert little.finding.startswith(
            "the model relies weakly on the masked pixels for site a, which fails from a loss of"
        )
        assert judged(a=group("relies weakly", 0.001, 0.12), b=group("does not rely")).outcome == "failed"
        assert judged(a=group("relies weakly", 0.9, 0.12), b=group("does not rely")).outcome == "invalid"
        assert judged(a=group("relies weakly", 0.001), b=group("undecided")).outcome == "invalid"

    @pytest.mark.parametrize("open_one", [group("undecided"), "there is no file"])
    def test_one_undecided_group_leaves_it_open(self, open_one):
        record = judged(a=group("does not rely"), b=open_one, c=group("does not rely"))
        assert (record.outcome, record.figure) == ("invalid", None)
        reason = "there is no file" if isinstance(open_one, str) else "why not"
        assert record.reason.startswith("undecided for site b: ")
        assert record.reason.endswith(reason)

    def test_a_group_that_relies_is_told_before_one_that_is_open(self):
        assert judged(a=group("undecided"), b=group("relies", 0.001)).outcome == "failed"
