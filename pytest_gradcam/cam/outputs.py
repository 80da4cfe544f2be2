"""Targets and outputs: a target's score in a model's output, its rank among the classes, its gradient's seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_gradcam.cam.containers import describe
from pytest_gradcam.cam.output_kind import OutputKind, not_scores
from pytest_gradcam.errors import HeatmapError, raised
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.state.tensors import unreadable
from pytest_gradcam.targets import ClassNames, Contrast, Target, class_index, index_within


@dataclass(frozen=True)
class Goal:
    """One resolved target: `index` is None for the predicted class, and for a callable."""

    index: int | None = None
    against: int | None = None
    function: Callable[[Any], Tensor] | None = None

    def score(self, output: Any) -> Tensor:
        """The scalar to explain, from the model's output for one image. Raises HeatmapError if it is not a scalar."""
        if self.function is not None:
            return _scalar(self.function, output)
        row = class_row(output)
        score = row[self.index_in(row)]
        return score if self.against is None else score - row[index_within(self.against, len(row))]

    def index_in(self, row: Tensor) -> int:
        """The explained class's index in the scores (classes,). Raises HeatmapError if it is out of range."""
        return int(row.argmax()) if self.index is None else index_within(self.index, len(row))

    def settled(self, output: Any) -> Goal:
        """This goal, with the predicted class fixed if that is what it explains."""
        if self.function is not None or self.index is not None:
            return self
        return Goal(int(class_row(output).argmax()))

    def subject(self, output: Any, score: Tensor, names: ClassNames, kind: OutputKind) -> Subject:
        """The record of what is explained: class, score, probability, rank and prediction."""
        if self.function is not None:
            name = getattr(self.function, "__name__", type(self.function).__name__)
            return Subject(target=name, score=float(score.detach()))
        row = class_row(output).detach().float().cpu()
        predicted, index = int(row.argmax()), self.index_in(row)
        name = names.name(index)
        if self.against is not None:
            name = f"{name} rather than {names.name(index_within(self.against, len(row)))}"
        return Subject(
            target=name,
            target_index=index,
            score=float(score.detach()),
            probability=kind.probability(row, index),
            rank=1 + int((row > row[index]).sum()),
            classes=len(row),
            predicted=names.name(predicted),
            predicted_index=predicted,
            output=str(kind),
            task=kind.task,
        )


def resolve(target: Target, names: ClassNames) -> Goal:
    """The target as a goal. Raises HeatmapError for an unknown class name and for anything that is not a target."""
    if target is None:
        return Goal()
    if isinstance(target, Contrast):
        return Goal(*target.indices(names))
    if callable(target):
        return Goal(function=target)
    return Goal(class_index(target, names))


def per_image(output: Any, index: int, count: int) -> Any:
    """The output for one image of a batch: each tensor whose first axis is the batch is indexed."""
    if isinstance(output, Tensor):
        return output[index] if output.ndim and output.shape[0] == count else output
    if isinstance(output, Mapping):
        return {key: per_image(value, index, count) for key, value in output.items()}
    if isinstance(output, (tuple, list)):
        return [per_image(value, index, count) for value in output]
    if is_dataclass(output) and not isinstance(output, type):
        own = {one.name: per_image(getattr(output, one.name), index, count) for one in fields(output) if one.init}
        return replace(output, **own)
    if hasattr(output, "__dict__") and any(isinstance(part, Tensor) for part in vars(output).values()):
        one = copy(output)
        vars(one).update(per_image(vars(output), index, count))
        return one
    return output


def class_row(output: Any) -> Tensor:
    """The output if it is the class scores (classes,) of one image. Raises HeatmapError if it is not."""
    if isinstance(output, Tensor) and output.ndim == 1 and output.numel():
        return output
    raise not_scores(output, 1)


def logits(output: Any) -> NDArray[np.float32]:
    """The class scores (classes,) of one image as an array. Raises HeatmapError if the output is something else."""
    row: NDArray[np.float32] = class_row(output).detach().float().cpu().numpy()
    return row


def fine_logits(output: Any) -> NDArray[np.float32] | None:
    """Those; None in half precision, where passes with and without gradients differ by more than what is asked about."""
    return logits(output) if class_row(output).dtype.itemsize > torch.half.itemsize else None


def class_seeds(goals: Sequence[Goal], output: Any) -> Tensor | None:
    """The weights (n, classes), 1 or -1, that make each goal's score a sum over an output (B, classes).

    Either one goal per image, or all goals of one image. None for callables and for other outputs.
    """
    if not isinstance(output, Tensor) or output.ndim != 2 or any(goal.function for goal in goals):
        return None
    rows = output.detach()
    seeds = rows.new_zeros(len(goals), rows.shape[1])
    for seed, goal, row in zip(seeds, goals, rows.expand(len(goals), -1), strict=True):
        seed[goal.index_in(row)] += 1
        if goal.against is not None:
            seed[index_within(goal.against, len(row))] -= 1
    return seeds


def _scalar(function: Callable[[Any], Tensor], output: Any) -> Tensor:
    try:
        score: Any = function(output)
    except (HeatmapError, MemoryError):
        raise
    except Exception as error:
        raise HeatmapError(
            f"the target {function!r:.80} {raised(error)}; it is called with what the model returns for one image, without the "
            f"batch's axis, here {describe(output)}, and has to return a tensor with one value"
        ) from error
    if isinstance(score, Tensor) and (problem := unreadable(score, "a plain tensor with one value")):
        raise HeatmapError(f"the target {function!r:.80} returned {problem}")
    if isinstance(score, Tensor) and score.numel() == 1:
        return score.reshape(())
    shape = f"a tensor of shape {tuple(score.shape)}" if isinstance(score, Tensor) else f"{score!r:.60}"
    raise HeatmapError(f"the target {function!r:.80} returned {shape}; expected a tensor with one value")
