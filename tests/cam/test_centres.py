"""Where the cells of layers without padding lie, against closed forms, gradients and planted pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_gradcam import Explainer
from pytest_gradcam.cam import trace
from pytest_gradcam.cam.centres import is_mixed, way
from pytest_gradcam.cam.sites import Site, read_layout
from pytest_gradcam.evidence.record import Centres


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Whole(nn.Module):
    """A function of an image as a layer, so that its output can be named."""

    def __init__(self, function: Callable[[Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Holder(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def found(net: nn.Module, side: tuple[int, int] = (32, 32)) -> Centres | None:
    start = torch.randn(1, 3, *side, requires_grad=True).clone()
    traced = trace.run(Holder(net).eval(), start)
    output = next(each for each in reversed(traced.outputs.values()) if "net" in each.names)
    layout = read_layout(output.shape, side, set())
    assert layout is not None
    known = way(output, Site("net", 0, (), layout.axes, layout.grid, layout.prefix), start)
    return known and known.centres(layout.grid, side)


def _conv(*arguments: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(3, 3, *arguments, **options)


def _gated(x: Tensor, net: nn.Module) -> Tensor:
    x = net(x)
    return x * x.mean((2, 3), keepdim=True).sigmoid()


_THREE = nn.Sequential(_conv(3), nn.BatchNorm2d(3), nn.ReLU(), _conv(3), nn.GELU(), _conv(3), nn.Dropout(0.1))
_SMALL, _WIDE = _conv(3, padding=1), _conv(9)
_RESIDUAL = nn.Sequential(_conv(5), Whole(lambda x: x + _SMALL(x).relu()), nn.SiLU())

PLACED: dict[str, tuple[nn.Module, float, float]] = {
    "three convolutions": (_THREE, 3, 1),
    "LeNet": (nn.Sequential(_conv(5), nn.MaxPool2d(2), nn.ReLU(), _conv(5), nn.MaxPool2d(2)), 7.5, 4),
    "strides": (nn.Sequential(_conv(3, 2), nn.ReLU(inplace=True), _conv(3, 2)), 3, 4),
    "dilation": (_conv(3, dilation=4), 4, 1),
    "average pool": (nn.Sequential(_conv(5), nn.AvgPool2d(3, 2)), 3, 2),
    "AlexNet": (nn.Sequential(_conv(11, 4, 2), nn.MaxPool2d(3, 2)), 7, 8),
    "a crop": (nn.Sequential(Whole(lambda x: x[:, :, 4:-4, 4:-4]), _conv(3, padding=1)), 4, 1),
    "a crop from the end": (Whole(lambda x: x[:, :, -20:, -20:]), 12, 1),
    "padding that is too wide": (_conv(3, 2, 9), -8, 2),
    "enlarged": (nn.Sequential(_conv(9), nn.Upsample(scale_factor=2, mode="bilinear"), nn.AvgPool2d(4)), 4.5, 2),
    "a transposed convolution": (nn.Sequential(_conv(9), nn.ConvTranspose2d(3, 3, 2, 2), nn.AvgPool2d(4)), 4.5, 2),
    "a residual block": (_RESIDUAL, 2, 1),
    "a gate": (Whole(lambda x: _gated(x, _WIDE)), 4, 1),
    "channels last": (Whole(lambda x: nn.functional.gelu(_WIDE(x).permute(0, 2, 3, 1))), 4, 1),
    "patches merged": (
        nn.Sequential(
            _conv(5, 1),
            Whole(lambda x: torch.cat([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)),
        ),
        2.5,
        2,
    ),
    "adaptive pool": (nn.Sequential(_conv(9), nn.AdaptiveAvgPool2d(6)), 5.5, 4),
    "functions": (
        Whole(lambda x: nn.functional.max_pool2d(nn.functional.conv2d(x, torch.ones(3, 3, 9, 9), padding=1), 2)),
        3.5,
        2,
    ),
    "reflected": (nn.Sequential(nn.ReflectionPad2d(1), _conv(7)), 2, 1),
    "columns exchanged twice": (Whole(lambda x: _WIDE(x.transpose(2, 3)).transpose(2, 3)), 4, 1),
}


@pytest.mark.parametrize("name", PLACED)
def test_cells_without_padding_lie_where_the_arithmetic_says(name: str) -> None:
    net, first, step = PLACED[name]
    assert found(net) == ((first, step), (first, step))


def test_rows_and_columns_may_differ() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, (3, 3), padding=(0, 1)), nn.ReLU())
    assert found(net, (64, 96)) == ((1, 1), (0, 1))


TILED: dict[str, nn.Module] = {
    "padded": nn.Sequential(_conv(3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    "ResNet's stem": nn.Sequential(_conv(7, 2, 3), nn.MaxPool2d(3, 2, 1), _conv(3, 2, 1)),
    "patches": _conv(8, 8),
    "padded on one side": nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), _conv(3, 2)),
    "ceil": nn.Sequential(_conv(7, 2, 3), nn.MaxPool2d(3, 2, ceil_mode=True)),
}
UNCLEAR: dict[str, nn.Module] = {
    "mirrored": nn.Sequential(_conv(9), Whole(lambda x: x.flip(3))),
    "rolled": nn.Sequential(_conv(9), Whole(lambda x: x.roll(2, 3))),
    "looks at two places": Whole(lambda x: x[:, :, :24, :24] + x[:, :, 8:, 8:]),
    "looks at two scales": Whole(lambda x: x[:, :, :16, :16] + nn.functional.avg_pool2d(x, 2)),
    "pooled": Whole(lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 9, 9) * 1),
    "rows and columns exchanged": Whole(lambda x: _WIDE(x).transpose(2, 3)),
}


@pytest.mark.parametrize("name", [*TILED, *UNCLEAR])
def test_cells_that_tile_the_input_or_have_no_clear_centre_stay_where_they_are(name: str) -> None:
    assert found({**TILED, **UNCLEAR}[name]) is None


def _dense(net: nn.Module) -> nn.Module:
    """The net without what chooses by value: its gradient reaches all that a cell can see."""
    copy = deepcopy(net).double().eval()
    for name, module in list(copy.named_children()):
        if isinstance(module, nn.MaxPool2d):
            setattr(copy, name, nn.AvgPool2d(module.kernel_size, module.stride))
        elif isinstance(module, nn.ReLU):
            setattr(copy, name, nn.Identity())
    return copy


@pytest.mark.parametrize("name", ["three convolutions", "LeNet", "strides", "dilation", "average pool", "AlexNet"])
def test_the_support_of_the_gradient_has_the_same_centre(name: str) -> None:
    (first, step), _ = found(PLACED[name][0]) or ((0, 0), (0, 0))
    net = _dense(PLACED[name][0])
    image = torch.randn(1, 3, 32, 32, dtype=torch.double, requires_grad=True)
    output = net(image)
    for cell in (0, output.shape[2] // 2, output.shape[2] - 1):
        (slope,) = torch.autograd.grad(output[0, :, cell].sum(), image, retain_graph=True)
        rows = slope.abs().sum((0, 1, 3)).nonzero()[:, 0]
        if rows.min() > 0 and rows.max() < 31:
            assert (rows.min() + rows.max()) / 2 == first + step * cell


class Bright(nn.Module):
    """Says how bright the brightest place is, through convolutions without padding that only blur."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)
        for module in self.net:
            if isinstance(module, nn.Conv2d):
                nn.init.constant_(module.weight, 1 / module.weight[0].numel())
                nn.init.zeros_(module.bias)
        self.head = nn.Linear(3, 2)
        nn.init.constant_(self.head.weight, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x).mean((2, 3)))


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "scorecam"])
@pytest.mark.parametrize(
    ("layers", "grid", "within"),
    [
        ([_conv(5), nn.ReLU(), _conv(5), nn.ReLU(), _conv(3), _conv(3), _conv(3)], 34, 0.5),
        ([_conv(3, 2), nn.ReLU(), _conv(3, 1), nn.ReLU(), _conv(3, 1), _conv(3, 1)], 17, 1),
        ([_conv(5), nn.MaxPool2d(2), _conv(5), nn.MaxPool2d(2)], 9, 2),
    ],
)
@pytest.mark.parametrize("place", [(12, 12), (36, 12), (13, 35), (30, 31)])
def test_the_peak_lies_on_a_planted_spot(
    layers: list[nn.Module], grid: int, within: float, place: tuple[int, int], method: str
) -> None:
    down, across = place
    image = torch.zeros(3, 48, 48)
    image[:, down - 1 : down + 2, across - 1 : across + 2] = 1
    heatmap = Explainer(Bright(*layers), layer="net", method=method)(image, 0)
    assert heatmap.grid.shape == (grid, grid)
    rows, columns = np.nonzero(heatmap.values >= 0.999 * heatmap.values.max())
    assert abs(rows.mean() - down) <= within
    assert abs(columns.mean() - across) <= within
    assert heatmap.subject.centres is not None


def _attended(x: Tensor, *, skip: bool) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    told = (tokens @ tokens.transpose(1, 2)).softmax(2) @ tokens
    return told + tokens if skip else told


MIXED: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "attention": (lambda x: _attended(x, skip=False), True),
    "attention with a way around": (lambda x: _attended(x, skip=True), False),
    "a mean": (lambda x: x.mean((2, 3), keepdim=True).expand_as(x) * 1, True),
    "a gate": (lambda x: _gated(x, _WIDE), False),
    "tokens": (lambda x: nn.functional.linear(x.flatten(2).transpose(1, 2), torch.ones(3, 3)).relu(), False),
}


@pytest.mark.parametrize("name", MIXED)
def test_a_layer_is_mixed_if_all_came_through_sums_over_places(name: str) -> None:
    function, expected = MIXED[name]
    start = torch.randn(1, 3, 16, 16, requires_grad=True).clone()
    traced = trace.run(Holder(Whole(function)), start)
    output = next(each for each in traced.outputs.values() if "net" in each.names)
    assert is_mixed(output, start) is expected
