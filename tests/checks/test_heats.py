"""Heatmaps that inform beside a verdict, from the passes that give the scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam.cam.engine import Engine
from pytest_gradcam.checks import heats
from pytest_gradcam.checks.asked import Asked, classes_of
from pytest_gradcam.checks.masked_image import MaskedImage, read_masked_images
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel

IMAGES = list(torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
MASK = np.zeros((32, 32), bool)
MASK[8:20, 8:20] = True
TARGETS = [None, 2, None, 0]


def convolutions() -> nn.Sequential:
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.Conv2d(6, 8, 3, 2), nn.ReLU(), pooled, nn.Linear(8, 3))


def flat() -> nn.Module:
    """Has scores, and no layer with places."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))


def explained(model: nn.Module) -> tuple[ExplainedModel, list[MaskedImage]]:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    engine = Engine(model.eval())
    return ExplainedModel(engine), read_masked_images(engine, IMAGES, MASK)


def test_scores_and_maps_are_those_of_passes_of_their_own() -> None:
    model, passed = explained(convolutions())
    inputs = [image.image_input for image in passed]
    scores, found = heats.scored(model, inputs, TARGETS)
    np.testing.assert_allclose(scores, model.engine.predict(inputs), atol=1e-5)
    assert len(found) == len(TARGETS)
    classes = classes_of(model, scores, len(passed), [*TARGETS, None, None, None])
    asked = Asked(passed, len(passed), scores, classes, alone=False)
    for one, other in zip(heats.of(model, asked, 5, found), heats.of(model, asked, 5), strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_allclose(one, other, atol=1e-5 * other.max())


def test_an_image_goes_through_the_network_once_and_the_first_once_more() -> None:
    network = convolutions()
    model, passed = explained(network)
    inputs = [image.image_input for image in passed]
    heats.scored(model, inputs, TARGETS)  # the first image costs more
    counted: list[int] = []
    network[0].register_forward_hook(lambda _module, inputs, _output: counted.append(len(inputs[0])))
    scores, found = heats.scored(model, inputs, TARGETS)
    classes = classes_of(model, scores, len(passed), [*TARGETS, None, None, None])
    heats.of(model, Asked(passed, len(passed), scores, classes, alone=False), 4, found)
    assert sum(counted) == len(IMAGES) + 1


class Approximate(nn.Sequential):
    """Faster, and otherwise, where nobody asks for gradients."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = super().forward(x)
        return scores if torch.is_grad_enabled() else scores.round(decimals=1)


@pytest.mark.parametrize(
    "network", [Approximate(*convolutions()), convolutions().bfloat16()], ids=["approximate", "half"]
)
def test_scores_come_from_passes_without_gradients_where_these_give_others(network: nn.Module) -> None:
    model, passed = explained(network)
    inputs = [image.image_input for image in passed]
    scores, found = heats.scored(model, inputs, TARGETS)
    assert found == []
    np.testing.assert_array_equal(scores, model.engine.predict(inputs))


def test_a_map_of_another_class_than_is_asked_about_is_made_anew() -> None:
    model, passed = explained(convolutions())
    scores, found = heats.scored(model, [image.image_input for image in passed], [0, 0])
    asked = Asked(passed, len(passed), scores, np.full(len(passed), 1), alone=False)
    for one, other in zip(heats.of(model, asked, 2, found), heats.of(model, asked, 2), strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_allclose(one, other, atol=1e-5 * other.max())


def test_a_model_without_a_layer_to_read_has_scores_all_the_same() -> None:
    model, passed = explained(flat())
    inputs = [image.image_input for image in passed]
    scores, found = heats.scored(model, inputs, TARGETS)
    assert found == []
    np.testing.assert_array_equal(scores, model.engine.predict(inputs))
    asked = Asked(passed, len(passed), scores, scores.argmax(axis=1), alone=False)
    assert heats.of(model, asked, 5, found) == [None] * len(IMAGES)
    assert heats.mean_in_masks(asked, [None] * len(IMAGES)) is None


def test_scores_that_are_not_finite_are_refused_by_the_images_name() -> None:
    network = convolutions()
    model, passed = explained(network)
    with torch.no_grad():
        network.get_parameter("5.bias")[0] = float("inf")
    with pytest.raises(HeatmapError, match="the model's scores for tensor 32x32 contain NaN or infinite values"):
        heats.scored(model, [image.image_input for image in passed], TARGETS)


def test_infinite_scores_of_other_classes_are_refused_as_well() -> None:
    network = convolutions()
    model, passed = explained(network)
    with torch.no_grad():
        network.get_parameter("5.bias")[0] = -float("inf")
    with pytest.raises(HeatmapError, match="the model's scores for tensor 32x32 contain NaN or infinite values"):
        heats.scored(model, [image.image_input for image in passed], [1, 2])
