"""Verdicts on a data set: that pass, that fail, and that stay open, each with its record."""

from __future__ import annotations

import pytest

from pytest_gradcam import Case, FocusError
from pytest_gradcam.errors import HeatmapError

from .conftest import LEFT, blob


@pytest.fixture(scope="module")
def audit_of(explainer):
    """An audit of pictures of which so many pass, by site."""

    def audit(**sites):
        cases, number = [], 0
        for site, (passing, failing) in sites.items():
            for place in range(passing + failing):
                image = blob(place < passing, number)
                cases.append(Case(image, mask=LEFT, target="red", slices={"site": site}, id=f"{site} {place}"))
                number += 1
        return explainer.audit(cases, ["focus_within"], name="blobs")

    return audit


def test_rate_passes(audit_of, recording):
    audit_of(a=(60, 0)).assert_rate("focus_within", at_least=0.9)
    (record,) = recording.records
    assert (record.check, record.outcome, record.figure, record.bound) == ("rate", "passed", 1.0, 0.9)
    assert record.finding == (
        "focus_within passes on 100.0 % of 60 images (94.0 % to 100.0 % at 95 %); expected the whole interval "
        "to be at least 90.0 %"
    )
    assert dict(record.details)["data set"] == "blobs: 60 images"
    assert recording.pictures[0].width > 300


def test_rate_fails(audit_of, records):
    with pytest.raises(FocusError, match=r"focus_within passes on 66.7 % of 60 images \(53.3 % to 78.3 %"):
        audit_of(a=(30, 0), b=(10, 20)).assert_rate("focus_within", at_least=0.9)
    details = dict(records[0].details)
    assert details["worst"].startswith("b 1")
    assert details["site"] == "a: 100.0 % of 30 images (88.4 % to 100.0 % at 95 %)"


def test_rate_is_open(audit_of, records):
    with pytest.raises(HeatmapError, match=r"contains the bound of 90.0 %: about \d+ more images would decide"):
        audit_of(a=(29, 1)).assert_rate("focus_within", at_least=0.9)
    assert records[0].outcome == "invalid"


def test_undecided_images_count_against_both_sides(explainer, records):
    cases = [Case(blob(True, n), mask=LEFT, target="red", id=str(n)) for n in range(60)]
    broken = [Case("gone.png", mask=LEFT, id=f"gone {n}") for n in range(20)]
    with pytest.raises(HeatmapError, match="20 images have no verdict: there is no image file gone.png"):
        explainer.audit(cases + broken, ["focus_within"]).assert_rate("focus_within", at_least=0.9)
    with pytest.raises(HeatmapError, match="undecided on all 20 images"):
        explainer.audit(broken, ["focus_within"]).assert_rate("focus_within", at_least=0.9)


def test_copies_are_said(explainer, records):
    cases = [Case(blob(True, n // 2), mask=LEFT, target="red", id=str(n)) for n in range(120)]
    explainer.audit(cases, ["focus_within"]).assert_rate("focus_within", at_least=0.9)
    assert dict(records[0].details)["copies"] == "60 images are copies of others by content, and do not count"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at_least": 0}, "at_least=0 cannot decide anything"),
        ({"confidence": 1}, "confidence=1 cannot be used"),
        ({"check": "overlap"}, "check='overlap' is not in this audit"),
    ],
)
def test_arguments_that_decide_nothing(audit_of, records, arguments, message):
    with pytest.raises(HeatmapError, match=message):
        audit_of(a=(5, 0)).assert_rate(**({"check": "focus_within"} | arguments))


def test_slices_are_equal(audit_of, records):
    audit_of(a=(150, 3), b=(150, 2)).assert_slices_equal("focus_within", by="site", margin=0.1)
    assert records[0].outcome == "passed"
    assert records[0].finding == "focus_within passes at the same rate, within 10.0 %, for all 2 values of site"


def test_a_slice_that_differs(audit_of, records):
    with pytest.raises(FocusError, match=r"for site a \(\+\d.* and b \(-\d"):
        audit_of(a=(40, 0), b=(10, 30)).assert_slices_equal("focus_within", by="site")
    assert records[0].figure == pytest.approx(0.75)


def test_slices_are_open(audit_of, records):
    with pytest.raises(HeatmapError, match=r"reaches beyond the margin of 10.0 %: too few images"):
        audit_of(a=(9, 1), b=(9, 1)).assert_slices_equal("focus_within", by="site")
    with pytest.raises(HeatmapError, match="has one group only, a"):
        audit_of(a=(9, 1)).assert_slices_equal("focus_within", by="site")


def test_one_slice_of_many_is_not_accused_by_chance(audit_of, records):
    """Of ten equal slices one always looks worst; Holm keeps it from being accused."""
    sites = dict.fromkeys("abcdefghi", (11, 1)) | {"j": (8, 4)}
    with pytest.raises(HeatmapError, match="site j differs by"):
        audit_of(**sites).assert_slices_equal("focus_within", by="site", margin=0.01)
