"""Whether the same input gives the same heatmap: again, under other random states, and beside other images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.checks.explained import Explained, explained, picture
from pytest_gradcam.evidence import settle
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.messages import number
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.protocols import HeatmapLike
from pytest_gradcam.targets import Target

_RUNS = 3


@dataclass(frozen=True)
class Changes:
    """The largest change, as a share of the maximum: of the model's input, of the heatmap between runs, and in a batch."""

    preprocess: float
    repeated: float
    batched: float
    runs: int


@dataclass(frozen=True)
class Stage:
    """One way to change: what changes, by how much, how much is allowed, and what to look for."""

    what: str
    change: float
    bound: float
    remedy: str


@dataclass(frozen=True)
class Deterministic(Check):
    """Input and heatmap change by at most this share of the maximum; from run to run not at all if computation is `exact`."""

    exact: bool
    stage: Stage | None = None

    name, measure, direction = "deterministic", "change of the heatmap", "at_most"

    def judged(self, record: Record, changes: Changes) -> Record:
        """The record decided, by the first stage that changes too much, or else by the last."""
        assert record.bound is not None
        stages = list(self._stages(changes, record.bound))
        stage = next((stage for stage in stages if stage.change > stage.bound), stages[-1])
        details = (
            ("repeated", f"{changes.repeated:.3g} of the maximum, {changes.runs} runs under other random states"),
            ("batched", f"{changes.batched:.3g} of the maximum, beside flips of the image at half its contrast"),
        )
        return replace(self, stage=stage).decided(replace(record, bound=stage.bound, details=details), stage.change)

    def _stages(self, changes: Changes, bound: float) -> Iterator[Stage]:
        yield Stage(
            "the preprocess gives another input", changes.preprocess, 0.0, "seed it, or leave out what is random"
        )
        yield Stage(
            "the heatmap changes from one run to the next",
            changes.repeated,
            0.0 if self.exact else bound,
            "look for dropout that stays on (functional.dropout needs training=self.training), and for noise",
        )
        yield Stage(
            "the heatmap changes beside other images in a batch",
            changes.batched,
            bound,
            "look for statistics over the batch (a BatchNorm without running ones), or set batch_size to 1",
        )

    def finding(self, record: Record, figure: float, bound: float) -> str:
        assert self.stage is not None
        wanted = "none" if bound == 0 else f"at most {number(bound, unlike=figure)}"
        return f"{self.stage.what} by {number(figure, unlike=bound)} of its maximum; expected {wanted}"

    def advice(self, record: Record) -> str:
        assert self.stage is not None
        return f"{self.stage.remedy}; a verdict on a heatmap that changes is a matter of chance"


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

    On a CPU, repeating the computation must not change a single bit; in a batch, and on other devices, the heatmap may
    change by `at_most` of its maximum (0 <= at_most < 1). The cache is not used. The other arguments are those of a call.
    Raises FocusError if it changes more: a random preprocess, dropout left on, statistics over the batch.
    HeatmapError if the check cannot be decided.
    """
    with model.engine.any_draw():
        subjects = [explained(model, image, question) for question in model.questions(image, target, layer, method)]
    for subject in subjects:
        _judge(subject, image, at_most)


def _judge(subject: Explained, image: Any, at_most: float) -> None:
    check = Deterministic(at_most, subject.engine.exact)
    others: list[tuple[str, HeatmapLike]] = []

    def measure(record: Record) -> Record:
        record = check.checked(record)
        with subject.engine.any_draw():
            found, again = changes(subject, image)
        others.extend(again.items())
        record = check.judged(record, found)
        if record.outcome == "passed":
            subject.scores([subject.image_input])  # raises for draws that these few runs did not meet
        return record

    settle.judge(check.on(subject.heatmap), measure, lambda record: picture(subject, record, *others))


def changes(subject: Explained, image: Any) -> tuple[Changes, dict[str, HeatmapLike]]:
    """How far input and heatmap change, and the heatmaps that change the most; nothing is taken from a cache."""
    _ = subject.heatmap.peak  # raises if there is none
    engine, image_input = subject.engine.fresh(), subject.image_input
    pixels = image_input.pixels
    reads, runs = [pixels], []
    for run in range(_RUNS):
        with engine.seeded(run):
            reads.append(engine.read(image).pixels)
        with engine.seeded(run):
            runs.append(subject.again([image_input], by=engine)[0])
    # Of half the contrast: flips alone have the image's own mean and spread, and statistics over the batch would stay the same.
    flips = (pixels[:, :, ::-1], pixels[:, ::-1], pixels[:, ::-1, ::-1])
    beside = [image_input.with_pixels(flip / 2) for flip in flips]
    with engine.seeded(0):
        batched = [subject.again(group, by=engine) for group in ([image_input, *beside], [*beside, image_input])]
    repeated, again = _furthest(runs[0], runs)
    together, in_batch = _furthest(runs[0], [batched[0][0], batched[1][-1]])
    changed = max(_change(reads[0], read) for read in reads)
    return Changes(changed, repeated, together, _RUNS), {"another run": again, "beside other images": in_batch}


def _furthest(before: HeatmapLike, others: Sequence[HeatmapLike]) -> tuple[float, HeatmapLike]:
    """The largest change among the others, and the heatmap that it belongs to."""
    figures = [_change(before.grid, other.grid) for other in others]
    return max(figures), others[int(np.argmax(figures))]


def _change(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """The largest difference, as a share of the largest magnitude; infinite between arrays of different shapes."""
    if before.shape != after.shape:
        return float("inf")
    top = float(np.abs(before).max()) or 1.0
    return float(np.abs(before.astype(np.float64) - after).max()) / top
