"""The ratchet end to end: --gradcam-compare shows, --gradcam-fail-on-regression gates."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("warm")

TESTS = """
    import pytest
    from pytest_gradcam import masks

    @pytest.mark.parametrize("times", [1, 2])
    def test_focus(gradcam, times):
        gradcam("square.png", target="red").assert_focus_avoids(masks.box((64, 64), (LEFT, 0, 64, 64)), at_most=0.9)

    def test_plain():
        pass
"""


@pytest.fixture
def project(colour_project):
    """A project with an accepted run, in which next to none of red's attention lay in the mask."""
    colour_project.makepyfile(test_a=TESTS.replace("LEFT", "40"))
    colour_project.runpytest_inprocess("--gradcam-report=accepted").assert_outcomes(passed=3)
    return colour_project


def worsen(project):
    project.makepyfile(test_a=TESTS.replace("LEFT", "16"))


COMPARE = "--gradcam-compare=accepted/evidence.json"
GATE = "--gradcam-fail-on-regression=0.05"


def test_the_same_run_passes_the_gate(project):
    result = project.runpytest_inprocess(COMPARE, GATE, "-W", "error")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "*gradcam, compared with accepted/evidence.json*",
            "2 checks compared; 0 of the old run were not made, 0 are new",
        ]
    )
    result.stdout.no_fnmatch_line("*REGRESSION*")


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_a_fall_is_shown_and_fails_the_gate_although_all_tests_pass(project, workers):
    worsen(project)
    result = project.runpytest_inprocess(COMPARE, GATE, *workers)
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "1 worse on average over the images:",
            "  test_a.py::test_focus focus_avoids: worse by * % of its bound over 1 images (no p-value: 1 changed*",
            "REGRESSION: test_a.py::test_focus focus_avoids got worse by * % of its bound on average, 5.0 % are allowed",
        ]
    )


def test_without_the_gate_it_decides_nothing(project):
    worsen(project)
    result = project.runpytest_inprocess(COMPARE)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["1 worse on average over the images:"])
    result.stdout.no_fnmatch_line("*REGRESSION*")


def test_a_quiet_run_still_says_why_it_failed(project):
    worsen(project)
    result = project.runpytest_inprocess(COMPARE, GATE, "-q")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["REGRESSION: *"])
    result.stdout.no_fnmatch_line("*checks compared*")


def test_a_run_without_checks_is_no_pass(project):
    result = project.runpytest_inprocess(COMPARE, GATE, "-k", "plain")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["2 of the old run were not made:", "REGRESSION: no figure of the old run could be compared *undecided"]
    )


def test_an_earlier_run_in_the_directory_that_this_run_writes_to(project):
    """What was there is read before it is overwritten; the report tells the exit status that the gate gave."""
    worsen(project)
    result = project.runpytest_inprocess("--gradcam-compare=accepted", GATE, "--gradcam-report=accepted")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    [run] = json.loads((project.path / "accepted" / "evidence.json").read_text("utf-8"))["runs"]
    assert run["exit_status"] == 1
    result = project.runpytest_inprocess("--gradcam-compare=accepted", GATE, "--gradcam-report=accepted")
    assert result.ret == pytest.ExitCode.OK


def test_a_failing_run_keeps_its_own_exit_status(project):
    worsen(project)
    project.makepyfile(test_b="def test_fails(): assert False")
    assert project.runpytest_inprocess(COMPARE, GATE).ret == pytest.ExitCode.TESTS_FAILED
    assert project.runpytest_inprocess(COMPARE, GATE, "-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gradcam-compare=missing.json"], "*--gradcam-compare: there is no report missing.json*"),
        (["--gradcam-compare=colour.py"], "*--gradcam-compare: colour.py cannot be read as a report*"),
        ([GATE], "*--gradcam-fail-on-regression needs a run to compare with*"),
        ([COMPARE, "--gradcam-fail-on-regression=5 %"], "*= '5 %' cannot be used; expected a number of at least 0*"),
    ],
)
def test_what_cannot_be_compared_stops_the_run_before_it_starts(project, arguments, message):
    result = project.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_both_may_stand_in_the_configuration(project):
    worsen(project)
    settings = ["-o", "gradcam_compare=accepted", "-o", "gradcam_fail_on_regression=0.05"]
    assert project.runpytest_inprocess(*settings).ret == pytest.ExitCode.TESTS_FAILED
    assert project.runpytest_inprocess(*settings, "--gradcam-fail-on-regression=100").ret == pytest.ExitCode.OK
