"""A gate before the checks on where heatmaps lie: it opens once the explanations have passed checks of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pytest_gradcam.cam.inputs import Input
from pytest_gradcam.cam.targets import Contrast, Goal, Target
from pytest_gradcam.errors import FocusError, HeatmapError
from pytest_gradcam.explainer import Explainer
from pytest_gradcam.heatmap import Heatmap

_IMAGES = 3  # on so many the checks are tried before one without a verdict stays without one
#: The check that sound explanations fail on some images, and what they must do there to pass: better than chance.
_BY_IMAGE, _CHANCE = "faithful", 0.5
_WAY_OUT = "use another method or layer, or leave the gate open with gradcam_gate = off"


@dataclass
class _State:
    """How far one layer and method have come: the checks still to pass, on how many images, and why not."""

    waiting: list[str] = field(default_factory=lambda: ["deterministic", "depends_on_weights", "faithful"])
    images: int = 0
    reason: str = ""

    @property
    def settled(self) -> bool:
        return not self.waiting or self.images >= _IMAGES


class Gated(Explainer):
    """An explainer whose heatmaps bear no verdict on where they lie until the explanations pass checks of their own.

    These are `assert_deterministic`, `assert_depends_on_weights` and `assert_faithful(at_least=0.5)`. They run once for
    each layer and method, on the first image of which a check is made. What has no verdict there, and faithfulness,
    which sound explanations lack on some images, is tried on two more before the gate stays shut for good.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._states: dict[tuple[str, str], _State] = {}

    def gated(self) -> bool:
        """Whether the gate is there at this moment."""
        return True

    def predicted(self, heatmap: Heatmap, one: Input, *, layer: str | None, method: str | None) -> Heatmap:
        """The heatmap of the class that is predicted where this heatmap explains another."""
        return self.batch([one], [heatmap.subject.predicted_index], layer=layer, method=method)[0]

    def _heatmaps(
        self,
        ready: Sequence[Input],
        goals: Sequence[Goal],
        layer: str | None,
        method: str | None,
        *,
        shared: bool = False,
    ) -> list[Heatmap]:
        made = super()._heatmaps(ready, goals, layer, method, shared=shared)
        for one, goal, heatmap in zip(ready, goals, made, strict=True):
            heatmap.gate = partial(self._reason, heatmap, one, _target(goal, heatmap), layer, method)
        return made

    def _explain_dense(self, one: Input, target: Any, layer: str | None, method: str | None) -> Heatmap:
        heatmap = super()._explain_dense(one, target, layer, method)
        heatmap.gate = lambda: (
            f"the gate cannot try heatmaps of a {type(target).__name__}; leave it open with gradcam_gate = off, or with "
            "@pytest.mark.gradcam(gate='off') for this test"
            if self.gated()
            else ""
        )
        return heatmap

    def _reason(self, heatmap: Heatmap, one: Input, target: Target, layer: str | None, method: str | None) -> str:
        """Why no check on this heatmap can have a verdict; nothing where the gate is open."""
        if not self.gated():
            return ""
        state = self._states.setdefault((heatmap.layer, heatmap.method), _State())
        if not state.settled:
            self._try(state, partial(self._check, one, target, layer, method))
        if not state.reason:
            return ""
        return f"the gate stays shut for method {heatmap.method} at layer {heatmap.layer}: {state.reason}; {_WAY_OUT}"

    def _try(self, state: _State, check: Callable[[str], None]) -> None:
        state.images, state.reason = state.images + 1, ""
        for name in list(state.waiting):
            try:
                check(name)
            except FocusError as error:
                state.reason = state.reason or _first_line(error)
                if name != _BY_IMAGE:
                    state.images = _IMAGES
            except HeatmapError as error:
                state.reason = state.reason or _first_line(error)
            else:
                state.waiting.remove(name)

    def _check(self, one: Input, target: Target, layer: str | None, method: str | None, name: str) -> None:
        bounds = {"at_least": _CHANCE} if name == _BY_IMAGE else {}
        getattr(self, f"assert_{name}")(one, target=target, layer=layer, method=method, **bounds)


def _target(goal: Goal, heatmap: Heatmap) -> Target:
    if goal.function is not None:
        return goal.function
    index = heatmap.subject.target_index
    if goal.against is not None and index is not None:
        return Contrast(index, goal.against)
    return index


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
