"""A callable as a network: right, or refused in our own words."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, FocusError, Heatmap, HeatmapError, masks
from pytest_gradcam.state.wrappers import unwrap
from tests.model_files import CORNER, DISC, Reads, tensors

IMAGE = tensors(1)[0]
HONEST, TWIN = Reads(DISC), Reads(CORNER)


@pytest.mark.parametrize(
    "returned",
    [
        lambda batch: HONEST(batch),
        lambda batch: HONEST(batch).detach().numpy(),
        lambda batch: HONEST(batch).tolist(),
        lambda batch: {"logits": HONEST(batch).detach().numpy()},
        lambda batch: (HONEST(batch).detach().numpy(),),
        lambda batch: SimpleNamespace(logits=HONEST(batch).detach()),
    ],
    ids=["tensor", "array", "list", "dict", "tuple", "object"],
)
def test_scores_are_those_of_the_module(returned):
    images = tensors(5)
    np.testing.assert_allclose(Explainer(returned).predict(images), Explainer(HONEST).predict(images), rtol=1e-5)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "returned None; expected scores"),
        ("cat", "returned a str; expected scores"),
        ([[1.0], [1.0, 2.0]], "returned a list; expected scores"),
        ([None], "returned a list; expected scores"),
        ([[0, 1]], r"returned whole numbers \(torch.int64, shape \(1, 2\)\), which may be class labels"),
        (np.array([["a", "b"]]), "returned a ndarray; expected scores"),
        (np.zeros((1, 0)), r"returned shape \(1, 0\) for 1 images"),
        (np.zeros((1, 2, 3, 4, 5)), "the model returns a tensor of shape .* expected class scores"),
        (torch.zeros(1, 2, dtype=torch.complex64), "returned torch.complex64 values; expected scores"),
        (3.5, "the model returns a tensor of shape () for 2 images|expected class scores"),
        (object(), "returned a object; expected scores"),
        ({}, "the model returns a dict for one image; expected class scores"),
        ([], r"returned shape \(0,\) for 1 images"),
        (iter([1.0]), "returned a list_iterator"),
    ],
)
def test_what_are_no_scores_is_refused(returned, words):
    with pytest.raises(HeatmapError, match=words):
        Explainer(lambda batch: returned).predict(tensors(2))


@pytest.mark.parametrize(
    "error", [TypeError("bad"), KeyError("x"), RuntimeError("deep\ndown"), AttributeError(), ValueError()]
)
def test_what_the_callable_raises_is_put_in_our_words(error):
    def model(batch):
        raise error

    with pytest.raises(HeatmapError, match=f"the model .*model raised {type(error).__name__} .* lambda batch: model"):
        Explainer(model).predict([IMAGE])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (None, "the model is a NoneType; expected a torch.nn.Module, or a callable"),
        ("resnet18", "the model is a str"),
        (Reads, "the model is the class Reads; expected an instance"),
        (nn.Module, "the model is the class Module"),
        ([HONEST], "the model is a list"),
    ],
)
def test_what_is_no_model_is_refused(model, words):
    with pytest.raises(HeatmapError, match=words):
        Explainer(model)


def test_a_model_that_cannot_be_repeated_is_refused():
    dropout = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(3 * 32 * 32, 2)).train()
    with pytest.raises(HeatmapError, match="gives the same image another output each time, in eval mode"):
        Explainer(lambda batch: dropout(batch)).predict([IMAGE])


def test_a_model_of_one_image_at_a_time_gets_one_at_a_time():
    def model(batch):
        assert len(batch) == 1
        return HONEST(batch)

    np.testing.assert_allclose(Explainer(model).predict(tensors(3)), Explainer(HONEST).predict(tensors(3)), rtol=1e-5)


def test_the_input_is_the_models_own():
    def model(batch):
        scores = HONEST(batch)
        batch.zero_()
        return scores

    explainer = Explainer(model)
    first = explainer.predict([IMAGE])
    np.testing.assert_array_equal(explainer.predict([IMAGE]), first)


def test_a_device_is_refused():
    with pytest.raises(HeatmapError, match="device='cpu' cannot move a function"):
        Explainer(lambda batch: batch, device="cpu")


def test_every_check_that_needs_no_gradient():
    honest, twin = (Explainer(lambda batch, model=model: model(batch).detach().numpy()) for model in (HONEST, TWIN))
    image = tensors(4)[2]  # red disc, green corner
    honest.assert_ignores(image, CORNER)
    honest.assert_relies_on(image, DISC)
    with pytest.raises(FocusError):
        twin.assert_ignores(image, CORNER)
    with pytest.raises(FocusError):
        twin.assert_relies_on(image, DISC)
    assert honest.reliance(tensors(), CORNER).relies is False
    assert twin.reliance(tensors(), CORNER).relies is True
    assert {fed.target for fed in twin.fed_by(tensors(4), CORNER)} == {"0", "1", "2"}
    for method in ("rise", "occlusion"):
        honest(image, method=method).assert_focus_within(DISC, at_least=masks.lift(2))
        with pytest.raises(FocusError):
            twin(image, method=method).assert_focus_within(DISC, at_least=masks.lift(2))
    honest.assert_faithful(image, method="occlusion")
    honest.assert_faithful(image, heatmap=Heatmap.from_array(DISC.astype(float)[::2, ::2]))
    with pytest.raises(FocusError, match="random orders"):
        honest.assert_faithful(image, heatmap=Heatmap.from_array(CORNER.astype(float)[::2, ::2]))
    with pytest.raises(HeatmapError, match="the heatmap has 8 x 16 px, and the model sees 32 x 32"):
        honest.assert_faithful(image, heatmap=Heatmap.from_array(np.ones((8, 16))))
    with pytest.raises(HeatmapError, match="heatmap=ndarray cannot be used; expected a Heatmap"):
        honest.assert_faithful(image, heatmap=np.ones((8, 8)))
    honest.assert_deterministic(image, method="rise")


@pytest.mark.parametrize(
    "ask",
    [
        lambda explainer: explainer(IMAGE),
        lambda explainer: explainer(IMAGE, method="scorecam"),
        lambda explainer: explainer.compare(IMAGE, [0, 1]),
        lambda explainer: explainer.assert_depends_on_weights(IMAGE),
        lambda explainer: explainer.assert_depends_on_weights(IMAGE, method="rise"),
        lambda explainer: explainer(IMAGE, layer="features"),
    ],
)
def test_what_needs_a_gradient_names_what_works(ask):
    with pytest.raises(HeatmapError, match="known by its scores alone.* rise or occlusion"):
        ask(Explainer(lambda batch: HONEST(batch), rise_masks=50))


def test_a_network_stays_one():
    assert unwrap(HONEST) is HONEST
