"""The unit of a model's scores, as the first image and noise show it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.activations import Activation, Watched, confirmed, return_instead
from pytest_gradcam.cam.containers import Path, at, batched
from pytest_gradcam.cam.limits import limit
from pytest_gradcam.cam.units import (
    ALIKE,
    WAYS,
    constant,
    in_unit_range,
    logs_of_some,
    only_differences,
    sums_to_one,
    widened,
)
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward
from pytest_gradcam.state.undo import undoing

_LOUD = 1e3  # standard deviations of noise: a score that grows with its input leaves [0, 1]
_DEAFENING = (1e6, 1e7, 1e8)  # such noise is pressed against any limit
_SMOOTHED = 1e-3  # probabilities that end this far below 1 were mixed with something


class Measured:
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
        if asked == "logits":
            return "differences" if self._are_differences() else "logits"
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
            self._refuse_smoothed(lambda scores: scores)
            return "softmax"
        if self._are_differences():
            self._refuse_smoothed(torch.exp)
            return "differences"
        self._refuse_constant_sums()
        self._refuse_bounded(inside)
        return "logits"

    def _are_differences(self) -> bool:
        """Whether the greatest score is 0 for every input, or all are logarithms of probabilities that add up to 1."""
        if not only_differences(self._samples, self._dtype):
            return False
        more = [*self._sampled(_LOUD, -_LOUD), *self._scores_of([self._noise_of(seed, 1.0) for seed in (1, 2)])]
        return len(more) > 1 and only_differences([*self._samples, *more], self._dtype)

    def refuse_sorted(self, sorts: set[int]) -> None:
        """Raises HeatmapError for the greatest scores in their order; `sorts` are how many values the model sorted."""
        if self._own.ndim == 2 and self._own.shape[1] in sorts and all(map(_is_sorted, self._samples)):
            raise HeatmapError(
                f"the {self._own.shape[1]} scores come in descending order for every input, so these are the greatest ones (of a "
                "topk or a sort) and not those of the classes; expected one score for each class in a fixed order. Let the model "
                "return what it sorts"
            )

    def _refuse_smoothed(self, as_probabilities: Callable[[Tensor], Tensor]) -> None:
        """Raises HeatmapError for probabilities that end below 1: label smoothing, a mixture, a clip."""
        extreme = limit(list(map(as_probabilities, [*self._samples, *self._deafened()])))
        if extreme is not None and extreme < 1 - _SMOOTHED:
            raise HeatmapError(
                f"no probability is beyond {extreme:.4g}, where very large inputs end, so they were smoothed, mixed or clipped, "
                "and hide what the model loses there; expected logits. Let the model return them, or set gradcam_output (output= "
                "of an Explainer) to probabilities if these are to be judged"
            )

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
        blank = [one for one in self._scores_of([0 * self._image]) if not torch.equal(widened(self._own), one)]
        extreme = limit([*self._samples, *blank, *self._deafened()])
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
        if self._own.ndim == 2 and constant(norms) and self._same_norm():
            raise HeatmapError(
                f"the scores have the norm {float(norms[0]):.4g} for every input, as where each image's are divided by their own "
                "size or standard deviation, which hides what the model loses; expected logits. Let the model return them, or "
                "set gradcam_output = logits if these are to be judged"
            )

    def _same_norm(self) -> bool:
        """Whether noise keeps the norm as well, though its scores are others."""
        more = torch.cat([*self._samples, *self._sampled(_LOUD, -_LOUD), *self._scores_of([self._noise_of(1, 1.0)])])
        norms = more.square().sum(1).sqrt()
        return constant(norms) and float((more.amax(0) - more.amin(0)).max()) > 0.01 * float(norms[0])

    def _deafened(self) -> list[Tensor]:
        """Noise of its own for each, since a model that normalises its input gives the same for all scales."""
        return self._scores_of([self._noise_of(seed, scale) for seed, scale in enumerate(_DEAFENING, 1)])

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
                scores = batched(at(output, self._path if path is None else path), 1)
                if scores is not None and scores.isfinite().all() and scores.shape == self._own.shape:
                    found.append(widened(scores))
        return found

    def _confirms(self, image: Tensor, activation: Activation) -> bool:
        with torch.no_grad():
            return confirmed(self._model, image, activation, self._own, self._read)

    def _read(self, output: Any, count: int) -> Any:
        return batched(at(output, self._path), count)

    @property
    def _least(self) -> float:
        return min(float(one.min()) for one in self._samples)

    @property
    def _most(self) -> float:
        return max(float(one.max()) for one in self._samples)


def _is_sorted(scores: Tensor) -> bool:
    steps = scores.diff(dim=1)
    return bool((steps <= 0).all() and (steps < 0).any())
