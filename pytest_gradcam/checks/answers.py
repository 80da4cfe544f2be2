"""What a model answers about one target where pixels of an image are replaced: how far its margin, or its score, falls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.checks import margins
from pytest_gradcam.checks.margins import MARGIN, Floats, Wording
from pytest_gradcam.checks.masked_image import scores_of
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.lead import Lead, has_margin
from pytest_gradcam.questions.protocols import ModelInput, TargetScore
from pytest_gradcam.targets import Box, Region, Target

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """How far a target falls in each changed version of one image: `falls` (M,), in units of which `unit_said` says what one is.

    `telling` (K,) says which of K other images are answered otherwise, so that their pixels could say something else;
    `needs_nothing` that the target does as well where there is nothing to see. `target` is what a heatmap explains; `said` and
    `caption` tell what becomes of it in the change of an index.
    """

    wording: Wording
    falls: Floats
    unit_said: str
    telling: Bools
    needs_nothing: bool
    subject: Subject
    target: Target
    said: Callable[[int], str]
    caption: Callable[[int], str]


def answers(
    model: ExplainedModel, target: Target, unchanged: Sequence[ModelInput], changed: Sequence[ModelInput], bound: float
) -> Answers:
    """What becomes of the target in the changed versions of the first of the unchanged images; the others stand beside it.

    The last but one of the changed is the image with nothing in it; a fall there within the bound is none.
    Raises HeatmapError for a target that cannot be measured, and for a model that none of this moves.
    """
    if has_margin(target):
        return _of_class(model, target, unchanged, changed)
    return _of_score(model, target, unchanged, changed, bound)


def _of_class(
    model: ExplainedModel, target: Target, unchanged: Sequence[ModelInput], changed: Sequence[ModelInput]
) -> Answers:
    scores = scores_of(model.engine, [*unchanged, *changed])
    if not np.ptp(scores, axis=0).any():
        raise HeatmapError(
            "the model gives every image the same scores, so it ignores them altogether; check the weights"
        )
    seen, after = scores[: len(unchanged)], scores[len(unchanged) :]
    lead = model.lead(target, seen[0])
    unit = margins.unit(seen, lead.of(seen) if lead.alone else None)
    whose = "the image's own lead" if len(seen) == 1 else f"the mean lead over {len(seen)} images"
    over = "over 0, where it is neither found nor missed" if lead.alone else "of the first class over the second"

    def said(place: int) -> str:
        before, now = (_predicted(model, lead, row) for row in (seen[0], after[place]))
        stays = f"{now!r} stays" if before == now else f"{before!r} becomes {now!r}"
        return f"{stays}, score {seen[0][lead.index]:.3g} to {after[place][lead.index]:.3g}"

    return Answers(
        MARGIN,
        (lead.of(seen[:1]) - lead.of(after)) / unit,
        f"a difference of {unit:.3g} in the logit: {whose} {'of the class ' * lead.alone}{over}",
        np.array([not lead.is_predicted(row) for row in seen[1:]], bool),
        bool(lead.of(after[-2:-1])[0] > margins.LEVEL * unit),
        model.subject(unchanged[0], seen[0], target),
        lead.index,
        said,
        lambda place: f"{after[place][lead.index]:.3g}",
    )


def _predicted(model: ExplainedModel, lead: Lead, row: NDArray[np.float32]) -> str:
    """What the model predicts; where classes do not compete, whether it finds the one that is asked about."""
    if not lead.alone:
        return model.engine.names.name(int(row.argmax()))
    return ("" if lead.is_predicted(row) else "no ") + model.engine.names.name(lead.index)


def _of_score(
    model: ExplainedModel,
    target: Target,
    unchanged: Sequence[ModelInput],
    changed: Sequence[ModelInput],
    bound: float,
) -> Answers:
    beside = [] if isinstance(target, (Box, Region)) else unchanged[1:]  # another image has other objects
    own, *rest = model.engine.scored([unchanged[0], *beside], [target] * (1 + len(beside)))
    values = np.array([own.value, *(each.value for each in rest)])
    unit, unit_said = unit_of([own], values)
    raw = own.falls(changed)
    if not raw.any():
        raise HeatmapError(f"no change moves the {own.noun}, not even one of the whole image; check the target")
    falls = np.abs(raw) / unit if own.two_sided else raw / unit
    telling = np.abs(values[1:] - own.value) >= unit if len(rest) else np.ones(len(unchanged) - 1, bool)
    return Answers(
        wording_of(own, unit_said),
        falls,
        unit_said,
        telling,
        bool(falls[-2] <= bound),
        model.engine.identified(own.subject, unchanged[0]),
        target,
        lambda place: f"score {own.value:.3g} to {own.value - raw[place]:.3g}",
        lambda place: f"{own.value - raw[place]:.3g}",
    )


def unit_of(scores: Sequence[TargetScore], values: Floats) -> tuple[float, str]:
    """What a fall of these scores is measured in, and what that is: their mean unit, or the spread of all values (N,)."""
    own = [score.unit for score in scores if score.unit is not None]
    if len(own) < len(scores):
        unit = margins.spread(values)
        return (
            unit,
            f"{unit:.3g}: how far the score differs in {len(values)} images, the range of the middle half / 1.349",
        )
    unit = float(np.mean(own))
    if len(scores) == 1 or scores[0].two_sided:
        return unit, scores[0].unit_said
    return unit, f"{unit:.3g}: the mean over {len(scores)} images, in the first {scores[0].unit_said}"


def wording_of(score: TargetScore, unit_said: str) -> Wording:
    """How to speak of this score and others like it."""
    if score.two_sided:
        return Wording(
            score.noun, f"the {score.noun}", unit_said, "with another score", "with other scores", two_sided=True
        )
    whose = "its margin" if score.noun == "margin" else "the detection's score"
    return Wording(score.noun, whose, unit_said, "with another object", "with other objects")
