"""Gradients kept as their few rows are the same tensors as with their zeros, whatever is done with them."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer
from pytest_gradcam.cam import zeros
from pytest_gradcam.cam.capture import capture
from pytest_gradcam.cam.few_rows import FewRows, filled, placed
from pytest_gradcam.cam.sites import Site
from pytest_gradcam.state.guard import untouched

SHAPE = (2, 5, 3, 4)


def few(seed=0):
    """Rows at index 2 of axis 1, and the same tensor with its zeros."""
    rows = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed))
    whole = torch.zeros(SHAPE)
    whole[:, 2] = rows
    return placed(rows, SHAPE, 1, 2), whole


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.view(30, 4),
        lambda x: x.view(10, 3, 1, 4),
        lambda x: x.transpose(0, 1),
        lambda x: x.permute(2, 0, 1, 3),
        lambda x: x.permute(2, 0, 1, 3).unsqueeze(1).transpose(0, 2),
        lambda x: x.permute(2, 0, 1, 3).contiguous().view(15, 2, 4),
        lambda x: x.unsqueeze(0).squeeze(0).detach().expand(2, 5, 3, 4),
    ],
)
def test_views_move_the_rows(view):
    found, expected = map(view, few())
    assert isinstance(found, FewRows)
    assert found.is_lazy
    assert found.stride() == expected.stride()
    torch.testing.assert_close(filled(found), expected)


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x.view(30, 4) @ torch.arange(8.0).view(4, 2),
        lambda x: x * torch.arange(4.0),
        lambda x: x * torch.arange(60.0).view(5, 3, 4),
        lambda x: x * torch.arange(5.0).view(5, 1, 1),
        lambda x: x + few(1)[0],
        lambda x: x + placed(torch.ones(2, 3, 4), SHAPE, 1, 0) + few(1)[0],
        lambda x: torch.ops.aten.gelu_backward(
            x, torch.arange(60.0).view(1, 5, 3, 4).expand(SHAPE), approximate="tanh"
        ),
    ],
)
def test_what_works_row_by_row_stays_a_few_rows(operation):
    lazy, whole = few()
    found = operation(lazy)
    assert isinstance(found, FewRows)
    assert found.is_lazy
    torch.testing.assert_close(filled(found), filled(operation(whole)))


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x.transpose(2, 3),
        lambda x: x.reshape(2, 5, 12),
        lambda x: x.view(2, 5, 3, 2, 2),
        lambda x: x.expand(3, *SHAPE),
        lambda x: x * torch.ones(3, 1, 1, 1, 4),
        lambda x: (x.view(30, 4) @ torch.ones(4, 1)) * torch.arange(5.0),
        lambda x: x.view(1, 30, 4) * torch.ones(2, 30, 1),
        lambda x: x + 1,
        lambda x: x + torch.ones(SHAPE),
        lambda x: x.sum((0, 1)),
        lambda x: torch.stack([x, x]),
        lambda x: torch.ones(SHAPE) * x,
        lambda x: torch.arange(60.0).view(2, 30) @ x.view(30, 4),
        lambda x: x[:, 2],
    ],
)
def test_for_everything_else_its_zeros_are_written(operation):
    found, expected = map(operation, few())
    assert not isinstance(found, FewRows)
    torch.testing.assert_close(found, expected)


def test_what_is_changed_in_place_is_changed_in_all_views():
    tensors = []
    for tensor in few():
        view = tensor.transpose(0, 1).unsqueeze(0)
        copy = tensor.clone()
        view[0, 1, 0] = 7
        tensor.mul_(2)
        tensors.append([filled(each) for each in (tensor, view, tensor.view(30, 4), copy, tensor * torch.ones(4))])
    for found, expected in zip(*tensors, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("shape", "axis"), [((5, 4), 1), ((2, 4), 0), ((5, 1), 0)])
def test_a_tensor_of_which_much_or_no_row_was_read_has_none(shape, axis):
    assert placed(torch.ones(shape).select(axis, 0), shape, axis, 0) is None


class Tokens(nn.Module):
    """A transformer's block of 3 x 3 patches and as many class tokens as are read, in one of the usual ways to write it."""

    def __init__(self, kind, prefix):
        super().__init__()
        self.kind, self.prefix = kind, prefix
        self.patches, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
        self.token, self.scale = nn.Parameter(torch.randn(1, prefix, 8)), nn.Parameter(torch.rand(8))
        self.packed = nn.MultiheadAttention(8, 2, batch_first=True)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.after, self.up, self.down, self.head = (
            nn.LayerNorm(8),
            nn.Linear(8, 16),
            nn.Linear(16, 8),
            nn.Linear(8, 6),
        )
        self.double()

    def forward(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        read = self.norm(tokens)
        tokens = tokens + (self.by_head(read) if self.kind != "packed" else self.packed(read, read, read)[0])
        tokens = tokens + self.scale * self.down(self.activation(self.up(self.after(tokens))))
        if self.kind == "sliced":
            return self.head(tokens[:, : self.prefix]).mean(1)
        return sum(self.head(self.after(tokens)[:, i]) for i in range(self.prefix))

    def by_head(self, read):
        query, key, value = self.qkv(read).reshape(len(read), -1, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mask = torch.eye(query.shape[2], dtype=torch.double) if self.kind == "masked" else None
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, mask)
        return self.out(mixed.transpose(1, 2).reshape(len(read), -1, 8))

    def activation(self, x):
        return {"quick": x * torch.sigmoid(1.7 * x), "silu": nn.functional.silu(x)}.get(
            self.kind, nn.functional.gelu(x)
        )


def captured_of(model, prefix, count=1):
    site = Site("norm", 0, (), "BNC", (3, 3), prefix)
    images = torch.randn(count, 3, 12, 12, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    return capture(model, images, site)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("prefix", [1, 2])
@pytest.mark.parametrize("kind", ["packed", "split", "masked", "quick", "silu", "sliced"])
def test_gradients_of_class_tokens_are_those_of_plain_autograd(kind, prefix):
    """One class, several, and one for each of several images."""
    torch.manual_seed(0)
    model = Tokens(kind, prefix)
    with untouched(model):
        for count in (1, 3):
            captured = captured_of(model, prefix, count)
            found = [captured.gradients_of_classes(torch.eye(6, dtype=torch.double)[:count])]
            seeds = [torch.eye(6, dtype=torch.double)[:count]]
            if count == 1:
                seeds.append(torch.eye(6, dtype=torch.double)[:4])
                found.append(captured.gradients_of_classes(seeds[1]))
            for gradients, seed in zip(found, seeds, strict=True):
                each = [seed] if count > 1 else list(seed[:, None])
                plain = [torch.autograd.grad(captured.output, captured.leaf, s, retain_graph=True)[0] for s in each]
                expected = captured.site.spatial(torch.cat(plain))
                assert type(gradients) is torch.Tensor
                assert expected.any()
                np.testing.assert_allclose(gradients, expected, atol=1e-12)


class Abroad(torch.autograd.Function):
    """The identity, whose backward pass is in NumPy and changes its argument."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        array = grad.numpy()
        array[..., 0] *= 2
        return torch.from_numpy(array)


def test_a_backward_pass_in_another_language_gets_its_zeros():
    torch.manual_seed(0)
    model = Tokens("split", 1)
    model.activation = Abroad.apply
    with untouched(model):
        captured = captured_of(model, 1)
        plain = torch.autograd.grad(captured.output[0, 2], captured.leaf, retain_graph=True)[0]
        found = captured.gradients_of_classes(torch.eye(6, dtype=torch.double)[2:3])
    np.testing.assert_allclose(found, captured.site.spatial(plain), atol=1e-12)


class Noting(torch.autograd.Function):
    """The identity, whose backward pass notes what it is given."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        seen.append(grad)
        return grad


seen = []


def hooked(x):
    if x.requires_grad:
        x.register_hook(seen.append)
    return x


def kept(x):
    """Has the gradient kept."""
    if x.requires_grad:
        x.retain_grad()
        seen.append(x)
    return x


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook")
@pytest.mark.parametrize(
    "see",
    [
        lambda model: setattr(model, "activation", Noting.apply),
        lambda model: setattr(model, "activation", kept),
        lambda model: setattr(model, "activation", hooked),
        lambda model: model.down.register_full_backward_hook(lambda _module, _ins, outs: seen.append(outs[0])),
        lambda model: model.down.register_full_backward_pre_hook(lambda _module, outs: seen.append(outs[0])),
        lambda model: model.down.register_backward_hook(lambda _module, _ins, outs: seen.append(outs[0])),
    ],
    ids=["function", "kept", "hook", "module", "before module", "module, not full"],
)
def test_what_a_model_sees_of_its_gradients_are_plain_tensors_with_memory(see):
    torch.manual_seed(0)
    model = Tokens("split", 1)
    see(model)
    seen.clear()
    before = dict(vars(torch.Tensor))
    with untouched(model):
        captured_of(model, 1).gradients_of_classes(torch.eye(6, dtype=torch.double)[2:3])
    (found,) = (each if each.grad is None else each.grad for each in seen)
    assert type(found) is torch.Tensor
    assert found.data_ptr()
    assert dict(vars(torch.Tensor)) == before


def test_where_the_subclass_cannot_be_made_the_maps_are_the_same(monkeypatch):
    model, image = Tokens("packed", 1), torch.randn(3, 12, 12, dtype=torch.double)
    expected = Explainer(model, layer="norm").compare(image, range(4))
    zeros._zeros_skipped.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(FewRows, "__new__", None)
        found = Explainer(model, layer="norm").compare(image, range(4))
        assert zeros._zeros_skipped() is None
    zeros._zeros_skipped.cache_clear()
    for target, heatmap in expected.items():
        np.testing.assert_allclose(found[target].grid, heatmap.grid, atol=1e-6 * heatmap.grid.max())
