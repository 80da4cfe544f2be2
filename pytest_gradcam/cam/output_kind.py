"""How a model's output is read: which tensor of it holds the scores, in which unit, and whether its classes compete.

It is measured once, on the first image and on noise. What the measurement leaves open is asked for.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.activations import Activation, Watched, confirmed, inside, return_instead
from pytest_gradcam.cam.containers import Key, Path, at, describe, scores_at, shown
from pytest_gradcam.cam.structure import anatomy
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.settings import OUTPUTS, TASKS, nearest
from pytest_gradcam.state.guard import forward
from pytest_gradcam.state.undo import undoing
from pytest_gradcam.targets import ClassNames

_LOUD = 1e3  # standard deviations of noise: no score that grows with its input stays in [0, 1]
_SATURATED = 1e-6  # as close to 1 a probability in float32 has no logit, and one in half precision long before
_ALIKE = 1e-4  # how far sums and norms may be from 1
_WAYS = "set gradcam_output (output= of an Explainer) to logits or probabilities, or let the model return logits"


@dataclass(frozen=True)
class Asked:
    """What the user says of the output; `key` is where the scores lie in it. Raises HeatmapError for unknown words."""

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
    """How the scores are read. `unit` is "logits", "softmax" or "sigmoid"; `activation` what is passed by on the way.

    `multi` says that the classes do not compete: each is found where its own logit is above 0; `binary` that the model has
    one score for two classes; `told` that the user said so, and no output is held against it.
    """

    path: Path = ()
    unit: str = "logits"
    multi: bool = False
    binary: bool = False
    activation: Activation | None = None
    told: bool = False

    def logits(self, output: Any, count: int) -> Tensor:
        """The logits (N, classes, ...) in the output for N images.

        Of one score z the classes 0 and 1 have the logits -z and z. Raises HeatmapError where the scores are not what
        they were measured to be, and for probabilities that have no finite logit.
        """
        scores = _batched(at(output, self.path), count)
        if scores is None:
            raise not_scores(output, count)
        if self.activation is None:
            scores = self._from_unit(scores)
        return torch.cat([-scores, scores], 1) if self.binary else scores

    def probability(self, row: Tensor, index: int) -> float:
        """That of a class, from the logits (classes,)."""
        row = row.double()
        return float(torch.sigmoid(row[index]) if self.multi or self.binary else torch.softmax(row, 0)[index])

    @property
    def task(self) -> str:
        return "multi" if self.multi else "single"

    def __str__(self) -> str:
        """What was found out, for a record; empty for a bare tensor of logits whose classes compete."""
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
        wide = _wide(scores)
        if self.unit == "logits":
            if (
                not self.told
                and scores.dtype in (torch.float32, torch.float64)
                and _sums_to_one(wide.detach(), scores.dtype)
            ):
                raise HeatmapError(
                    "the model returned logits before and returns probabilities now: its scores lie in [0, 1] and add up to "
                    f"1; {_WAYS}"
                )
            return scores
        _check_probabilities(wide.detach(), scores.dtype, adds_up=self.unit == "softmax")
        logs = wide.log()
        if self.unit == "softmax":
            return logs - logs.mean(1, keepdim=True)
        return logs - torch.log1p(-wide)


@dataclass
class OutputReader:
    """Reads the outputs of one model, and of copies of it; `names` are held against the number of its scores."""

    asked: Asked
    names: ClassNames
    last: OutputKind | None = None
    _kinds: dict[Any, tuple[OutputKind, int]] = field(default_factory=dict)

    def reading(self, model: nn.Module, inputs: Tensor, *, dense: bool = False) -> undoing[OutputKind]:
        """A `with` block: inside, the model returns logits (N, classes), or (N, classes, H, W) if it is dense.

        `inputs` are (B, C, H, W). The caller holds the guard. Raises HeatmapError where it cannot be told how the output is
        read.
        """
        return undoing(partial(self._begin, model, inputs, dense))

    def _begin(self, model: nn.Module, inputs: Tensor, dense: bool) -> OutputKind:
        key = (dense, anatomy(model))
        if key not in self._kinds:
            self._kinds[key] = _established(model, inputs[:1], self.asked, dense)
        kind, count = self._kinds[key]
        if not dense or self.names.pairs:
            self.names.check(count)
        self.last = kind
        return_instead(model, kind.logits, kind.activation)
        return kind


def not_scores(output: Any, count: int, *, dense: bool = False) -> HeatmapError:
    """The error for an output in which no scores can be told."""
    found = f"the model returns {describe(output)} for {'one image' if count == 1 else f'{count} images'}; expected "
    if dense:
        return HeatmapError(f"{found}logits (N, classes, H, W), since a Region is of a segmenter; check the target")
    return HeatmapError(
        f"{found}class scores, a tensor (N, classes). Pass a callable as target: it gets this output and returns the score to "
        "explain"
    )


def _established(model: nn.Module, image: Tensor, asked: Asked, dense: bool) -> tuple[OutputKind, int]:
    """How the output is read, measured, and the number of classes."""
    if getattr(model, "num_classes", None) == 0:
        raise HeatmapError("the model has no classifier (its num_classes is 0), so it gives an embedding and no scores")
    with inside(Watched()) as watched, torch.no_grad():
        output = forward(model, image)
    path = scores_at(output, lambda tensor: _fits(tensor, dense), asked.key)
    scores = None if path is None else _batched(at(output, path), 1)
    if path is None or scores is None or scores.shape[1] == 0 or (scores.ndim == 4) is not dense:
        raise not_scores(output, 1, dense=dense)
    measured = _Measured(model, path, image, scores, None if asked.output == "logits" else watched)
    unit = "logits" if asked.output == "logits" else measured.unit(asked.output)
    binary = scores.shape[1] == 1
    multi = not binary and _is_multi(asked.task, unit, model)
    kind = OutputKind(path, unit, multi, binary, measured.activation, told=asked.output == "logits")
    return kind, max(2, scores.shape[1])


def _is_multi(task: str, unit: str, model: nn.Module) -> bool:
    """Whether the classes do not compete. Without evidence they do."""
    if task == "multi" and unit == "softmax":
        raise HeatmapError(
            "task='multi' contradicts the model, whose scores add up to 1 over the classes (softmax); expected single. Check "
            "gradcam_task, and gradcam_output_key"
        )
    if task != "auto":
        return task == "multi"
    problem = getattr(getattr(model, "config", None), "problem_type", None)  # as Hugging Face's models say it
    return unit == "sigmoid" or problem == "multi_label_classification"


class _Measured:
    """The scores (1, classes, ...) of the first image, those of noise, and the activation that they come from."""

    def __init__(self, model: nn.Module, path: Path, image: Tensor, scores: Tensor, watched: Watched | None) -> None:
        self._model, self._path = model, path
        self._noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).to(image)
        self._own = scores
        self._dtype = scores.dtype
        self._samples = [_wide(scores), *self._sampled(1.0)]
        self._linear = watched is not None and watched.linear(scores)
        self._found = None if watched is None else watched.returned(scores)
        self.activation = self._found if self._found is not None and self._confirms(image, self._found) else None

    def unit(self, asked: str) -> str:
        """Raises HeatmapError where it cannot be told, or is not what was asked for."""
        inside = all(_inside(one) for one in self._samples)
        if self._found is not None and self._found.kind == "softmax":
            self._check_softmax()
        if self.activation is not None and not (asked == "probabilities" and not inside):
            return {"log_softmax": "softmax", "logsigmoid": "sigmoid"}.get(self.activation.kind, self.activation.kind)
        if asked == "probabilities":
            return self._probabilities(inside)
        if not all(one.isfinite().all() for one in self._samples) or not any(one.any() for one in self._samples):
            return "logits"  # NaN is an error further on, and scores that are all 0 leave nothing to judge
        if all(_sums_to_one(one, self._dtype) for one in self._samples):
            return "softmax"
        self._refuse_constant_sums()
        self._refuse_bounded(inside)
        return "logits"

    def _refuse_bounded(self, inside: bool) -> None:
        """Raises HeatmapError for scores that stay where probabilities, or their logarithms, are, whatever the input."""
        if self._linear:
            return
        if inside and all(map(_inside, self._sampled(_LOUD, -_LOUD))):
            raise HeatmapError(
                f"all scores lie in [0, 1], here from {self._least:.3g} to {self._most:.3g}, and do not add up to 1: they may be "
                f"sigmoid probabilities, or logits that are small; {_WAYS}"
            )
        below = all(_logs_of_some(one, self._dtype) for one in self._samples)
        if below and all(_logs_of_some(one, self._dtype) for one in self._sampled(_LOUD, -_LOUD)):
            raise HeatmapError(
                f"no score is above 0, here from {self._least:.3g} to {self._most:.3g}: they may be logarithms of sigmoid "
                f"probabilities, or logits; {_WAYS}"
            )

    def _check_softmax(self) -> None:
        if not all(_sums_to_one(one, self._dtype) for one in self._samples):
            raise HeatmapError(
                f"the model ends in a softmax, but its scores (shape {tuple(self._own.shape)}) do not add up to 1 over the "
                "classes; expected softmax over axis 1 and two classes or more. Check its dim"
            )

    def _probabilities(self, inside: bool) -> str:
        if not inside:
            raise HeatmapError(
                f"output='probabilities', but the model returned scores from {self._least:.3g} to {self._most:.3g}; expected "
                "[0, 1]. Check gradcam_output, and gradcam_output_key"
            )
        return "softmax" if all(_sums_to_one(one, self._dtype) for one in self._samples) else "sigmoid"

    def _refuse_constant_sums(self) -> None:
        """Raises HeatmapError for percentages and embeddings, by what all samples have in common."""
        if len(self._samples) < 2 or self._own.shape[1] < 2 or torch.equal(*self._samples[:2]):
            return
        sums, norms = (torch.cat([f(one).flatten() for one in self._samples]) for f in (_sums, _norms))
        if all(bool((one >= 0).all()) for one in self._samples) and _constant(sums):
            raise HeatmapError(
                f"the scores are not negative and add up to {float(sums[0]):.4g} for every input, as percentages do; expected "
                "logits, or probabilities that add up to 1. Let the model return one of these, or set gradcam_output = logits"
            )
        if self._own.ndim == 2 and _constant(norms) and abs(float(norms[0]) - 1) < _ALIKE:
            raise HeatmapError(
                f"the model returns a vector of length 1 with {self._own.shape[1]} values for every input: an embedding, and no "
                "list of scores. Pass a callable as target, or set gradcam_output = logits if they are scores"
            )

    def _sampled(self, *scales: float) -> list[Tensor]:
        """The scores of noise of these standard deviations, as far as the model takes it and gives finite ones."""
        found = []
        for scale in scales:
            with suppress(Exception), torch.no_grad():  # a model may refuse what is no picture in its own way
                scores = _batched(at(forward(self._model, scale * self._noise), self._path), 1)
                if scores is not None and scores.isfinite().all() and scores.shape == self._own.shape:
                    found.append(_wide(scores))
        return found

    def _confirms(self, image: Tensor, activation: Activation) -> bool:
        def read(output: Any, count: int) -> Any:
            return _batched(at(output, self._path), count)

        with torch.no_grad():
            return confirmed(self._model, image, activation, self._own, read)

    @property
    def _least(self) -> float:
        return min(float(one.min()) for one in self._samples)

    @property
    def _most(self) -> float:
        return max(float(one.max()) for one in self._samples)


def _fits(tensor: Tensor, dense: bool) -> bool:
    """Whether the tensor may hold the scores of one image, in a container of others."""
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point() or 0 in shape or shape[:1] != (1,):
        return False
    return len(shape) == 4 if dense else len(shape) == 2 or shape == (1,)


def _batched(scores: Any, count: int) -> Tensor | None:
    """The scores (N, classes, ...) of N images: one each may lack the second axis, and those of one image the first."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        return None
    if scores.ndim == 1 and len(scores) == count:
        return scores[:, None]
    if scores.ndim < 2 and count == 1:
        return scores.reshape(1, -1)
    return scores if scores.ndim in (2, 4) and len(scores) == count else None


def _wide(scores: Tensor) -> Tensor:
    return scores if scores.dtype == torch.float64 else scores.float()


def _inside(scores: Tensor) -> bool:
    return not bool(((scores < 0) | (scores > 1)).any())


def _logs_of_some(scores: Tensor, dtype: torch.dtype) -> bool:
    """Whether the scores may be logarithms of probabilities that do not add up to 1: those that do are logits as well."""
    return not bool((scores > 0).any()) and not _sums_to_one(scores.exp(), dtype)


def _sums(scores: Tensor) -> Tensor:
    return scores.sum(1)


def _norms(scores: Tensor) -> Tensor:
    return scores.square().sum(1).sqrt()


def _constant(values: Tensor) -> bool:
    middle = float(values.mean())
    return middle > 0 and float((values - middle).abs().max()) < _ALIKE * middle


def _sums_to_one(scores: Tensor, dtype: torch.dtype) -> bool:
    """Whether rows of probabilities of this type add up to 1 over two classes or more."""
    near = max(_ALIKE, 8 * torch.finfo(dtype).eps)
    return scores.shape[1] > 1 and _inside(scores) and bool(((scores.sum(1) - 1).abs() < near).all())


def _check_probabilities(scores: Tensor, dtype: torch.dtype, *, adds_up: bool) -> None:
    """Raises HeatmapError for what is no probability any more, and for what has no finite logit."""
    if not scores.isfinite().all():
        return  # said further on, with the place where it began
    if not _inside(scores) or (adds_up and not _sums_to_one(scores, dtype)):
        raise HeatmapError(
            f"the model returned probabilities before and now scores from {float(scores.min()):.3g} to "
            f"{float(scores.max()):.3g}; {_WAYS}"
        )
    if float(scores.max()) > 1 - _SATURATED or float(scores.min()) < torch.finfo(dtype).tiny:
        raise HeatmapError(
            f"the probabilities are saturated, from {float(scores.min()):.9g} to {float(scores.max()):.9g}, so that they have no "
            "finite logit and no gradient; let the model return its logits"
        )
