"""@given with the `gradcam` fixture, as a user's repository would run it: settings, records, pictures, replay."""

from __future__ import annotations

import sys

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from pytest_gradcam.plugin import hypothesis_support
from tests.plugin.test_plugin import records

pytestmark = pytest.mark.usefixtures("warm")

#: Red predicts red while mean red exceeds mean green: 64 to 8. The upper left corner fails above its level + 0.30.
HEAD = """
    import numpy as np, pytest
    from hypothesis import HealthCheck, example, given, settings, strategies as st
    from pytest_gradcam import masks, strategies
    from pytest_gradcam.perturbations import *

    RED = masks.box((64, 64), (0, 0, 32, 32))
"""
WEAK = (
    HEAD
    + """
    @given(strategies.perturbations(["brightness"]))
    def test_weather(gradcam, change):
        gradcam.assert_stable("square.png", change, same_class=False, score_within=0.5)
"""
)
STRONG = (
    HEAD
    + """
    @given(strategies.perturbations(["jpeg", "shift"], max_severity=0.1))
    def test_weather(gradcam, change):
        gradcam.assert_stable("square.png", change, mask=RED, mass_at_least=0.5)
"""
)
SHOW = (
    HEAD
    + """
    def shown(test):
        now = test._hypothesis_internal_use_settings
        return now.max_examples, now.deadline, HealthCheck.too_slow in now.suppress_health_check, now.derandomize
"""
)


@pytest.fixture(autouse=True)
def _as_on_a_desk(tmp_path):
    """Hypothesis reads CI when it is imported; runs here say for themselves which profile they start from."""
    name = settings.get_current_profile_name()
    settings.load_profile("default")
    set_hypothesis_home_dir(tmp_path / "hypothesis")
    yield
    set_hypothesis_home_dir(None)
    settings.load_profile(name)


@pytest.mark.parametrize("profile", ["default", "ci"])
def test_only_the_shrunk_example_leaves_a_picture_and_a_record(colour_project, profile):
    settings.load_profile(profile)
    colour_project.makepyfile(WEAK)
    result = colour_project.runpytest_inprocess("--junitxml=junit.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*FocusError: under brightness(0.*) the score of 'red' changes by 0.5*; expected at most 0.5",
            "E*replay*gradcam.assert_stable('square.png', *, same_class=False, score_within=0.5)",
            "E*picture*gradcam-report/pictures/*stable.png",
            "1 checks: 1 failed",
        ]
    )
    (record,) = records(colour_project)
    assert record["outcome"] == "failed"
    assert f"change={record['perturbation']}," in "\n".join(result.outlines)
    assert record["figure"] == pytest.approx(0.5, abs=0.05)  # the mildest that breaks it
    assert record["test"].endswith("::test_weather")
    assert len(list(colour_project.path.glob("gradcam-report/pictures/*.png"))) == 1


def test_no_perturbation_is_tried_twice_after_a_failure(colour_project):
    colour_project.makepyfile(
        HEAD
        + """
    tried = []

    @given(strategies.perturbations())
    def test_weather(gradcam, change):
        tried.append(change)
        assert change.severity < 0.1

    def test_which(gradcam):
        failed = next(place for place, change in enumerate(tried) if change.severity >= 0.1)
        while_shrinking = tried[failed:-1]  # Hypothesis calls the one that it reports once more
        assert len(while_shrinking) == len(set(while_shrinking)) > 10
        assert tried[-1].severity == 0.1
"""
    )
    colour_project.runpytest_inprocess("--gradcam-unchecked=allow").assert_outcomes(failed=1, passed=1)


def test_what_else_is_drawn_counts_as_another_example(colour_project):
    colour_project.makepyfile(
        HEAD
        + """
    tried = []

    @given(strategies.perturbations(["jpeg"]), st.lists(st.integers(0, 9), min_size=1))
    def test_weather(gradcam, change, numbers):
        tried.append((change, tuple(numbers)))
        assert sum(numbers) < 9

    def test_which(gradcam):
        assert tried[-1][1] == (9,)
"""
    )
    colour_project.runpytest_inprocess("--gradcam-unchecked=allow").assert_outcomes(failed=1, passed=1)


def test_a_property_that_holds_leaves_one_record_with_the_nearest_figure(colour_project):
    colour_project.makepyfile(STRONG)
    result = colour_project.runpytest_inprocess("--junitxml=junit.xml", "--gradcam-pictures=all")
    result.assert_outcomes(passed=1)
    (record,) = records(colour_project)
    assert record["outcome"] == "passed"
    (examples,) = (phrase for label, phrase in record["details"] if label == "examples")
    assert examples.startswith("25; these are the figures of the one nearest")
    assert len(list(colour_project.path.glob("gradcam-report/pictures/*.png"))) == 1


def test_where_hypothesis_does_not_tell_its_example_there_is_none(monkeypatch):
    monkeypatch.delattr("hypothesis.control.current_build_context")
    assert hypothesis_support.example() is None
    Running = type("Running", (), {"currently_in_test_context": staticmethod(lambda: True)})
    monkeypatch.setitem(sys.modules, "hypothesis", Running)
    assert hypothesis_support.example() is None


def test_a_failure_is_replayed_from_the_database(colour_project):
    colour_project.makepyfile(WEAK)
    first = colour_project.runpytest_inprocess("--junitxml=junit.xml")
    first.assert_outcomes(failed=1)
    (record,) = records(colour_project)
    colour_project.runpytest_inprocess("--junitxml=junit.xml", "--gradcam-examples=1").assert_outcomes(failed=1)
    (again,) = records(colour_project)
    assert again["perturbation"] == record["perturbation"]


def test_focus_checks_under_given_leave_the_shrunk_one_too(colour_project):
    colour_project.makepyfile(
        HEAD
        + """
    @given(st.integers(0, 40))
    def test_red(gradcam, x):
        image = np.zeros((64, 64, 3), np.uint8)
        image[:, x:x + 24, 0] = 255
        heatmap = gradcam(image, "red")
        heatmap.assert_overlap(masks.box((64, 64), (x, 0, x + 24, 64)), at_least=0.5)
        heatmap.assert_focus_within(masks.box((64, 64), (0, 0, 32, 64)), at_least=0.6)
"""
    )
    result = colour_project.runpytest_inprocess("--junitxml=junit.xml")
    result.assert_outcomes(failed=1)
    found = {record["check"]: record for record in records(colour_project)}
    assert len(records(colour_project)) == 2
    assert found["focus_within"]["outcome"] == "failed"
    assert found["overlap"]["outcome"] == "passed"  # in every example
    assert found["focus_within"]["figure"] > 0.4  # the smallest x: just below the bound
    result.stdout.fnmatch_lines(["E*replay*pytest *::test_red (Hypothesis begins with the example that failed)"])
    assert len(list(colour_project.path.glob("gradcam-report/pictures/*.png"))) == 1


def test_distinct_failures_leave_one_record_each(colour_project):
    colour_project.makepyfile(
        HEAD
        + """
    @given(st.integers(0, 3))  # so few that none is left out before the search ends
    def test_two(gradcam, level):
        heatmap = gradcam("square.png", "red")
        heatmap.assert_focus_within(RED)
        if level < 1:
            heatmap.assert_focus_within(RED & False)
        if level > 2:
            heatmap.assert_focus_avoids(RED)
"""
    )
    result = colour_project.runpytest_inprocess("--junitxml=junit.xml", "--gradcam-examples=100")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Hypothesis found 2 distinct failures*"])
    found = sorted((record["check"], record["outcome"]) for record in records(colour_project))
    assert found == [("focus_avoids", "failed"), ("focus_within", "invalid"), ("focus_within", "passed")]
    assert len(list(colour_project.path.glob("gradcam-report/pictures/*.png"))) == 2


def test_what_failed_on_the_way_to_another_failure_leaves_nothing(colour_project):
    """Hypothesis takes all of our failures for one, for they are raised in one place, and reports the simplest."""
    colour_project.makepyfile(
        HEAD
        + """
    @given(st.integers(0, 63))
    def test_two(gradcam, level):
        heatmap = gradcam("square.png", "red")
        if level > 20:
            heatmap.assert_focus_avoids(RED)
        elif level > 10:
            heatmap.assert_peak_within(~RED)
"""
    )
    colour_project.runpytest_inprocess("--junitxml=junit.xml", "--gradcam-examples=100").assert_outcomes(failed=1)
    assert [(record["check"], record["outcome"]) for record in records(colour_project)] == [("peak_within", "failed")]
    assert len(list(colour_project.path.glob("gradcam-report/pictures/*.png"))) == 1


def test_an_explicit_example_that_fails_is_kept(colour_project):
    colour_project.makepyfile(
        HEAD
        + """
    @example(brightness(0.5, down=True))
    @given(strategies.perturbations(["jpeg"], max_severity=0.1))
    def test_weather(gradcam, change):
        gradcam.assert_stable("square.png", change, same_class=False, score_within=1)
"""
    )
    colour_project.runpytest_inprocess("--junitxml=junit.xml").assert_outcomes(failed=1)
    (record,) = records(colour_project)
    assert (record["outcome"], record["perturbation"]) == ("failed", "brightness(0.5, down=True)")


def test_an_expected_failure_leaves_one_record(colour_project):
    colour_project.makepyfile(
        HEAD
        + """
    from pytest_gradcam import FocusError

    @given(strategies.perturbations(["brightness"]))
    def test_weather(gradcam, change):
        with pytest.raises(FocusError):
            gradcam("square.png", "red").assert_focus_avoids(RED)
"""
    )
    colour_project.runpytest_inprocess("--junitxml=junit.xml").assert_outcomes(passed=1)
    (record,) = records(colour_project)
    assert (record["check"], record["outcome"]) == ("focus_avoids", "failed")


class TestSettings:
    def run(self, project, *arguments, body, expect, profile="default"):
        settings.load_profile(profile)
        project.makepyfile(SHOW + body)
        result = project.runpytest_inprocess("-s", *arguments)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines([f"*SHOWN {expect}*"])

    PLAIN = """
    @given(st.just(1))
    def test_it(gradcam, one):
        print("SHOWN", *shown(test_it))
"""
    OTHER = """
    @given(st.just(1))
    def test_it(one):
        print("SHOWN", *shown(test_it))
"""
    OWN = """
    @settings(max_examples=100)
    @given(st.just(1))
    def test_it(gradcam, one):
        print("SHOWN", *shown(test_it))
"""
    OWN_DEADLINE = """
    @settings(deadline=200)
    @given(st.just(1))
    def test_it(gradcam, one):
        print("SHOWN", *shown(test_it))
"""

    def test_few_examples_and_no_deadline(self, colour_project):
        self.run(colour_project, body=self.PLAIN, expect="25 None True False")

    def test_more_under_an_option(self, colour_project):
        self.run(colour_project, "--gradcam-examples=300", body=self.PLAIN, expect="300 None True False")

    def test_more_in_the_configuration(self, colour_project):
        path = colour_project.path / "tox.ini"
        path.write_text(path.read_text() + "\ngradcam_examples = 7\n")
        self.run(colour_project, body=self.PLAIN, expect="7 None True False")

    @pytest.mark.parametrize("name", ["_SETTINGS", "_APPLIED"])
    def test_untouched_where_hypothesis_keeps_them_elsewhere(self, colour_project, monkeypatch, name):
        monkeypatch.setattr(hypothesis_support, name, "_hypothesis_internal_renamed")
        self.run(colour_project, body=self.PLAIN, expect="100 0:00:00.200000 False False")

    def test_derandomized_in_ci(self, colour_project):
        self.run(colour_project, body=self.PLAIN, expect="25 None True True", profile="ci")

    def test_other_tests_keep_theirs(self, colour_project):
        self.run(colour_project, body=self.OTHER, expect="100 0:00:00.200000 False False")

    def test_own_settings_win(self, colour_project):
        self.run(colour_project, "--gradcam-examples=7", body=self.OWN, expect="100 None True False")

    def test_an_own_deadline_wins(self, colour_project):
        self.run(colour_project, body=self.OWN_DEADLINE, expect="100 0:00:00.200000 True False")

    def test_a_chosen_profile_wins(self, colour_project):
        settings.register_profile("mine", max_examples=100, deadline=5000)
        self.run(colour_project, "--hypothesis-profile=mine", body=self.PLAIN, expect="100 0:00:05 False False")

    def test_a_built_in_profile_with_values_of_ones_own_wins(self, colour_project):
        before = settings.get_profile("default")
        try:
            settings.register_profile("default", before, max_examples=9, deadline=700)
            self.run(colour_project, body=self.PLAIN, expect="9 0:00:00.700000 True False")
        finally:
            settings.register_profile("default", before)

    def test_more_words_are_no_profile_of_ones_own(self, colour_project):
        self.run(colour_project, "--hypothesis-verbosity=verbose", body=self.PLAIN, expect="25 None True False")

    def test_methods_and_parameters(self, colour_project):
        colour_project.makepyfile(
            SHOW
            + """
    class TestIt:
        @pytest.mark.parametrize("a", [1, 2])
        @given(one=st.just(1))
        def test_it(self, gradcam, a, one):
            print("SHOWN", *shown(TestIt.test_it))
"""
        )
        result = colour_project.runpytest_inprocess("-s")
        result.assert_outcomes(passed=2)
        assert sum("SHOWN 25 None True" in line for line in result.outlines) == 2

    def test_through_another_fixture_that_is_made_once_a_test(self, colour_project):
        colour_project.makepyfile(
            HEAD
            + """
    @pytest.fixture
    def heatmap(gradcam):
        return gradcam("square.png", "red")

    @given(st.integers(1, 9))
    def test_it(heatmap, size):
        heatmap.assert_focus_within(masks.box((64, 64), (0, 0, 40 + size, 40 + size)))
"""
        )
        colour_project.runpytest_inprocess().assert_outcomes(passed=1)

    def test_a_slow_model_meets_no_deadline(self, colour_project):
        colour_project.makepyfile(
            HEAD
            + """
    import time

    @given(st.integers(0, 3))
    def test_it(gradcam, one):
        time.sleep(0.25)
        assert gradcam("square.png").target == "red"
"""
        )
        colour_project.runpytest_inprocess("--gradcam-examples=4").assert_outcomes(passed=1)

    def test_a_bad_number_of_examples_stops_the_run(self, colour_project):
        result = colour_project.runpytest_inprocess("--gradcam-examples=0")
        assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_whole_run_in_ci(colour_project, monkeypatch):
    """In a process of its own, since Hypothesis reads CI when it is imported."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    colour_project.makepyfile(WEAK)
    result = colour_project.runpytest_subprocess("--junitxml=junit.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*You can reproduce this * by temporarily adding @reproduce_failure*"])
    (record,) = records(colour_project)
    assert record["perturbation"].startswith("brightness(0.")
    assert not (colour_project.path / ".hypothesis" / "examples").exists()
