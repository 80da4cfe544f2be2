"""--gradcam-report: what a run leaves on disk, and what it says in the terminal and to other plugins."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import jsonschema
import pytest

from pytest_gradcam.report import load, schema

#: Engine from arrays: a third of the relevance on the left half of the first, two thirds on that of the second.
SUITE = """
    import numpy as np
    import pytest
    from pytest_gradcam import Heatmap

    LEFT = np.zeros((4, 4), bool)
    LEFT[:, :2] = True

    def heatmap(left):
        values = np.full((4, 4), 1 - left)
        values[:, :2] = left
        return Heatmap.from_array(values)

    def test_fails():
        heatmap(1 / 3).assert_focus_within(LEFT, at_least=0.5)

    def test_passes():
        heatmap(2 / 3).assert_focus_within(LEFT, at_least=0.5)
        heatmap(2 / 3).assert_overlap(LEFT)

    def test_is_undecided():
        heatmap(2 / 3).assert_focus_within(np.zeros((4, 4), bool))

    @pytest.mark.xfail(strict=True)
    def test_is_expected_to_fail():
        heatmap(1 / 3).assert_focus_within(LEFT, at_least=0.5)
"""


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """What a check and its picture import, which pytester would otherwise load anew for each run; no torch."""
    import numpy as np

    from pytest_gradcam import Heatmap

    Heatmap.from_array(np.eye(4)).overlay(np.eye(4, dtype=bool))


def same(report):
    """The records of a report without what differs from run to run."""
    return [replace(record, duration=None) for record in report.records]


@pytest.fixture
def suite(pytester):
    pytester.makepyfile(test_suite=SUITE)
    pytester.makeini("[pytest]\ngradcam_pictures = none\n")  # drawing takes longer than all else
    return pytester


def test_a_report_that_is_asked_for_is_whole_and_verified(suite):
    result = suite.runpytest_inprocess("--gradcam-report=out", "--gradcam-pictures=failed")
    result.assert_outcomes(passed=1, failed=2, xfailed=1)
    report = load(suite.path / "out")
    outcomes = {(record.test.partition("::")[2], record.number): record.outcome for record in report.records}
    assert outcomes == {
        ("test_fails", 1): "failed",
        ("test_is_expected_to_fail", 1): "failed",
        ("test_is_undecided", 1): "invalid",
        ("test_passes", 1): "passed",
        ("test_passes", 2): "passed",
    }
    assert [record.test_outcome for record in report.records] == ["failed", "xfailed", "failed", "passed", "passed"]
    jsonschema.validate(json.loads((suite.path / "out/evidence.json").read_text()), schema())
    files = {path.name for path in (suite.path / "out").iterdir()}
    assert files == {"evidence.json", "index.html", "manifest.json", "metrics.json", "pictures", "summary.md"}
    pictures = [record.picture for record in report.records if record.picture]
    assert len(pictures) == 3
    assert all((suite.path / "out" / picture).is_file() for picture in pictures)
    verified = subprocess.run([sys.executable, "-m", "pytest_gradcam", "verify", "out"], cwd=suite.path, check=False)
    assert verified.returncode == 0


def test_the_run_says_who_what_and_when(suite, monkeypatch):
    monkeypatch.setenv("GITHUB_RUN_ID", "42")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=suite.path, check=True)
    suite.runpytest_inprocess("--gradcam-report=out", "-k", "passes")
    run = load(suite.path / "out").runs[0]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=suite.path, capture_output=True, text=True, check=True)
    assert (run.commit, run.clean) == (head.stdout.strip(), True)
    assert run.ci["GITHUB_RUN_ID"] == "42"
    assert "secret" not in (suite.path / "out/evidence.json").read_text()
    assert run.command[:2] == ("pytest", "--gradcam-report=out")
    assert run.settings["pictures"] == "none"
    assert {"pytest", "torch", "numpy", "pytest-gradcam"} <= set(run.packages)
    assert (run.tests, run.exit_status) == ({"passed": 1}, 0)
    assert run.started <= run.ended
    assert "PYTHONHASHSEED" in run.seeds


def test_no_report_without_asking(suite):
    suite.runpytest_inprocess("-k", "test_fails", "--gradcam-pictures=failed")
    assert {path.name for path in (suite.path / "gradcam-report").iterdir()} == {"pictures"}


def test_the_configuration_asks_as_well(suite):
    suite.makeini("[pytest]\ngradcam_report = evidence\ngradcam_pictures = none\n")
    suite.runpytest_inprocess()
    assert (suite.path / "evidence" / "index.html").is_file()


def test_collecting_writes_nothing(suite):
    suite.runpytest_inprocess("--gradcam-report=out", "--collect-only")
    assert not (suite.path / "out").exists()


def test_a_run_without_checks_says_so(pytester):
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_inprocess("--gradcam-report=out")
    result.stdout.fnmatch_lines(["*gradcam*", "0 checks", "report: out/index.html"])
    assert load(pytester.path / "out").runs[0].tests == {"passed": 1}


@pytest.mark.parametrize("how", [["-n0"], ["-n2"]], ids=" ".join)
def test_workers_and_order_leave_no_trace_in_the_records(suite, how):
    suite.runpytest_inprocess("--gradcam-report=plain")
    suite.makeconftest("def pytest_collection_modifyitems(items): items.reverse()")
    suite.runpytest_inprocess("--gradcam-report=other", *how)
    assert same(load(suite.path / "other")) == same(load(suite.path / "plain"))


def test_two_halves_merged_are_the_whole(suite):
    suite.runpytest_inprocess("--gradcam-report=whole", "-k", "passes or fail")
    suite.runpytest_inprocess("--gradcam-report=A", "-k", "passes")
    suite.runpytest_inprocess("--gradcam-report=B", "-k", "fail")
    merge = [sys.executable, "-m", "pytest_gradcam", "merge", "A", "B", "--into", "AB"]
    subprocess.run(merge, cwd=suite.path, check=True)
    assert same(load(suite.path / "AB")) == same(load(suite.path / "whole"))
    assert (suite.path / "AB" / "index.html").is_file()


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["in process", "-n2"])
def test_the_figures_are_in_the_junit_file_without_a_warning(suite, workers):
    suite.runpytest_inprocess("--junitxml=junit.xml", "-W", "error", *workers).assert_outcomes(
        passed=1, failed=2, xfailed=1
    )
    properties = ElementTree.parse(suite.path / "junit.xml").iter("property")
    figures = [json.loads(p.get("value"))["figure"] for p in properties if p.get("name") == "gradcam"]
    assert sorted(round(figure, 2) for figure in figures if figure is not None) == [0.33, 0.33, 0.5, 0.67]


def test_a_disk_that_cannot_be_written_to_is_said_once_and_changes_no_outcome(suite):
    (suite.path / "out").write_text("a file where the directory should be")
    result = suite.runpytest_inprocess("--gradcam-report=out", "-W", "error", "-q")
    result.assert_outcomes(passed=1, failed=2, xfailed=1)
    told = [line for line in result.outlines if "could not be written" in line]
    assert len(told) == 1
    assert told[0].startswith("WARNING: the report in out could not be written: ")
    result.stdout.no_fnmatch_line("report: *")


def test_a_test_that_runs_again_leaves_the_records_of_its_last_try(suite):
    suite.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):
                for report in runtestprotocol(item, nextitem=nextitem, log=False):
                    item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )
    suite.runpytest_inprocess("--gradcam-report=out", "-k", "test_passes")
    records = load(suite.path / "out").records
    assert [record.number for record in records] == [1, 2]
    assert load(suite.path / "out").runs[0].tests == {"passed": 1}


class TestTerminal:
    def test_the_worst_come_first_with_figure_and_bound(self, suite):
        result = suite.runpytest_inprocess("--gradcam-report=out", "--gradcam-pictures=failed")
        result.stdout.fnmatch_lines(
            [
                "*gradcam*",
                "5 checks: 2 failed, 1 invalid, 2 passed",
                "failed      focus_within  33.3 %, expected at least 50.0 %  out/pictures/test_suite.py-test_fails-*.png",
                "invalid     focus_within  the mask has no pixel; check how it was made  out/pictures/*.png",
                "failed      focus_within  33.3 %, expected at least 50.0 % (expected: the test xfailed)  out/pictures/*.png",
                "report: out/index.html",
            ]
        )
        result.stdout.no_fnmatch_line("passed      *")

    def test_verbose_has_a_line_for_each_check(self, suite):
        result = suite.runpytest_inprocess("-v")
        lines = [line for line in result.outlines if " overlap " in line or " focus_within " in line]
        assert len(lines) == 5
        result.stdout.fnmatch_lines(["test_suite.py::test_passes passed      overlap       0.5, expected at least 0.3"])

    def test_quiet_has_none(self, suite):
        suite.runpytest_inprocess("-q").stdout.no_fnmatch_line("*checks*")


class TestBrokenTests:
    """A test with the fixture that ends before its check is in the evidence, so that nobody counts it as checked."""

    def records(self, project, body):
        project.makeconftest(
            """
            import pytest

            @pytest.fixture(scope="session")
            def gradcam():
                return object()
            """
        )
        project.makepyfile(body)
        project.runpytest_inprocess("--gradcam-report=out")
        return load(project.path / "out").records

    @pytest.mark.parametrize(
        ("body", "outcome", "reason"),
        [
            ("def test_it(gradcam): gradcam.nothing", "invalid", "AttributeError: 'object' object has no attribute"),
            ("def test_it(gradcam): assert 0.2 > 0.5, 'too little'", "failed", "AssertionError: too little"),
            ("def test_it(gradcam, missing): pass", "invalid", "the test ended with"),
        ],
    )
    def test_it_leaves_a_record(self, pytester, body, outcome, reason):
        (record,) = self.records(pytester, body)
        assert (record.check, record.outcome, record.requirements) == ("test", outcome, ())
        assert reason in record.reason

    @pytest.mark.parametrize(
        "body",
        [
            "import pytest\ndef test_it(gradcam): pytest.skip('later')",
            "import pytest\ndef test_it(gradcam): pytest.xfail('later')",
            "def test_it(gradcam): pass",
            "def test_it(): assert False",
        ],
    )
    def test_other_tests_leave_none(self, pytester, body):
        assert self.records(pytester, body) == ()


class TestRequirements:
    def test_kinds_of_checks_have_their_own_and_a_marker_says_otherwise(self, suite):
        suite.makepyfile(
            test_suite=SUITE
            + """
    @pytest.mark.gradcam_requirement("Transparency", "accountability")
    def test_marked():
        heatmap(2 / 3).assert_focus_within(LEFT)
    """
        )
        suite.runpytest_inprocess("--gradcam-report=out", "-k", "passes or marked")
        marked, plain, _ = load(suite.path / "out").records
        assert marked.requirements == ("transparency", "accountability")
        assert plain.requirements == ("technical robustness and safety", "transparency")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (
                "'transparancy'",
                "does not know 'transparancy'; expected one of 'human agency*did you mean 'transparency'?",
            ),
            ("", "takes the names of requirements"),
            ("name='transparency'", "takes the names of requirements"),
        ],
    )
    def test_an_unknown_one_is_a_usage_error(self, pytester, arguments, words):
        pytester.makepyfile(f"import pytest\n@pytest.mark.gradcam_requirement({arguments})\ndef test_it(): pass")
        result = pytester.runpytest_inprocess()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: test_an*::test_it: @pytest.mark.gradcam_requirement {words}*"])


class TestGitHub:
    def test_failures_are_annotated_at_their_tests(self, suite, monkeypatch):
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        result = suite.runpytest_inprocess()
        lines = [line for line in result.outlines if line.startswith("::error ")]
        assert len(lines) == 2  # the one that is expected to fail is none
        assert lines[0].startswith(
            "::error file=test_suite.py,line=13,title=focus_within failed%3A test_suite.py%3A%3A"
        )
        assert lines[0].endswith("::33.3 %25 of the attention lies inside the mask; expected at least 50.0 %25")

    def test_the_summary_is_appended(self, suite, monkeypatch):
        path = suite.path / "step.md"
        path.write_text("before\n")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
        suite.runpytest_inprocess("-q")
        assert path.read_text().startswith("before\n## Grad-CAM: 5 checks: 2 failed, 1 invalid, 2 passed\n")


class TestOtherReports:
    DRAWN = ("-k", "test_fails", "--gradcam-pictures=failed")

    def test_pytest_html_shows_the_picture(self, suite):
        suite.runpytest_inprocess("--html=report.html", "--self-contained-html", *self.DRAWN)
        assert "data:image/png;base64," in (suite.path / "report.html").read_text()

    def test_allure_has_the_picture(self, suite):
        suite.runpytest_inprocess("--alluredir=allure", *self.DRAWN)
        (result,) = [json.loads(path.read_text()) for path in suite.path.glob("allure/*-result.json")]
        (attachment,) = [one for one in result["attachments"] if one["name"] == "focus_within"]
        assert (suite.path / "allure" / attachment["source"]).read_bytes().startswith(b"\x89PNG")
