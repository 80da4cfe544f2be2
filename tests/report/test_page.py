"""index.html as text: hostile names stay text, sections are complete, colours can be told apart."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import pytest

from pytest_gradcam.evidence.record import Record
from pytest_gradcam.evidence.requirements import REQUIREMENTS
from pytest_gradcam.report import Report, Run
from pytest_gradcam.report.page import embedded, render
from pytest_gradcam.report.plot import plots

HOSTILE = "test_it[</script><img src=x onerror=alert(1)>]"
RUN = Run(id="1", started="2026-01-02T03:04:05+00:00", ended="2026-01-02T03:05:05+00:00", exit_status=0)


def check(**changes):
    record = Record(
        check="overlap", measure="IoU", outcome="passed", figure=0.4, bound=0.3, test="test_a", number=1, model="Net"
    )
    return replace(record, **changes)


def page(*checks, **run):
    return render(Report((replace(RUN, checks=checks, **run),)))


class Elements(HTMLParser):
    """The elements of a page, as (name, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def data(text):
    found = re.search(r'<script type="application/json" id="evidence">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])


@pytest.mark.parametrize(
    "field", ["test", "image", "model", "check", "measure", "target", "finding", "reason", "picture"]
)
def test_hostile_names_are_text(field):
    text = page(check(**{field: HOSTILE, "outcome": "failed"}), command=(HOSTILE,), ci={"GITHUB_REF": HOSTILE})
    elements = Elements(text).found
    assert "img" not in [name for name, _ in elements]
    assert not any(attribute.startswith("on") for _, attributes in elements for attribute in attributes)
    assert [name for name, _ in elements].count("script") == 2


def test_strings_come_back_from_the_page_as_they_were():
    text = f"{HOSTILE} & \u2028 '\" \\u003c \U0001f600 ü"
    assert text in data(page(check(test=text)))["strings"]


def test_a_lone_surrogate_does_not_stop_the_page():
    assert data(page(check(test="test_\udc80")))["checks"]


def test_ten_thousand_checks_stay_small():
    records = [check(test=f"test_{i}", image=f"image_{i}.png", score=i / 7, target="cat") for i in range(10_000)]
    assert len(embedded(records, {})) < 6_000_000


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ((), "No check was made"),
        ((check(),), "The only check passed"),
        ((check(), check()), "All 2 checks passed"),
        ((check(), check(outcome="invalid")), "1 of 2 checks did not pass"),
        ((check(), check(outcome="no evidence")), "1 of 2 checks did not pass"),
        ((check(), check(outcome="failed")), "1 of 2 checks did not pass"),
        ((check(), check(outcome="failed", test_outcome="error")), "1 of 2 checks did not pass"),
        ((check(), check(outcome="failed", test_outcome="xfailed")), "1 of 2 checks passed, 1 did not, as expected"),
        (
            (check(outcome="invalid"), check(outcome="failed", test_outcome="passed")),
            "1 of 2 checks did not pass, and 1 more as expected",
        ),
    ],
)
def test_the_verdict_counts_all_that_did_not_pass(checks, verdict):
    assert f"<h1>{verdict}</h1>" in page(*checks)


def test_the_worst_come_first():
    checks = [
        check(figure=0.31, test="narrow"),
        check(figure=0.9, test="wide"),
        check(outcome="failed", figure=0.29, test="nearly"),
        check(outcome="failed", figure=0.0, test="badly"),
        check(outcome="invalid", figure=None, test="undecided"),
        check(outcome="failed", figure=0.0, test="expected", test_outcome="xfailed"),
        check(outcome="failed", figure=1.0, bound=0.1, direction="at_most", test="worst"),
    ]
    found = data(page(*checks))
    assert [found["strings"][one[3]] for one in found["checks"]] == [
        "worst",
        "badly",
        "nearly",
        "undecided",
        "expected",
        "narrow",
        "wide",
    ]


def test_every_requirement_is_there_covered_or_not():
    text = page(check(requirements=("transparency",)))
    for name in REQUIREMENTS:
        assert f'<th scope="row">{name}</th>' in text
    assert text.count("No check covers this.") == len(REQUIREMENTS) - 1
    assert "not a statement of conformity" in text


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"ended": ""}, "did not end"),
        ({"tests": {"error": 2}}, "2 tests had an error in their set-up or tear-down"),
        ({"exit_status": 2}, "pytest stopped early, with exit status 2"),
    ],
)
def test_what_must_not_be_overlooked_is_said(run, words):
    assert words in page(check(), **run)
    assert words not in page(check())


def test_checks_of_several_runs_say_of_which():
    runs = [replace(RUN, id=day, started=f"2026-01-0{day}T03:04:05+00:00", checks=(check(),)) for day in "12"]
    strings = data(render(Report(tuple(runs))))["strings"]
    assert {"began 2026-01-01T03:04:05+00:00", "began 2026-01-02T03:04:05+00:00"} <= set(strings)
    assert not any("began" in text for text in data(page(check()))["strings"])


class TestPlots:
    def test_a_figure_lies_on_its_side_of_the_bound(self):
        records = [check(figure=0.1, outcome="failed"), check(figure=0.6), check(figure=0.9)]
        (plot,) = plots(records)
        (bound,) = plot.bounds
        assert all((bar.x + bar.width <= bound + 1) == (bar.css == "failed") for bar in plot.bars)
        assert plot.text == "3 checks, median 0.6, from 0.1 to 0.9; expected at least 0.3; 1 failed"
        assert plot.side == 1

    def test_one_figure_on_its_bound_is_drawn(self):
        (plot,) = plots([check(figure=0.3)])
        assert len(plot.bars) == 1

    def test_a_bar_counts_the_checks_of_its_outcome_in_its_bin(self):
        figures = [0.0, 0.01, 0.02, 0.5, 1.0]  # of 38 bins from 0 to 1 in the first, the middle and the last
        failed = [check(figure=0.015, outcome="failed", bound=0.0, direction="at_most")]
        records = [check(figure=figure, bound=0.0, direction="at_most") for figure in figures]
        (plot,) = plots(records + failed)
        width = (312 - 8) / 38
        assert [(bar.css, bar.x, bar.height) for bar in plot.bars] == [
            ("passed", 8.0, 66.0),
            ("failed", 8.0, 22.0),
            ("passed", round(8 + 19 * width, 1), 22.0),
            ("passed", round(8 + 37 * width, 1), 22.0),
        ]
        assert all(type(bar.height) is float for bar in plot.bars)

    def test_with_several_bounds_each_figure_is_held_to_its_own(self):
        records = [check(figure=0.5, bound=0.4), check(figure=0.5, bound=0.6, outcome="failed")]
        (plot,) = plots(records)
        (bound,) = plot.bounds
        assert [(bar.css, bar.x >= bound - 1) for bar in plot.bars] == [("failed", False), ("passed", True)]
        assert plot.measure == "IoU, minus the bound"
        assert plot.text == (
            "2 checks, median 0, from -0.1 to 0.1; expected at least 0 (bounds from 0.4 to 0.6); 1 failed"
        )

    def test_kinds_with_failures_come_first_and_undecided_checks_have_no_place(self):
        records = [check(check="a"), check(check="b", figure=0.1, outcome="failed"), check(check="c", figure=None)]
        assert [plot.check for plot in plots(records)] == ["b", "a"]


def luminance(colour):
    def linear(part):
        return part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("text", ["ink", "soft", "link", "failed", "invalid", "no-evidence", "passed"])
@pytest.mark.parametrize("ground", ["page", "card"])
def test_all_text_has_the_contrast_of_wcag_aa(scheme, text, ground):
    style = resources.files("pytest_gradcam.report").joinpath("page.css").read_text()
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]))
    light, dark = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
