"""Tests that crash, are interrupted, run again or never run: their checks are kept, and nobody reads 'all'."""

import json
import subprocess
import sys

import pytest

from pytest_gradcam.report import load

HEAD = """
import os
import numpy as np
import pytest
from pytest_gradcam import Heatmap

LEFT = np.zeros((4, 4), bool)
LEFT[:, :2] = True

def check(at_least=0.5):
    Heatmap.from_array(np.eye(4)).assert_focus_within(LEFT, at_least=at_least)

"""


@pytest.fixture
def project(pytester):
    pytester.makeini("[pytest]\ngradcam_pictures = failed\n")
    return pytester


def ran(project, body, *arguments):
    project.makepyfile(test_it=HEAD + body)
    return project.runpytest_subprocess("-p", "no:randomly", *arguments)


def page(project):
    return (project.path / "out/index.html").read_text().split("<h1>")[1].split("</h1>")[0]


def verified(project):
    return subprocess.run(
        [sys.executable, "-m", "pytest_gradcam", "verify", "out"], cwd=project.path, check=False
    ).returncode


INTERRUPTED = """
def test_1(): check()
def test_2():
    try: check(0.9)
    finally: raise KeyboardInterrupt
def test_3(): check()
"""
CRASHED = INTERRUPTED.replace("raise KeyboardInterrupt", "os._exit(1)")


def test_an_interrupted_test_keeps_its_checks_and_is_no_passed_one(project):
    result = ran(project, INTERRUPTED, "--gradcam-report=out")
    [run] = load(project.path / "out").runs
    assert [(r.test[-6:], r.outcome, r.test_outcome) for r in run.checks] == [
        ("test_1", "passed", "passed"),
        ("test_2", "failed", "interrupted"),
    ]
    assert run.tests == {"interrupted": 1, "not run": 1, "passed": 1}
    assert page(project) == "1 of 2 checks did not pass; tests are missing"
    result.stdout.fnmatch_lines(["WARNING: checks may be missing here: of the tests 1 interrupted, 1 not run; *"])
    assert "of the tests 1 interrupted, 1 not run" in (project.path / "out/summary.md").read_text()
    assert verified(project) == 0


@pytest.mark.parametrize("report", [["--gradcam-report=out"], []])
def test_a_worker_that_dies_in_a_test_loses_none_of_its_checks(project, report):
    result = ran(project, CRASHED, "-n2", *report)
    result.stdout.fnmatch_lines(
        ["3 checks: 1 failed, 2 passed", "failed *", "WARNING: checks may be missing here: of the tests 1 crashed*"]
    )
    if not report:
        return
    [run] = load(project.path / "out").runs
    assert [(r.test[-6:], r.outcome, r.test_outcome) for r in run.checks] == [
        ("test_1", "passed", "passed"),
        ("test_2", "failed", "crashed"),
        ("test_3", "passed", "passed"),
    ]
    assert run.tests == {"crashed": 1, "passed": 2}
    assert page(project) == "1 of 3 checks did not pass; tests are missing"
    assert verified(project) == 0
    assert not list((project.path / "out").glob("*.jsonl"))


def test_a_crash_before_any_check_is_not_all_passed(project):
    ran(project, CRASHED.replace("check(0.9)", "pass"), "-n2", "--gradcam-report=out")
    assert page(project) == "2 checks passed; tests are missing"


def test_a_process_that_is_gone_leaves_what_it_had_checked(project):
    ran(project, CRASHED, "--gradcam-report=out")
    [run] = load(project.path / "out").runs
    assert [(r.test[-6:], r.outcome, r.test_outcome) for r in run.checks] == [
        ("test_1", "passed", "passed"),
        ("test_2", "failed", "interrupted"),
    ]


def test_tests_that_did_not_run_are_counted(project):
    ran(project, "def test_1(): check()\ndef test_2(): assert 0\ndef test_3(): check()\n", "-x", "--gradcam-report=out")
    assert load(project.path / "out").runs[0].tests == {"failed": 1, "not run": 1, "passed": 1}
    assert page(project) == "1 checks passed; tests are missing"


SUBTESTS = """
def test_s(subtests):
    for bound in (0.5, 0.9):
        with subtests.test(bound=bound): check(bound)
"""
UNITTEST = """
import unittest
class TestU(unittest.TestCase):
    def test_u(self):
        for bound in (0.9, 0.5):
            with self.subTest(bound): check(bound)
"""


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["in process", "-n2"])
@pytest.mark.parametrize("body", [SUBTESTS, UNITTEST], ids=["subtests", "subTest"])
def test_a_check_that_fails_in_a_subtest_is_not_as_expected(project, body, workers):
    result = ran(project, body, "--gradcam-report=out", *workers)
    assert result.ret == 1
    [run] = load(project.path / "out").runs
    assert sorted((r.outcome, r.test_outcome) for r in run.checks) == [("failed", "failed"), ("passed", "failed")]
    assert run.tests == {"failed": 1}
    assert page(project) == "1 of 2 checks did not pass"


AGAIN = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for last in (False, True):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in reports:
            if last or report.when == "setup":
                item.ihook.pytest_runtest_logreport(report=report)
        if all(report.passed for report in reports) and not last:
            return True
    return True
"""


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["in process", "-n2"])
def test_what_failed_first_is_told_when_the_test_passes_on_its_second_try(project, workers):
    project.makeconftest(AGAIN)
    body = "tries = []\ndef test_f():\n    tries.append(1)\n    check(0.9 if len(tries) == 1 else 0.5)\n"
    result = ran(project, body, "--gradcam-report=out", *workers)
    assert result.ret == 0
    [run] = load(project.path / "out").runs
    assert [(r.outcome, r.test_outcome, r.number) for r in run.checks] == [("passed", "passed", 1)]
    assert [(r.outcome, r.test_outcome, r.bound) for r in run.retried] == [("failed", "rerun", 0.9)]
    result.stdout.fnmatch_lines(
        ["WARNING: 1 checks did not pass in an earlier try of a test that ran again:", "  test_it.py::test_f failed*"]
    )
    assert (project.path / "out" / run.retried[0].picture).is_file()
    assert verified(project) == 0


def test_both_tries_that_fail_keep_a_picture_each(project):
    project.makeconftest(AGAIN)
    ran(project, "def test_f(): check(0.9)\n", "--gradcam-report=out")
    [run] = load(project.path / "out").runs
    pictures = {run.checks[0].picture, run.retried[0].picture}
    assert len(pictures) == 2
    assert all((project.path / "out" / picture).is_file() for picture in pictures)
    assert verified(project) == 0


def test_what_an_earlier_run_drew_does_not_stay_unlisted(project):
    ran(project, "def test_f(): check(0.9)\n", "-o", "gradcam_report=")
    ran(project, "def test_f(): check(0.9)\n")
    (project.path / "gradcam-report/pictures/mine.png").write_bytes(b"")
    ran(project, "def test_g(): check(0.9)\n", "--gradcam-report=gradcam-report")
    names = sorted(path.name for path in (project.path / "gradcam-report/pictures").iterdir())
    assert len(names) == 2
    assert "mine.png" in names


def test_expected_failures_are_told_apart(project):
    result = ran(
        project,
        "@pytest.mark.xfail\ndef test_x(): check(0.9)\ndef test_y(): check(0.9)\n",
        "--gradcam-report=out",
        "--gradcam-pictures=none",
    )
    result.stdout.fnmatch_lines(["2 checks: 2 failed", "1 of them did not pass in a test that expects it"])
    assert "| failed (expected: the test xfailed) |" in (project.path / "out/summary.md").read_text()
    numbers = json.loads((project.path / "out/metrics.json").read_text())
    assert (numbers["checks.failed"], numbers["checks.expected"]) == (2, 1)
    assert page(project) == "1 of 2 checks did not pass, and 1 more as expected"


def test_the_group_of_a_worker_is_no_part_of_a_tests_id(project):
    body = "@pytest.mark.xdist_group('gpu')\n@pytest.mark.parametrize('a', ['x@y'])\ndef test_g(a): check()\n"
    ran(project, body, "--gradcam-report=out", "-n2", "--dist=loadgroup")
    [run] = load(project.path / "out").runs
    assert [r.test for r in run.checks] == ["test_it.py::test_g[x@y]"]
    assert run.tests == {"passed": 1}
