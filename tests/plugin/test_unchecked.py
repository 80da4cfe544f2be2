"""gradcam_unchecked: a test that has the fixture, passes and made no check is counted, or fails."""

import json

import pytest

CONFTEST = """
    import numpy as np
    import pytest
    from pytest_gradcam import Heatmap

    @pytest.fixture(scope="session")
    def gradcam():
        return Heatmap.from_array(np.eye(4))

    @pytest.fixture
    def heatmap(gradcam):
        return gradcam

    @pytest.fixture(autouse=True)
    def for_all_tests(gradcam):
        pass
"""
HEAD = """
import numpy as np
import pytest
LEFT = np.zeros((4, 4), bool)
LEFT[:, :2] = True
"""


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """What a check imports, which pytester would otherwise load anew for each run; no torch."""
    import numpy as np

    from pytest_gradcam import Heatmap

    Heatmap.from_array(np.eye(4)).overlay(np.eye(4, dtype=bool))


@pytest.fixture
def project(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\ngradcam_pictures = none\n")
    return pytester


def unchecked(project, body, *arguments):
    """The tests that the report says made no check, and pytest's result."""
    project.makepyfile(test_it=HEAD + body)
    result = project.runpytest_inprocess("--gradcam-report=out", *arguments)
    [run] = json.loads((project.path / "out/evidence.json").read_text())["runs"]
    return run["unchecked"], result


@pytest.mark.parametrize(
    "body",
    [
        "def test_it(gradcam): gradcam.assert_focus_within",
        "def test_it(gradcam): gradcam.mass(LEFT) > 0.99",
        "def test_it(heatmap): heatmap.mass(LEFT) > 0.99",
        "@pytest.mark.parametrize('n', [1])\ndef test_it(gradcam, n): pass",
        "@pytest.mark.xfail\ndef test_it(gradcam): pass",
        "class TestIt:\n    def test_it(self, gradcam): pass",
        "@pytest.mark.usefixtures('gradcam')\ndef test_it(): pass",
        "@pytest.mark.gradcam(target='red')\ndef test_it(): pass",
        "from hypothesis import given, strategies as st\n@given(st.just(1))\ndef test_it(gradcam, n): pass",
        "def test_it(gradcam, subtests):\n    with subtests.test(n=1): gradcam.mass(LEFT)",
    ],
)
def test_a_test_without_a_check_is_counted_and_the_run_passes(project, body):
    tests, result = unchecked(project, body)
    assert len(tests) == 1
    assert tests[0].startswith("test_it.py::")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["WARNING: 1 test uses gradcam but made no check*", f"*{tests[0].replace('[', '[[]')}"])
    assert "1 test uses gradcam but made no check" in (project.path / "out/summary.md").read_text()
    assert "1 test uses gradcam but made no check" in (project.path / "out/index.html").read_text()
    assert json.loads((project.path / "out/metrics.json").read_text())["tests.unchecked"] == 1


@pytest.mark.parametrize(
    "body",
    [
        "def test_it(gradcam): gradcam.assert_focus_within(LEFT)",
        "from hypothesis import given, strategies as st\n@given(st.just(1))\n"
        "def test_it(gradcam, n): gradcam.assert_focus_within(LEFT)",
        "def test_it(gradcam):\n"
        "    with pytest.raises(AssertionError): gradcam.assert_focus_within(LEFT, at_least=0.9)",
        "def test_it(gradcam): pytest.skip('later')",
        "@pytest.mark.skip\ndef test_it(gradcam): pass",
        "@pytest.mark.xfail\ndef test_it(gradcam): assert False",
        "def test_it(gradcam): assert False",
        "def test_it(): pass",
        "@pytest.mark.gradcam(target='red')\nclass TestIt:\n    def test_it(self): pass",
        "pytestmark = pytest.mark.usefixtures('gradcam')\ndef test_it(): pass",
        "@pytest.mark.gradcam(unchecked='allow')\ndef test_it(gradcam): assert gradcam.mass(LEFT) > 0.1",
        "def test_it(gradcam, subtests):\n    with subtests.test(n=1): gradcam.assert_focus_within(LEFT)",
    ],
)
def test_other_tests_are_not(project, body):
    tests, result = unchecked(project, body)
    assert tests == []
    result.stdout.no_fnmatch_line("*made no check*")


def test_a_quiet_run_says_it_too(project):
    _, result = unchecked(project, "def test_it(gradcam): pass", "-q")
    result.stdout.fnmatch_lines(["WARNING: 1 test uses gradcam but made no check*"])


def test_baselines_that_are_written_are_no_check_forgotten(project):
    tests, _ = unchecked(project, "def test_it(gradcam): gradcam.assert_matches_baseline()", "--gradcam-update")
    assert tests == []


@pytest.mark.parametrize("mark", ["", "@pytest.mark.xfail\n"])
def test_fail_makes_it_fail_with_one_line_also_where_a_failure_is_expected(project, mark):
    _, result = unchecked(project, f"{mark}def test_it(gradcam): pass", "--gradcam-unchecked=fail")
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["test_it.py::test_it uses gradcam but made no check; call an assert_... method*"])
    [run] = json.loads((project.path / "out/evidence.json").read_text())["runs"]
    assert run["tests"] == {"failed": 1}


def test_allow_is_silent(project):
    tests, result = unchecked(project, "def test_it(gradcam): pass", "--gradcam-unchecked=allow")
    assert tests == []
    result.stdout.no_fnmatch_line("*made no check*")


def test_workers_tell_it(project):
    tests, _ = unchecked(project, "def test_it(gradcam): pass\ndef test_two(gradcam): pass", "-n2")
    assert tests == ["test_it.py::test_it", "test_it.py::test_two"]
