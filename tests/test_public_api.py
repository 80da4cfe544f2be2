"""The names that other repositories' tests call."""

import inspect

import pytest

import pytest_gradcam
from pytest_gradcam import Explainer, Heatmap


@pytest.mark.parametrize("name", pytest_gradcam.__all__)
def test_every_public_name_resolves(name):
    assert getattr(pytest_gradcam, name) is not None
    assert name in dir(pytest_gradcam)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Explaner'"):
        _ = pytest_gradcam.Explaner


def test_the_explainers_arguments():
    parameters = inspect.signature(Explainer).parameters
    assert list(parameters)[:7] == ["model", "layer", "method", "preprocess", "classes", "device", "batch_size"]
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in list(parameters.values())[7:])
    call = inspect.signature(Explainer.__call__).parameters
    assert list(call) == ["self", "image", "target", "layer", "method"]
    for name in ("batch", "predict", "layer"):
        assert hasattr(Explainer, name)


def test_the_heatmaps_attributes():
    for name in (
        "mass",
        "lift",
        "mean_heat",
        "rank_accuracy",
        "peak",
        "hits",
        "iou",
        "overlay",
        "save",
        "from_array",
        "similarity",
    ):
        assert hasattr(Heatmap, name)
    for check in ("focus_within", "focus_avoids", "peak_within", "overlap"):
        parameters = inspect.signature(getattr(Heatmap, f"assert_{check}")).parameters
        assert list(parameters)[:2] == ["self", "mask"]
        assert all(p.kind is p.KEYWORD_ONLY for p in list(parameters.values())[2:])


def test_the_checks_against_another_heatmap():
    similar = inspect.signature(Heatmap.assert_similar).parameters
    assert list(similar) == ["self", "other", "at_least", "kind"]
    assert (similar["at_least"].kind, similar["at_least"].default) == (inspect.Parameter.KEYWORD_ONLY, 0.8)
    baseline = inspect.signature(Heatmap.assert_matches_baseline).parameters
    assert list(baseline) == ["self", "at_least", "name"]
    assert all(p.kind is p.KEYWORD_ONLY for p in list(baseline.values())[1:])
