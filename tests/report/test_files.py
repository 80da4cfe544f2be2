"""summary.md, metrics.json and what GitHub is told."""

import json
from dataclasses import replace

import pytest

from pytest_gradcam.evidence.messages import one_line
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.evidence.requirements import REQUIREMENTS
from pytest_gradcam.report import Report, Run, github, markdown, page
from pytest_gradcam.report.figures import flat
from pytest_gradcam.report.terminal import summary, warnings
from pytest_gradcam.report.write import write


def check(**changes):
    record = Record(
        check="overlap", measure="IoU", outcome="passed", figure=0.4, bound=0.3, test="t.py::test", number=1
    )
    return replace(record, **changes)


FAILED = check(outcome="failed", figure=0.1, test_outcome="failed")


def report(*checks, **about):
    return Report((Run(id="1", **{"ended": "2026-01-02T03:04:05+00:00", "checks": checks} | about),))


class TestMarkdown:
    def test_it_counts_names_the_worst_and_lists_every_requirement(self):
        text = markdown.summary(report(check(requirements=("transparency",)), FAILED))
        assert text.startswith("## Grad-CAM: 2 checks: 1 failed, 1 passed\n")
        assert "| failed | overlap | the IoU of the attention is 0.1; expected at least 0.3 | t.py::test |" in text
        assert all(f"| {name} |" in text for name in REQUIREMENTS)
        assert text.count("**no check covers this**") == len(REQUIREMENTS) - 1

    def test_nothing_failed_needs_no_table_of_failures(self):
        assert "| outcome |" not in markdown.summary(report(check()))

    def test_many_failures_are_cut(self):
        assert "... and 5 more." in markdown.summary(report(*[FAILED] * 25))

    @pytest.mark.parametrize(
        "sign", ["<img src=x>", "a|b", "`code`", "[a](b)", "@someone", "#12", "*b*", "http://x.y", "a\nb"]
    )
    def test_names_are_text(self, sign):
        (row,) = [
            line for line in markdown.summary(report(replace(FAILED, test=sign))).splitlines() if "overlap |" in line
        ]
        assert row.count("|") == 5
        assert sign not in row


def test_metrics_are_flat_numbers(tmp_path):
    write(
        Report((Run(id="1", checks=(check(), FAILED, check(check="ignores", outcome="invalid", figure=None))),)),
        tmp_path,
    )
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert all(isinstance(value, (int, float)) for value in numbers.values())
    assert (numbers["checks.count"], numbers["checks.failed"], numbers["checks.invalid"]) == (3, 1, 1)
    assert numbers["overlap.figure_mean"] == pytest.approx(0.25)
    assert (numbers["overlap.figure_min"], numbers["overlap.figure_max"]) == (0.1, 0.4)
    assert "ignores.figure_mean" not in numbers


def test_no_checks_are_no_passed_checks():
    assert flat([])["checks.count"] == 0


class TestGitHub:
    def test_no_more_than_it_shows(self):
        assert len(list(github.errors([FAILED] * 30, {}, {"GITHUB_ACTIONS": "true"}))) == 10

    def test_elsewhere_nothing(self):
        assert list(github.errors([FAILED], {}, {})) == []

    def test_what_a_test_expects_is_no_error(self):
        expected = [replace(FAILED, test_outcome=outcome) for outcome in ("passed", "xfailed")]
        assert list(github.errors(expected, {}, {"GITHUB_ACTIONS": "true"})) == []

    def test_a_name_cannot_add_a_command(self):
        hostile = replace(FAILED, test="a\n::set-output name=x::y", finding="a\n::error::b")
        lines = "\n".join(github.errors([hostile], {}, {"GITHUB_ACTIONS": "true"})).splitlines()
        assert len(lines) == 1

    def test_a_summary_that_cannot_be_written_is_left_out(self, tmp_path):
        github.write_summary(Run(id="1", checks=(FAILED,)), {"GITHUB_STEP_SUMMARY": str(tmp_path)})


class TestTerminal:
    def test_the_worst_are_cut_and_counted(self):
        lines = list(summary([replace(FAILED, test=f"t{i}") for i in range(25)]))
        assert len(lines) == 12
        assert lines[-1] == "... and 15 more that did not pass; -v lists them all"

    def test_passed_checks_with_pictures_are_named(self):
        lines = list(summary([check(picture=f"pictures/{i}.png") for i in range(70)]))
        assert lines[1] == "passed      overlap       0.4, expected at least 0.3  pictures/0.png"
        assert lines[-1] == "... and 10 more pictures next to them"

    @pytest.mark.parametrize("records", [[], [FAILED]])
    def test_quiet_says_nothing(self, records):
        assert list(summary(records, report="out/index.html", verbosity=-1)) == []


class TestMissing:
    """No page, summary or table says 'all' when tests are missing."""

    @pytest.mark.parametrize(
        ("about", "said"),
        [
            ({"tests": {"crashed": 1}}, "of the tests 1 crashed"),
            ({"tests": {"interrupted": 1, "not run": 2}}, "of the tests 1 interrupted, 2 not run"),
            ({"ended": ""}, "the run did not end"),
            ({"exit_status": 2}, "pytest stopped early, with exit status 2"),
        ],
    )
    def test_every_form_says_it(self, about, said):
        found = report(check(), check(), **about)
        assert f"**Checks may be missing: {said}.**" in markdown.summary(found)
        assert f"WARNING: checks may be missing here: {said}" in list(warnings(found.runs[0], "out", ""))
        html = page.render(found)
        assert "<h1>2 checks passed; tests are missing</h1>" in html
        assert f'<p class="alarm">Checks may be missing: {said}.</p>' in html
        assert "All 2" not in html

    def test_a_whole_run_says_all(self):
        assert "<h1>All 2 checks passed</h1>" in page.render(report(check(), check()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a.py::test", "a.py::test"),
        ("::error file=a::b", ": :error file=a::b"),
        ("  ::error::b", "  : :error::b"),
        ("a\n::error::b", "a\\n::error::b"),
        ("##[error]b", "# #[error]b"),
        ("\x1b[2J\x9b1m", "\\x1b[2J\\x9b1m"),
        ("a\u202eb\u2028c\ud800", "a\\u202eb\\u2028c\\ud800"),
        ("k\u00e4se \u732b", "k\u00e4se \u732b"),
    ],
)
def test_a_name_is_text_on_one_line(text, shown):
    assert one_line(text) == shown
