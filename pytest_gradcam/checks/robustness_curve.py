"""How the figures of an image change as a perturbation grows: the curve as data and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gradcam import images, overlay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

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

    `score` is that of the target in its own units, `probability` its softmax; `predicted` the class that the model
    predicts; `mass` the relevance mass in the moved mask; `lift` the same over the mask's share of the view, where it is
    bounded; `similarity` the rank correlation with the heatmap of the original, moved along. `broken` names the bounds
    that do not hold, `undecided` those of which that cannot be said.
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
        """Whether all bounds hold; None where that cannot be said."""
        return False if self.broken else None if self.undecided else True


@dataclass(frozen=True)
class Robustness:
    """What becomes of one image as a perturbation of one kind grows: one step for each severity, in rising order.

    `before` is the score of the unperturbed image; `bounds` are those that were asked for, by the name of their figure.
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
        """Whether all bounds hold again at a severity above the first break: then the curve is not monotone."""
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
        figure.suptitle(overlay.plain(str(self)), fontsize=11, wrap=True)
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            self._draw(axes, name)
        return overlay.rendered(canvas)

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
        """Where the bound lies in the figure's own units; that on the score lies around the original's."""
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
