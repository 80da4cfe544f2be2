"""Whether the same input gives the same heatmap: again, under other random states, and beside other images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.checks import verdicts
from pytest_gradcam.checks.explained import Explained, explained, picture
from pytest_gradcam.checks.verdicts import Changes
from pytest_gradcam.evidence import bounds, settle
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.questions.explained_model import ExplainedModel, Heatmap
from pytest_gradcam.targets import Target

_RUNS = 3


def assert_deterministic(
    model: ExplainedModel,
    image: Any,
    *,
    target: Target = None,
    at_most: float = 1e-3,
    layer: str | None = None,
    method: str | None = None,
) -> None:
    """The same image gives the same heatmap: again, under other random states, and beside other images.

    On a CPU a repetition changes no bit; in a batch, and on other devices, the heatmap may change by `at_most` of its
    maximum (0 <= at_most < 1). The cache is passed by. The rest are those of a call.
    Raises FocusError if it changes more: a random preprocess, dropout left on, statistics over the batch.
    HeatmapError if the check cannot be decided.
    """
    for question in model.questions(image, target, layer, method):
        _judge(explained(model, image, question), image, at_most)


def _judge(subject: Explained, image: Any, at_most: float) -> None:
    check = subject.record(check="deterministic", measure="change of the heatmap", bound=at_most, direction="at_most")
    others: list[tuple[str, Heatmap]] = []

    def measure(check: Record) -> Record:
        found, again = changes(subject, image)
        others.extend(again.items())
        return verdicts.deterministic(bounds.settled(check), found, exact=subject.engine.exact)

    settle.judge(check, measure, lambda record: picture(subject, record, *others))


def changes(subject: Explained, image: Any) -> tuple[Changes, dict[str, Heatmap]]:
    """How far input and heatmap move, and the heatmaps that moved furthest; nothing is taken from a cache."""
    _ = subject.heatmap.peak  # raises where there is none
    engine, one = subject.engine.fresh(), subject.one
    reads, runs = [one.pixels], []
    for run in range(_RUNS):
        with engine.seeded(run):
            reads.append(engine.read(image).pixels)
        with engine.seeded(run):
            runs.append(subject.again([one], by=engine)[0])
    flipped = (one.pixels[:, :, ::-1], one.pixels[:, ::-1], one.pixels[:, ::-1, ::-1])
    beside = [one.with_pixels(pixels) for pixels in flipped]
    with engine.seeded(0):
        batched = [subject.again(group, by=engine) for group in ([one, *beside], [*beside, one])]
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
