"""Who gathers the evidence of a run: nobody in one that leaves none, and everything from the first check on."""

import pytest

CHECKS = """
import numpy as np
from pytest_gradcam import Heatmap

def check(at_most):
    heatmap = Heatmap.from_array(np.eye(4))
    heatmap.assert_focus_avoids(np.eye(4, dtype=bool), at_most=at_most)

def test_nothing(): pass
def test_without_fixture(): check(0.5)
def test_after(): pass
"""


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """What a check imports, which pytester would otherwise load anew for each run; no torch."""
    import numpy as np

    from pytest_gradcam import Heatmap

    Heatmap.from_array(np.eye(4)).overlay(np.eye(4, dtype=bool))


@pytest.mark.parametrize(
    ("arguments", "fixture", "gathers"),
    [((), "", False), ((), "gradcam_model", False), ((), "gradcam", True), (("--gradcam-report=report",), "", True)],
)
def test_a_run_that_leaves_no_evidence_gathers_none(pytester, arguments, fixture, gathers):
    pytester.makeconftest(
        "import pytest\n\n@pytest.fixture\ndef gradcam_model(): pass\n\n@pytest.fixture\ndef gradcam(): pass"
    )
    pytester.makepyfile(
        f"""
        def test_nothing(pytestconfig, {fixture}):
            assert pytestconfig.pluginmanager.hasplugin("gradcam-controller") is {gathers}
        """
    )
    pytester.runpytest(*arguments).assert_outcomes(passed=1)


def test_a_check_in_a_test_without_the_fixture_is_gathered(pytester):
    pytester.makepyfile(CHECKS)
    result = pytester.runpytest("-p", "no:randomly")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["1 checks: 1 failed"])
    assert "may be missing" not in result.stdout.str()


def test_only_the_tests_after_it_count_as_not_run(pytester):
    pytester.makepyfile(CHECKS)
    result = pytester.runpytest("-x", "-p", "no:randomly")
    result.stdout.fnmatch_lines(["WARNING: checks may be missing here: of the tests 1 not run"])
