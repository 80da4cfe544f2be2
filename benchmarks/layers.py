"""How often the target layer is found with no configuration, and whether the map there means something.

Runs over every classification model of torchvision and the smallest model of each family of timm, with random weights.
A model counts as right if, at the chosen place,
- the class activation map before the ReLU is finite and not constant,
- the gradient reaches at least half of the positions, and
- the layout is true to position: when a 64-pixel patch in one corner of the input changes a little, the activation
  changes in the same quarter of the grid, more than it does for the other corners, for each of the four corners. A
  transposed grid, windows or attention heads read as images fail this.

Where positions do not show, up to three more draws of the weights are tried, since a random network may be chaotic.
Freshly built models give almost no signal where the head is zero or a layer scale is 1e-6. Here such weights are drawn
again and such scales are set to 0.1; the output says in how many models. In every other draw, batch normalisation gets
the statistics of two noise images, without which a deep random network (RepVGG) lets nothing through.

A model that the package refuses with its own error counts as refused, never as right. With `--record` the run can be
interrupted and go on: each model's verdict is a line of that file, and models that have one there are not run again.

`planted` asks of trained models whether the map peaks on what decides.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from benchmarks.internals import Captured, Choice, Site, capture, choose, untouched
from benchmarks.networks import awaken, calibrate
from pytest_gradcam import HeatmapError

Size = tuple[int, int]

_PATCH = 64
_CLASSES = 10
_DRAWS = 4
_ELSEWHERE = "shows elsewhere"
_NONSQUARE: tuple[Size, ...] = ((192, 256), (224, 336), (256, 384), (384, 512))


class Wrapped(nn.Module):
    """A model as many projects hold it: inside another module, behind a normalisation, with a dict as output."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net((x - 0.1) / 1.1)}


@dataclass(frozen=True)
class Subject:
    """A model to be built: its name, the input size it is made for, and how to build it for a size, or for its own."""

    name: str
    size: Size
    build: Callable[[Size | None], nn.Module]


@dataclass(frozen=True)
class Verdict:
    """What became of one model: `kind` is right, refused, wrong or not built, `found` the place that was chosen.

    `why` says why the map there means nothing, or why there is none; `draws` how many draws of the weights were tried,
    `redrawn` whether weights of zero were among them.
    """

    kind: str
    found: str = ""
    why: str = ""
    draws: int = 0
    redrawn: bool = False
    size: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        more = f" in draw {self.draws}" if self.draws > 1 else ""
        return f"{self.size:8} {self.kind} {self.found} {self.why}{more} {self.seconds:.1f} s"


class Verdicts:
    """The verdicts of one library's models in one setting, printed as they come, and kept in a file if one is given."""

    def __init__(self, setting: str, record: Path | None) -> None:
        self.setting = setting
        self.record = record
        self.of: dict[str, Verdict] = {}
        for line in record.read_text("utf-8").splitlines() if record and record.exists() else ():
            entry = json.loads(line)
            name, its_setting = entry.pop("name"), entry.pop("setting")
            if its_setting == setting:
                self.of[name] = Verdict(**entry)

    def add(self, name: str, verdict: Verdict) -> None:
        self.of[name] = verdict
        print(f"{name:36} {verdict}", flush=True)
        if self.record:
            with self.record.open("a", encoding="utf-8") as file:
                print(json.dumps({"setting": self.setting, "name": name, **asdict(verdict)}), file=file)

    def report(self) -> None:
        """The counts, and each model that is not right."""
        built = {name: verdict for name, verdict in self.of.items() if verdict.kind != "not built"}
        right = sum(verdict.kind == "right" for verdict in built.values())
        print(
            f"\n{self.setting}: {right} of {len(built)} right; zero weights or tiny layer scales replaced in "
            f"{sum(verdict.redrawn for verdict in built.values())}, more than one draw of weights in "
            f"{sum(verdict.draws > 1 for verdict in built.values())}"
        )
        for kind in ("wrong", "refused", "not built"):
            for name, verdict in self.of.items():
                if verdict.kind == kind:
                    print(f"  {kind}: {name}: {verdict.found} {verdict.why}")


def from_torchvision(largest: float, only: str) -> Iterator[Subject]:
    for name in torchvision.models.list_models(module=torchvision.models):
        meta = torchvision.models.get_model_weights(name).DEFAULT.meta
        if meta["num_params"] <= largest and re.search(only, name):
            side = 299 if name.startswith("inception") else 224
            yield Subject(name, (side, side), partial(_torchvision, name))


def from_timm(largest: float, only: str) -> Iterator[Subject]:
    """The smallest model that builds of every family: the models of a module whose names start with the same word."""
    families: dict[tuple[str, str], list[str]] = {}
    for module in timm.list_modules():
        for name in timm.list_models(module=module):
            word = re.match("[a-z]+", name)
            if word and word.group() != "test":
                families.setdefault((module, word.group()), []).append(name)
    for names in families.values():
        if not any(re.search(only, name) for name in names):
            continue
        sized = sorted(found for name in names if (found := _measured(name)))
        if sized and sized[0][0] <= largest:
            _, name, size = sized[0]
            yield Subject(name, size, partial(_timm, name))


def _torchvision(name: str, _size: Size | None) -> nn.Module:
    model: nn.Module = torchvision.models.get_model(name)
    return model


@cache
def _measured(name: str) -> tuple[int, str, Size] | None:
    """The number of parameters, name and input size of a timm model, or None if it is no classifier that builds."""
    try:
        with torch.device("meta"):
            model = timm.create_model(name, num_classes=_CLASSES)
    except Exception:  # any way in which a model does not build
        return None
    count = sum(parameter.numel() for parameter in model.parameters())
    return count, name, _size(model)


def _size(model: Any) -> Size:
    _, height, width = model.pretrained_cfg["input_size"]
    return height, width


def _timm(name: str, size: Size | None) -> nn.Module:
    if size is not None:
        try:
            return timm.create_model(name, num_classes=_CLASSES, img_size=size)
        except TypeError:  # takes any size, or only its own
            pass
    return timm.create_model(name, num_classes=_CLASSES)


def prepared(subject: Subject, nonsquare: bool, draw: int = 0) -> tuple[nn.Module, Tensor, bool]:
    """The model in eval mode, an input that it takes, and whether weights were drawn again, for one draw of them all."""
    error: Exception | None = None
    for size in _NONSQUARE if nonsquare else (None,):
        try:
            torch.manual_seed(draw)
            model = subject.build(size).eval()
            redrawn = awaken(model)
            inputs = torch.randn(1, 3, *(size or subject.size))
            with torch.no_grad():
                model(inputs)
            if draw % 2 == 0:
                calibrate(model, inputs)
            return model, inputs, redrawn
        except Exception as found:  # any way in which a model refuses a size
            error = error or found
    raise RuntimeError(f"{type(error).__name__} {str(error)[:80]!r}")


def logit(output: Any) -> Tensor:
    """The highest class score."""
    scores: Tensor = output["logits"] if isinstance(output, dict) else output
    return scores.max()


def cam(captured: Captured, score: Tensor) -> Tensor:
    """The class activation map (h, w) before the ReLU, and the gradient it comes from."""
    gradients = captured.gradients([score])
    return (captured.activations * gradients.mean((2, 3), keepdim=True)).sum(1)[0]


def fault(model: nn.Module, inputs: Tensor, site: Site) -> str:
    """Why the map at the site means nothing, or an empty string."""
    captured = capture(model, inputs, site)
    gradients = captured.gradients([logit(captured.output)])
    heat = cam(captured, logit(captured.output))
    if not heat.isfinite().all():
        return "the map is not finite"
    if heat.std() <= 1e-4 * heat.abs().max():
        return "the map is constant"
    strength = gradients.abs().amax(1)
    if (strength > 1e-6 * strength.max()).float().mean() < 0.5:
        return "gradient at less than half of the positions"
    return misplaced(model, inputs, site, captured.activations)


def misplaced(model: nn.Module, inputs: Tensor, site: Site, before: Tensor) -> str:
    """In which corners of the input a change does not show in the same quarter of the grid."""
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    quarters = []
    for corner in corners:
        changed = inputs.repeat(4, 1, 1, 1)
        rows, columns = (slice(-_PATCH, None) if end else slice(_PATCH) for end in corner)
        # Faint, since a random network is chaotic: after a strong change in one corner everything is different.
        changed[:, :, rows, columns] += 0.1 * torch.randn_like(changed[:, :, rows, columns])
        change = capture(model, changed, site).activations - before
        # What all positions share, by squeeze-and-excitation or attention, has no place.
        change = (change - change.mean((2, 3), keepdim=True)).norm(dim=1).mean(0, keepdim=True)
        quarters.append(nn.functional.adaptive_avg_pool2d(change, 2).flatten())
    shown = torch.stack(quarters)
    # Some quarters change more whatever is touched; what counts is where this corner shows more than the others do.
    found = (shown / shown.mean(0)).argmax(1).tolist()
    wrong = [str(corner) for i, corner in enumerate(corners) if found[i] != i]
    return f"a change in the corner {' '.join(wrong)} {_ELSEWHERE}" if wrong else ""


def survey(subjects: Iterator[Subject], verdicts: Verdicts, wrapped: bool, nonsquare: bool) -> None:
    for subject in subjects:
        if subject.name in verdicts.of:
            continue
        started = time.process_time()
        try:
            verdict = judged(subject, wrapped, nonsquare)
        except RuntimeError as error:
            verdict = Verdict("not built", why=str(error))
        verdicts.add(subject.name, replace(verdict, seconds=round(time.process_time() - started, 1)))


def judged(subject: Subject, wrapped: bool, nonsquare: bool) -> Verdict:
    """Draws the weights again only where positions do not show: a random network may be chaotic."""
    verdict = Verdict("wrong", why=_ELSEWHERE)
    while _ELSEWHERE in verdict.why and verdict.draws < _DRAWS:
        model, inputs, redrawn = prepared(subject, nonsquare, verdict.draws)
        kind, found, why = judge(Wrapped(model).eval() if wrapped else model, inputs)
        verdict = Verdict(kind, found, why, verdict.draws + 1, redrawn, "x".join(map(str, inputs.shape[2:])))
    return verdict


def judge(model: nn.Module, inputs: Tensor) -> tuple[str, str, str]:
    """Right, refused or wrong, the chosen place, and why the map there means nothing, or an empty string."""
    found = ""
    try:
        with untouched(model):
            choice = choose(model, inputs, logit)
            site = choice.site
            found = f"{site} {site.layout}+{site.prefix}{measured(choice)}"
            why = fault(model, inputs, site)
            return "wrong" if why else "right", found, why
    except HeatmapError as error:
        return "refused", found, str(error)
    except Exception as error:  # a survey goes on
        return "wrong", found, f"{type(error).__name__}: {error}"


def measured(choice: Choice) -> str:
    """What the cells of the chosen place look at, and what was found of those before it."""
    seen = [candidate for candidate in choice.candidates if candidate.geometry]
    return "".join(f"; {candidate.site.name}: {candidate.geometry}" for candidate in reversed(seen))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wrapped", action="store_true", help="each model inside a wrapper module")
    parser.add_argument("--nonsquare", action="store_true", help="inputs of 192 x 256, or more where a model needs it")
    parser.add_argument("--only", default="", metavar="PATTERN", help="models whose name matches a regular expression")
    parser.add_argument(
        "--largest", type=float, default=100, metavar="MILLIONS", help="skip models with more parameters"
    )
    parser.add_argument("--library", choices=("torchvision", "timm"), help="one library only")
    parser.add_argument("--record", type=Path, metavar="FILE", help="keeps each model's verdict, to go on from")


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    setting = " wrapped" * options.wrapped + " non-square" * options.nonsquare
    surveys = []
    for library, subjects in (("torchvision", from_torchvision), ("timm", from_timm)):
        if options.library in (None, library):
            verdicts = Verdicts(library + setting, options.record)
            survey(subjects(options.largest * 1e6, options.only), verdicts, options.wrapped, options.nonsquare)
            surveys.append(verdicts)
    for verdicts in surveys:
        verdicts.report()
