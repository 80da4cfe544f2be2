"""A model is given back exactly as it was found."""

import gc
import random
import weakref
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state import tensors
from pytest_gradcam.state.guard import untouched
from pytest_gradcam.state.parts import parts_of
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
    monkeypatch.setattr(tensors, "_COUNTER", "_renamed")
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


class Writes(nn.Module):
    """A forward pass that writes where PyTorch does not count it, or changes which tensors there are."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Linear(8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.register_buffer("state", torch.zeros(8))
        self.register_buffer("none", None)
        self.register_buffer("nan", torch.full((2,), torch.nan), persistent=False)
        self.plain = torch.zeros(8)
        self.bank, self.seen, self.sizes = {"bank": torch.zeros(8)}, [], {}
        self.how = how

    def forward(self, x):
        x = torch.relu(self.conv(x))
        x = getattr(self, self.how)(x, x.detach().mean((0, 2, 3)))
        return self.head(x.mean((2, 3)))

    def statistics_of_the_batch(self, x, _means):
        norm = self.norm
        return nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=True)

    def norm_in_training(self, x, _means):
        self.norm.train()
        return self.norm(x)

    def data(self, x, means):
        self.state.data.mul_(0.9).add_(means)
        return x

    def numpy(self, x, _means):
        self.state.numpy()[0] += 1
        return x

    def new_memory(self, x, means):
        self.state.data = self.state + means
        return x

    def new_shape(self, x, _means):
        self.state.data = torch.ones(3)
        return x

    def was_none(self, x, means):
        self.none = means.mean()
        return x

    def made_in_forward(self, x, means):
        if "grid" not in self._buffers:
            self.register_buffer("grid", means, persistent=False)
        return x

    def deleted(self, x, means):
        del self.state
        self.state = means
        return x

    def made_and_named_in_another_order(self, x, _means):
        self._buffers["state"] = self._buffers.pop("state")
        return x

    def plain_attribute(self, x, means):
        self.plain.data.add_(means)
        self.plain = means
        return x

    def in_a_dict(self, x, means):
        self.bank["bank"].data.add_(means)
        self.bank["more"] = means
        return x

    def in_a_list(self, x, means):
        self.seen.append(means)
        self.sizes[x.shape] = means
        return x

    def default_dtype(self, x, _means):
        torch.set_default_dtype(torch.float64)
        return x

    def parameter_replaced(self, x, means):
        self.head.weight = nn.Parameter(self.head.weight + means)
        return x

    def parameter_in_new_memory(self, x, _means):
        self.head.weight.data = 2 * self.head.weight.data
        return x

    def module_added(self, x, _means):
        self.more = nn.ReLU()
        return self.more(x)

    def hook_added(self, x, _means):
        self.head.register_forward_hook(lambda *_: None)
        return x


@pytest.mark.parametrize(
    "how", [name for name in vars(Writes) if name not in ("__init__", "forward") and name[0] != "_"]
)
def test_what_a_forward_pass_writes_is_given_back(how):
    model = Writes(how).eval()
    image = torch.rand(3, 32, 32)
    before, plain = state_of(model), model.plain
    weights = {name: value.clone() for name, value in {**model.state_dict(), "plain": plain}.items()}
    names, unsaved = [*model._buffers], set(model._non_persistent_buffers_set)
    Explainer(model)(image, 0)
    now = state_of(model)
    for state in (before, now):  # NaN is not equal to itself
        state["buffers"] = [(name, i, value.nan_to_num(9)) for name, i, value in state["buffers"]]
    assert same(before, now)
    assert same(weights, {**model.state_dict(), "plain": model.plain})
    assert model.plain is plain
    assert torch.get_default_dtype() == torch.float32
    assert (list(model.bank), bool(model.bank["bank"].any()), model.seen, model.sizes) == (["bank"], False, [], {})
    assert [*model._buffers] == names
    assert model._non_persistent_buffers_set == unsaved


def test_no_write_is_counted_where_none_is_needed():
    model = Odd()
    before = [tensor._version for tensor in (*model.buffers(), *model.parameters())]
    with untouched(model):
        model.conv(torch.rand(1, 3, 8, 8))
    assert [tensor._version for tensor in (*model.buffers(), *model.parameters())] == before


def test_a_model_that_writes_to_its_parameters_is_refused_by_the_parameters_name():
    class Drifts(nn.Sequential):
        def forward(self, x):
            with torch.no_grad():
                self[0].weight.mul_(0.99)
            return super().forward(x).mean((2, 3))

    with pytest.raises(HeatmapError, match=r"writes to its parameter 0\.weight in a forward pass"):
        Explainer(Drifts(nn.Conv2d(3, 4, 3), nn.ReLU()))(torch.rand(3, 8, 8), 0)


def test_a_lazy_model_without_weights_is_refused_and_left_lazy():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3))
    explainer = Explainer(model)
    for call in (explainer, lambda image: explainer.predict([image])):
        with pytest.raises(HeatmapError, match=r"0\.weight has no values yet.*run the model once"):
            call(torch.rand(3, 8, 8))
    assert isinstance(model[0], nn.LazyConv2d)
    model(torch.rand(1, 3, 8, 8))
    assert explainer(torch.rand(3, 8, 8), 0).grid.max() >= 0


class Anchored(nn.Module):
    """Keeps a table for the size of its last input, as detectors keep their anchors."""

    def __init__(self):
        super().__init__()
        self.size, self.table = None, torch.zeros(0)

    def forward(self, x):
        if self.size != x.shape:
            self.size, self.table = x.shape, torch.arange(float(x[0].numel()))
        return x + self.table.reshape(x.shape[1:])


@pytest.mark.parametrize("before", [None, (1, 1, 2, 2)])
def test_a_table_and_the_size_that_it_is_for_are_put_back_together(before):
    model, other = Anchored(), torch.zeros(1, 1, 3, 4)
    if before:
        model(torch.zeros(before))
    with untouched(model):
        model(other)
    assert model.size == before
    assert model(other).max() == 11


@pytest.mark.parametrize(
    "write",
    [
        lambda weight: weight.data.mul_(1.5),
        lambda weight: weight.data.copy_(weight.data.flip(0)),  # the same values elsewhere
        lambda weight: weight.detach().numpy().__imul__(1.5),
        lambda weight: weight.data.copy_(torch.nn.functional.normalize(weight.data)),
    ],
)
def test_parameters_written_where_pytorch_does_not_count_it(write):
    class Net(nn.Sequential):
        def forward(self, x):
            write(self[-1].weight)
            return super().forward(x)

    model = Net(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()
    with pytest.raises(HeatmapError, match="the model writes to its parameter 4.weight in a forward pass"):
        Explainer(model)(torch.rand(3, 16, 16), 0)


class Remembering(nn.Module):
    """Keeps what it saw in whatever it holds as `memory`, and puts a hook on its layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.memory = None

    def forward(self, x):
        if isinstance(self.memory, list):
            self.memory.append(x)
        elif isinstance(self.memory, dict):
            self.memory["seen"] = x
        elif isinstance(self.memory, torch.Tensor):
            self.memory.data.add_(1)
            self.memory = x
        self.layer.register_forward_hook(lambda *_: None)
        return self.layer(x)


def tensor_in_the_same_list(model):
    model.memory = []
    with untouched(model):
        model(torch.ones(1, 2))
    model.memory.append(torch.ones(2))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model, "memory", []),
        lambda model: setattr(model, "memory", {}),
        lambda model: setattr(model, "memory", torch.zeros(2)),
        lambda model: setattr(model, "memory", [torch.zeros(2)]),
        lambda model: setattr(model.layer, "_forward_hooks", OrderedDict()),
        lambda model: setattr(model.layer, "_forward_hooks", OrderedDict({7: lambda *_: None})),
        lambda model: model._modules.update(layer=nn.Linear(2, 3)),
        tensor_in_the_same_list,
    ],
    ids=["list", "dict", "tensor", "list of tensors", "no hooks", "hooks", "layer", "tensor in the same list"],
)
def test_what_came_since_the_last_pass_is_kept_as_well(change):
    model = Remembering()
    with untouched(model):
        model(torch.ones(1, 2))
    change(model)
    memory, layer, hooks = model.memory, model.layer, dict(model.layer._forward_hooks)
    content = [*(memory.values() if isinstance(memory, dict) else [] if memory is None else memory)]
    with untouched(model):
        model(torch.ones(1, 2))
    assert model.memory is memory
    assert model.layer is layer
    assert layer._forward_hooks == hooks
    now = [*(memory.values() if isinstance(memory, dict) else [] if memory is None else memory)]
    assert len(now) == len(content)
    assert all(torch.equal(one, other) for one, other in zip(now, content, strict=True))
    if isinstance(memory, torch.Tensor):
        assert not memory.any()


@pytest.mark.parametrize("hold", [lambda tensor: tensor, lambda tensor: [tensor], lambda tensor: {"a": tensor}])
def test_a_tensor_that_the_model_lets_go_of_is_freed(hold):
    model, big = nn.Sequential(Remembering()), torch.zeros(5)
    model[0].memory, alive = hold(big), weakref.ref(big)
    del big
    for _ in range(2):
        with untouched(model) as parts:
            pass
    model[0].memory = None
    gc.collect()
    assert alive() is None
    assert parts.modules[0] is model


class Averaging(nn.Module):
    """Subtracts the mean of what it has seen, which it begins in its first pass and keeps as `kind` says."""

    def __init__(self, kind):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 3)
        self.kind, self.memory = kind, None

    def forward(self, x):
        found = self.layers(x).mean((2, 3))
        now = found.detach().mean(0)
        if self.kind == "in place":
            self.memory = now.clone() if self.memory is None else self.memory.mul_(0.5).add_(now)
            return self.head(found - self.memory)
        if self.memory is None:
            self.memory = []
        self.memory.append(now)
        return self.head(found - sum(self.memory))


@pytest.mark.parametrize("kind", ["in place", "list"])
def test_what_a_pass_begins_is_put_back_after_each_pass_within(kind):
    model, image = Averaging(kind).eval(), torch.ones(1, 3, 12, 12)
    with untouched(model):
        model(image)
        expected = []
        for _ in range(2):
            with untouched(model):
                expected.append(model(image))
    assert torch.equal(*expected)


@pytest.mark.parametrize("kind", ["in place", "list"])
def test_a_memory_that_begins_in_the_first_pass_is_no_chance(kind):
    assert Explainer(Averaging(kind).eval())(torch.rand(3, 16, 16), 0).grid.shape


def test_complex_numbers_with_gaps_are_put_back():
    model = Remembering()
    model.memory = torch.zeros(8, dtype=torch.complex128)[::2]
    with untouched(model):
        model(torch.ones(1, 2))
    assert not model.memory.any()
