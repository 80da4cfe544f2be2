"""What a user meets when a check does not pass, as pytest names it."""

import pickle

import pytest

import pytest_gradcam

NAMES = ["FocusError", "GradcamWarning", "HeatmapError", "NoEvidenceError", "SettingsError"]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_named_as_users_import_it_and_survives_a_pickle(name):
    error = getattr(pytest_gradcam, name)("what is wrong")
    assert f"{type(error).__module__}.{type(error).__qualname__}" == f"pytest_gradcam.{name}"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), "what is wrong")


def test_a_short_summary_line_of_80_columns_shows_the_figure(pytester, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    pytester.makepyfile(
        test_it="""
        import numpy as np
        from pytest_gradcam import Heatmap

        def test_fails():
            Heatmap.from_array(np.arange(9).reshape(3, 3)).assert_focus_within(np.eye(3))

        def test_no_verdict():
            Heatmap.from_array(np.arange(9).reshape(3, 3)).assert_focus_within(np.zeros((3, 3)))
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--gradcam-pictures=none")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "FAILED test_it.py::test_fails - pytest_gradcam.FocusError: 33.3 % of *",
            "FAILED test_it.py::test_no_verdict - pytest_gradcam.HeatmapError: no verdict *",
        ]
    )
