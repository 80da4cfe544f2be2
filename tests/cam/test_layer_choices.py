"""Choices of the layer are remembered for what they depend on, in bounded memory, and apart for each copy of a model."""

import pytest
import torch
from torch import nn

from pytest_gradcam.cam import layer_choices
from pytest_gradcam.cam.layer_choices import LayerChoices
from pytest_gradcam.cam.output_kind import Asked, OutputReader
from pytest_gradcam.cam.outputs import Goal
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import untouched
from pytest_gradcam.targets import ClassNames
from tests.cam.test_engine import small


class Particular(nn.Module):
    """Refuses every image but one of ones."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        if not bool((x == 1).all()):
            raise ValueError("expected ones")
        return self.net(x)


@pytest.fixture
def made(monkeypatch):
    """One entry for each choice that was computed."""
    found, choose = [], layer_choices.choose
    monkeypatch.setattr(
        layer_choices, "choose", lambda *args, **options: found.append(args) or choose(*args, **options)
    )
    return found


@pytest.fixture
def choices():
    return LayerChoices(OutputReader(Asked(), ClassNames(None)))


def of(choices, model, size=32, name=None):
    with untouched(model):
        return choices.of(model, torch.ones(1, 3, size, size), Goal(index=1), name)


def test_chosen_once_for_each_size_and_named_layer(choices, made):
    model = small()
    for _ in range(2):
        assert [
            of(choices, model, size, name).choice.site.name for size, name in ((32, None), (64, None), (32, "1"))
        ] == [
            "3",
            "3",
            "1",
        ]
    assert len(made) == 3


def test_the_least_recently_used_choice_is_forgotten_first(choices, made, monkeypatch):
    monkeypatch.setattr(layer_choices, "_REMEMBERED", 2)
    model = small()
    for size in (32, 40, 32, 48, 32):  # 48 takes the place of 40
        of(choices, model, size)
    assert len(made) == 3
    of(choices, model, 40)
    assert len(made) == 4


def test_what_is_chosen_for_a_copy_is_not_remembered_for_the_model(choices, made):
    model = small()
    of(choices, model)
    other = choices.copy()
    of(other, model)
    assert len(made) == 1
    of(other, model, 64)
    of(choices, model, 64)
    assert len(made) == 3


def test_a_choice_does_not_depend_on_the_first_image_unless_the_model_refuses_noise(choices):
    assert of(choices, small()).steady
    assert not of(choices, Particular()).steady


def test_there_is_no_last_choice_before_the_first_question(choices):
    with pytest.raises(HeatmapError, match=r"chosen on the first image; explain one, or pass layer="):
        choices.last(small())
