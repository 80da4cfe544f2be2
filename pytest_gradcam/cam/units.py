"""What scores may be by their values alone: probabilities, their logarithms, or neither."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_gradcam.errors import HeatmapError

SATURATED = 1e-6  # this close to 1, a float32 probability has no logit; in half precision much earlier
ALIKE = 1e-4  # how far a sum or norm may be from 1
_FORBIDDEN = -1e4
WAYS = "set gradcam_output (output= of an Explainer) to logits or probabilities, or let the model return logits"


def widened(scores: Tensor) -> Tensor:
    return scores if scores.dtype == torch.float64 else scores.float()


def in_unit_range(scores: Tensor) -> bool:
    return not bool(((scores < 0) | (scores > 1)).any())


def logs_of_some(scores: Tensor, dtype: torch.dtype) -> bool:
    """Whether these may be logarithms of probabilities that do not add up to 1; those that do are also logits."""
    return not bool((scores > 0).any()) and not sums_to_one(scores.exp(), dtype)


def only_differences(samples: Sequence[Tensor], dtype: torch.dtype) -> bool:
    """Whether these are logits less a number of each image: its greatest, or that which makes probabilities add up to 1."""
    if samples[0].shape[1] < 2:
        return False
    below_the_first = all(bool(((one.amax(1) == 0) & ((one == 0).sum(1) == 1)).all()) for one in samples)
    return below_the_first or all(bool((one <= 0).all()) and sums_to_one(one.exp(), dtype) for one in samples)


def centred(scores: Tensor) -> Tensor:
    """The scores less their mean over the classes; those that forbid a class do not count."""
    counted = scores.detach() > _FORBIDDEN
    return scores - torch.where(counted, scores, 0).sum(1, keepdim=True) / counted.sum(1, keepdim=True).clamp(min=1)


def constant(values: Tensor) -> bool:
    middle = float(values.mean())
    return middle > 0 and float((values - middle).abs().max()) < ALIKE * middle


def sums_to_one(scores: Tensor, dtype: torch.dtype) -> bool:
    """Whether the rows are probabilities of at least two classes that add up to 1, as closely as their dtype allows."""
    near = max(ALIKE, 8 * torch.finfo(dtype).eps)
    return scores.shape[1] > 1 and in_unit_range(scores) and bool(((scores.sum(1) - 1).abs() < near).all())


def check_probabilities(scores: Tensor, dtype: torch.dtype, *, adds_up: bool) -> None:
    """Raises HeatmapError for scores that are not probabilities any more, and for those without a finite logit."""
    if not scores.isfinite().all():
        return  # reported later, with the first module that returned it
    if not in_unit_range(scores) or (adds_up and not sums_to_one(scores, dtype)):
        raise HeatmapError(
            f"the model returned probabilities before and now scores from {float(scores.min()):.3g} to "
            f"{float(scores.max()):.3g}; {WAYS}"
        )
    if float(scores.max()) > 1 - SATURATED or float(scores.min()) < torch.finfo(dtype).tiny:
        raise HeatmapError(
            f"the probabilities are saturated, from {float(scores.min()):.9g} to {float(scores.max()):.9g}, so they have no "
            "finite logit and no gradient; let the model return its logits"
        )
