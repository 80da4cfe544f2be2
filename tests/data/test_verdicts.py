"""Verdicts on a data set: that pass, that fail, and that stay open, each with its record."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pytest_gradcam import Case, FocusError
from pytest_gradcam.data import statistics, verdicts
from pytest_gradcam.data.results import Rate, Results
from pytest_gradcam.data.verdicts import Gap, RateAtLeast, SlicesEqual
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject

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


def rows_of(outcomes, *, site="a", check="focus_within", direction="at_least", first=0):
    """A row for each letter: passed, failed, or undecided without evidence or for another reason."""
    known = {"p": ("passed", 0.9), "f": ("failed", 0.1), "n": ("no evidence", None), "i": ("invalid", None)}
    for place, letter in enumerate(outcomes, first):
        outcome, figure = known[letter]
        yield {
            "place": place,
            "case": f"case {place}",
            "check": check,
            "outcome": outcome,
            "figure": figure if direction == "at_least" else None if figure is None else 1 - figure,
            "bound": 0.5,
            "direction": direction,
            "reason": {"n": "nothing to see\nlook elsewhere", "i": f"broken {place}"}.get(letter, ""),
            "target": "red",
            "predicted": "red",
            "mass": figure,
            "lift": figure,
            "digest": f"image {place}",
            "slices": {"site": site},
        }


def results(*rows):
    """What an audit would have found, without a model."""
    found = Results("set", Path("rows"), None, None)
    found.rows = [row for group in rows for row in group]
    return found


def sites(**outcomes):
    """The rows of several sites, each with its outcomes."""
    rows, first = [], 0
    for site, letters in outcomes.items():
        rows += rows_of(letters, site=site, first=first)
        first += len(letters)
    return results(rows)


def judged(check, found, **more):
    """The record of a check on a data set, decided or not."""
    return check.judged(check.checked(check.record(Subject())), found, "focus_within", **more)


class TestRate:
    """The interval decides: all of it at the bound or above it, all of it below, or neither."""

    def outcome(self, letters, at_least, confidence=0.95):
        return judged(RateAtLeast(at_least, confidence), results(rows_of(letters))).outcome

    @pytest.mark.parametrize("confidence", [0.9, 0.95])
    def test_the_ends_of_the_interval_decide(self, confidence):
        found = statistics.rate(24, 30, confidence)
        letters = "p" * 24 + "f" * 6
        assert self.outcome(letters, found.lower, confidence) == "passed"
        assert self.outcome(letters, math.nextafter(found.lower, 1), confidence) == "invalid"
        assert self.outcome(letters, found.upper, confidence) == "invalid"
        assert self.outcome(letters, math.nextafter(found.upper, 1), confidence) == "failed"

    def test_the_undecided_count_as_failed_for_passing_and_as_passed_for_failing(self):
        letters = "p" * 24 + "f" * 6 + "ni" * 5
        lower, upper = statistics.rate(24, 40).lower, statistics.rate(34, 40).upper
        assert self.outcome(letters, lower) == "passed"
        assert self.outcome(letters, math.nextafter(lower, 1)) == "invalid"
        assert self.outcome(letters, upper) == "invalid"
        assert self.outcome(letters, math.nextafter(upper, 1)) == "failed"

    def test_the_figure_is_the_rate_of_the_decided(self):
        record = judged(RateAtLeast(0.3, 0.95), results(rows_of("p" * 24 + "f" * 6 + "n" * 10)))
        assert (record.outcome, record.figure, record.advice) == ("passed", 0.8, "")
        assert judged(RateAtLeast(0.99, 0.95), results(rows_of("p" * 24 + "f" * 6))).advice.startswith("look at the")

    def test_one_decided_image_is_enough_to_be_asked_about(self):
        assert judged(RateAtLeast(0.99, 0.95), results(rows_of("fnnn"))).outcome == "invalid"
        assert judged(RateAtLeast(0.99, 0.95), results(rows_of("pnnn"))).outcome == "invalid"
        assert judged(RateAtLeast(0.9, 0.95), results(rows_of("pf" * 15))).outcome == "failed"
        with pytest.raises(HeatmapError, match="focus_within is undecided on all 3 images: nothing to see$"):
            judged(RateAtLeast(0.99, 0.95), results(rows_of("nnn")))

    def test_why_it_is_open(self):
        letters = "p" * 28 + "f" * 2 + "nii" + "i"
        record = judged(RateAtLeast(0.9, 0.95), results(rows_of(letters)))
        more = statistics.more_to_decide(28, 30, 0.9, 0.95)
        assert record.reason == (
            "focus_within passes on 93.3 % of 34 images (65.5 % to 99.3 % at 95 %, 4 undecided), which contains the bound of "
            f"90.0 %: about {more:,} more images would decide, if the rate stays as it is; 4 images have no verdict: nothing to "
            "see; broken 31 and 2 other reasons"
        )
        two = judged(RateAtLeast(0.9, 0.95), results(rows_of("p" * 28 + "f" * 2 + "ni")))
        assert two.reason.endswith("; 2 images have no verdict: nothing to see; broken 31")
        assert judged(RateAtLeast(0.9, 0.95), results(rows_of("p" * 9 + "f"))).reason.endswith(
            "no number of images decides if the rate stays as it is; choose another bound"
        )

    def test_the_details(self):
        found = sites(**{name: "p" * (30 - 3 * n) + "f" * 3 * n for n, name in enumerate("abcdef")}, g="nn")
        record = judged(RateAtLeast(0.5, 0.95), found)
        slices = [phrase.split(":")[0] for label, phrase in record.details if label == "site"]
        assert slices == ["f", "e", "d", "c", "b"]  # the lowest upper ends first
        details = dict(record.details)
        assert details["worst"] == ", ".join(f"case {place} (0.1)" for place in (57, 58, 59, 84, 85))
        assert details["undecided"] == "2 images: nothing to see"
        assert "copies" not in details
        assert details["figures"].startswith("0.7 on average, 0.6")
        assert "worst" not in dict(judged(RateAtLeast(0.5, 0.95), results(rows_of("p" * 20))).details)

    def test_the_worst_of_a_check_with_an_upper_bound_have_the_highest_figures(self):
        rows = list(rows_of("pfff", direction="at_most"))
        for row, figure in zip(rows[1:], (0.6, 0.95, 0.7), strict=True):
            row["figure"] = figure
        record = judged(RateAtLeast(0.9, 0.95), results(rows))
        assert dict(record.details)["worst"] == "case 2 (0.95), case 3 (0.7), case 1 (0.6)"


class TestSlices:
    def asked(self, found, margin=0.1, confidence=0.95):
        return judged(SlicesEqual(margin, confidence, "site"), found)

    def test_all_of_every_interval_within_the_margin_passes(self):
        found = sites(a="p" * 90 + "f" * 10, b="p" * 95 + "f" * 5)
        reach = statistics.difference((95, 100), (90, 100))
        record = self.asked(found, reach.upper)
        assert (record.outcome, record.figure) == ("passed", pytest.approx(0.05))
        record = self.asked(found, math.nextafter(reach.upper, 0))
        assert record.outcome == "invalid"
        assert record.reason.endswith(
            "too few images to say more (100 of a); add images of it, or allow a wider margin"
        )

    def test_a_difference_beyond_the_margin_fails_at_the_level_of_all_groups_together(self):
        letters = {"a": "p" * 40, "b": "p" * 25 + "f" * 15}
        p_value = statistics.p_beyond((40, 40), (25, 40), 0.1)
        assert self.asked(sites(**letters), confidence=1 - 2 * p_value - 1e-9).outcome == "failed"
        assert self.asked(sites(**letters), confidence=1 - 2 * p_value + 1e-9).outcome == "invalid"

    def test_the_group_that_differs_most_gives_the_figure(self):
        record = self.asked(sites(a="p" * 40, b="p" * 40, c="f" * 40))
        assert (record.outcome, record.figure) == ("failed", 1.0)
        assert " for site a (+50.0 %, " in record.finding
        assert " and c (-100.0 %, " in record.finding
        assert record.advice
        assert [label for label, _ in record.details] == ["site a", "site b", "site c"]

    def test_the_undecided_may_make_groups_differ_or_not(self):
        assert self.asked(sites(a="p" * 40, b="p" * 40), 0.2).outcome == "passed"
        assert self.asked(sites(a="p" * 40, b="p" * 40 + "n" * 40), 0.2).outcome == "invalid"
        assert self.asked(sites(a="p" * 40, b="f" * 40), 0.2).outcome == "failed"
        assert self.asked(sites(a="p" * 40 + "n" * 100, b="f" * 40 + "n" * 100), 0.2).outcome == "invalid"

    def test_the_one_that_reaches_furthest_is_named(self):
        record = self.asked(sites(a="p" * 200, b="p" * 200, c="p" * 5 + "f"), 0.05)
        assert record.outcome == "invalid"
        assert record.reason.startswith("site c differs by -16.7 %")
        assert "(6 of c)" in record.reason

    @pytest.mark.parametrize("margin", [0, 1, -0.1, 1.5, "0.1", True])
    def test_margins_that_decide_nothing(self, margin):
        with pytest.raises(HeatmapError, match="margin=.*expected a share above 0 and below 1"):
            self.asked(sites(a="p", b="p"), margin)

    @pytest.mark.parametrize("confidence", [0.5, 1, 0, 95, "0.95"])
    def test_confidences_that_state_no_error_rate(self, confidence):
        with pytest.raises(HeatmapError, match="confidence=.*expected a share above 0.5 and below 1"):
            self.asked(sites(a="p", b="p"), confidence=confidence)
        with pytest.raises(HeatmapError, match="confidence=.*expected a share above 0.5 and below 1"):
            judged(RateAtLeast(0.9, confidence), results(rows_of("p")))


class TestGap:
    """A group against all others, in the worst of the ways in which the undecided may have come out."""

    def gap(self, margin=0.1, confidence=0.9, **letters):
        rates = sites(**letters).rates("focus_within", by="site", confidence=confidence)
        return Gap.of(rates["a"], rates.values(), margin, confidence)

    def test_without_undecided_ones_it_is_the_difference(self):
        gap = self.gap(a="p" * 30 + "f" * 10, b="p" * 10 + "f" * 10, c="p" * 5 + "f" * 15)
        known = statistics.difference((30, 40), (15, 40), 0.9)
        assert (gap.value, gap.lower, gap.upper) == (known.value, known.lower, known.upper)
        assert gap.p_value == statistics.p_beyond((30, 40), (15, 40), 0.1)
        assert str(gap) == f"+37.5 %, {100 * known.lower:+.1f} to {100 * known.upper:+.1f} %"

    def test_each_end_is_that_of_the_worst_case(self):
        gap = self.gap(a="p" * 30 + "f" * 6 + "n" * 4, b="p" * 10 + "f" * 25 + "n" * 5)
        assert gap.lower == statistics.difference((30, 40), (15, 40), 0.9).lower
        assert gap.upper == statistics.difference((34, 40), (10, 40), 0.9).upper
        assert gap.value == statistics.difference((30, 40), (10, 40)).value
        assert gap.p_value == statistics.p_beyond((30, 40), (15, 40), 0.1)
        assert gap.p_value > statistics.p_beyond((34, 40), (10, 40), 0.1)


def test_copies_count_once_for_a_verdict():
    rows = list(rows_of("p" * 30))
    copies = [{**row, "place": row["place"] + 30} for row in rows]
    record = judged(RateAtLeast(0.9, 0.95), results(rows, copies))
    assert record.outcome == "invalid"  # 60 of 60 would have passed
    assert dict(record.details)["copies"] == "30 images are copies of others by content, and do not count"


def test_means_of_lifts_are_not_cut_at_one():
    """A lift may be above 1 even where none of these is."""
    rows = list(rows_of("ppp"))
    for row, figure in zip(rows, (0.2, 1.0, 0.9), strict=True):
        row["figure"] = row["lift"] = figure
        row["mass"] = figure / 4
    assert results(rows).mean("focus_within").upper > 1
    assert results(rows).compare(results(list(rows)), "focus_within").figures.upper == math.inf
    for row in rows:
        row["mass"], row["lift"] = row["figure"], 4 * row["figure"]
    assert results(rows).mean("focus_within").upper == 1
    assert results(rows).compare(results(list(rows)), "focus_within").figures.upper < 1


def test_without_a_bound_it_is_nine_in_ten_at_95_percent():
    """Of 36 images all pass: 0.025 ** (1 / 36) = 0.9026. Of 35 it is 0.8999."""
    verdicts.assert_rate(results(rows_of("p" * 36)), "focus_within")
    with pytest.raises(HeatmapError, match="contains the bound of 90"):
        verdicts.assert_rate(results(rows_of("p" * 35)), "focus_within")


def test_without_a_margin_slices_may_differ_by_one_in_ten():
    """Of n images all pass in both: the interval reaches to z^2 / (n + z^2), 0.0989 for 35 and 0.1015 for 34."""
    verdicts.assert_slices_equal(sites(a="p" * 35, b="p" * 35), "focus_within", by="site")
    with pytest.raises(HeatmapError, match="reaches beyond the margin of 10"):
        verdicts.assert_slices_equal(sites(a="p" * 34, b="p" * 34), "focus_within", by="site")


@pytest.mark.parametrize("rates", [(0.9, 0.9, 0.9), (0.9, 0.8, 0.9), (0.95, 0.85), (1.0, 0.9)])
def test_slices_raise_no_more_false_alarms_than_stated(rates):
    """The differences lie within the margin, or at it: some group is accused in at most 5 % of 400 data sets."""
    rng, accused = np.random.default_rng(0), 0
    for _ in range(400):
        drawn = [int(rng.binomial(40, rate)) for rate in rates]
        groups = [Rate("c", str(n), passed, 40 - passed, 0, 0, 0.95) for n, passed in enumerate(drawn)]
        gaps = [Gap.of(group, groups, 0.1, 0.95) for group in groups]
        accused += min(statistics.holm([gap.p_value for gap in gaps])) <= 0.05
    assert accused <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)


def test_slices_pass_no_more_often_than_stated_where_they_differ_by_the_margin():
    rng, passed = np.random.default_rng(0), 0
    for _ in range(400):
        drawn = [int(rng.binomial(300, rate)) for rate in (0.9, 0.8)]
        groups = [Rate("c", str(n), good, 300 - good, 0, 0, 0.95) for n, good in enumerate(drawn)]
        gaps = [Gap.of(group, groups, 0.1, 0.95) for group in groups]
        passed += all(gap.lower >= -0.1 and gap.upper <= 0.1 for gap in gaps)
    assert passed <= 400 * 0.05


@pytest.mark.parametrize("true", [0.85, 0.9, 0.95])
def test_rate_passes_and_fails_wrongly_no_more_often_than_stated(true):
    """By the whole verdict, over 300 data sets of 80 images: beyond the bound on the other side in at most 2.5 % of them."""
    rng, outcomes = np.random.default_rng(0), []
    for _ in range(300):
        good = int(rng.binomial(80, true))
        outcomes.append(judged(RateAtLeast(0.9, 0.95), results(rows_of("p" * good + "f" * (80 - good)))).outcome)
    wrong = outcomes.count("passed") * (true <= 0.9) + outcomes.count("failed") * (true >= 0.9)
    assert wrong <= 300 * (0.025 + 0.025 * (true == 0.9)) + 3 * math.sqrt(300 * 0.05 * 0.95)
