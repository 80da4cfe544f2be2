"""Whether a heatmap hangs on what the model has learnt: it must not survive the model's weights.

Model parameter randomisation (Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018), on a copy of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pytest_gradcam import metrics
from pytest_gradcam.cam.guard import forward, random_states_kept
from pytest_gradcam.cam.inputs import stack
from pytest_gradcam.cam.targets import Target
from pytest_gradcam.checks import verdicts
from pytest_gradcam.checks.explained import Explained, explained, picture
from pytest_gradcam.errors import HeatmapError, NoEvidenceError
from pytest_gradcam.evidence import bounds, settle
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.heatmap import Heatmap

if TYPE_CHECKING:
    from PIL.Image import Image

    from pytest_gradcam.explainer import Explainer

_STAGES = 5  # of a cascade
_TRIES = 4  # draws for each that is wanted: some leave the target without evidence, and say nothing


@dataclass(frozen=True)
class Draw:
    """One draw of the weights: the heatmap's similarity after each stage, and the heatmap after the last."""

    similarities: tuple[float, ...]
    heatmap: Heatmap

    @property
    def caption(self) -> str:
        return f"with redrawn weights: {self.similarities[-1]:.2f}"


def assert_depends_on_weights(
    explainer: Explainer,
    image: Any,
    *,
    target: Target,
    at_most: float,
    cascade: bool,
    draws: int,
    seed: int,
    layer: str | None,
    method: str | None,
) -> None:
    subject = explained(explainer, image, target, layer, method)
    check = subject.record(
        check="depends_on_weights",
        measure="similarity under redrawn weights",
        bound=at_most,
        direction="at_most",
        parameters={"draws": draws},
        seed=seed,
    )
    made: list[Draw] = []

    def measure(check: Record) -> Record:
        check = bounds.settled(check)
        made.extend(_draws(subject, _count(check), int(check.seed or 0), _STAGES if cascade else 1))
        return verdicts.depends_on_weights(check, [draw.similarities for draw in made])

    def draw(record: Record) -> Image:
        return picture(subject, record, *[(one.caption, one.heatmap) for one in made[:2]])

    settle.judge(check, measure, draw)


def _draws(subject: Explained, count: int, seed: int, stages: int) -> Iterator[Draw]:
    """As many draws as are wanted. Raises NoEvidenceError if too few of those tried leave the target any evidence."""
    _ = subject.heatmap.peak  # raises where there is none
    original = subject.explainer.network
    model, made = copied(original), 0
    for attempt in range(count * _TRIES):
        model.load_state_dict(original.state_dict())
        generator = torch.Generator().manual_seed(seed * count * _TRIES + attempt)
        try:
            yield _draw(subject, model, generator, stages)
        except NoEvidenceError:
            continue
        made += 1
        if made == count:
            return
    raise NoEvidenceError(
        f"with redrawn weights the heatmap is empty or the same everywhere in {count * _TRIES - made} of "
        f"{count * _TRIES} draws, so there is too little to compare; explain another target or image, or use hirescam"
    )


def _draw(subject: Explained, model: nn.Module, generator: torch.Generator, stages: int) -> Draw:
    explainer, found, redrawn = subject.explainer.of(model), [], []
    for part in parts(model, stages):
        redraw(part, generator)
        redrawn += part
        _recalibrate(model, redrawn, stack([subject.one], model))
        heatmap = _heatmap(subject, explainer)
        _ = heatmap.peak
        found.append(metrics.similarity(subject.heatmap.grid, heatmap.grid))
    return Draw(tuple(found), heatmap)


def _heatmap(subject: Explained, explainer: Explainer) -> Heatmap:
    try:
        return subject.again([subject.one], by=explainer)[0]
    except NoEvidenceError:
        raise
    except HeatmapError as error:
        raise HeatmapError(f"with redrawn weights, {error}") from error


def copied(network: nn.Module) -> nn.Module:
    """A copy in eval mode that shares no memory with the model. Raises HeatmapError if there is none."""
    try:
        with random_states_kept():
            model = deepcopy(network)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a model holds may refuse to be copied in its own way
        raise HeatmapError(
            f"the model cannot be copied ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); "
            "let copy.deepcopy(model) work, for this check redraws the weights of a copy"
        ) from error
    own = {parameter.data_ptr() for parameter in network.parameters() if parameter.numel()}
    if any(parameter.data_ptr() in own for parameter in model.parameters() if parameter.numel()):
        raise HeatmapError(
            "the model's copy shares its weights, and this check would redraw the model's own; "
            "let copy.deepcopy(model) copy the weights"
        )
    return model.eval()


def redraw(modules: Sequence[nn.Module], generator: torch.Generator) -> None:
    """Every parameter tensor of the modules takes its own values in random order, so that its scale stays."""
    with torch.no_grad():
        for parameter in (parameter for module in modules for parameter in module.parameters(recurse=False)):
            flat = parameter.detach().reshape(-1)
            order = torch.randperm(flat.numel(), generator=generator).to(flat.device)
            parameter.copy_(flat[order].reshape(parameter.shape))


def parts(model: nn.Module, stages: int) -> list[list[nn.Module]]:
    """The modules with parameters of their own in at most so many parts, from the output's end.

    Each part has a parameter with different values. Raises HeatmapError if none has.
    """
    groups: list[list[nn.Module]] = []
    for module in reversed([one for one in model.modules() if any(True for _ in one.parameters(recurse=False))]):
        if not groups or (_varies([module]) and _varies(groups[-1])):
            groups.append([])
        groups[-1].append(module)
    if not groups:
        raise HeatmapError("the model has no parameters, so nothing can hang on them; check which model is explained")
    if not any(map(_varies, groups)):
        raise HeatmapError("the weights have one value each, so redrawing them changes nothing; train the model first")
    cuts = np.linspace(0, len(groups), min(stages, len(groups)) + 1).round().astype(int)
    return [[module for group in groups[start:end] for module in group] for start, end in pairwise(cuts)]


def _varies(modules: Sequence[nn.Module]) -> bool:
    own = (parameter for module in modules for parameter in module.parameters(recurse=False))
    return any(bool((parameter != parameter.reshape(-1)[:1]).any()) for parameter in own if parameter.numel())


def _recalibrate(model: nn.Module, redrawn: Sequence[nn.Module], inputs: Tensor) -> None:
    """Batch statistics of redrawn layers are those of what they now see; the old ones would blow up or kill channels."""
    norms = [one for one in redrawn if isinstance(one, _BatchNorm) and one.running_mean is not None]
    if not norms:
        return
    views = torch.cat([inputs, inputs.flip(3), inputs.flip(2), inputs.flip(2, 3)])
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with random_states_kept(), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        forward(model, views)
    model.eval()


def _count(check: Record) -> int:
    draws = check.parameters["draws"]
    if draws != int(draws) or draws < 1:
        raise HeatmapError(f"draws={draws:g} is no count; expected a whole number of at least 1")
    return int(draws)
