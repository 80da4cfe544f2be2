"""What a heatmap costs, as a ratio to the model's bare forward pass, beside other libraries.

Side by side in one process: each round runs every contender once, and the medians over the rounds are compared. The
others run as their documentation shows, with their maps resized to the input's size like ours.

"limit" is the least that the same heatmap can cost: parameters frozen beforehand, a leaf at our layer, backward to it,
the weighted sum, resized. "fixed, ms" is what our call takes beyond that, in milliseconds.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import statistics
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.internals import HeatmapCache
from benchmarks.networks import LAYERS, RESHAPES, build, noise
from benchmarks.timing import PROCESSOR, WALL, Run, Times, interleaved, less, peak_memory, ratios, row
from pytest_gradcam import Explainer

#: The contenders that come from other packages, and those that read tokens and channels-last grids.
PACKAGES = {"pytorch-grad-cam": "pytorch_grad_cam", "captum": "captum", "torchcam": "torchcam"}
RESHAPING = ("pytorch-grad-cam",)


def forward(name: str, inputs: Tensor) -> Run:
    model = build(name)

    def run() -> object:
        with torch.no_grad():
            return model(inputs)

    return run


def limit(name: str, inputs: Tensor) -> Run:
    model = build(name).requires_grad_(False)
    layer = layer_of_ours(name, inputs)
    leaves: list[Tensor] = []

    def cut(_module: object, _inputs: object, output: Tensor) -> Tensor:
        leaves[:] = [output.detach().requires_grad_()]
        return leaves[0].clone()  # what follows may work in place

    model.get_submodule(layer).register_forward_hook(cut)
    spatial = RESHAPES.get(name, lambda x: x)

    def run() -> object:
        score = model(inputs)[:, 1].sum()
        activations, gradients = (spatial(x) for x in (leaves[0].detach(), torch.autograd.grad(score, leaves[0])[0]))
        grids = (activations * gradients.mean((2, 3), keepdim=True)).sum(1, keepdim=True).relu()
        return interpolate(grids, inputs.shape[-2:], mode="bilinear").numpy()

    return run


def layer_of_ours(name: str, inputs: Tensor) -> str:
    explainer = Explainer(build(name))
    explainer(inputs[0], 1)
    return explainer.layer


def ours(name: str, inputs: Tensor) -> Run:
    return heatmaps(Explainer(build(name), batch_size=len(inputs)), inputs)


def warm_cache(name: str, inputs: Tensor) -> Run:
    return heatmaps(Explainer(build(name), batch_size=len(inputs), cache=HeatmapCache()), inputs)


def heatmaps(explainer: Explainer, inputs: Tensor) -> Run:
    images = list(inputs)
    return lambda: [heatmap.values for heatmap in explainer.batch(images, [1] * len(images))]


def first_image(name: str, inputs: Tensor) -> Run:
    model = build(
        name
    )  # a new explainer has to find out what the model's output is, the layer, and where its cells look
    return lambda: Explainer(model)(inputs[0], 1).values


def ten_classes(name: str, inputs: Tensor) -> Run:
    explainer = Explainer(build(name))  # its batch size bounds how many classes share a backward pass
    return lambda: [heatmap.values for heatmap in explainer.compare(inputs[0], range(10)).values()]


def pytorch_grad_cam(name: str, inputs: Tensor) -> Run:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = build(name)
    cam = GradCAM(model, [model.get_submodule(LAYERS[name])], reshape_transform=RESHAPES.get(name))
    return lambda: cam(inputs, [ClassifierOutputTarget(1)] * len(inputs))


def captum(name: str, inputs: Tensor) -> Run:
    from captum.attr import LayerGradCam

    model = build(name)
    cam = LayerGradCam(model, model.get_submodule(LAYERS[name]))
    return lambda: interpolate(cam.attribute(inputs, 1, relu_attributions=True), inputs.shape[-2:], mode="bilinear")


def torchcam(name: str, inputs: Tensor) -> Run:
    from torchcam.methods import GradCAM

    model = build(name)
    cam = GradCAM(model, model.get_submodule(LAYERS[name]))
    return lambda: interpolate(cam([1] * len(inputs), model(inputs))[0][:, None], inputs.shape[-2:], mode="bilinear")


#: Each builds a model of its own, with the same weights.
CONTENDERS: dict[str, Callable[[str, Tensor], Run]] = {
    "forward": forward,
    "limit": limit,
    "pytest-gradcam": ours,
    "first image": first_image,
    "ten classes": ten_classes,
    "warm cache": warm_cache,
    "pytorch-grad-cam": pytorch_grad_cam,
    "captum": captum,
    "torchcam": torchcam,
}
PEAKS = ("forward", "pytest-gradcam", *PACKAGES)


def applies(contender: str, name: str, batch: int) -> bool:
    """Whether the contender is installed, and takes such a model and so many images."""
    if contender in PACKAGES:
        return installed(contender) and (name not in RESHAPES or contender in RESHAPING)
    return contender not in ("first image", "ten classes") or batch == 1


def installed(contender: str) -> bool:
    return importlib.util.find_spec(PACKAGES[contender]) is not None


def measure(name: str, batch: int, rounds: int, *, processor: bool) -> Times:
    inputs = noise(batch)
    runs = {run: made(name, inputs) for run, made in CONTENDERS.items() if applies(run, name, batch)}
    return interleaved(runs, rounds, PROCESSOR if processor else WALL)


def compare(options: argparse.Namespace) -> None:
    print(row("ratio to a bare forward pass", [*CONTENDERS, "fixed, ms"]))
    for name in options.models:
        for batch in options.batch:
            times = measure(name, batch, options.rounds, processor=options.processor)
            found = ratios(times, "forward")
            fixed = 1000 * statistics.median(less(times, "limit")["pytest-gradcam"])
            print(row(f"{name}, batch {batch}", [*map(found.get, CONTENDERS), fixed]), flush=True)


def compare_peaks(options: argparse.Namespace) -> None:
    print(row("peak memory, MiB (to forward)", PEAKS))
    for name in options.models:
        for batch in options.batch:
            found = {run: peak(name, run, batch) for run in PEAKS if applies(run, name, batch)}
            cells = [
                f"{found[run]:.0f} ({found[run] / found['forward']:.2f})" if run in found else None for run in PEAKS
            ]
            print(row(f"{name}, batch {batch}", cells), flush=True)


def peak(name: str, run: str, batch: int) -> float:
    """The most memory, in MiB, that a fresh process of this contender alone has held at a time."""
    command = [sys.executable, "-m", "benchmarks", "cost", "--alone", run, "--models", name, "--batch", str(batch)]
    root = Path(__file__).parents[1]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout)


def alone(name: str, run: str, batch: int) -> None:
    contender = CONTENDERS[run](name, noise(batch))
    for _ in range(3):
        contender()
    print(peak_memory())


def growth(count: int) -> None:
    """Python's memory after a warm-up, and what so many heatmaps on fresh explainers add to it."""
    model, image = build("resnet18"), torch.randn(3, 96, 96)

    def used() -> float:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 2**20

    tracemalloc.start()
    for _ in range(20):
        _ = Explainer(model)(image, 1).values
    before = used()
    for _ in range(count):
        _ = Explainer(model)(image, 1).values
    print(f"{count} heatmaps on fresh explainers add {used() - before:.2f} MiB to {before:.1f} MiB")
    tracemalloc.stop()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", default=list(LAYERS), choices=LAYERS)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--processor", action="store_true", help="processor time on one thread, not wall-clock time")
    parser.add_argument("--memory", type=int, metavar="N", help="only the memory after N heatmaps on fresh explainers")
    parser.add_argument("--peak", action="store_true", help="only the peak memory of each contender, in MiB")
    parser.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    if options.processor:
        torch.set_num_threads(1)
    if options.alone:
        alone(options.models[0], options.alone, options.batch[0])
    elif options.memory:
        growth(options.memory)
    else:
        if missing := [name for name in PACKAGES if not installed(name)]:
            print(f"not installed, left out: {', '.join(missing)}")
        (compare_peaks if options.peak else compare)(options)
