"""What a run's tests leave is gathered phase by phase, and on the disk line by line."""

import errno
import json
import os

import pytest

from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import Run, load
from pytest_gradcam.report.collect import Collector, Phase
from pytest_gradcam.report.document import JOURNAL


def check(number=1, outcome="passed", picture=None):
    return Record(check="overlap", measure="IoU", outcome=outcome, test="t", number=number, picture=picture)


def ran(collector, *outcomes, records=(), xfail=False, test="t"):
    """The phases of one test; only the last carries the records, as they gather on the item."""
    phases = list(zip(("setup", "call", "teardown"), outcomes, strict=True))
    for when, outcome in phases:
        if outcome:
            collector.add(Phase(test, when, outcome, xfail and when == "call", records if when == "teardown" else ()))


@pytest.mark.parametrize(
    ("outcomes", "xfail", "whole"),
    [
        (("passed", "passed", "passed"), False, "passed"),
        (("passed", "failed", "passed"), False, "failed"),
        (("failed", None, "passed"), False, "error"),
        (("passed", "passed", "failed"), False, "error"),
        (("skipped", None, "passed"), False, "skipped"),
        (("passed", "skipped", "passed"), True, "xfailed"),
        (("passed", "passed", "passed"), True, "xpassed"),
    ],
)
def test_records_say_how_their_test_came_out(outcomes, xfail, whole):
    collector = Collector()
    ran(collector, *outcomes, records=[check()], xfail=xfail)
    assert [record.test_outcome for record in collector.records] == [whole]
    assert collector.report(ended="", exit_status=0).runs[0].tests == {whole: 1}


def test_a_test_in_which_a_worker_crashed_counts_as_crashed():
    collector = Collector()
    collector.add(Phase("t", "???", "failed"))
    assert collector.report(ended="", exit_status=1).runs[0].tests == {"crashed": 1}


def test_tests_without_a_check_count(tmp_path):
    collector = Collector(Run(id="1"), tmp_path)
    ran(collector, "failed", None, "passed")
    run = collector.report(ended="", exit_status=1).runs[0]
    assert (run.tests, run.checks) == ({"error": 1}, ())


def test_a_test_that_runs_again_replaces_what_it_left(tmp_path):
    collector = Collector(Run(id="1"), tmp_path)
    ran(collector, "passed", "failed", "passed", records=[check(1, "failed")])
    ran(collector, "passed", "passed", "passed", records=[check(1, "passed")])
    assert [record.outcome for record in collector.records] == ["passed"]
    assert collector.records == load(tmp_path).records
    assert collector.report(ended="", exit_status=0).runs[0].tests == {"passed": 1}


def test_pictures_are_named_from_the_reports_directory(tmp_path):
    collector = Collector(Run(id="1"), tmp_path)
    ran(collector, "passed", "passed", "passed", records=[check(picture="some/where/pictures/a.png")])
    assert load(tmp_path).records[0].picture == "pictures/a.png"
    assert collector.report(ended="", exit_status=0).records[0].picture == "pictures/a.png"
    assert collector.records[0].picture == "some/where/pictures/a.png"  # for the terminal


def test_a_full_disk_is_a_problem_that_is_said_and_not_raised(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    collector = Collector(Run(id="1"), tmp_path)
    monkeypatch.setattr(os, "write", full)
    ran(collector, "passed", "passed", "passed", records=[check()])
    ran(collector, "passed", "passed", "passed", records=[check()], test="u")
    assert "No space left" in collector.problem
    assert len(collector.records) == 2
    monkeypatch.undo()
    assert len(json.loads((tmp_path / JOURNAL).read_text())) > 3  # the run alone, and it parses
