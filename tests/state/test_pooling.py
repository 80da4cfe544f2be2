"""Max pooling under the guard: the same bits as PyTorch's, and PyTorch's own again afterwards."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pytest_gradcam.state.guard import untouched
from pytest_gradcam.state.pooling import pool_in_channels_last
from pytest_gradcam.state.undo import undoing

SPECIAL = (0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1.0)


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 3), st.integers(7, 20), st.integers(3, 20), st.integers(3, 20)),
    kernel=st.sampled_from([2, 3, (2, 3)]),
    stride=st.sampled_from([None, 1, 2]),
    padding=st.integers(0, 1),
    dilation=st.integers(1, 2),
    ceil_mode=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_every_pooling_gives_the_bits_of_pytorch(
    seed: int, shape: tuple[int, ...], dtype: torch.dtype, **how: Any
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(shape, generator=generator).to(dtype)
    where = torch.rand(shape, generator=generator) < 0.3
    image[where] = torch.tensor(SPECIAL, dtype=dtype)[torch.randint(len(SPECIAL), shape, generator=generator)][where]
    kernel = how["kernel"] if isinstance(how["kernel"], tuple) else (how["kernel"],) * 2
    if any(how["dilation"] * (k - 1) + 1 > size for k, size in zip(kernel, shape[2:], strict=True)):
        return
    expected = functional.max_pool2d(image, how.pop("kernel"), **how)
    with undoing(pool_in_channels_last):
        found = functional.max_pool2d(image, kernel, **how)
    assert found.is_contiguous() == expected.is_contiguous()
    whole = torch.int16 if dtype == torch.bfloat16 else {4: torch.int32, 8: torch.int64}[dtype.itemsize]
    both_nan = found.isnan() & expected.isnan()
    assert torch.equal(found.view(whole)[~both_nan], expected.view(whole)[~both_nan])
    assert torch.equal(found.isnan(), expected.isnan())


def test_it_is_used_in_a_model_and_given_back() -> None:
    seen: list[bool] = []

    class Seeing(nn.MaxPool2d):
        def forward(self, x: torch.Tensor) -> Any:
            seen.append(torch.max_pool2d is before)
            return super().forward(x)

    before = torch.max_pool2d
    model = nn.Sequential(Seeing(2))
    with untouched(model):
        model(torch.randn(1, 8, 6, 6))
    assert seen == [False]
    assert torch.max_pool2d is before


def test_one_that_somebody_else_put_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs: Any = Mock(return_value="theirs")
    monkeypatch.setattr(torch, "max_pool2d", theirs)
    with undoing(pool_in_channels_last):
        functional.max_pool2d(torch.zeros(1, 8, 4, 4), 2)
    theirs.assert_called_once()
    assert torch.max_pool2d is theirs


@pytest.mark.parametrize(
    "call",
    [
        lambda x: functional.max_pool2d(x, 2, return_indices=True),
        lambda x: functional.max_pool2d(x, 2, None, 0, 1, False, True),
        lambda x: functional.max_pool2d(x.double(), 2, return_indices=False),
        lambda x: functional.max_pool2d(input=x, kernel_size=2),
        lambda x: functional.max_pool2d(x[0], 2),
        lambda x: functional.max_pool2d(x, x.shape[2:]),
        lambda x: functional.max_pool2d(x[:, :, :1, :1].contiguous(), 1),
        lambda x: torch.max_pool2d(x, 2),
        lambda x: torch.max_pool2d(input=x, kernel_size=2, ceil_mode=True),
        lambda x: functional.max_pool2d(x.to(memory_format=torch.channels_last), 2),
        lambda x: functional.max_pool2d(x.clone().requires_grad_(), 2),
        lambda x: functional.max_pool2d(x, kernel_size=2, stride=1),
        lambda x: torch.func.vmap(lambda y: functional.max_pool2d(y, 2))(x[None].expand(3, *x.shape).contiguous()),
    ],
)
def test_every_way_to_call_it(call: Any) -> None:
    image = torch.randn(2, 9, 6, 8)
    expected = call(image)
    with undoing(pool_in_channels_last):
        found = call(image)
    pairs = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
    for one, other in pairs:
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
        assert one.requires_grad == other.requires_grad


@pytest.mark.parametrize(
    "call",
    [
        functional.max_pool2d,
        lambda x: functional.max_pool2d(x, 3, 1, -1),
        lambda x: functional.max_pool2d(x, 20),
        lambda x: functional.max_pool2d(x.to(torch.float8_e4m3fn), 2),
        lambda x: functional.max_pool2d(x[None], 2),
    ],
)
def test_what_cannot_be_pooled_is_refused_in_the_words_of_pytorch(call: Any) -> None:
    image, messages = torch.randn(2, 9, 6, 8), []
    for begin in (lambda: None, pool_in_channels_last):
        with undoing(begin), pytest.raises(Exception, match=".") as error:
            call(image)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


class Pooled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(x, 3)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_a_model_may_compile_or_trace_its_pooling_in_a_forward_pass() -> None:
    image = torch.randn(2, 9, 6, 8)
    with undoing(pool_in_channels_last):
        scripted, traced = torch.jit.script(Pooled()), torch.fx.symbolic_trace(Pooled())
    assert "gradcam" not in traced.code
    for made in (scripted, traced):
        assert torch.equal(made(image), functional.max_pool2d(image, 3))


class Listed(torch.Tensor):
    """Notes which functions it is given to."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        seen.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


seen: list[Any] = []


def test_tensors_of_another_kind_are_given_to_the_function_that_they_know() -> None:
    image = torch.randn(2, 9, 6, 8).as_subclass(Listed)
    seen.clear()
    with undoing(pool_in_channels_last):
        functional.max_pool2d(image, 2)
    assert functional.max_pool2d in seen
