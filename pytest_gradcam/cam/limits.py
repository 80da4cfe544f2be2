"""Whether scores stop growing with the evidence, as behind a tanh or a clip: their differences then hide what a model loses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_NEAR = 1e-5  # relative to the limit


def limit(samples: Sequence[Tensor]) -> float | None:
    """The greatest of all scores, if it is met twice, by classes that have other scores elsewhere; else None.

    `samples` are scores (1, classes, ...) of different inputs, some with very large values; a single class is also taken
    with the other sign. Scores without a limit do not meet at their greatest, apart from 0 behind a negated ReLU.
    """
    scores = torch.cat([sample.flatten(2).amax(2) if sample.ndim > 2 else sample for sample in samples]).double()
    if scores.shape[1] == 1:
        scores = torch.cat([-scores, scores], 1)
    scores = scores.unique(dim=1)  # classes that always have the same score meet anywhere
    greatest = float(scores.max())
    near = _NEAR * abs(greatest)
    varied = scores.amax(0) - scores.amin(0) > near
    met = int((scores >= greatest - near)[:, varied].sum())
    return greatest if greatest != 0 and met > 1 else None
