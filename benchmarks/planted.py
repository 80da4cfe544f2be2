"""Whether the heatmap peaks on what decides, in models of many kinds that decide by a patch of pixels.

A small model of each kind, with random weights, learns within some dozen steps to tell images with a 64-pixel patch of
one colour and texture, at a random place, from the same images without it. On new images the patch must decide: every
score is positive with it and negative without it. Then it is counted how often the peak of the map at the layer chosen
with no configuration lies in a cell of the grid that touches the patch, for plain Grad-CAM and for HiResCAM, beside
what chance would give. A map that is positive nowhere has no peak, and every check of it is refused: the share of these is
given in brackets for each method, and the peak is asked of the others. A model that has not learnt it within the step
limit is reported as not decided by the patch, and not counted.
"""

from __future__ import annotations

import argparse
import re
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, interpolate, softplus

from benchmarks.networks import awaken, calibrate
from pytest_gradcam import Explainer, HeatmapError

_TORCHVISION = ("resnet18", "resnet50", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "swin_t")
_TIMM = (
    "mobilenetv3_small_050", "convnext_atto", "repvgg_a0", "vit_tiny_patch16_224", "vit_relpos_small_patch16_224",
    "deit_tiny_distilled_patch16_224", "mixer_s32_224", "resmlp_12_224", "coatnet_nano_rw_224", "maxvit_pico_rw_256",
    "mobilevit_xxs", "efficientformerv2_s0", "levit_128s", "tiny_vit_5m_224", "crossvit_9_240", "tnt_s_patch16_224",
    "cait_xxs24_224", "pit_ti_224", "xcit_nano_12_p16_224", "poolformer_s12", "edgenext_xx_small",
)  # fmt: skip

Size = tuple[int, int]

_PATCH = 64
_PAIRS = 6  # of images with and without the patch, in a step
_LEAST = 20  # steps
_RATES = (3e-4, 1e-3)  # the second one for a model that has not learnt with the first
_WARM_UP = 10
_CLEAR = 2.0  # from zero, for every score of so many steps on end
_ON_END = 5


@dataclass(frozen=True)
class Scenes:
    """Images (n, 3, H, W) of random clouds, the same with the patch, and the top and left of its place in each."""

    plain: Tensor
    patched: Tensor
    corners: list[Size]


@dataclass(frozen=True)
class OnPatch:
    """How many of a method's maps peak on the patch: a share of those that are positive somewhere, NaN if none is.

    `empty` is the share of the others, which every check refuses.
    """

    share: float
    empty: float

    def __str__(self) -> str:
        return f"{self.share:.2f} ({self.empty:.2f})"


@dataclass(frozen=True)
class Peaks:
    """Where the maps of two methods peak, the share of the cells that touch the patch, and the layer."""

    gradcam: OnPatch
    hirescam: OnPatch
    chance: float
    layer: str

    def __str__(self) -> str:
        return f"{self.gradcam!s:>12} {self.hirescam!s:>12} {self.chance:10.2f}  {self.layer}"


@dataclass(frozen=True)
class Limits:
    """The steps that a model may take to learn, the places of the patch that are tried, and the seed of all that is drawn."""

    steps: int
    places: int
    seed: int = 0


def _draw(limits: Limits, purpose: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 * limits.seed + purpose)


def patch() -> Tensor:
    """(3, 64, 64), reddish, of random squares of 4 pixels."""
    squares = torch.randint(0, 2, (3, 16, 16), generator=torch.Generator().manual_seed(7)) * 1.6 - 0.8
    reddish = squares + torch.tensor([2.0, -1.0, -1.0])[:, None, None]
    return interpolate(reddish[None], _PATCH)[0]


def scenes(count: int, size: Size, draw: torch.Generator) -> Scenes:
    plain = torch.cat([_clouds(size, draw) for _ in range(count)])
    corners = [(_place(size[0], draw), _place(size[1], draw)) for _ in range(count)]
    patched = plain.clone()
    for image, (top, left) in zip(patched, corners, strict=True):
        image[:, top : top + _PATCH, left : left + _PATCH] = patch()
    return Scenes(plain, patched, corners)


def _clouds(size: Size, draw: torch.Generator) -> Tensor:
    """One image of a scale, contrast and brightness of its own, with faint colours."""
    cells = int(torch.randint(3, 25, (), generator=draw))
    grey, colour = (torch.randn(1, channels, cells, cells, generator=draw) for channels in (1, 3))
    contrast, brightness = torch.rand((), generator=draw) + 0.2, torch.randn((), generator=draw) / 2
    return interpolate(contrast * (0.8 * grey + 0.3 * colour), size, mode="bicubic") + brightness


def _place(side: int, draw: torch.Generator) -> int:
    return int(torch.randint(side - _PATCH + 1, (), generator=draw))


def built(name: str, seed: int = 0) -> tuple[nn.Module, Size]:
    """A model with random weights and one score, and the input size it is made for."""
    torch.manual_seed(seed)
    model: Any
    if name in _TORCHVISION:
        model, size = torchvision.models.get_model(name, num_classes=1), (224, 224)
    else:
        model = timm.create_model(name, num_classes=1)
        size = model.pretrained_cfg["input_size"][1:]
    awaken(model)
    return model.eval(), size


def taught(name: str, limits: Limits) -> tuple[nn.Module, Size, int]:
    """A model that has learnt to tell whether the patch is there, or tried to, its input size and the steps it took."""
    for rate in _RATES:
        model, size = built(name, limits.seed)
        steps = teach(model, size, rate, limits)
        if steps < limits.steps:
            break
    return model, size, steps


def teach(model: nn.Module, size: Size, rate: float, limits: Limits) -> int:
    """Trains the model to tell whether the patch is there and returns the number of steps.

    It stays in eval mode, with the batch statistics of the first images, so that it is trained as it is used.
    """
    draw = _draw(limits, 1)
    first = scenes(32, size, draw)
    calibrate(model, torch.cat([first.plain[:8], first.patched[8:16]]))
    fit_heads(model, first)
    return _train(model, size, rate, limits, draw)


def fit_heads(model: nn.Module, images: Scenes) -> None:
    """Ridge regression of the last layers on random features: a start from which a few steps are enough."""
    heads = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == 1]
    features: dict[nn.Module, list[Tensor]] = {head: [] for head in heads}
    handles = [head.register_forward_pre_hook(lambda head, args: features[head].append(args[0])) for head in heads]
    scores(model, torch.cat([images.plain, images.patched]))
    for handle in handles:
        handle.remove()
    wanted = torch.tensor([-_CLEAR, _CLEAR], dtype=torch.double).repeat_interleave(len(images.plain))
    for head in heads:
        found = torch.cat(features[head]).double()
        mean = found.mean(0)
        found -= mean
        gram = found @ found.T
        weight = found.T @ torch.linalg.solve(gram + 0.01 * gram.trace() / len(gram) * torch.eye(len(gram)), wanted)
        with torch.no_grad():
            head.weight.copy_(weight[None])
            head.bias.fill_(-mean @ weight)


def _train(model: nn.Module, size: Size, rate: float, limits: Limits, draw: torch.Generator) -> int:
    """The number of steps after which all scores had been clear for long enough and are right on as many new images."""
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimiser, 1 / _WARM_UP, total_iters=_WARM_UP)
    clear = 0
    for step in range(limits.steps):
        images = scenes(_PAIRS, size, draw)
        absent, present = model(torch.cat([images.plain, images.patched]))[:, 0].split(_PAIRS)
        clear = clear + 1 if present.min() > _CLEAR and absent.max() < -_CLEAR else 0
        if clear >= _ON_END and step >= _LEAST:
            if margin(model, scenes(limits.places, size, draw)) > _CLEAR:
                return step
            clear = 0
            for group in optimiser.param_groups:
                group["lr"] /= 2
        optimiser.zero_grad()
        softplus(torch.cat([absent, -present])).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        warm_up.step()
    return limits.steps


@torch.no_grad()
def scores(model: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([model(group)[:, 0] for group in images.split(8)])


def margin(model: nn.Module, images: Scenes) -> float:
    """How far from zero, on the right side, the nearest score is; negative if one is on the wrong side."""
    return float(min(scores(model, images.patched).min(), -scores(model, images.plain).max()))


def peaks(model: nn.Module, images: Scenes) -> Peaks:
    explainer = Explainer(model, batch_size=8)
    gradcam = explainer.batch(list(images.patched), [1] * len(images.patched))
    grid = gradcam[0].grid.shape
    cells = torch.stack([touched(corner, images.plain.shape[2:], grid) for corner in images.corners])
    maps = torch.stack([torch.from_numpy(heatmap.grid) for heatmap in gradcam])
    sharp = torch.stack([hirescam(explainer, one) for one in images.patched])
    where = f"{explainer.layer} ({grid[0]} x {grid[1]})"
    return Peaks(on_patch(cells, maps), on_patch(cells, sharp), float(cells.mean()), where)


def hirescam(explainer: Explainer, image: Tensor) -> Tensor:
    """The map (h, w), zero where the method is refused."""
    try:
        return torch.from_numpy(explainer(image, 1, method="hirescam").grid)
    except HeatmapError:
        return torch.zeros(explainer(image, 1).grid.shape)


def touched(corner: Size, size: Size, grid: Size) -> Tensor:
    """Which cells (h, w) of the grid hold pixels of the patch: 1 or 0."""
    inside = torch.zeros(1, *size)
    inside[:, corner[0] : corner[0] + _PATCH, corner[1] : corner[1] + _PATCH] = 1
    return adaptive_max_pool2d(inside, grid)[0]


def on_patch(cells: Tensor, maps: Tensor) -> OnPatch:
    """How often maps (n, h, w), positive or zero, peak in these cells of theirs: 1 or 0."""
    highest, peak = maps.flatten(1).max(1)
    some = highest > 0
    found = cells.flatten(1)[torch.arange(len(cells)), peak][some]
    return OnPatch(float(found.mean()), 1 - float(some.float().mean()))  # the mean of none is NaN


def survey(names: Iterable[str], limits: Limits) -> list[Peaks | None]:
    """Prints a line for each model. None stands for one whose score the patch does not decide."""
    print(f"{'':32} steps  lowest with, highest without  gradcam (empty)  hirescam (empty)  by chance")
    found: list[Peaks | None] = []
    for name in names:
        started = time.process_time()
        model, size, steps = taught(name, limits)
        images = scenes(limits.places, size, _draw(limits, 2))
        lowest, highest = float(scores(model, images.patched).min()), float(scores(model, images.plain).max())
        found.append(peaks(model, images) if lowest > 0 > highest else None)
        line = str(found[-1] or "not decided by the patch")
        print(
            f"{name:32} {steps:5} {lowest:12.1f} {highest:16.1f}  {line}  {time.process_time() - started:.0f} s",
            flush=True,
        )
    return found


def report(found: list[Peaks | None]) -> None:
    decided = [shown for shown in found if shown]
    print(f"\nThe patch decides in {len(decided)} of {len(found)} models. The map peaks on it")
    for method in ("gradcam", "hirescam"):
        each: list[OnPatch] = [getattr(shown, method) for shown in decided]
        shares = [one.share for one in each if not isnan(one.share)]
        print(
            f"  {method:8} at every place in {shares.count(1)} of {len(shares)} models with a map that is not empty, "
            f"in the mean at {_mean(shares):.2f} of the places"
        )
    print(f"  by chance at {_mean([shown.chance for shown in decided]):.2f} of the places")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", metavar="PATTERN", help="models whose name matches a regular expression")
    parser.add_argument("--steps", type=int, default=100, help="after which a model counts as not decided by the patch")
    parser.add_argument("--places", type=int, default=24, help="of the patch, each on an image of its own")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the weights, and of the images to learn from and to test"
    )


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    names = (name for name in _TORCHVISION + _TIMM if re.search(options.only, name))
    report(survey(names, Limits(options.steps, options.places, options.seed)))
