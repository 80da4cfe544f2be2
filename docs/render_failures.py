"""Writes the messages on the pages in failures/ as the checks print them: python docs/render_failures.py.

They are about the two models of examples/underpass: the biased one looks at the date stamp, the clean one at the people.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.transforms import v2

from pytest_gradcam import Case, Explainer, Heatmap, cases, masks
from pytest_gradcam.errors import FocusError, HeatmapError
from pytest_gradcam.evidence.current_test import Objects, running
from pytest_gradcam.perturbations import gaussian_blur, zoom
from pytest_gradcam.plugin import session
from pytest_gradcam.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/failures"
sys.path.insert(0, str(ROOT / "examples/underpass"))

from underpass import camera, dataset, model  # noqa: E402

_BLOCK = re.compile(r"(?<=<!-- message: )(\w+ \w+)( -->\n\n```text\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
STAMP, DEAD = camera.stamp_area(), camera.dead_columns()
CROPPED = v2.Compose([v2.CenterCrop(120), v2.PILToTensor(), model.normalise])
RANDOM = v2.Compose([v2.RandomHorizontalFlip(), model.preprocess])


@cache
def frames() -> list[Any]:
    return list(dataset.archive(range(3_000_000, 3_000_040)))


@cache
def images() -> list[Any]:
    return [frame.image for frame in frames()]


def network(name: str) -> nn.Module:
    built: nn.Module = model.build()
    built.load_state_dict(load_file(ROOT / f"examples/underpass/weights/{name}.safetensors"))
    return built.eval()


@cache
def explainer(name: str) -> Explainer:
    return Explainer(network(name), preprocess=model.preprocess, classes=model.CLASSES)


def pedestrian() -> Any:
    """A frame with people."""
    return frames()[1]


def heatmap(name: str, number: int = 1, target: str = "pedestrian") -> Heatmap:
    return explainer(name)(images()[number], target)


class Dropout(nn.Module):
    """A model with the dropout of functional.dropout(x), which nothing turns off."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = network("clean")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers[5:](nn.functional.dropout(self.layers[:5](x), 0.2))


class BatchStatistics(Dropout):
    """A model that normalises by the statistics of the batch, in eval mode as well."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(nn.functional.batch_norm(x, None, None, training=True))


class Edges(nn.Module):
    """A model of the strength of edges, and nothing that it has learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.edges, self.head = _Edges(), nn.Linear(1, 2)
        nn.init.constant_(self.head.weight, 30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.edges(x).mean(dim=(2, 3))) * torch.tensor([-1, 1])
        return scores


class _Edges(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grey = x.mean(dim=1, keepdim=True)
        return nn.functional.avg_pool2d((grey[..., 1:] - grey[..., :-1]).abs(), 8, ceil_mode=True)


def without_head() -> nn.Module:
    """A model whose head has no weights yet."""
    built = network("clean")
    nn.init.zeros_(built[6].weight)
    return built


def of(built: Any, preprocess: Any = model.preprocess) -> Explainer:
    return Explainer(built, preprocess=preprocess, classes=model.CLASSES)


@contextmanager
def in_test(settings: Settings = Settings(), *, updates: bool = False) -> Iterator[None]:  # noqa: B008
    """A running test, as checks know it."""
    path = Path("test_underpass.py").absolute()
    test = SimpleNamespace(marker={}, path=path, name="test_attention", updates=updates, baselines=[])
    test.keep = lambda record, draw: session.on_trained_weights(record, settings)
    test.wrote = lambda path: None
    with running(test):
        yield


def fixture(built: Any, settings: Settings) -> Explainer:
    """The fixture `gradcam` under these settings."""
    return session.build_explainer(session.Models(settings, None), Objects(built, model.preprocess, model.CLASSES))


def untrained() -> None:
    settings = Settings(model="underpass.model:build")
    gradcam = fixture(session.build_model(settings, lambda: model.CLASSES), settings)
    heatmap = gradcam(images()[1], "pedestrian")
    with in_test(settings):
        heatmap.assert_focus_within(pedestrian().walkers)


def no_file() -> None:
    with chdir(ROOT.anchor):
        explainer("clean")("frames/0007.png")


def baseline(*, kept: bool) -> None:
    with TemporaryDirectory() as folder, chdir(folder):
        if kept:
            with in_test(updates=True):
                heatmap("clean").assert_matches_baseline()
        with in_test():
            heatmap("biased").assert_matches_baseline()


def audit(name: str, count: int, checks: Any) -> Any:
    """An audit of frames with people, the first half of them from the one recorder, the second from the other."""
    rows = []
    for number, frame in enumerate(frames()[1::2][:count]):
        frame = frame.on(recorder := camera.RECORDERS[2 * number // count])
        known = {"mask": frame.walkers, "invalid": STAMP, "slices": {"recorder": recorder}, "id": f"frame {number}"}
        rows.append(Case(frame.image, target="pedestrian", **known))
    return explainer(name).audit(cases.of(rows), checks)


#: What prints each message, by the kind of check and how it ended.
MESSAGES: dict[str, Callable[[], Any]] = {
    "focus_within failed": lambda: heatmap("biased").assert_focus_within(pedestrian().walkers, at_least=masks.lift(4)),
    "focus_within undecided": lambda: heatmap("clean").assert_focus_within(np.zeros_like(STAMP)),
    "focus_avoids failed": lambda: heatmap("biased").assert_focus_avoids(pedestrian().text, at_most=0.03),
    "focus_avoids undecided": lambda: Heatmap.from_array(np.zeros(STAMP.shape)).assert_focus_avoids(STAMP),
    "peak_within failed": lambda: heatmap("biased").assert_peak_within(pedestrian().walkers, tolerance=8),
    "peak_within undecided": lambda: heatmap("clean").assert_peak_within(pedestrian().walkers, tolerance=400),
    "overlap failed": lambda: heatmap("biased").assert_overlap(pedestrian().walkers),
    "overlap undecided": lambda: heatmap("clean").assert_overlap(np.ones_like(STAMP)),
    "ignores failed": lambda: explainer("biased").assert_ignores(images()[1], STAMP, others=images()[:20:2]),
    "ignores undecided": lambda: explainer("clean").assert_ignores(images()[0], STAMP),
    "relies_on failed": lambda: explainer("biased").assert_relies_on(
        images()[1], pedestrian().walkers, others=images()[:20:2]
    ),
    "relies_on undecided": lambda: explainer("clean").assert_relies_on(images()[1], ~pedestrian().walkers),
    "no_reliance failed": lambda: explainer("biased").assert_no_reliance(images(), STAMP),
    "no_reliance undecided": lambda: explainer("clean").assert_no_reliance(images()[:4], DEAD),
    "stable failed": lambda: explainer("clean").assert_stable(images()[1], gaussian_blur(1.0)),
    "stable undecided": lambda: explainer("clean").assert_stable(
        images()[1], zoom(1.0), mask=masks.border(STAMP.shape, 4), mass_at_least=0.1
    ),
    "similar failed": lambda: heatmap("clean").assert_similar(heatmap("biased")),
    "similar undecided": lambda: heatmap("clean").assert_similar(Heatmap.from_array(np.eye(8, dtype=np.float32))),
    "matches_baseline failed": lambda: baseline(kept=True),
    "matches_baseline undecided": lambda: baseline(kept=False),
    "deterministic failed": lambda: of(Dropout()).assert_deterministic(images()[1]),
    "deterministic undecided": lambda: explainer("clean").assert_deterministic(images()[1], at_most=1.5),
    "depends_on_weights failed": lambda: of(Edges()).assert_depends_on_weights(images()[1]),
    "depends_on_weights undecided": lambda: of(lambda batch: network("clean")(batch)).assert_depends_on_weights(
        images()[1], method="occlusion"
    ),
    "faithful failed": lambda: explainer("clean").assert_faithful(
        images()[1], heatmap=Heatmap.from_array(heatmap("clean").values.max() - heatmap("clean").values)
    ),
    "faithful undecided": lambda: explainer("clean").assert_faithful(images()[0], target="pedestrian"),
    "prediction failed": lambda: fixture(network("clean"), Settings(mispredicted="fail"))(images()[1], "empty"),
    "rate failed": lambda: audit("biased", 20, {"focus_within": masks.lift(4)}).assert_rate("focus_within"),
    "rate undecided": lambda: audit("clean", 10, {"focus_within": masks.lift(4)}).assert_rate("focus_within"),
    "slices_equal failed": lambda: audit("biased", 20, ["focus_avoids"]).assert_slices_equal(
        "focus_avoids", by="recorder"
    ),
    "slices_equal undecided": lambda: audit("clean", 10, ["focus_avoids"]).assert_slices_equal(
        "focus_avoids", by="recorder"
    ),
    "no_reliance_by failed": lambda: audit("biased", 20, ["focus_avoids"]).assert_no_reliance(by="recorder"),
    "no_reliance_by undecided": lambda: audit("clean", 20, ["focus_avoids"]).assert_no_reliance(by="recorder"),
    "refused shape": lambda: heatmap("clean").assert_focus_within(np.eye(224, dtype=bool)),
    "refused crop": lambda: of(network("clean"), CROPPED)(images()[1]).assert_focus_within(
        masks.box(STAMP.shape, (0, 200, 40, 240))
    ),
    "refused random": lambda: of(network("clean"), RANDOM)(images()[1]).assert_focus_within(pedestrian().walkers),
    "refused labels": lambda: heatmap("clean").assert_focus_within(np.arange(STAMP.size).reshape(STAMP.shape)),
    "refused layer": lambda: of(without_head())(images()[1]),
    "refused untrained": untrained,
    "refused class": lambda: heatmap("clean", target="pedestrain"),
    "refused file": no_file,
    "refused pixels": lambda: explainer("clean")(images()[1].astype(np.float32)),
    "refused gate": lambda: fixture(BatchStatistics(), Settings(gate="on"))(images()[1]).assert_focus_within(
        pedestrian().walkers
    ),
}


def message(name: str) -> str:
    """What the check says that does not pass."""
    torch.manual_seed(0)
    try:
        MESSAGES[name]()
    except (FocusError, HeatmapError) as error:
        return f"{type(error).__name__}: {error}\n"
    raise AssertionError(f"{name}: nothing was raised")


def render(text: str) -> str:
    """A page with the messages as they are today."""
    return _BLOCK.sub(lambda found: found[1] + found[2] + message(found[1]), text)


if __name__ == "__main__":
    for page in sorted(PAGES.glob("*.md")):
        page.write_text(render(page.read_text("utf-8")), "utf-8")
