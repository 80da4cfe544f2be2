"""What each policy makes of a heatmap of a class that is not predicted, without pytest around it."""

import pytest

from pytest_gradcam import FocusError, HeatmapError
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.questions import mispredicted
from tests.conftest import RecordingTest

WRONG = {"target": "cat", "target_index": 3, "predicted": "dog", "predicted_index": 5, "image": "cat.png"}
RANKED = {"rank": 2, "classes": 10, **WRONG}


class Skipped(Exception):
    pass


class Notes(RecordingTest):
    """A test that can be skipped."""

    def skip(self, reason):
        raise Skipped(reason)


@pytest.fixture
def test():
    notes = Notes(draws=False)
    with running(notes):
        yield notes


def never():
    pytest.fail("a picture was asked for")


@pytest.mark.parametrize("policy", ["label", "prediction", "both", "skip", "fail"])
@pytest.mark.parametrize("index", [3, None])
def test_a_class_that_is_predicted_is_explained_whatever_the_policy(test, policy, index):
    """So is one of which it is not known what the model predicts."""
    right = Subject(**{**WRONG, "predicted_index": index})
    assert mispredicted.chosen(right, policy, never) == [3]
    assert test.records == []


def test_a_target_that_is_no_class_has_none_to_choose():
    assert mispredicted.chosen(Subject(target="sum"), "fail", never) == []


@pytest.mark.parametrize(("policy", "classes"), [("label", [3]), ("prediction", [5]), ("both", [3, 5])])
def test_the_label_the_prediction_or_both(policy, classes):
    assert mispredicted.chosen(Subject(**WRONG), policy, never) == classes


def test_it_fails(test):
    with pytest.raises(FocusError) as caught:
        mispredicted.chosen(Subject(score=1.5, **RANKED), "fail", never)
    assert str(caught.value) == (
        "the model predicts 'dog', not 'cat' (rank 2 of 10); expected 'cat' to come first\n"
        "  target     'cat' (3): score 1.5, rank 2 of 10\n"
        "  prediction the model predicts 'dog' (5)\n"
        "  image      cat.png\n"
        "  try        look at the image and its label, or explain the class anyway with gradcam_mispredicted = label"
    )
    record = test.records[0]
    assert (record.check, record.measure, record.outcome) == ("prediction", "rank of the class", "failed")
    assert (record.figure, record.bound, record.direction) == (2.0, 1.0, "at_most")
    assert (record.target, record.target_index, record.score) == ("cat", 3, 1.5)


def test_it_fails_without_a_rank_too(test):
    with pytest.raises(FocusError, match="^the model predicts 'dog', not 'cat'; expected 'cat' to come first\n"):
        mispredicted.chosen(Subject(**WRONG), "fail", never)
    assert test.records[0].figure == 0.0


def test_it_is_drawn_by_who_asked(test):
    drawn = []
    test.keep = lambda record, draw: drawn.append(draw(record)) or record
    with pytest.raises(FocusError):
        mispredicted.chosen(Subject(**WRONG), "fail", lambda: "a picture")
    assert drawn == ["a picture"]


def test_it_is_skipped(test):
    with pytest.raises(Skipped) as caught:
        mispredicted.chosen(Subject(**RANKED), "skip", never)
    assert str(caught.value) == "the model predicts 'dog', not 'cat' (rank 2 of 10) in cat.png"
    assert test.records == []


def test_outside_a_test_there_is_none_to_skip():
    with running(None), pytest.raises(HeatmapError) as caught:
        mispredicted.chosen(Subject(**WRONG), "skip", never)
    assert str(caught.value) == (
        "the model predicts 'dog', not 'cat', and there is no test to skip; set mispredicted to label or prediction"
    )
