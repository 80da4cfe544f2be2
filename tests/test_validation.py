"""Arguments at the door: what passes comes back as a plain built-in, what does not is named with its value."""

import inspect
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gradcam import Explainer, Heatmap, HeatmapError, validation
from pytest_gradcam.data.auditing import Audit

NUMBERS = [0, 1, -2.5, Fraction(1, 2), np.float32(0.5), np.float64(2), np.int8(3), np.uint64(4)]
NOT_NUMBERS = ["1", None, True, False, np.True_, [1], (1,), np.array([1.0]), np.array(1.0), 1j, b"1", []]
NOT_FINITE = [float("nan"), float("inf"), -float("inf"), np.float32("nan")]


def said(run, *arguments, **named):
    with pytest.raises(HeatmapError) as caught:
        run(*arguments, **named)
    return str(caught.value)


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_numbers_come_back_as_floats(value):
    assert validation.is_number(value)
    found = validation.number("x", value, "a number")
    assert (type(found), found) == (float, float(value))


@pytest.mark.parametrize("value", NOT_NUMBERS + NOT_FINITE, ids=lambda value: f"{value!r:.20}")
def test_what_is_no_finite_number_is_refused(value):
    assert not validation.is_number(value)
    assert said(validation.number, "x", value, "a number") == f"x={value!r} cannot be used; expected a number"
    assert said(validation.bound, "x", value, "a number", lambda _: True) == (
        f"x={value!r} cannot decide anything; expected a number"
    )


def test_a_number_that_does_not_hold_is_refused_by_what_was_expected():
    assert validation.number("x", 1, "above 0", lambda x: x > 0) == 1
    assert (
        said(validation.number, "x", 0, "a number above 0", lambda x: x > 0)
        == "x=0 cannot be used; expected a number above 0"
    )


@given(st.floats(allow_nan=False))
def test_a_bound_is_what_holds(value):
    if 0 < value <= 1:
        assert validation.bound("at_least", value, "a share", lambda share: 0 < share <= 1) == value
    else:
        assert said(validation.bound, "at_least", value, "a share", lambda share: 0 < share <= 1) == (
            f"at_least={value!r} cannot decide anything; expected a share"
        )


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(3)], ids=repr)
def test_counts_come_back_as_ints(value):
    found = validation.count("n", value)
    assert (type(found), found) == (int, int(value))


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 1.0, np.float64(1), Fraction(1), float("nan")], ids=repr)
def test_what_is_no_count_is_refused(value):
    assert not validation.is_whole(value)
    assert said(validation.count, "n", value) == f"n={value!r} cannot be used; expected a whole number of at least 1"


def test_a_count_lies_in_its_range_with_both_ends():
    assert [validation.count("n", value, 2, 4) for value in (2, 3, 4)] == [2, 3, 4]
    for value in (1, 5):
        assert (
            said(validation.count, "n", value, 2, 4) == f"n={value} cannot be used; expected a whole number from 2 to 4"
        )
    assert said(validation.count, "n", -1, 0) == "n=-1 cannot be used; expected a whole number of at least 0"


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_], ids=repr)
def test_flags_come_back_as_bools(value):
    assert validation.flag("on", value) is bool(value)


@pytest.mark.parametrize("value", [0, 1, "yes", None, np.int8(1), np.array(True)], ids=repr)
def test_what_is_no_flag_is_refused(value):
    assert said(validation.flag, "on", value) == f"on={value!r} cannot be used; expected True or False"


def test_numpy_is_not_loaded_for_it():
    code = "import sys; from pytest_gradcam.validation import flag; flag('on', True); assert 'numpy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("value", [10**400, 10**5000, [0] * 1000], ids=["long", "too long to print", "list"])
def test_values_of_any_length_are_said_in_a_short_line(value):
    text = said(validation.number, "x", value, "a number")
    assert len(text) < 260
    assert text.endswith("; expected a number")


class TestKeywords:
    """A word that an argument does not have is answered with those that it may have."""

    def said(self, call, *arguments, **options):
        with pytest.raises(TypeError) as caught:
            call(*arguments, **options)
        return str(caught.value)

    def test_the_words_of_other_packages(self):
        explainer = Explainer(lambda batch: batch.mean((2, 3)))
        expected = "does not take 'label'; expected image, target, layer, method; did you mean 'target'?"
        assert self.said(explainer, "red.png", label="red") == f"an explainer {expected}"
        assert self.said(explainer.assert_deterministic, "red.png", target_layers="conv") == (
            "assert_deterministic does not take 'target_layers'; expected image, target, at_most, layer, method; "
            "did you mean 'layer'?"
        )
        assert self.said(explainer.assert_ignores, "red.png", None, threshold=0.2).endswith("did you mean 'at_most'?")
        assert self.said(explainer.assert_relies_on, "red.png", None, threshold=0.2).endswith(
            "did you mean 'at_least'?"
        )

    def test_a_slip_of_the_pen(self):
        heatmap = Heatmap.from_array([[1.0, 2.0]])
        assert self.said(heatmap.assert_focus_within, None, atleast=0.5) == (
            "assert_focus_within does not take 'atleast'; expected mask, at_least; did you mean 'at_least'?"
        )
        assert self.said(Explainer, None, preproces=None).startswith(
            "Explainer does not take 'preproces'; expected model, "
        )
        assert self.said(heatmap.iou, None, colour=1) == "iou does not take 'colour'; expected mask, threshold"

    def test_every_check_says_it(self):
        for kind in (Explainer, Heatmap, Audit):
            for name in (name for name in dir(kind) if name.startswith("assert_")):
                assert self.said(getattr(kind, name), None, nonsense=1).startswith(f"{name} does not take 'nonsense'; ")

    def test_signature_and_docstring_stay(self):
        assert list(inspect.signature(Heatmap.assert_overlap).parameters) == ["self", "mask", "at_least", "threshold"]
        assert list(inspect.signature(Explainer(lambda batch: batch)).parameters) == [
            "image",
            "target",
            "layer",
            "method",
        ]
        assert "IoU" in Heatmap.assert_overlap.__doc__
