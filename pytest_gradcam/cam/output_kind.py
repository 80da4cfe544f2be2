"""How to read a model's output: which tensor holds the scores, in which unit, and whether the classes compete.

Measured once, on the first image and on noise. What the measurement cannot decide, the user is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.activations import Activation, Watched, confirmed, inside, return_instead
from pytest_gradcam.cam.chance import Draws, Tensors, floats_in, refuse_draws
from pytest_gradcam.cam.containers import Key, Path, at, describe, parts, scores_at, shown
from pytest_gradcam.cam.limits import limit
from pytest_gradcam.cam.structure import anatomy
from pytest_gradcam.cam.units import (
    ALIKE,
    WAYS,
    check_probabilities,
    constant,
    in_unit_range,
    logs_of_some,
    sums_to_one,
    widened,
)
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.settings import OUTPUTS, TASKS
from pytest_gradcam.state.guard import first_forward, forward
from pytest_gradcam.state.undo import undoing
from pytest_gradcam.targets import ClassNames
from pytest_gradcam.validation import nearest

_LOUD = 1e3  # standard deviations of noise: a score that grows with its input leaves [0, 1]
_DEAFENING = (1e6, 1e7, 1e8)  # such noise is pressed against any limit


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
    """How to read the scores. `unit` is "logits", "softmax" or "sigmoid"; `activation` is bypassed to get logits.

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
        scores = _batched(at(output, self.path), count)
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
        check_probabilities(wide.detach(), scores.dtype, adds_up=self.unit == "softmax")
        logs = wide.log()
        if self.unit == "softmax":
            return logs - logs.mean(1, keepdim=True)
        return logs - torch.log1p(-wide)


@dataclass
class OutputReader:
    """Reads the outputs of one model and its copies; `names` must fit the number of scores."""

    asked: Asked
    names: ClassNames
    last: OutputKind | None = None
    _kinds: dict[Any, tuple[OutputKind, int]] = field(default_factory=dict)

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
            draws = Draws(model)
            with torch.no_grad():
                self._kinds[key] = OutputKind(random=draws.differ(run(), run)), 0
        refuse_draws(self._kinds[key][0].random)

    def _begin(self, model: nn.Module, inputs: Tensor, dense: bool) -> OutputKind:
        key = (dense, anatomy(model))
        if key not in self._kinds:
            self._kinds[key] = _established(model, inputs[:1], self.asked, dense)
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


def _established(model: nn.Module, image: Tensor, asked: Asked, dense: bool) -> tuple[OutputKind, int]:
    """How to read the output, as measured, and the number of classes."""
    if getattr(model, "num_classes", None) == 0:
        raise HeatmapError("the model has no classifier (its num_classes is 0): it returns an embedding, not scores")
    if asked.output == "auto" and getattr(model, "gives_logits", False):
        asked = replace(asked, output="logits")  # a cosine has bounds, and a bias of SigLIP no zero
    draws = Draws(model)
    with inside(Watched()) as watched, torch.no_grad():
        output = first_forward(model, image)
    if dense and {"class_queries_logits", "masks_queries_logits"} <= parts(output).keys():
        raise HeatmapError(
            f"{type(model).__name__} answers with queries, a class and a mask each, and not with a map of each class; expected "
            "logits (N, classes, H, W). Wrap it in a module that adds the masks up class by class (docs/models.md has it)"
        )
    path = scores_at(output, lambda tensor: _fits(tensor, dense), asked.key)
    scores = None if path is None else _batched(at(output, path), 1)
    if path is None or scores is None or scores.shape[1] == 0 or (scores.ndim == 4) is not dense:
        raise not_scores(output, 1, dense=dense)
    random = draws.differ([widened(scores)], partial(_scores_again, model, image, path))
    measured = _Measured(model, path, image, scores, None if asked.output == "logits" else watched)
    unit = "logits" if asked.output == "logits" else measured.unit(asked.output)
    binary = scores.shape[1] == 1
    multi = not binary and _is_multi(asked.task, unit, model)
    kind = OutputKind(path, unit, multi, binary, measured.activation, asked.output == "logits", random)
    return kind, max(2, scores.shape[1])


def _scores_again(model: nn.Module, image: Tensor, path: Path) -> Tensors:
    return floats_in(_batched(at(forward(model, image), path), 1))


def _is_multi(task: str, unit: str, model: nn.Module) -> bool:
    """Whether an image may have several classes; no, unless something says so."""
    if task == "multi" and unit == "softmax":
        raise HeatmapError(
            "task='multi' contradicts the model, whose scores add up to 1 over the classes (softmax); expected single. Check "
            "gradcam_task and gradcam_output_key"
        )
    if task != "auto":
        return task == "multi"
    problem = getattr(getattr(model, "config", None), "problem_type", None)  # set by Hugging Face's models
    return unit == "sigmoid" or problem == "multi_label_classification"


class _Measured:
    """The scores (1, classes, ...) of the first image and of noise, and the activation that returned them."""

    def __init__(self, model: nn.Module, path: Path, image: Tensor, scores: Tensor, watched: Watched | None) -> None:
        self._model, self._path = model, path
        self._image, self._own, self._dtype = image, scores, scores.dtype
        self._samples = [widened(scores), *self._sampled(1.0)]
        self._mixes = watched is not None and watched.mixes(scores)
        self._linear = watched is not None and watched.linear(scores)
        self._found = None if watched is None else watched.returned(scores)
        self.activation = self._found if self._found is not None and self._confirms(image, self._found) else None

    def unit(self, asked: str) -> str:
        """The unit. Raises HeatmapError if it is unclear, or differs from what the user said."""
        inside = all(in_unit_range(one) for one in self._samples)
        if self._found is not None and self._found.kind == "softmax":
            self._check_softmax()
        if self.activation is not None and not (asked == "probabilities" and not inside):
            if not self.activation.of_linear:
                self._refuse_activation_twice()
            return {"log_softmax": "softmax", "logsigmoid": "sigmoid"}.get(self.activation.kind, self.activation.kind)
        if asked == "probabilities":
            return self._probabilities(inside)
        if not all(one.isfinite().all() for one in self._samples) or not any(one.any() for one in self._samples):
            return "logits"  # NaN is an error further on, and scores that are all 0 leave nothing to judge
        if all(sums_to_one(one, self._dtype) for one in self._samples):
            return "softmax"
        self._refuse_constant_sums()
        self._refuse_bounded(inside)
        return "logits"

    def _refuse_bounded(self, inside: bool) -> None:
        """Raises HeatmapError for scores that stay in the range of probabilities, or of their logarithms, for any input."""
        if inside and (self._mixes or not self._linear) and all(map(in_unit_range, self._sampled(_LOUD, -_LOUD))):
            raise HeatmapError(
                f"all scores lie in [0, 1], here from {self._least:.3g} to {self._most:.3g}, and do not add up to 1: they may be "
                f"sigmoid probabilities, or small logits; {WAYS}"
            )
        if self._linear:
            return
        below = all(logs_of_some(one, self._dtype) for one in self._samples)
        if below and all(logs_of_some(one, self._dtype) for one in self._sampled(_LOUD, -_LOUD)):
            raise HeatmapError(
                f"no score is above 0, here from {self._least:.3g} to {self._most:.3g}: they may be logarithms of sigmoid "
                f"probabilities, or logits; {WAYS}"
            )
        # Noise of its own for each, since a model that normalises its input gives the same for all scales.
        loud = self._scores_of([self._noise_of(seed, scale) for seed, scale in enumerate(_DEAFENING, 1)])
        blank = [one for one in self._scores_of([0 * self._image]) if not torch.equal(widened(self._own), one)]
        extreme = limit([*self._samples, *blank, *loud])
        if extreme is not None:
            raise HeatmapError(
                f"no score is beyond {extreme:.4g}, where very large inputs end: a tanh or a clip holds them there, and their "
                "differences do not show what the model loses; expected logits. Let the model return them, or set "
                "gradcam_output (output= of an Explainer) to logits if these are to be judged"
            )

    def _refuse_activation_twice(self) -> None:
        """Raises HeatmapError if the last softmax or sigmoid is applied to what are probabilities already."""
        with undoing(partial(return_instead, self._model, self._read, self.activation)):
            logits = self._sampled(1.0, _LOUD, -_LOUD, path=())
        if logits and all(map(in_unit_range, logits)) and any(one.any() for one in logits):
            raise HeatmapError(
                "the model applies its last softmax or sigmoid to values in [0, 1], which are probabilities already: its scores "
                "hardly show what it loses. Let it return what comes before the first of both, or set gradcam_output (output= of "
                "an Explainer) to logits if these are to be judged"
            )

    def _check_softmax(self) -> None:
        if not all(sums_to_one(one, self._dtype) for one in self._samples):
            raise HeatmapError(
                f"the model ends in a softmax, but its scores (shape {tuple(self._own.shape)}) do not add up to 1 over the "
                "classes; expected a softmax over axis 1 of at least two classes. Check its dim"
            )

    def _probabilities(self, inside: bool) -> str:
        if not inside:
            raise HeatmapError(
                f"output='probabilities', but the model returned scores from {self._least:.3g} to {self._most:.3g}; expected "
                "[0, 1]. Check gradcam_output and gradcam_output_key"
            )
        return "softmax" if all(sums_to_one(one, self._dtype) for one in self._samples) else "sigmoid"

    def _refuse_constant_sums(self) -> None:
        """Raises HeatmapError for percentages and embeddings: all samples have the same sum or norm."""
        if len(self._samples) < 2 or self._own.shape[1] < 2 or torch.equal(*self._samples[:2]):
            return
        sums = torch.cat([one.sum(1).flatten() for one in self._samples])
        norms = torch.cat([one.square().sum(1).sqrt().flatten() for one in self._samples])
        if all(bool((one >= 0).all()) for one in self._samples) and constant(sums):
            if all(constant(each) for each in torch.cat([one.flatten(1) for one in self._samples]).T):
                raise HeatmapError(
                    "the model gives the same scores for the image and for noise; expected scores that depend on the input. Look "
                    "at the weights (a collapsed training?), or set gradcam_output = logits"
                )
            raise HeatmapError(
                f"the scores are never negative and add up to {float(sums[0]):.4g} for every input, like percentages; expected "
                "logits, or probabilities that add up to 1. Let the model return one of these, or set gradcam_output = logits"
            )
        if self._own.ndim == 2 and constant(norms) and abs(float(norms[0]) - 1) < ALIKE:
            raise HeatmapError(
                f"the model returns a vector of norm 1 with {self._own.shape[1]} values for every input: an embedding, not "
                "scores. Pass a callable as target, or set gradcam_output = logits if they are scores"
            )

    def _noise_of(self, seed: int, scale: float) -> Tensor:
        return scale * torch.randn(self._image.shape, generator=torch.Generator().manual_seed(seed)).to(self._image)

    def _sampled(self, *scales: float, path: Path | None = None) -> list[Tensor]:
        """The scores for noise of each of these scales."""
        return self._scores_of([self._noise_of(0, scale) for scale in scales], path)

    def _scores_of(self, inputs: list[Tensor], path: Path | None = None) -> list[Tensor]:
        """The scores for these inputs, where the model accepts them and they are finite."""
        found = []
        for each in inputs:
            with suppress(Exception), torch.no_grad():  # a model may reject noise with any exception
                output = forward(self._model, each)
                scores = _batched(at(output, self._path if path is None else path), 1)
                if scores is not None and scores.isfinite().all() and scores.shape == self._own.shape:
                    found.append(widened(scores))
        return found

    def _confirms(self, image: Tensor, activation: Activation) -> bool:
        with torch.no_grad():
            return confirmed(self._model, image, activation, self._own, self._read)

    def _read(self, output: Any, count: int) -> Any:
        return _batched(at(output, self._path), count)

    @property
    def _least(self) -> float:
        return min(float(one.min()) for one in self._samples)

    @property
    def _most(self) -> float:
        return max(float(one.max()) for one in self._samples)


def _fits(tensor: Tensor, dense: bool) -> bool:
    """Whether one of several tensors may be the scores of one image."""
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point() or 0 in shape or shape[:1] != (1,):
        return False
    return len(shape) == 4 if dense else len(shape) == 2 or shape == (1,)


def _batched(scores: Any, count: int) -> Tensor | None:
    """The scores (N, classes, ...) of N images; None if the shape fits neither this nor (N,), nor (classes,) for N = 1."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        return None
    if scores.ndim == 1 and len(scores) == count:
        return scores[:, None]
    if scores.ndim < 2 and count == 1:
        return scores.reshape(1, -1)
    return scores if scores.ndim in (2, 4) and len(scores) == count else None
