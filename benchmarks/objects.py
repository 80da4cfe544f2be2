"""What the heatmaps of ten detected objects of one image cost, as a ratio to that of one.

torchvision's detectors with random weights, 91 classes, on an image of 256 x 320 pixels; processor time on one thread. Each round
explains one object and ten, and the medians over the rounds are compared.
"""

from __future__ import annotations

import argparse

import torch
from torchvision.models import detection

from benchmarks.timing import Times, interleaved, medians, ratios, row
from pytest_gradcam import Explainer

MODELS = {
    "faster_rcnn": ("fasterrcnn_mobilenet_v3_large_320_fpn", {"box_score_thresh": 0.0}),
    "retinanet": ("retinanet_resnet50_fpn", {"score_thresh": 0.0, "min_size": 256, "max_size": 320}),
    "fcos": ("fcos_resnet50_fpn", {"score_thresh": 0.0, "min_size": 256, "max_size": 320}),
    "ssdlite": ("ssdlite320_mobilenet_v3_large", {"score_thresh": 0.0}),
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--objects", type=int, default=10)


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    print(row("", ("one, ms", f"{options.objects}, ms", "ratio")))
    for key in options.models:
        count, times = measured(key, options.objects, options.rounds)
        cost, ratio = medians(times), ratios(times, "one")
        print(row(f"{key} ({count} objects)", (1000 * cost["one"], 1000 * cost["all"], ratio["all"])), flush=True)


def measured(key: str, objects: int, rounds: int) -> tuple[int, Times]:
    """How many objects were explained, and the seconds for one and for all of them in each round."""
    torch.manual_seed(0)
    name, how = MODELS[key]
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=91, **how)
    explainer, image = Explainer(model.eval()), torch.rand(3, 256, 320)
    found = [each for each in explainer.detections(image) if min(_sides(each.box)) > 8][:objects]
    runs = {"one": lambda: explainer.compare(image, found[:1]), "all": lambda: explainer.compare(image, found)}
    return len(found), interleaved(runs, rounds)


def _sides(box: tuple[float, ...]) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]
