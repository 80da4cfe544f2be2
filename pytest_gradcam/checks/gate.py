"""A gate before the checks on where heatmaps lie: it opens once the explanations have passed their own checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pytest_gradcam.checks.determinism import assert_deterministic
from pytest_gradcam.checks.faithfulness import assert_faithful
from pytest_gradcam.checks.randomisation import assert_depends_on_weights
from pytest_gradcam.errors import FocusError, HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.questions.explained_model import ExplainedModel, Question
from pytest_gradcam.questions.protocols import Engine, HeatmapLike, ModelInput
from pytest_gradcam.targets import Box, Region

_IMAGES = 3  # images that the checks are tried on before one without a verdict is final
_CHANCE = 0.5  # share of random orders: sound explanations beat it; on some images some miss the full bound
_CHECKS: dict[str, Callable[..., None]] = {
    "deterministic": assert_deterministic,
    "depends_on_weights": assert_depends_on_weights,
    "faithful": partial(assert_faithful, at_least=_CHANCE),
}
_BY_IMAGE = "faithful"  # the check that sound explanations may fail on single images
_WAY_OUT = "use another method or layer, or leave the gate open with gradcam_gate = off"


@dataclass
class _State:
    """The progress of one layer and method of one model: the checks still to pass, the images tried, and why it is shut."""

    waiting: list[str] = field(default_factory=lambda: list(_CHECKS))
    images: int = 0
    reason: str = ""

    @property
    def settled(self) -> bool:
        return not self.waiting or self.images >= _IMAGES


class Gatekeeper:
    """Says why no check on where a heatmap lies can have a verdict; an empty text once its explanations are sound.

    The checks are `assert_deterministic`, `assert_depends_on_weights` and `assert_faithful(at_least=0.5)`. They run once
    for each layer, method and state of the weights, on the first image that is checked. A check that has no verdict
    there, and faithfulness, which sound explanations may fail on single images, is tried on two more images before the
    gate stays shut.
    """

    def __init__(self, engine: Engine) -> None:
        self._model = ExplainedModel(engine)  # under no test's policy: it repeats the heatmap's own question
        self._states: dict[tuple[str, str, str], _State] = {}

    def __call__(self, heatmap: HeatmapLike, image_input: ModelInput, question: Question) -> str:
        if isinstance(question.target, (Box, Region)):
            return (
                f"the gate cannot try heatmaps of a {type(question.target).__name__}; leave it open with gradcam_gate = off, or "
                "with @pytest.mark.gradcam(gate='off') for this test"
            )
        subject = heatmap.subject
        if self._model.engine.identified(Subject()).weights != subject.weights:
            return "the model's weights have changed since this heatmap was made; explain the image again"
        state = self._states.setdefault((subject.layer, subject.method, subject.weights), _State())
        if not state.settled:
            target = subject.target_index if question.target is None else question.target
            how: dict[str, Any] = {"target": target, "layer": question.layer, "method": question.method}
            _try(state, lambda name: _CHECKS[name](self._model, image_input, **how))
        if not state.reason:
            return ""
        return f"the gate stays shut for method {subject.method} at layer {subject.layer}: {state.reason}; {_WAY_OUT}"


def _try(state: _State, check: Callable[[str], None]) -> None:
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


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
