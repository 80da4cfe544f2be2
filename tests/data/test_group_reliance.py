"""Reliance a group at a time: one of several groups may show what the mean hides."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_gradcam import Case, Explainer, FocusError
from pytest_gradcam.errors import HeatmapError

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
