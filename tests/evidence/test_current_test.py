"""Which test a check belongs to, told from the thread that makes it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import current_test
from pytest_gradcam.evidence.current_test import begin, current, running, started


@pytest.fixture(autouse=True)
def no_test(monkeypatch):
    monkeypatch.setattr(current_test, "_running", [])  # this here is a test, too


def test_threads_that_a_test_starts_belong_to_it():
    with running("test"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(current).result() == "test"
        first = started()
        assert pool.submit(started).result() is first
        begin()
        assert started() is not first
    assert current() is started() is None


def test_the_innermost_test_counts():
    with running("outer"):
        with running("inner"):
            assert current() == "inner"
        assert current() == "outer"


def test_of_tests_that_run_at_once_each_thread_has_its_own_and_another_thread_none():
    both = Barrier(3)

    def run(name):
        with running(name):
            both.wait(10)
            found = current()
            both.wait(10)
            return found

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(run, name) for name in ("one", "other")]
        both.wait(10)
        with pytest.raises(HeatmapError, match="several tests run at once"):
            current()
        both.wait(10)
        assert [each.result() for each in found] == ["one", "other"]
