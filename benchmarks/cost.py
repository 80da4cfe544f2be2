"""What a heatmap costs, as a ratio to the model's bare forward pass, beside other libraries.

Side by side in one process: each round runs every contender once, and the medians over the rounds are compared. The
others run as their documentation shows, with their maps resized to the input's size like ours.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable

import torch
import torchvision
from torch.nn.functional import interpolate

from pytest_gradcam import Explainer
from pytest_gradcam.cam.cache import HeatmapCache

warnings.simplefilter("ignore")

Run = Callable[[], object]
LAYERS = {
    "resnet18": "layer4",
    "resnet50": "layer4",
    "mobilenet_v3_large": "features",
    "convnext_tiny": "features",
    "efficientnet_b0": "features",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
    "swin_t": "features.7.1.norm1",
}
#: From tokens or channels-last to (B, C, h, w), which pytorch-grad-cam leaves to its user and the others do not take.
RESHAPES = {
    "vit_b_16": lambda x: x[:, 1:].reshape(len(x), 14, 14, -1).permute(0, 3, 1, 2),
    "swin_t": lambda x: x.permute(0, 3, 1, 2),
}
RUNS = ("forward", "pytest-gradcam", "ten classes", "warm cache", "pytorch-grad-cam", "captum", "torchcam")

PEAKS = ("forward", "pytest-gradcam", "pytorch-grad-cam", "captum", "torchcam")


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    if name.startswith("vit"):  # built with a head of zeros, under which nothing has a gradient
        torch.nn.init.normal_(model.heads.head.weight, std=0.02)
    return model


def contenders(name: str, inputs: torch.Tensor) -> dict[str, Run]:
    """What is timed, the bare forward pass first; each on a model of its own, with the same weights."""
    runs: dict[str, Run] = {
        "forward": forward_of(build(name), inputs),
        **ours(name, inputs),
        "pytorch-grad-cam": pytorch_grad_cam(name, inputs),
    }
    if name not in RESHAPES:
        runs |= {"captum": captum(name, inputs), "torchcam": torchcam(name, inputs)}
    return runs


def forward_of(model: torch.nn.Module, inputs: torch.Tensor) -> Run:
    def forward() -> object:
        with torch.no_grad():
            return model(inputs)

    return forward


def ours(name: str, inputs: torch.Tensor) -> dict[str, Run]:
    explainer = Explainer(build(name), batch_size=len(inputs))
    images = list(inputs)
    runs: dict[str, Run] = {
        "pytest-gradcam": lambda: [heatmap.values for heatmap in explainer.batch(images, [1] * len(images))]
    }
    warm = Explainer(build(name), batch_size=len(inputs), cache=HeatmapCache())
    runs["warm cache"] = lambda: [heatmap.values for heatmap in warm.batch(images, [1] * len(images))]
    if len(images) == 1:
        usual = Explainer(build(name))  # its batch size bounds how many classes share a backward pass
        runs["ten classes"] = lambda: [h.values for h in usual.compare(images[0], range(10)).values()]
    return runs


def pytorch_grad_cam(name: str, inputs: torch.Tensor) -> Run:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = build(name)
    cam = GradCAM(model, [model.get_submodule(LAYERS[name])], reshape_transform=RESHAPES.get(name))
    return lambda: cam(inputs, [ClassifierOutputTarget(1)] * len(inputs))


def captum(name: str, inputs: torch.Tensor) -> Run:
    from captum.attr import LayerGradCam

    model = build(name)
    cam = LayerGradCam(model, model.get_submodule(LAYERS[name]))
    return lambda: interpolate(cam.attribute(inputs, 1, relu_attributions=True), inputs.shape[-2:], mode="bilinear")


def torchcam(name: str, inputs: torch.Tensor) -> Run:
    from torchcam.methods import GradCAM

    model = build(name)
    cam = GradCAM(model, model.get_submodule(LAYERS[name]))
    return lambda: interpolate(cam([1] * len(inputs), model(inputs))[0][:, None], inputs.shape[-2:], mode="bilinear")


def measure(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """The median over rounds of each contender's time divided by the forward pass of the same round."""
    for run in runs.values():
        run()
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        times = {}
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name] = time.perf_counter() - start
        for name, seconds in times.items():
            ratios[name].append(seconds / times["forward"])
    return {name: statistics.median(values) for name, values in ratios.items()}


def growth(heatmaps: int) -> tuple[float, float]:
    """Python's memory in MiB after a warm-up, and what so many heatmaps on fresh explainers add to it."""
    model, image = build("resnet18"), torch.randn(3, 96, 96)

    def used() -> float:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 2**20

    tracemalloc.start()
    for _ in range(20):
        _ = Explainer(model)(image, 1).values
    before = used()
    for _ in range(heatmaps):
        _ = Explainer(model)(image, 1).values
    return before, used() - before


def peak(name: str, run: str, batch: int) -> float:
    """The most memory, in MiB, that a fresh process of this contender alone has held at a time."""
    command = [sys.executable, __file__, "--alone", run, "--models", name, "--batch", str(batch)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def alone(name: str, run: str, batch: int) -> None:
    inputs = torch.randn(batch, 3, 224, 224)
    made: dict[str, Callable[[str, torch.Tensor], Run]] = {
        "forward": lambda name, inputs: forward_of(build(name), inputs),
        "pytest-gradcam": lambda name, inputs: ours(name, inputs)["pytest-gradcam"],
        "pytorch-grad-cam": pytorch_grad_cam,
        "captum": captum,
        "torchcam": torchcam,
    }
    contender = made[run](name, inputs)
    for _ in range(3):
        contender()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(LAYERS), choices=LAYERS)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--memory", type=int, metavar="N", help="only the memory after N heatmaps on fresh explainers")
    parser.add_argument("--peak", action="store_true", help="only the peak memory of each contender, in MiB")
    parser.add_argument("--alone", metavar="RUN", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.models[0], arguments.alone, arguments.batch[0])
        return
    if arguments.peak:
        for name in arguments.models:
            for batch in arguments.batch:
                runs = [run for run in PEAKS if name not in RESHAPES or run not in ("captum", "torchcam")]
                print(f"{name}, batch {batch}: " + ", ".join(f"{run} {peak(name, run, batch):.0f}" for run in runs))
        return
    if arguments.memory:
        before, more = growth(arguments.memory)
        print(f"{arguments.memory} heatmaps on fresh explainers add {more:.2f} MiB to {before:.1f} MiB")
        return
    print(f"{'ratio to a bare forward pass':<30}" + "".join(f"{name:>18}" for name in RUNS))
    for name in arguments.models:
        for batch in arguments.batch:
            inputs = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
            ratios = measure(contenders(name, inputs), arguments.rounds)
            cells = (f"{ratios[run]:>18.3f}" if run in ratios else f"{'-':>18}" for run in RUNS)
            print(f"{name + ', batch ' + str(batch):<30}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
