"""One audit of 240 images: it says that the model relies on the mark, and finds the mark without being told of it."""

import build
import pytest

from pytest_gradcam import FocusError


@pytest.mark.gradcam(unchecked="allow")  # a figure alone
def test_the_model_predicts_the_digits(audit):
    rows = audit.distinct("focus_within")
    assert sum(row["predicted"] == row["target"] for row in rows) >= 0.9 * len(rows)


def test_the_attention_does_not_avoid_the_mark(audit):
    with pytest.raises(FocusError, match="focus_avoids passes on"):
        audit.assert_rate("focus_avoids", at_least=0.9)


def test_the_model_relies_on_the_mark(audit):
    with pytest.raises(FocusError, match="the model relies"):
        audit.assert_no_reliance()


@pytest.mark.gradcam(unchecked="allow")  # it asks for figures and makes no claim
def test_the_mark_is_found_by_nobodys_having_said_where_it_is(audit):
    found = audit.suspects()
    print(found)
    first = found[0]
    assert first.mask[build.MARK].mean() >= 0.5
    assert first.confirmed is True
