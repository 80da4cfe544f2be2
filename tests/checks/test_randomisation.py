"""Model parameter randomisation: maps that hang on the weights pass, maps that do not fail, the model stays as it is."""

import math
import threading
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, FocusError, HeatmapError, NoEvidenceError
from pytest_gradcam.cam import redraw as redrawing
from pytest_gradcam.cam.redraw import copied, parts, redraw
from pytest_gradcam.checks.randomisation import DependsOnWeights
from pytest_gradcam.evidence.record import Subject
from tests.sanity_models import Blob, Edges, Empty, explained_by, network, noise
from tests.states import same, state_of


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch norm"])
@pytest.mark.parametrize("cascade", [False, True])
def test_a_map_of_what_was_learnt_passes(records, norm, cascade):
    Explainer(network(norm=norm)).assert_depends_on_weights(noise(), target=2, cascade=cascade, draws=3, at_most=0.6)
    assert records[0].outcome == "passed"
    assert -1 <= records[0].figure < 0.6
    assert ("stages" in dict(records[0].details)) == cascade


@pytest.mark.parametrize("drawn", [Blob, Edges])
@pytest.mark.parametrize("cascade", [False, True])
def test_a_map_of_the_picture_alone_fails(drawn, cascade):
    with pytest.raises(FocusError) as caught:
        explained_by(drawn(network())).assert_depends_on_weights(noise(), target=2, cascade=cascade, draws=2)
    first, *rest = str(caught.value).splitlines()
    stages = " after each of 4 stages from the top" if cascade else ""
    assert first == (
        f"with the weights redrawn{stages} the heatmap still has a rank correlation of 1 with what it was; expected at most 0.4"
    )
    assert "use another method (gradcam, hirescam) or layer" in rest[-1]


def test_a_cascade_finds_a_method_that_does_not_look_at_the_head():
    """Eigen-CAM is drawn from the activations alone: redrawing what comes after its layer changes nothing."""
    explainer, similar = Explainer(network(), method="eigencam"), []
    for part in (0, 1):
        with pytest.raises(FocusError) as caught:
            explainer.assert_depends_on_weights(noise(), target=2, cascade=True, draws=2, at_most=0)
        stages = next(line for line in str(caught.value).splitlines() if line.startswith("  stages"))
        similar.append(float(stages.split()[1].rstrip(",")))
        del part
    assert similar == [1.0, 1.0]


def test_the_same_seed_gives_the_same_figure(records):
    explainer = Explainer(network())
    for seed in (0, 0, 1):
        explainer.assert_depends_on_weights(noise(), target=2, draws=2, at_most=0.99, seed=seed)
    assert records[0].figure == records[1].figure != records[2].figure
    assert [record.seed for record in records] == [0, 0, 1]


@pytest.mark.parametrize("mode", ["eval", "train and frozen"])
def test_the_model_is_never_touched(mode):
    model = network(norm=True)
    if mode != "eval":
        model.train()
        model[0].requires_grad_(False)
        model(torch.stack([noise(), noise(2)])).sum().backward()
    before = state_of(model)
    Explainer(model).assert_depends_on_weights(noise(), target=2, draws=2, at_most=0.99)
    with pytest.raises(FocusError):
        explained_by(Blob(model)).assert_depends_on_weights(noise(), target=2, cascade=True, draws=2)
    assert same(before, state_of(model))


class TestUndecided:
    def refused(self, words, explainer=None, error=HeatmapError, **arguments):
        explainer = explainer or Explainer(network())
        with pytest.raises(error, match=words) as caught:
            explainer.assert_depends_on_weights(noise(), **{"target": 2, "draws": 2, **arguments})
        assert not isinstance(caught.value, AssertionError)

    def test_a_heatmap_of_zeros(self):
        self.refused("no positive evidence .* explain another target", explained_by(Empty(network())), NoEvidenceError)

    @pytest.mark.parametrize("value", [0.0, 0.5])
    def test_an_empty_or_a_constant_map_once_the_weights_are_redrawn(self, monkeypatch, value):
        class Lost(Blob):
            def paint(self, one, grid):
                return super().paint(one, grid) if self.model is model else np.full_like(grid, value)

        model = network()
        explainer = explained_by(Lost(model))
        self.refused(
            "with redrawn weights the heatmap is empty or the same everywhere in 8 of 8 draws.*; explain another target",
            explainer,
            NoEvidenceError,
        )

    def test_some_draws_without_evidence_are_drawn_again(self, records):
        class Sometimes(Blob):
            calls: ClassVar = []

            def paint(self, one, grid):
                self.calls.append(1)
                return super().paint(one, grid) if len(self.calls) % 3 else np.zeros_like(grid)

        with pytest.raises(FocusError):
            explained_by(Sometimes(network())).assert_depends_on_weights(noise(), target=2, draws=4)
        assert dict(records[0].details)["draws"].startswith("4, ")

    def test_a_model_that_cannot_be_copied(self):
        model = network()
        model.lock = threading.Lock()
        self.refused(
            r"the model cannot be copied \(TypeError: .*lock.*\); make copy.deepcopy\(model\) work", Explainer(model)
        )

    def test_a_model_whose_copy_is_itself(self):
        class Shared(nn.Sequential):
            def __deepcopy__(self, memo):
                return self

        model = Shared(*network())
        before = state_of(model)
        self.refused("copy shares its weights, .*; make copy.deepcopy", Explainer(model))
        assert same(before, state_of(model))

    def test_a_model_without_parameters(self):
        class Pool(nn.Module):
            def forward(self, x):
                return nn.functional.avg_pool2d(x, 8)

        model = nn.Sequential(Pool(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.refused("the model has no parameters.*; check which model", explained_by(Blob(model, layer="0")))

    def test_weights_of_one_value(self):
        model = network()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.01)
        self.refused("redrawing changes nothing; train the model first", explained_by(Blob(model)))

    def test_numbers_that_are_not_finite_once_the_weights_are_redrawn(self, monkeypatch):
        def spoil(modules, generator):
            for module in modules:
                for parameter in module.parameters(recurse=False):
                    parameter.data.fill_(math.nan)

        monkeypatch.setattr(redrawing, "redraw", spoil)
        self.refused("with redrawn weights, the activations.* hold NaN.*; check the weights")

    @pytest.mark.parametrize("at_most", [1, -0.1, 50, math.nan, True, "0.5", None])
    def test_bounds_that_decide_nothing(self, at_most):
        self.refused("at_most=.* cannot decide anything; expected a share from 0", at_most=at_most)

    @pytest.mark.parametrize("draws", [0, -1, 1.5, math.nan, True, None])
    def test_what_is_no_count_of_draws(self, draws):
        self.refused(
            "draws=.*(expected a whole number of at least 1|cannot be used; expected a finite number)", draws=draws
        )


def test_redrawing_keeps_each_tensors_values_in_another_order():
    model = network()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    redraw(list(model.modules()), torch.Generator().manual_seed(0))
    for old, new in zip(before, model.parameters(), strict=True):
        assert not torch.equal(old, new)
        assert torch.equal(old.flatten().sort().values, new.detach().flatten().sort().values)


def test_parts_run_from_the_output_and_leave_nothing_out():
    model = network(norm=True)
    owners = [module for module in model if list(module.parameters())]
    for stages in (1, 2, 3, 50):
        found = parts(model, stages)
        assert len(found) == min(stages, 4)  # three convolutions and the head; fresh batch norms join one of them
        assert [module for part in found for module in part] == owners[::-1]


def test_a_copy_shares_nothing():
    model = network(norm=True).train()
    copy = copied(model)
    assert not copy.training
    assert model.training
    assert {p.data_ptr() for p in copy.parameters()}.isdisjoint(p.data_ptr() for p in model.parameters())


def test_batch_statistics_follow_the_redrawn_weights():
    """With the old ones a channel that was faint is divided by next to nothing."""
    model = network(norm=True)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_var.fill_(1e-8)
    redraw(list(model.modules()), torch.Generator().manual_seed(0))
    redrawing._recalibrate(model, list(model.modules()), noise()[None])
    seen = model[:2](torch.stack([noise(), noise().flip(2), noise().flip(1), noise().flip(1, 2)]))
    assert not model.training
    torch.testing.assert_close(seen.mean((0, 2, 3)), model[1].bias.detach(), atol=1e-4, rtol=0)


def judged(similarities, bound=0.5):
    check = DependsOnWeights(bound, len(similarities))
    return check.judged(check.record(Subject()), similarities)


def fields_of(record):
    return record.outcome, record.figure, record.bound, record.finding, record.details, record.advice


class TestVerdict:
    def test_it_is_the_mean_over_draws_and_stages(self):
        record = judged([[0.9, 0.1], [0.5, 0.3]])
        assert (record.figure, record.outcome) == (pytest.approx(0.45), "passed")
        assert dict(record.details) == {"draws": "2, from 0.40 to 0.50", "stages": "0.70, 0.20"}

    def test_the_bound_itself_passes_and_above_it_fails(self):
        assert judged([[0.5], [0.5]]).outcome == "passed"
        assert judged([[0.5], [0.5 + 1e-9]]).outcome == "failed"

    def test_opposite_maps_are_not_alike(self):
        assert judged([[-1.0], [-0.9]]).outcome == "passed"


def test_the_whole_of_a_verdict_on_weights():
    assert fields_of(judged([[0.5], [0.75]])) == (
        "failed",
        0.625,
        0.5,
        "with the weights redrawn the heatmap still has a rank correlation of 0.625 with what it was; expected at most 0.5",
        (("draws", "2, from 0.50 to 0.75"),),
        "look at the picture; this map shows the picture rather than what the model learnt from it: use another "
        "method (gradcam, hirescam) or layer, and base no verdict on this one",
    )


def test_the_whole_of_a_verdict_on_weights_in_stages():
    record = judged([[0.5, 1.0, 0.0], [0.75, 1.0, 0.25]])
    assert fields_of(record)[3:5] == (
        "with the weights redrawn after each of 3 stages from the top the heatmap still has a rank correlation of 0.583 "
        "with what it was; expected at most 0.5",
        (("draws", "2, from 0.50 to 0.67"), ("stages", "0.62, 1.00, 0.12")),
    )


def test_a_figure_just_over_the_bound_on_weights_reads_as_over_it():
    assert "correlation of 0.5001 with" in judged([[0.5001]]).finding


def test_a_bound_reads_with_as_many_digits_as_it_takes_to_tell_it_from_the_figure():
    finding = judged([[0.50016]], bound=0.50014).finding
    assert finding.endswith("correlation of 0.5002 with what it was; expected at most 0.5001")
