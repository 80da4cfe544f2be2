"""What scores are taken for, from tensors alone: closed forms, and every edge at which they are refused."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from pytest_gradcam import HeatmapError
from pytest_gradcam.cam import containers, output_kind
from pytest_gradcam.cam.output_kind import OutputKind

Z = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0]])
ROW = [0.2, 0.3, 0.5]
SMALLEST = torch.finfo(torch.float32).tiny


def refused(kind, scores):
    with pytest.raises(HeatmapError) as caught:
        kind.logits(scores, len(scores))
    return str(caught.value)


class TestLogits:
    def test_logits_are_taken_as_they_are(self):
        assert OutputKind().logits(Z, 2) is Z

    def test_of_softmax_probabilities_up_to_what_all_classes_share(self):
        found = OutputKind(unit="softmax").logits(Z.softmax(1), 2)
        torch.testing.assert_close(found, Z - Z.mean(1, keepdim=True))

    def test_of_sigmoid_probabilities(self):
        torch.testing.assert_close(OutputKind(unit="sigmoid", multi=True).logits(Z.sigmoid(), 2), Z)

    def test_of_one_score_for_two_classes(self):
        z = torch.tensor([[2.0], [-1.0]])
        both = torch.tensor([[-2.0, 2.0], [1.0, -1.0]])
        torch.testing.assert_close(OutputKind(binary=True).logits(z, 2), both)
        torch.testing.assert_close(OutputKind(unit="sigmoid", binary=True).logits(z.sigmoid(), 2), both)

    def test_by_the_place_of_the_scores(self):
        assert OutputKind(("scores", 0)).logits({"scores": (Z,)}, 2) is Z

    def test_what_is_bypassed_is_in_logits_already(self):
        assert OutputKind(unit="softmax", activation=SimpleNamespace(kind="softmax")).logits(Z, 2) is Z

    def test_another_number_of_images_is_no_score(self):
        assert "for 3 images; expected class scores" in refused(OutputKind(), Z[:, :, None].repeat(2, 1, 1)[:3])
        with pytest.raises(HeatmapError, match="for one image; expected class scores"):
            OutputKind().logits(Z, 1)


class TestRefusals:
    """A model that returned one unit, and returns another now."""

    def test_logits_that_became_probabilities(self):
        assert "the model returned logits before and returns probabilities now" in refused(OutputKind(), Z.softmax(1))
        assert OutputKind(told=True).logits(p := Z.softmax(1), 2) is p
        assert OutputKind().logits(half := Z.softmax(1).half(), 2) is half  # it may add up to 1 by its rounding
        assert "returned logits before" in refused(OutputKind(), Z.double().softmax(1))

    @pytest.mark.parametrize(
        ("unit", "row", "error"),
        [
            ("softmax", ROW, False),
            ("softmax", [0.2, 0.3, 0.4], True),
            ("softmax", [-0.1, 0.6, 0.5], True),
            ("sigmoid", [0.2, 0.3, 0.4], False),
            ("sigmoid", [0.2, 0.3, 1.1], True),
            ("sigmoid", [0.2, 0.3, -0.1], True),
        ],
    )
    def test_probabilities_that_became_something_else(self, unit, row, error):
        scores, kind = torch.tensor([ROW, row]), OutputKind(unit=unit, multi=unit == "sigmoid")
        if error:
            assert "the model returned probabilities before and now scores from" in refused(kind, scores)
        else:
            assert kind.logits(scores, 2).isfinite().all()

    @pytest.mark.parametrize(
        ("unit", "row", "error"),
        [
            ("sigmoid", [0.5, 0.5, 1.0], True),
            ("sigmoid", [0.5, 0.5, 1 - 0.5e-6], True),
            ("sigmoid", [0.5, 0.5, 1 - 2e-6], False),
            ("sigmoid", [0.5, 0.5, 0.0], True),
            ("sigmoid", [0.5, 0.5, SMALLEST / 2], True),
            ("sigmoid", [0.5, 0.5, SMALLEST], False),
            ("softmax", [0.0, 0.5, 0.5], True),
            ("softmax", [0.0, 0.0, 1.0], True),
        ],
    )
    def test_saturated_probabilities_have_no_logit(self, unit, row, error):
        kind, scores = OutputKind(unit=unit, multi=unit == "sigmoid"), torch.tensor([row])
        if error:
            assert "the probabilities are saturated" in refused(kind, scores)
        else:
            assert kind.logits(scores, 1).isfinite().all()

    def test_nan_is_reported_where_it_comes_from(self):
        scores = torch.tensor([[0.5, math.nan, 0.5]])
        assert OutputKind(unit="softmax").logits(scores, 1).isnan().any()


class TestProbability:
    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_of_classes_that_compete(self, index):
        assert OutputKind().probability(Z[0], index) == pytest.approx(float(Z[0].softmax(0)[index]))

    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_of_findings(self, index):
        assert OutputKind(multi=True).probability(Z[0], index) == pytest.approx(1 / (1 + math.exp(-Z[0, index])))

    def test_of_one_score_for_two_classes(self):
        """Its logits -z and z are no pair for a softmax, which would count the score twice."""
        kind, row = OutputKind(binary=True), torch.tensor([-2.0, 2.0])
        assert kind.probability(row, 1) == pytest.approx(1 / (1 + math.exp(-2)))
        assert kind.probability(row, 0) + kind.probability(row, 1) == pytest.approx(1)


def test_it_says_itself():
    assert str(OutputKind()) == ""
    assert (OutputKind().task, OutputKind(multi=True).task) == ("single", "multi")
    assert str(OutputKind(("out",), "sigmoid", multi=True)) == (
        "scores at 'out'; sigmoid probabilities p, read as log p - log(1 - p); multi-label"
    )
    assert str(OutputKind(unit="softmax")) == "softmax probabilities p, read as log p less its mean over the classes"
    bypassed = OutputKind(unit="softmax", activation=SimpleNamespace(kind="log_softmax"))
    assert str(bypassed) == "read as the logits before its last log_softmax"


@pytest.mark.parametrize(
    ("task", "unit", "problem", "multi"),
    [
        ("auto", "logits", None, False),
        ("auto", "softmax", None, False),
        ("auto", "sigmoid", None, True),
        ("auto", "logits", "multi_label_classification", True),
        ("auto", "logits", "single_label_classification", False),
        ("single", "sigmoid", "multi_label_classification", False),
        ("multi", "logits", "single_label_classification", True),
        ("multi", "sigmoid", None, True),
    ],
)
def test_whether_classes_compete(task, unit, problem, multi):
    model = SimpleNamespace(config=SimpleNamespace(problem_type=problem)) if problem else object()
    assert output_kind._is_multi(task, unit, model) is multi


@pytest.mark.parametrize(
    ("shape", "count", "found"),
    [
        ((2, 3), 2, (2, 3)),
        ((2, 3), 1, None),
        ((2, 3, 4, 4), 2, (2, 3, 4, 4)),
        ((2, 3, 4), 2, None),
        ((3,), 3, (3, 1)),
        ((3,), 2, None),
        ((3,), 1, (1, 3)),
        ((1,), 1, (1, 1)),
        ((), 1, (1, 1)),
        ((), 2, None),
        ((1, 3), 1, (1, 3)),
    ],
)
def test_shapes_of_scores(shape, count, found):
    read = containers.batched(torch.zeros(shape), count)
    assert (None if read is None else tuple(read.shape)) == found
    assert containers.batched(torch.zeros(shape, dtype=torch.int64), count) is None


@pytest.mark.parametrize(
    ("shape", "scores", "dense"),
    [
        ((1, 3), True, False),
        ((1,), True, False),
        ((3,), False, False),
        ((2, 3), False, False),
        ((1, 3, 4, 4), False, True),
        ((2, 3, 4, 4), False, False),
        ((1, 3, 4), False, False),
        ((1, 0), False, False),
        ((1, 3, 0, 4), False, False),
        ((), False, False),
    ],
)
def test_which_of_several_tensors_may_be_the_scores(shape, scores, dense):
    assert output_kind._fits(torch.zeros(shape), dense=False) is scores
    assert output_kind._fits(torch.zeros(shape), dense=True) is dense
    assert output_kind._fits(torch.zeros(shape, dtype=torch.int64), dense=False) is False
