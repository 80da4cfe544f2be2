"""How the figures of an image change as a perturbation grows: measured, as data, and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gradcam import images, plots
from pytest_gradcam.checks.criteria import Bounds, Criterion, LiftAtLeast
from pytest_gradcam.checks.perturbed import PerturbedImage, PerturbedImages
from pytest_gradcam.errors import HeatmapError, raised
from pytest_gradcam.evidence.bounds import Lift
from pytest_gradcam.perturbations import KINDS, Kind, Perturbation
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.targets import Box, Target
from pytest_gradcam.validation import nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

#: Eleven severities, from none to the strongest.
SEVERITIES = tuple(step / 10 for step in range(11))
_LINE, _BROKEN = "#1f4e79", "#b03a2e"
_FIGURES = {
    "score": "score of the target",
    "mass": "relevance mass in the mask",
    "lift": "lift in the mask, 1 is chance",
    "similarity": "similarity to the original's heatmap",
}


@dataclass(frozen=True)
class Step:
    """The image at one severity; a figure that could not be measured is None.

    `score` is the target's score in its own units, `probability` its softmax; `predicted` the class that the model
    predicts; `mass` the relevance mass in the moved mask; `lift` the same divided by the mask's share of the view, if it is
    bounded; `similarity` the rank correlation with the heatmap of the original, moved as the image is. `broken` names the
    bounds that do not hold, `undecided` those that cannot be decided.
    """

    severity: float
    perturbation: str
    score: float
    probability: float | None = None
    predicted: str | None = None
    predicted_index: int | None = None
    mass: float | None = None
    lift: float | None = None
    similarity: float | None = None
    broken: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()

    @property
    def holds(self) -> bool | None:
        """Whether all bounds hold; None if that cannot be decided."""
        return False if self.broken else None if self.undecided else True


@dataclass(frozen=True)
class Robustness:
    """One image under a growing perturbation of one kind: one step for each severity, in rising order.

    `before` is the score of the unperturbed image; `bounds` are those that were passed, by the name of their figure.
    """

    kind: str
    image: str
    target: str
    before: float
    steps: tuple[Step, ...]
    bounds: Mapping[str, float]

    @property
    def first_break(self) -> float | None:
        """The lowest severity at which a bound breaks, or cannot be decided; None if all hold all the way."""
        return next((step.severity for step in self.steps if step.holds is not True), None)

    @property
    def recovers(self) -> bool:
        """Whether all bounds hold again at a severity above the first break, so that the curve is not monotone."""
        first = self.first_break
        return first is not None and any(step.holds is True and step.severity > first for step in self.steps)

    def plot(self) -> Image:
        """An RGB picture: one curve for each figure, with its bound, and the first break.

        Points are hollow where the model predicts another class than for the mildest severity.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        names = [name for name in _FIGURES if any(getattr(step, name) is not None for step in self.steps)]
        figure = Figure(figsize=(4.2 * len(names) + 0.6, 3.6), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        figure.suptitle(plots.plain(str(self)), fontsize=11, wrap=True)
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            self._draw(axes, name)
        return plots.rendered(canvas)

    def _draw(self, axes: Axes, name: str) -> None:
        known = [step for step in self.steps if getattr(step, name) is not None]
        axes.plot([step.severity for step in known], [getattr(step, name) for step in known], color=_LINE)
        for step in known:
            filled = step.predicted_index == self.steps[0].predicted_index
            axes.plot(
                step.severity, getattr(step, name), "o", color=_LINE, markerfacecolor=_LINE if filled else "white"
            )
        if self.first_break is not None:
            axes.axvline(self.first_break, color=_BROKEN, linestyle=":")
        if name in self.bounds:
            for level in self._levels(name):
                axes.axhline(level, color=_BROKEN, linestyle="--")
        axes.set(xlabel=f"severity of {self.kind}", title=_FIGURES[name], xlim=(-0.03, 1.03))
        axes.title.set_fontsize(9)

    def _levels(self, name: str) -> tuple[float, ...]:
        """The bound in the figure's own units; the one on the score lies on both sides of the original's score."""
        bound = self.bounds[name]
        return (self.before - bound, self.before + bound) if name == "score" else (bound,)

    def _repr_png_(self) -> bytes:
        return images.png(self.plot())

    def __str__(self) -> str:
        on = f"{self.kind} on {Path(self.image).name}, {self.target!r}"
        broken = next((step for step in self.steps if step.holds is not True), None)
        if broken is None:
            return f"{on}: holds up to {self.steps[-1].severity:g}"
        what = " and ".join(broken.broken or broken.undecided)
        how = "breaks" if broken.broken else "cannot be decided"
        where = f"at {broken.severity:g}" if broken.severity else "on the original already"
        return f"{on}: {what} {how} {where}" + (", and holds again above" if self.recovers else "")


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
    `severities` rise, in [0, 1]. The bounds and the other arguments are those of `assert_stable`. Every figure is
    measured, whether it is bounded or not; the mass only if there is a mask.
    Raises HeatmapError for malformed arguments; a figure that cannot be measured at a severity is None there.
    """
    criteria = Bounds(same_class, score_within, mass_at_least, similarity_at_least).criteria(mask)
    steps = _steps(_make(kind), severities)
    questions = model.questions(image, target)
    if len(questions) > 1:
        raise HeatmapError(
            "mispredicted = both explains two classes, but a curve has one; set it to label or prediction"
        )
    if isinstance(questions[0].target, Box):
        raise HeatmapError(
            "the target of a curve cannot be a Box; expected the target of a classifier, or a callable; assert_stable follows a "
            "Box through each change"
        )
    perturbed = PerturbedImages(model, image, questions[0])
    checked = None if mask is None else perturbed.mask(mask)
    measured = perturbed.of([perturbation for _, perturbation in steps], checked)
    before = perturbed.before
    assert before.subject.score is not None
    return Robustness(
        kind=_name(kind),
        image=before.subject.image,
        target=before.subject.target,
        before=before.subject.score,
        steps=tuple(_step(severity, image, criteria) for (severity, _), image in zip(steps, measured, strict=True)),
        bounds={criterion.label: criterion.bound for criterion in criteria},
    )


def _step(severity: float, image: PerturbedImage, criteria: Sequence[Criterion]) -> Step:
    figures = [(criterion, _or_none(partial(criterion.figure, image))) for criterion in criteria]
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
        lift=_or_none(lambda: image.lift)
        if any(isinstance(criterion, LiftAtLeast) for criterion in criteria)
        else None,
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
    """Each severity with its perturbation. Raises HeatmapError unless the severities rise and `make` makes perturbations."""
    made = [(severity, _made(make, severity)) for severity in severities]
    for severity, perturbation in made:
        if not isinstance(perturbation, Perturbation):
            raise HeatmapError(f"kind({severity!r}) is a {type(perturbation).__name__}; expected a perturbation")
    if not made or any(a[0] >= b[0] for a, b in pairwise(made)):
        raise HeatmapError(
            f"severities={[severity for severity, _ in made]!r} do not rise; expected at least one number from 0 to 1, "
            "each above the one before"
        )
    return [(float(severity), perturbation) for severity, perturbation in made]


def _made(make: Callable[[float], Any], severity: float) -> Any:
    try:
        return make(severity)
    except HeatmapError:
        raise
    except Exception as error:
        raise HeatmapError(f"kind({severity!r}) {raised(error)}; expected a perturbation of this severity") from error


def _make(kind: Any) -> Callable[[float], Any]:
    if isinstance(kind, str):
        if kind not in KINDS:
            raise HeatmapError(f"{kind!r} is not a kind of perturbation{nearest(kind, KINDS) or '; see KINDS'}")
        return KINDS[kind]
    if isinstance(kind, Perturbation) or not callable(kind):
        raise HeatmapError(
            f"{kind!r:.80} is not a kind of perturbation; expected a name, a class such as fog, or a callable from a "
            "severity to a perturbation, such as functools.partial(motion_blur, angle=40)"
        )
    made: Callable[[float], Any] = kind
    return made


def _name(kind: Any) -> str:
    """The kind in a word or two; a partial is called by its repr at severity 1."""
    return kind if isinstance(kind, str) else getattr(kind, "__name__", "") or repr(kind(1.0))
