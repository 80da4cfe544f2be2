"""How to read a model's output: which tensor holds the scores, in which unit, and whether the classes compete.

Measured once, on the first image and on noise. What the measurement cannot decide, the user is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.activations import Activation, Watched, inside, return_instead
from pytest_gradcam.cam.chance import Draws, Tensors, floats_in, refuse_draws
from pytest_gradcam.cam.containers import Key, Path, at, batched, describe, parts, scores_at, shown
from pytest_gradcam.cam.measured_unit import Measured
from pytest_gradcam.cam.structure import anatomy
from pytest_gradcam.cam.units import WAYS, centred, check_probabilities, sums_to_one, widened
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.settings import OUTPUTS, TASKS
from pytest_gradcam.state.guard import first_forward, forward
from pytest_gradcam.state.undo import undoing
from pytest_gradcam.targets import ClassNames
from pytest_gradcam.validation import nearest

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Asked:
    """What the user says about the output; `key` is where the scores are. Raises HeatmapError for unknown words."""

    output: str = "auto"
    key: Key | None = None
    task: str = "auto"

    def __post_init__(self) -> None:
        for name, value, known in (("output", self.output, OUTPUTS), ("task", self.task, TASKS)):
            if value not in known:
                raise HeatmapError(
                    f"{name}={value!r} is not known; expected one of {', '.join(known)}{nearest(str(value), known)}"
                )


@dataclass(frozen=True)
class OutputKind:
    """How to read the scores. `unit` is "logits", "softmax", "sigmoid" or "differences", logits less what all classes share.

    `activation` is bypassed to get logits.

    `multi`: the classes do not compete, and each is predicted if its own logit is above 0. `binary`: the model has one
    score for two classes. `told`: the user said that these are logits, so outputs are not checked against it. `random`: the
    model gives the same image other scores each time.
    """

    path: Path = ()
    unit: str = "logits"
    multi: bool = False
    binary: bool = False
    activation: Activation | None = None
    told: bool = False
    random: bool = False

    def logits(self, output: Any, count: int) -> Tensor:
        """The logits (N, classes, ...) of the output for N images; one score z gives -z and z for the classes 0 and 1.

        Raises HeatmapError if the scores are not of the kind that was measured, and for probabilities without a finite
        logit.
        """
        scores = batched(at(output, self.path), count)
        if scores is None:
            raise not_scores(output, count)
        if self.activation is None:
            scores = self._from_unit(scores)
        return torch.cat([-scores, scores], 1) if self.binary else scores

    def probability(self, row: Tensor, index: int) -> float:
        """The probability of a class, from the logits (classes,)."""
        row = row.double()
        return float(torch.sigmoid(row[index]) if self.multi or self.binary else torch.softmax(row, 0)[index])

    @property
    def task(self) -> str:
        return "multi" if self.multi else "single"

    def __str__(self) -> str:
        """The findings, for a record; empty for a bare tensor of logits whose classes compete."""
        where = f"scores at {shown(self.path)}" if self.path else ""
        return "; ".join(part for part in (where, self._unit(), "multi-label" if self.multi else "") if part)

    def _unit(self) -> str:
        if self.activation is not None:
            return f"read as the logits before its last {self.activation.kind}"
        return {
            "softmax": "softmax probabilities p, read as log p less its mean over the classes",
            "sigmoid": "sigmoid probabilities p, read as log p - log(1 - p)",
            "differences": "what the classes differ by, read less its mean over the classes",
        }.get(self.unit, "")

    def _from_unit(self, scores: Tensor) -> Tensor:
        wide = widened(scores)
        if self.unit == "logits":
            if (
                not self.told
                and scores.dtype in (torch.float32, torch.float64)
                and sums_to_one(wide.detach(), scores.dtype)
            ):
                raise HeatmapError(
                    "the model returned logits before and returns probabilities now: its scores lie in [0, 1] and add up to "
                    f"1; {WAYS}"
                )
            return scores
        if self.unit == "differences":
            return centred(scores)
        check_probabilities(wide.detach(), scores.dtype, adds_up=self.unit == "softmax")
        logs = wide.log()
        return centred(logs) if self.unit == "softmax" else logs - torch.log1p(-wide)


@dataclass
class OutputReader:
    """Reads the outputs of one model and its copies; `names` must fit the number of scores."""

    asked: Asked
    names: ClassNames
    last: OutputKind | None = None
    _kinds: dict[Any, tuple[OutputKind, int]] = field(default_factory=dict)
    _draws: dict[Any, Draws] = field(default_factory=dict)

    def reading(self, model: nn.Module, inputs: Tensor, *, dense: bool = False) -> undoing[OutputKind]:
        """A `with` block in which the model returns logits (N, classes), or (N, classes, H, W) if it is dense.

        `inputs` are (B, C, H, W). The caller holds the guard. Raises HeatmapError if it is unclear how to read the
        output.
        """
        return undoing(partial(self._begin, model, inputs, dense))

    def reading_for(self, function: Any, model: nn.Module, inputs: Tensor) -> AbstractContextManager[OutputKind]:
        """As `reading`, but for a callable target the model returns its own output."""
        if function is None:
            return self.reading(model, inputs)
        image = inputs[:1]
        self.require_steady("output", model, lambda: floats_in(forward(model, image)))
        return nullcontext(OutputKind())

    def require_steady(self, what: str, model: nn.Module, run: Callable[[], Tensors]) -> None:
        """Raises HeatmapError for a model whose `run`, by which it is asked for `what`, gives something else each time."""
        key = (what, anatomy(model))
        if key not in self._kinds:
            draws = self.draws_of(model)
            before = draws.marks()
            with torch.no_grad():
                self._kinds[key] = OutputKind(random=draws.differ(before, run(), run)), 0
        refuse_draws(self._kinds[key][0].random)

    def steadily(
        self, model: nn.Module, run: Callable[[], _Result], read: Callable[[_Result], Tensors], what: str = "output"
    ) -> _Result:
        """What `run` returns, in which the model must not draw numbers on which what `read` finds there depends."""
        return self.draws_of(model).require_none(run, read, what)

    def draws_of(self, model: nn.Module) -> Draws:
        """What the model draws in passes of which each is to be looked at. The caller holds the guard."""
        key = anatomy(model)
        if key not in self._draws:
            self._draws[key] = Draws(model)
        return self._draws[key]

    def _begin(self, model: nn.Module, inputs: Tensor, dense: bool) -> OutputKind:
        key = (dense, anatomy(model))
        if key not in self._kinds:
            self._kinds[key] = _established(model, inputs[:1], self.asked, dense, self.draws_of(model))
        kind, count = self._kinds[key]
        refuse_draws(kind.random)
        if not dense or self.names.pairs:
            self.names.check(count)
        self.last = kind
        return_instead(model, kind.logits, kind.activation)
        return kind


def not_scores(output: Any, count: int, *, dense: bool = False) -> HeatmapError:
    """The error for an output without recognisable scores."""
    found = f"the model returns {describe(output)} for {'one image' if count == 1 else f'{count} images'}; expected "
    if dense:
        return HeatmapError(f"{found}logits (N, classes, H, W), since a Region needs a segmenter; check the target")
    return HeatmapError(
        f"{found}class scores, a tensor (N, classes). Of a detector pass a Box (explainer.detections lists them), of a segmenter "
        "a Region; else pass a callable as target: it takes this output and returns the score to explain"
    )


def _established(model: nn.Module, image: Tensor, asked: Asked, dense: bool, draws: Draws) -> tuple[OutputKind, int]:
    """How to read the output, as measured, and the number of classes."""
    if getattr(model, "num_classes", None) == 0:
        raise HeatmapError("the model has no classifier (its num_classes is 0): it returns an embedding, not scores")
    if asked.output == "auto" and getattr(model, "gives_logits", False):
        asked = replace(asked, output="logits")  # a cosine has bounds, and a bias of SigLIP no zero
    before = draws.marks()
    with inside(Watched()) as watched, torch.no_grad():
        output = first_forward(model, image)
    if dense and {"class_queries_logits", "masks_queries_logits"} <= parts(output).keys():
        raise HeatmapError(
            f"{type(model).__name__} answers with queries, a class and a mask each, and not with a map of each class; expected "
            "logits (N, classes, H, W). Wrap it in a module that adds the masks up class by class (docs/models.md has it)"
        )
    if asked.key is None and type(output).__module__ == "torch.return_types":
        raise HeatmapError(
            f"the model returns a {type(output).__name__} of PyTorch, in which the scores of most classes or their order are "
            "missing; expected class scores, one for each class in a fixed order. Let it return what it takes them from"
        )
    path = scores_at(output, lambda tensor: _fits(tensor, dense), asked.key)
    scores = None if path is None else batched(at(output, path), 1)
    if path is None or scores is None or scores.shape[1] == 0 or (scores.ndim == 4) is not dense:
        raise not_scores(output, 1, dense=dense)
    random = draws.differ(before, [widened(scores)], partial(_scores_again, model, image, path))
    measured = Measured(model, path, image, scores, None if asked.output == "logits" else watched)
    measured.refuse_sorted(watched.sorts)
    unit = measured.unit(asked.output)
    binary = scores.shape[1] == 1
    multi = not binary and _is_multi(asked.task, unit, model)
    kind = OutputKind(path, unit, multi, binary, measured.activation, asked.output == "logits", random)
    return kind, max(2, scores.shape[1])


def _scores_again(model: nn.Module, image: Tensor, path: Path) -> Tensors:
    return floats_in(batched(at(forward(model, image), path), 1))


def _is_multi(task: str, unit: str, model: nn.Module) -> bool:
    """Whether an image may have several classes; no, unless something says so."""
    if task == "multi" and unit in ("softmax", "differences"):
        adds_up = (
            "add up to 1 over the classes (softmax)" if unit == "softmax" else "only say what the classes differ by"
        )
        raise HeatmapError(
            f"task='multi' contradicts the model, whose scores {adds_up}; expected single. Check gradcam_task and "
            "gradcam_output_key"
        )
    if task != "auto":
        return task == "multi"
    problem = getattr(getattr(model, "config", None), "problem_type", None)  # set by Hugging Face's models
    return unit == "sigmoid" or problem == "multi_label_classification"


def _fits(tensor: Tensor, dense: bool) -> bool:
    """Whether one of several tensors may be the scores of one image."""
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point() or 0 in shape or shape[:1] != (1,):
        return False
    return len(shape) == 4 if dense else len(shape) == 2 or shape == (1,)
