"""What is on disk while a run goes on: each check at once, and what is left of it after a crash."""

import json
import os

import pytest

from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import Run, journal, load
from pytest_gradcam.report.collect import Collector
from pytest_gradcam.report.journal import JOURNAL, Journal, WorkerJournal


def check(number=1, outcome="passed", picture=None, test="t"):
    return Record(check="overlap", measure="IoU", outcome=outcome, test=test, number=number, picture=picture)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_begins_anew(tmp_path):
    path = tmp_path / "deep" / JOURNAL
    Journal(path).append({"a": "old"})
    new = Journal(path)
    new.append({"a": "new"})
    new.append({"a": "more"})
    assert lines(path) == [{"a": "new"}, {"a": "more"}]


def test_a_line_that_does_not_fit_leaves_nothing(tmp_path, monkeypatch):
    new = Journal(tmp_path / JOURNAL)
    new.append({"a": "whole"})
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
    with pytest.raises(OSError, match="no space left"):
        new.append({"a": "torn off"})
    assert lines(tmp_path / JOURNAL) == [{"a": "whole"}]


def test_a_check_is_there_before_its_test_has_ended(tmp_path):
    collector = Collector(Run(id="1"), tmp_path)
    collector.made("t", check(outcome="failed", picture="out/pictures/a.png"))
    [run] = load(tmp_path).runs
    assert [(r.outcome, r.test_outcome, r.picture) for r in run.checks] == [("failed", "interrupted", "pictures/a.png")]
    assert run.gaps == ("1 interrupted", "the run did not end")


def test_what_workers_made_is_read_with_the_run(tmp_path):
    Collector(Run(id="1"), tmp_path)
    WorkerJournal(tmp_path, "gw0").made("t", check(outcome="failed"), 1)
    WorkerJournal(tmp_path, "gw1").made("u", check(test="u"), 1)
    assert [(r.test, r.outcome) for r in load(tmp_path).records] == [("t", "failed"), ("u", "passed")]


def test_of_a_test_that_ran_again_the_last_try_counts_and_what_failed_before_is_told(tmp_path):
    collector = Collector(Run(id="1"), tmp_path)
    collector.made("t", check(1, "failed"), 1)
    collector.made("t", check(1), 2)
    [run] = load(tmp_path).runs
    assert [record.outcome for record in run.checks] == ["passed"]
    assert [(record.outcome, record.test_outcome) for record in run.retried] == [("failed", "rerun")]


def test_a_worker_on_a_disk_that_is_full_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    WorkerJournal(tmp_path / "file", "gw0").made("t", check(), 1)
    assert journal.made(tmp_path / "file") == {}


RUN = json.dumps(Run(id="1").to_plain())
LINE = json.dumps({"test": "t", "checks": [check().to_plain()]})


def test_a_last_line_that_is_torn_is_left_out(tmp_path):
    (tmp_path / JOURNAL).write_text(f"{RUN}\n{LINE}\n{LINE[:40]}")
    assert len(load(tmp_path).records) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it holds no run"),
        (f"{RUN[:40]}\n", "line 1: it is not JSON"),
        (f"{RUN}\n{LINE[:40]}\n{LINE}\n", "line 2: it is not JSON"),
        (f"{RUN}\n[1]\n", r"line 2: it is \[1\]; expected an object"),
        (f"{RUN}\n{'[' * 100_000}\n", "line 2: it is nested too deeply"),
        (f"{RUN}\n" + '{"checks": []}\n', "test is None"),
        (f"{RUN}\n" + '{"test": "t", "try": "1", "check": {}}\n', "try is '1'; expected a whole number"),
        (f"{RUN}\n" + '{"test": "t", "try": 1, "check": {}}\n', "a check has no check and no measure"),
        ('{"id": 5}\n', "id is 5; expected text"),
    ],
)
def test_what_is_no_journal_is_said_in_one_line(tmp_path, text, reason):
    (tmp_path / JOURNAL).write_text(text)
    with pytest.raises(ValueError, match=f"cannot be read as a report: .*{reason}") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
