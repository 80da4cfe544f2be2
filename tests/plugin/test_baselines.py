"""Baselines end to end: --gradcam-update, missing and stale files, workers, reruns, orphans."""

import pytest

pytestmark = pytest.mark.usefixtures("warm")

TESTS = r"""
    import pytest

    @pytest.mark.parametrize("part", ["a/b::c", "../../x", "<img src=x onerror=alert(1)>", "ü\n\x00", "x" * 300, ""])
    def test_hostile(gradcam, part):
        gradcam("square.png", target="red").assert_matches_baseline()

    class TestSquare:
        def test_two(self, gradcam):
            for target in ("red", "green"):
                gradcam("square.png", target=target).assert_matches_baseline()
            gradcam("square.png", target="green").assert_matches_baseline(name="green")
"""
ONE = """
    def test_red(gradcam):
        gradcam("square.png", target="red").assert_matches_baseline()
"""


def files(project):
    return {path: path.read_bytes() for path in sorted(project.path.rglob("__gradcam__/*/*"))}


@pytest.mark.parametrize("workers", [[], ["-n", "0"], ["-n", "2"]])
def test_written_on_purpose_and_compared_from_then_on(colour_project, workers):
    colour_project.makepyfile(test_a=TESTS)
    colour_project.makepyfile(test_b=ONE)
    result = colour_project.runpytest_inprocess("--gradcam-update", "-W", "error", *workers)
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["10 baselines written, with nothing compared; *", "  __gradcam__/test_a/*-1.npz"])
    result.stdout.no_fnmatch_line("*checks: *")
    before = files(colour_project)
    assert len(before) == 10
    result = colour_project.runpytest_inprocess("-W", "error", *workers)
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["10 checks: 10 passed"])
    result.stdout.no_fnmatch_line("*baselines *")
    assert files(colour_project) == before


def test_a_missing_baseline_fails_and_is_not_written(colour_project):
    colour_project.makepyfile(ONE)
    result = colour_project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*HeatmapError: no verdict on matches_baseline: there is no baseline __gradcam__*"])
    result.stdout.no_fnmatch_line("*pytest_gradcam/*.py*")  # our own frames are hidden
    assert not (colour_project.path / "__gradcam__").exists()


def test_a_changed_model_fails(colour_project):
    colour_project.makepyfile(ONE)
    colour_project.runpytest_inprocess("--gradcam-update").assert_outcomes(passed=1)
    before = files(colour_project)
    model = colour_project.path / "colour.py"
    changed = model.read_text().replace("weight[0, 0] = 1 / 64", "weight[0, 1] = 1 / 64")
    colour_project.makepyfile(colour2=changed)
    result = colour_project.runpytest_inprocess("--gradcam-model=colour2:build")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*FocusError: the heatmap for 'red' has a rank correlation of * with its baseline; expected at least 0.95",
            "E*baseline*__gradcam__/*npz",
            "E*then*the score was 2.5",
            "E*try*run this test with --gradcam-update*",
        ]
    )
    assert files(colour_project) == before


def test_a_stale_baseline_fails(colour_project):
    colour_project.makepyfile(ONE)
    colour_project.runpytest_inprocess("--gradcam-update").assert_outcomes(passed=1)
    colour_project.makepyfile(ONE.replace('"red"', '"green"'))
    result = colour_project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*is stale: it explains 'red', this heatmap 'green'.*"])


def test_under_given_it_is_refused(colour_project):
    colour_project.makepyfile(
        """
        from hypothesis import given, settings, strategies as st

        @settings(max_examples=2, deadline=None, database=None)
        @given(st.integers())
        def test_red(gradcam, number):
            gradcam("square.png", target="red").assert_matches_baseline()
        """
    )
    result = colour_project.runpytest_inprocess("--gradcam-update", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*HeatmapError: under Hypothesis' @given every example would be held to one baseline*"]
    )


def test_deselected_tests_lose_nothing_and_renamed_ones_leave_orphans(colour_project):
    two = ONE + ONE.replace("test_red", "test_too")
    colour_project.makepyfile(test_a=two)
    colour_project.runpytest_inprocess("--gradcam-update").assert_outcomes(passed=2)
    before = files(colour_project)
    for selection in (["-k", "too"], ["test_a.py::test_too"], ["--deselect", "test_a.py::test_red"]):
        result = colour_project.runpytest_inprocess("--gradcam-update", *selection)
        assert result.parseoutcomes()["passed"] == 1
        result.stdout.no_fnmatch_line("*belong to no test*")
        assert files(colour_project) == before

    colour_project.makepyfile(test_a=two.replace("test_red", "test_renamed"))
    for arguments in (["-k", "too"], ["--gradcam-update"]):
        result = colour_project.runpytest_inprocess(*arguments)
        result.stdout.fnmatch_lines(
            [
                "1 baselines belong to no test of their file; rename or delete them:",
                "  __gradcam__/test_a/test_red-*-1.npz",
            ]
        )
    assert set(files(colour_project)) > set(before)  # nothing is deleted
    result = colour_project.runpytest_inprocess("test_a.py::test_too")  # part of the file says nothing of the rest
    result.stdout.no_fnmatch_line("*belong to no test*")


def test_a_test_that_runs_again_begins_with_its_first_baseline_again(colour_project):
    colour_project.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):  # as plugins that rerun flaky tests do it
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runtestprotocol(item, nextitem=nextitem, log=False)
            runtestprotocol(item, nextitem=nextitem, log=True)
            return True
        """
    )
    colour_project.makepyfile(ONE)
    colour_project.runpytest_inprocess("--gradcam-update").assert_outcomes(passed=1)
    assert len(files(colour_project)) == 1
    colour_project.runpytest_inprocess().assert_outcomes(passed=1)


def test_an_update_is_no_setting(colour_project):
    colour_project.makepyfile(ONE)
    result = colour_project.runpytest_inprocess("-o", "gradcam_update=true")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*gradcam_update applies to one run and cannot be configured; give --gradcam-update *"]
    )


def test_heatmaps_that_are_not_similar_fail(colour_project):
    colour_project.makepyfile(
        """
        def test_red_and_green(gradcam):
            gradcam("square.png", target="red").assert_similar(gradcam("square.png", target="green"))
        """
    )
    result = colour_project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*FocusError: the heatmap for 'red' has a rank correlation of * with the one for 'green'; expected at least 0.8"
        ]
    )
