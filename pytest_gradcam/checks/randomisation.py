"""Whether a heatmap depends on what the model has learnt: it must change when the weights are redrawn.

Model parameter randomisation (Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018), on a copy of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_gradcam import metrics
from pytest_gradcam.checks.explained import Explained, explained, picture
from pytest_gradcam.errors import HeatmapError, NoEvidenceError
from pytest_gradcam.evidence import settle
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.messages import number
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.protocols import HeatmapLike, Redraw
from pytest_gradcam.targets import Target

if TYPE_CHECKING:
    from PIL.Image import Image

_STAGES = 5  # of a cascade
_TRIES = 4  # draws for each that is asked for: some leave the target without evidence, and show nothing


@dataclass(frozen=True)
class DependsOnWeights(Check):
    """Under redrawn weights, the mean similarity to the original over draws and stages is at most this."""

    draws: Any
    stages: int = 1

    name, measure, direction = "depends_on_weights", "similarity under redrawn weights", "at_most"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"draws": self.draws}

    def plain_parameters(self) -> dict[str, float]:
        draws = super().plain_parameters()["draws"]
        if draws != int(draws) or draws < 1:
            raise HeatmapError(f"draws={draws:g} cannot be a count; expected a whole number of at least 1")
        return {"draws": draws}

    def judged(self, record: Record, similarities: Sequence[Sequence[float]]) -> Record:
        """The record decided, from the similarity after each stage (draws, stages)."""
        table = np.array(similarities)
        details = [("draws", f"{len(table)}, from {table.mean(1).min():.2f} to {table.mean(1).max():.2f}")]
        if table.shape[1] > 1:
            details.append(("stages", ", ".join(f"{mean:.2f}" for mean in table.mean(0))))
        check = replace(self, stages=table.shape[1])
        return check.decided(replace(record, details=tuple(details)), float(table.mean()))

    def finding(self, record: Record, figure: float, bound: float) -> str:
        stages = "" if self.stages == 1 else f" after each of {self.stages} stages from the top"
        return (
            f"with the weights redrawn{stages} the heatmap still has a rank correlation of "
            f"{number(figure, unlike=bound)} with what it was; expected at most {number(bound, unlike=figure)}"
        )

    def advice(self, record: Record) -> str:
        return (
            "look at the picture; this map shows the picture rather than what the model learnt from it: use another "
            "method (gradcam, hirescam) or layer, and base no verdict on this one"
        )


@dataclass(frozen=True)
class Draw:
    """One draw of the weights: the heatmap's similarity after each stage, and the heatmap after the last."""

    similarities: tuple[float, ...]
    heatmap: HeatmapLike

    @property
    def caption(self) -> str:
        return f"with redrawn weights: {self.similarities[-1]:.2f}"


def assert_depends_on_weights(
    model: ExplainedModel,
    image: Any,
    *,
    target: Target = None,
    at_most: float = 0.4,
    cascade: bool = False,
    draws: int = 5,
    seed: int = 0,
    layer: str | None = None,
    method: str | None = None,
) -> None:
    """With redrawn weights the heatmap has at most this rank correlation with what it was (0 <= at_most < 1).

    This is the model parameter randomisation test of Adebayo et al. (2018), on a copy of the model: the values of every
    parameter tensor are shuffled, and batch statistics are computed anew. The figure is the mean over `draws`, drawn
    with `seed`. `cascade` redraws in five stages from the output down, and averages over them as well: it finds methods
    that look at the features but not at what the head makes of them. The other arguments are those of a call.
    Raises FocusError if the heatmap stays alike; HeatmapError if the check cannot be decided: a model that cannot
    be copied, or that leaves no evidence under redrawn weights.
    """
    for question in model.questions(image, target, layer, method):
        _judge(explained(model, image, question), DependsOnWeights(at_most, draws, _STAGES if cascade else 1), seed)


def _judge(subject: Explained, check: DependsOnWeights, seed: int) -> None:
    made: list[Draw] = []

    def measure(record: Record) -> Record:
        record = check.checked(record)
        made.extend(_draws(subject, int(record.parameters["draws"]), int(seed), check.stages))
        return check.judged(record, [draw.similarities for draw in made])

    def draw(record: Record) -> Image:
        return picture(subject, record, *[(draw.caption, draw.heatmap) for draw in made[:2]])

    settle.judge(check.on(subject.heatmap, seed=seed), measure, draw)


def _draws(subject: Explained, count: int, seed: int, stages: int) -> Iterator[Draw]:
    """`count` draws. Raises NoEvidenceError if too few of those tried leave the target any evidence."""
    _ = subject.heatmap.peak  # raises if there is none
    redraw, made = subject.engine.redraw(), 0
    for attempt in range(count * _TRIES):
        try:
            yield _draw(subject, redraw, seed * count * _TRIES + attempt, stages)
        except NoEvidenceError:
            continue
        made += 1
        if made == count:
            return
    raise NoEvidenceError(
        f"with redrawn weights the heatmap is empty or the same everywhere in {count * _TRIES - made} of "
        f"{count * _TRIES} draws, so there is too little to compare; explain another target or image, or use hirescam"
    )


def _draw(subject: Explained, redraw: Redraw, seed: int, stages: int) -> Draw:
    found, heatmap = [], subject.heatmap
    for engine in redraw.stages(seed, stages, subject.image_input):
        try:
            heatmap = subject.again([subject.image_input], by=engine)[0]
        except NoEvidenceError:
            raise
        except HeatmapError as error:
            raise HeatmapError(f"with redrawn weights, {error}") from error
        _ = heatmap.peak
        found.append(metrics.similarity(subject.heatmap.grid, heatmap.grid))
    return Draw(tuple(found), heatmap)
