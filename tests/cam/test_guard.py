"""A model is given back exactly as it was found."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam.cam import guard
from pytest_gradcam.cam.guard import parts_of, untouched
from tests.states import same, state_of


class Odd(nn.Module):
    """Train mode in one part, a frozen part, a grad in store, a counter that counts in every forward pass."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.frozen = nn.Conv2d(4, 2, 1).requires_grad_(False)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("nothing", None)
        self.train()
        self.norm.eval()
        self.conv.weight.grad = torch.ones_like(self.conv.weight)

    def forward(self, x):
        self.calls += 1
        return self.frozen(self.norm(self.conv(x))).mean((2, 3))


def meddle(model):
    """What a forward pass, a target or an explanation method could do."""
    model(torch.randn(1, 3, 8, 8))
    random.random()
    np.random.rand()
    model.train()
    model.conv.weight.grad = None
    model.frozen.weight.requires_grad_(True)
    model.calls = torch.tensor(7.0)


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("outside", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_left(raises, outside):
    model = Odd()
    with outside():
        before = state_of(model)
        try:
            with untouched(model):
                assert not any(module.training for module in model.modules())
                assert not any(p.requires_grad for p in model.parameters())
                assert torch.is_grad_enabled()
                assert not torch.is_inference_mode_enabled()
                meddle(model)
                if raises:
                    raise RuntimeError("in the middle")
        except RuntimeError:
            assert raises
        assert same(before, state_of(model))


def test_the_comparison_itself_notices_each_change():
    changes = [
        lambda m: m.train(),
        lambda m: m.frozen.weight.requires_grad_(True),
        lambda m: setattr(m.conv.weight, "grad", None),
        lambda m: m.calls.add_(1),
        lambda m: m.conv.register_forward_hook(lambda *_: None),
        lambda m: torch.rand(1),
        lambda m: random.random(),
        lambda m: np.random.rand(),
    ]
    for change in changes:
        model = Odd()
        before = state_of(model)
        change(model)
        assert not same(before, state_of(model))


def test_without_pytorchs_counter_of_writes_the_buffers_are_what_they_were(monkeypatch):
    monkeypatch.setattr(guard, "_COUNTER", "_renamed")
    model = Odd()
    values = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with untouched(model):
        model(torch.randn(1, 3, 8, 8))
        assert model.calls == 1
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, values[name], rtol=0, atol=0)


def test_a_buffer_that_a_forward_pass_deletes_is_put_back():
    model = Odd()
    calls = model.calls
    with untouched(model):
        del model.calls
    assert dict(model.named_buffers())["calls"] is calls


def test_shared_modules_and_parameters_count_once_and_buffers_with_each_of_their_names():
    model = Odd()
    model.again = model.conv
    model.register_buffer("same", model.calls)
    parts = parts_of(model)
    assert len(parts.modules) == 4
    assert parts.count == 3 * 4 * 9 + 4 + 4 + 4 + 4 * 2 + 2
    assert [name for module, name, _ in parts.buffers if module is model] == ["calls", "same"]
