"""What `reliance` on a set of images costs, as a ratio to a bare loop in batches over the same images.

Processor time on one thread; the images are tensors that are ready for the model, with a mask of a tenth of the view.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import torch
from torch import Tensor

from benchmarks.networks import LAYERS, build, calibrate, noise
from benchmarks.timing import Run, interleaved, medians, ratios
from pytest_gradcam import Explainer, masks

_BATCH = 16


def contenders(name: str, images: Tensor) -> dict[str, Run]:
    model = build(name)
    calibrate(model, images[:8])  # else a random network's scores hardly depend on the image
    mask = masks.box((224, 224), (20, 20, 92, 92))
    explainer = Explainer(model, batch_size=_BATCH)
    same = [mask] * len(images)

    def bare() -> object:
        with torch.no_grad():
            return np.concatenate([model(group).numpy() for group in images.split(_BATCH)])

    return {"bare loop": bare, "reliance": lambda: explainer.reliance(list(images), same)}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", default=["resnet18"], choices=LAYERS)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in options.models:
        times = interleaved(contenders(name, noise(options.images)), options.rounds)
        seconds, found = medians(times), ratios(times, "bare loop")
        print(
            f"{name}, {options.images} images: reliance {found['reliance']:.2f} of a bare loop in batches of {_BATCH} "
            f"({1000 * seconds['bare loop'] / options.images:.0f} ms an image; medians of {options.rounds} rounds)",
            flush=True,
        )
