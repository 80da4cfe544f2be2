"""Curves of an image's figures over the severity of a perturbation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from pytest_gradcam.checks.criteria import Criterion, LiftAtLeast, MassAtLeast, criteria
from pytest_gradcam.checks.perturbed import PerturbedImage, PerturbedImages
from pytest_gradcam.checks.robustness_curve import Robustness, Step
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.bounds import Lift
from pytest_gradcam.perturbations import KINDS, Kind, Perturbation
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.settings import nearest
from pytest_gradcam.targets import Target

#: Eleven, from none to the strongest.
SEVERITIES = tuple(step / 10 for step in range(11))


def robustness(
    model: ExplainedModel,
    image: Any,
    kind: str | type[Kind] | Callable[[float], Perturbation],
    *,
    severities: Iterable[float] = SEVERITIES,
    target: Target = None,
    mask: Any = None,
    same_class: bool = True,
    score_within: float | None = None,
    mass_at_least: float | Lift | None = None,
    similarity_at_least: float | None = None,
) -> Robustness:
    """Score, mass, similarity and predicted class at each severity of a kind, and where a bound breaks first.

    `kind` is a name or class of `pytest_gradcam.perturbations`, or a callable from a severity to a perturbation;
    `severities` rise, in [0, 1]. The bounds and the other arguments are those of `assert_stable`; a figure is
    measured whether it is bounded or not, the mass where there is a mask.
    Raises HeatmapError for malformed arguments; a figure that cannot be measured at a severity is None there.
    """
    wanted = criteria(
        same_class=same_class,
        score_within=score_within,
        mass_at_least=mass_at_least,
        similarity_at_least=similarity_at_least,
    )
    if mask is None and any(isinstance(criterion, MassAtLeast) for criterion in wanted):
        raise HeatmapError("mass_at_least bounds the relevance mass in a mask, and there is none; pass mask=")
    steps = _steps(_make(kind), severities)
    questions = model.questions(image, target)
    if len(questions) > 1:
        raise HeatmapError("mispredicted = both asks for two classes, and a curve is of one; set label or prediction")
    perturbed = PerturbedImages(model, image, questions[0])
    region = None if mask is None else perturbed.mask(mask)
    measured = perturbed.of([perturbation for _, perturbation in steps], region)
    before = perturbed.before
    assert before.score is not None
    return Robustness(
        kind=_name(kind),
        image=before.subject.image,
        target=before.target,
        before=before.score,
        steps=tuple(_step(severity, image, wanted) for (severity, _), image in zip(steps, measured, strict=True)),
        bounds={criterion.label: criterion.bound for criterion in wanted},
    )


def _step(severity: float, image: PerturbedImage, wanted: Sequence[Criterion]) -> Step:
    figures = [(criterion, _or_none(lambda criterion=criterion: criterion.figure(image))) for criterion in wanted]  # type: ignore[misc]
    subject = image.after.subject
    assert subject.score is not None
    return Step(
        severity=severity,
        perturbation=repr(image.perturbation),
        score=subject.score,
        probability=subject.probability,
        predicted=subject.predicted,
        predicted_index=subject.predicted_index,
        mass=None if image.mask is None else _or_none(lambda: image.mass),
        lift=_or_none(lambda: image.lift) if any(isinstance(criterion, LiftAtLeast) for criterion in wanted) else None,
        similarity=_or_none(lambda: image.similarity),
        broken=tuple(
            criterion.label for criterion, figure in figures if figure is not None and not criterion.holds(figure)
        ),
        undecided=tuple(criterion.label for criterion, figure in figures if figure is None),
    )


def _or_none(measure: Callable[[], float]) -> float | None:
    try:
        return measure()
    except HeatmapError:
        return None


def _steps(make: Callable[[float], Any], severities: Iterable[float]) -> list[tuple[float, Perturbation]]:
    """Each severity with its perturbation. Raises HeatmapError for what is none, and unless severities rise."""
    made = [(severity, make(severity)) for severity in severities]
    for severity, perturbation in made:
        if not isinstance(perturbation, Perturbation):
            raise HeatmapError(f"kind({severity!r}) is a {type(perturbation).__name__}; expected a perturbation")
    if not made or any(a[0] >= b[0] for a, b in pairwise(made)):
        raise HeatmapError(
            f"severities={[severity for severity, _ in made]!r} do not rise; expected at least one number from 0 to 1, "
            "each above the one before"
        )
    return [(float(severity), perturbation) for severity, perturbation in made]


def _make(kind: Any) -> Callable[[float], Any]:
    if isinstance(kind, str):
        if kind not in KINDS:
            raise HeatmapError(f"{kind!r} is no kind of perturbation{nearest(kind, KINDS) or '; see KINDS'}")
        return KINDS[kind]
    if isinstance(kind, Perturbation) or not callable(kind):
        raise HeatmapError(
            f"{kind!r:.80} is no kind of perturbation; expected a name, a class such as fog, or a callable from a "
            "severity to a perturbation, such as functools.partial(motion_blur, angle=40)"
        )
    made: Callable[[float], Any] = kind
    return made


def _name(kind: Any) -> str:
    """The kind in a word or two: a partial one is called by its repr at severity 1."""
    return kind if isinstance(kind, str) else getattr(kind, "__name__", "") or repr(kind(1.0))
