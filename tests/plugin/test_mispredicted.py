"""The option gradcam_mispredicted: what becomes of a test that names a class where the model predicts another."""

import pytest

pytestmark = pytest.mark.usefixtures("warm")

#: The image is mostly red, so red is predicted; green is at x 40-56, y 40-56.
TEST = """
import pytest
from pytest_gradcam import masks

GREEN = masks.box((64, 64), (40, 40, 56, 56))

def test_green(gradcam):
    heatmap = gradcam("square.png", "green")
    print("EXPLAINS", heatmap.target)
    heatmap.assert_focus_within(GREEN)
"""


@pytest.fixture
def project(colour_project):
    colour_project.makepyfile(TEST)
    return colour_project


@pytest.mark.parametrize("option", [[], ["--gradcam-mispredicted=label"]])
def test_the_label_is_explained_and_the_summary_says_so(project, option):
    result = project.runpytest_inprocess("-s", *option)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*EXPLAINS green", "1 checks: 1 passed", "1 of them on a class that the model does not predict"]
    )


def test_the_prediction_is_explained(project):
    result = project.runpytest_inprocess("-s", "--gradcam-mispredicted=prediction")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*EXPLAINS red", "E*the attention for 'red' lies inside the mask*"])
    result.stdout.no_fnmatch_line("*class that the model does not predict*")


def test_both_must_hold(project):
    result = project.runpytest_inprocess("-s", "--gradcam-mispredicted=both")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*EXPLAINS green", "E*the attention for 'red' lies inside the mask*", "2 checks: 1 failed, 1 passed"]
    )


def test_both_that_fail_are_both_told(project):
    project.makepyfile(TEST.replace("(40, 40, 56, 56)", "(0, 40, 32, 64)"))
    result = project.runpytest_inprocess("--gradcam-mispredicted=both")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*the attention for 'green' lies inside the mask*",
            "E*and on the other heatmap:",
            "E*the attention for 'red' lies inside the mask*",
            "2 checks: 2 failed",
        ]
    )


def test_the_test_is_skipped(project):
    result = project.runpytest_inprocess("-rs", "--gradcam-mispredicted=skip")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*the model predicts 'red', not 'green' (rank 2 of 2) in square.png"])


def test_the_test_fails(project):
    result = project.runpytest_inprocess("--gradcam-mispredicted=fail")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*FocusError: the model predicts 'red', not 'green' (rank 2 of 2); expected 'green' to come first",
            "E*try*look at the image and its label, or explain the class anyway with gradcam_mispredicted = label",
            "1 checks: 1 failed",
        ]
    )


@pytest.mark.parametrize("policy", ["prediction", "both", "skip", "fail"])
def test_nothing_changes_where_the_class_is_predicted_or_none_is_named(project, policy):
    project.makepyfile(
        """
        from pytest_gradcam import Contrast, masks

        RED = masks.box((64, 64), (0, 0, 32, 32))

        def test_red(gradcam):
            gradcam("square.png", "red").assert_focus_within(RED)
            gradcam("square.png").assert_focus_within(RED)
            gradcam("square.png", lambda output: output[0]).assert_focus_within(RED)

        def test_a_contrast_is_a_question_of_its_own(gradcam):
            assert gradcam("square.png", Contrast("green", "red")).target == "green rather than red"
        """
    )
    project.runpytest_inprocess(f"--gradcam-mispredicted={policy}").assert_outcomes(passed=2)


def test_marker_before_command_line_before_configuration(project):
    path = project.path / "tox.ini"
    path.write_text(path.read_text() + "\ngradcam_mispredicted = fail\n")
    project.runpytest_inprocess().assert_outcomes(failed=1)
    project.runpytest_inprocess("--gradcam-mispredicted=label").assert_outcomes(passed=1)
    project.makepyfile(
        TEST.replace(
            "def test_green", "@pytest.mark.gradcam(mispredicted='skip', target='green')\ndef test_green"
        ).replace(', "green")', ")")
    )
    project.runpytest_inprocess("--gradcam-mispredicted=label").assert_outcomes(skipped=1)


def test_a_wrong_value_is_a_usage_error(project):
    result = project.runpytest_inprocess("--gradcam-mispredicted=predict")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "expected one of label, prediction, both, skip, fail; did you mean 'prediction'?" in result.stderr.str()
