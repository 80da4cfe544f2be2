"""Whether the same input gives the same heatmap: again, under other random states, and beside other images."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_gradcam.cam.guard import random_states_kept
from pytest_gradcam.cam.targets import Target
from pytest_gradcam.checks import verdicts
from pytest_gradcam.checks.explained import Explained, explained, picture
from pytest_gradcam.checks.verdicts import Changes
from pytest_gradcam.evidence import bounds, settle
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.heatmap import Heatmap

if TYPE_CHECKING:
    from pytest_gradcam.explainer import Explainer

_RUNS = 3


def assert_deterministic(
    explainer: Explainer,
    image: Any,
    *,
    target: Target,
    at_most: float,
    layer: str | None,
    method: str | None,
) -> None:
    subject = explained(explainer, image, target, layer, method)
    check = subject.record(check="deterministic", measure="change of the heatmap", bound=at_most, direction="at_most")

    others: list[tuple[str, Heatmap]] = []

    def measure(check: Record) -> Record:
        found, again = changes(subject, image)
        others.extend(again.items())
        return verdicts.deterministic(bounds.settled(check), found, exact=_on_cpu(explainer))

    settle.judge(check, measure, lambda record: picture(subject, record, *others))


def changes(subject: Explained, image: Any) -> tuple[Changes, dict[str, Heatmap]]:
    """How far input and heatmap move, and the heatmaps that moved furthest; nothing is taken from a cache."""
    _ = subject.heatmap.peak  # raises where there is none
    explainer, one = subject.explainer.of(subject.explainer.network), subject.one
    reads, runs = [one.tensor.numpy(force=True)], []
    with random_states_kept():
        for run in range(_RUNS):
            _seed(run)
            reads.append(explainer.read(image).tensor.numpy(force=True))
            _seed(run)
            runs.append(subject.again([one], by=explainer)[0])
        beside = [replace(one, tensor=one.tensor.flip(axes)) for axes in ((2,), (1,), (1, 2))]
        batched = [subject.again(group, by=explainer) for group in ([one, *beside], [*beside, one])]
    repeated, again = _furthest(runs[0], runs)
    together, in_batch = _furthest(runs[0], [batched[0][0], batched[1][-1]])
    changed = max(_change(reads[0], read) for read in reads)
    return Changes(changed, repeated, together, _RUNS), {"another run": again, "beside other images": in_batch}


def _furthest(before: Heatmap, others: Sequence[Heatmap]) -> tuple[float, Heatmap]:
    """How far the one of the others that moved the furthest did, and that one."""
    figures = [_change(before.grid, other.grid) for other in others]
    return max(figures), others[int(np.argmax(figures))]


def _change(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """The largest difference, as a share of the largest magnitude; infinite between arrays of different shapes."""
    if before.shape != after.shape:
        return float("inf")
    top = float(np.abs(before).max()) or 1.0
    return float(np.abs(before.astype(np.float64) - after).max()) / top


def _seed(value: int) -> None:
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def _on_cpu(explainer: Explainer) -> bool:
    return all(parameter.device.type == "cpu" for parameter in explainer.network.parameters())
