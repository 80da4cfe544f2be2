"""A test's records and baselines have the same names however tests are spread over processes, or run again."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("warm")

GROUPED = """
    import pytest

    @pytest.mark.xdist_group("gpu0")
    @pytest.mark.parametrize("target", ["red", "a@b"])
    def test_grouped(gradcam, target):
        gradcam("square.png", target="red").assert_matches_baseline()

    @pytest.mark.xdist_group(name="gpu@1")
    def test_named(gradcam):
        gradcam("square.png", target="red").assert_matches_baseline()
"""


def names_in(project):
    report = json.loads((project.path / "gradcam-report" / "evidence.json").read_text("utf-8"))
    return sorted(check["test"] for run in report["runs"] for check in run["checks"])


def baselines(project):
    return sorted(path.name for path in project.path.rglob("*.npz"))


def test_the_group_of_a_worker_is_no_part_of_a_tests_name(colour_project):
    colour_project.makepyfile(test_a=GROUPED)
    colour_project.runpytest_inprocess("--gradcam-update").assert_outcomes(passed=3)
    written = baselines(colour_project)
    colour_project.runpytest_inprocess("--gradcam-report", "gradcam-report").assert_outcomes(passed=3)
    alone = names_in(colour_project)
    spread = ["-n", "2", "--dist", "loadgroup"]
    result = colour_project.runpytest_inprocess("--gradcam-report", "gradcam-report", *spread)
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*of no test*")
    assert names_in(colour_project) == alone
    colour_project.runpytest_inprocess("--gradcam-update", *spread).assert_outcomes(passed=3)
    assert baselines(colour_project) == written
