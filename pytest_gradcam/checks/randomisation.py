"""Whether a heatmap depends on what the model has learnt: it must not survive the model's weights.

Model parameter randomisation (Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018), on a copy of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_gradcam import metrics
from pytest_gradcam.checks import verdicts
from pytest_gradcam.checks.explained import Explained, explained, picture
from pytest_gradcam.errors import HeatmapError, NoEvidenceError
from pytest_gradcam.evidence import bounds, settle
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.questions.explained_model import ExplainedModel, Heatmap, Redraw
from pytest_gradcam.targets import Target

if TYPE_CHECKING:
    from PIL.Image import Image

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
    """Once the weights are redrawn the heatmap is no more than this like itself (rank correlation; 0 <= at_most < 1).

    The model parameter randomisation of Adebayo et al. (2018), on a copy: every parameter tensor takes its own
    values in random order, batch statistics follow. The figure is the mean over `draws` from `seed`. `cascade`
    redraws from the output down in five stages and takes the mean over them as well: it finds methods that look at
    features but not at what the head makes of them. The rest are those of a call.
    Raises FocusError if the heatmap stays alike; HeatmapError if the check cannot be decided: a model that cannot
    be copied, or that leaves no evidence once it is redrawn.
    """
    for question in model.questions(image, target, layer, method):
        _judge(explained(model, image, question), at_most, cascade, draws, seed)


def _judge(subject: Explained, at_most: float, cascade: bool, draws: int, seed: int) -> None:
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
    for engine in redraw.stages(seed, stages, subject.one):
        try:
            heatmap = subject.again([subject.one], by=engine)[0]
        except NoEvidenceError:
            raise
        except HeatmapError as error:
            raise HeatmapError(f"with redrawn weights, {error}") from error
        _ = heatmap.peak
        found.append(metrics.similarity(subject.heatmap.grid, heatmap.grid))
    return Draw(tuple(found), heatmap)


def _count(check: Record) -> int:
    draws = check.parameters["draws"]
    if draws != int(draws) or draws < 1:
        raise HeatmapError(f"draws={draws:g} is no count; expected a whole number of at least 1")
    return int(draws)
