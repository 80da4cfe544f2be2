"""What the callables of a user must not do: whatever they raise or return is refused in our words, with its cause."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Box, Explainer, Region, masks, perturbations
from pytest_gradcam.errors import HeatmapError

MASK = masks.box((32, 32), (4, 4, 16, 16))


class Broken(Exception):
    """An error of the user's own."""


def _raises(error):
    def call(*_, **__):
        raise error

    return call


RAISED = (Broken("no such camera\nsecond line"), TypeError("x"), KeyError("k"), IndexError(), ZeroDivisionError("z"))
RETURNED = {
    "None": None,
    "text": "cat",
    "number": 1.5,
    "bytes": b"",
    "nothing": (),
    "empty": torch.zeros(0),
    "scalar": torch.tensor(1.0),
    "vector": torch.ones(3),
    "matrix": torch.ones(2, 3),
    "batch": torch.ones(2, 3, 8, 8),
    "video": torch.ones(1, 2, 3, 8, 8),
    "whole": torch.ones(3, 8, 8, dtype=torch.int64),
    "complex": torch.ones(3, 8, 8, dtype=torch.complex64),
    "NaN": torch.full((3, 8, 8), torch.nan),
    "array": np.ones((8, 8, 3)),
    "objects": np.array([None, "a"], dtype=object),
    "list": [torch.ones(3)],
    "dict": {"a": 1},
    "class": int,
}
CALLABLES = {type(error).__name__: (_raises(error), error) for error in RAISED}
CALLABLES |= {name: (lambda *_, value=value, **__: value, None) for name, value in RETURNED.items()}


class Net(nn.Module):
    """Sees red, green or blue; its output is handed to `after`."""

    def __init__(self, after=lambda scores: scores):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 4, stride=4, bias=False), nn.ReLU())
        nn.init.dirac_(self.features[0].weight)
        self.after = after

    def forward(self, x):
        return self.after(8 * self.features(x).mean((2, 3)) - 2)


def _picture():
    pixels = np.full((32, 32, 3), 60, np.uint8)
    pixels[4:16, 4:16, 0] = 250
    return pixels


def _plain(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


CALLS = {
    "target": lambda call: Explainer(Net(), preprocess=_plain)(_picture(), call),
    "target of a check": lambda call: Explainer(Net(), preprocess=_plain).assert_stable(
        _picture(), perturbations.fog(0.2), target=call, same_class=False, score_within=9
    ),
    "preprocess": lambda call: Explainer(Net(), preprocess=call)(_picture(), 0).mass(MASK),
    "forward": lambda call: Explainer(Net(call), preprocess=_plain)(_picture(), 0),
    "scores": lambda call: Explainer(Net(call), preprocess=_plain).predict([_picture()]),
    "perturbation": lambda call: Explainer(Net(), preprocess=_plain).robustness(
        _picture(), call, severities=[0.1, 0.2], target=0
    ),
    "perturbations": lambda call: Explainer(Net(), preprocess=_plain).assert_stable(_picture(), call()),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "name"), list(itertools.product(CALLS, CALLABLES)))
def test_what_a_callable_must_not_do_is_refused(kind, name):
    call, error = CALLABLES[name]
    if error is not None and kind == "perturbations":
        pytest.skip("it is the value that is passed")
    with pytest.raises((HeatmapError, AssertionError)) as refused:
        CALLS[kind](call)
    assert len(str(refused.value).splitlines()[0]) < 700
    assert error is None or error in _causes(refused.value)


def _causes(error):
    while error is not None:
        yield error
        error = error.__cause__


VALUES = RETURNED | {
    "whole number": 3,
    "object": object(),
    "generator": lambda: (torch.ones(3) for _ in range(2)),
    "nested": [[1.0], [2.0, 3.0]],
    "set": {1, 2},
    "module": nn.Linear(2, 2),
    "NumPy scalar": np.float64(1.0),
    "NumPy matrix": np.ones((2, 3)),
    "sparse": torch.eye(3).to_sparse(),
    "without values": torch.ones(3, device="meta"),
}
ARGUMENTS = {
    "image": lambda each, value: each(value, 0),
    "target": lambda each, value: each(_picture(), value),
    "layer": lambda each, value: each(_picture(), 0, layer=value),
    "method": lambda each, value: each(_picture(), 0, method=value),
    "batch": lambda each, value: each.batch(value),
    "targets": lambda each, value: each.batch([_picture()], value),
    "compare": lambda each, value: each.compare(_picture(), value),
    "predict": lambda each, value: each.predict(value),
    "mask": lambda each, value: each.assert_ignores(_picture(), value, target=0),
    "others": lambda each, value: each.assert_ignores(_picture(), MASK, target=0, others=value),
    "images": lambda each, value: each.reliance(value, MASK),
    "masks": lambda each, value: each.reliance([_picture()] * 2, value),
    "targets of images": lambda each, value: each.reliance([_picture()] * 2, MASK, value),
    "without": lambda each, value: each.reliance([_picture()] * 2, MASK, without=value),
    "pairs": lambda each, value: each.reliance([_picture()] * 2, MASK, pairs=value),
    "classes": lambda each, value: Explainer(Net(), preprocess=_plain, classes=value)(_picture(), 0),
    "Region": lambda each, value: each(_picture(), Region(value)),
    "Box": lambda each, value: each(_picture(), Box(value, value)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("argument", "name"), list(itertools.product(ARGUMENTS, VALUES)))
def test_a_value_of_another_kind_is_taken_or_refused(argument, name):
    """No error of another library is what the user gets."""
    value, said = VALUES[name], ""
    try:
        ARGUMENTS[argument](Explainer(Net(), preprocess=_plain), value() if name == "generator" else value)
    except (HeatmapError, AssertionError) as error:
        said = str(error).splitlines()[0]
    assert len(said) < 700
