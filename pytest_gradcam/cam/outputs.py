"""What a model's output says of one target: its score, its place among the classes, its gradient's seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.targets import ClassNames, Contrast, Target, class_index, index_within


@dataclass(frozen=True)
class Goal:
    """One resolved target: `index` is None for the predicted class, and for a callable."""

    index: int | None = None
    against: int | None = None
    function: Callable[[Any], Tensor] | None = None

    def score(self, output: Any) -> Tensor:
        """The scalar to explain, from the model's output for one image. Raises HeatmapError if it is none."""
        if self.function is not None:
            return _scalar(self.function, self.function(output))
        row = class_scores(output).row
        score = row[self.index_in(row)]
        return score if self.against is None else score - row[index_within(self.against, len(row))]

    def index_in(self, row: Tensor) -> int:
        """The class explained, in its scores (classes,). Raises HeatmapError if there is none of this index."""
        return int(row.argmax()) if self.index is None else index_within(self.index, len(row))

    def settled(self, output: Any) -> Goal:
        """The same goal with its class fixed, where it was the predicted one."""
        if self.function is not None or self.index is not None:
            return self
        return Goal(int(class_scores(output).row.argmax()))

    def subject(self, output: Any, score: Tensor, names: ClassNames) -> Subject:
        """What the heatmap of this score explains, in numbers and names."""
        if self.function is not None:
            name = getattr(self.function, "__name__", type(self.function).__name__)
            return Subject(target=name, score=float(score.detach()))
        scores = class_scores(output)
        row = scores.row.detach().float().cpu()
        predicted, index = int(row.argmax()), self.index_in(row)
        name = names.name(index)
        if self.against is not None:
            name = f"{name} rather than {names.name(index_within(self.against, len(row)))}"
        return Subject(
            target=name,
            target_index=index,
            score=float(score.detach()),
            probability=float(torch.softmax(row.double() / scores.temperature, 0)[index]),
            rank=1 + int((row > row[index]).sum()),
            classes=len(row),
            predicted=names.name(predicted),
            predicted_index=predicted,
        )


@dataclass(frozen=True)
class Scores:
    """The class scores of one image: `row` (classes,), of which softmax(row / temperature) are probabilities."""

    row: Tensor
    temperature: float = 1.0


def resolve(target: Target, names: ClassNames) -> Goal:
    """Raises HeatmapError for a name that no class has and for what is no target."""
    if target is None:
        return Goal()
    if isinstance(target, Contrast):
        return Goal(class_index(target.target, names), class_index(target.rather_than, names))
    if callable(target):
        return Goal(function=target)
    return Goal(class_index(target, names))


def per_image(output: Any, index: int, count: int) -> Any:
    """The model's output for one image of a batch: every tensor in it whose first axis is the batch, at `index`."""
    if isinstance(output, Tensor):
        return output[index] if output.ndim and output.shape[0] == count else output
    if isinstance(output, Mapping):
        return {key: per_image(value, index, count) for key, value in output.items()}
    if isinstance(output, (tuple, list)):
        return [per_image(value, index, count) for value in output]
    if isinstance(getattr(output, "logits", None), Tensor):
        return {"logits": per_image(output.logits, index, count)}
    return output


def class_scores(output: Any) -> Scores:
    """The class scores in the output for one image: a tensor, the one under 'logits', or the first in a tuple.

    A model with one logit has two classes: 1, with the logit as its score, and 0, with its negative.
    Raises HeatmapError if there are none.
    """
    found = output
    if isinstance(output, Mapping) and "logits" in output:
        found = output["logits"]
    elif isinstance(output, (Mapping, list)):
        parts = output.values() if isinstance(output, Mapping) else output
        tensors = [part for part in parts if isinstance(part, Tensor) and part.ndim <= 1]
        if len(tensors) == 1 or (tensors and isinstance(output, list)):
            found = tensors[0]
    if isinstance(found, Tensor) and found.ndim <= 1 and found.numel() == 1:
        logit = found.reshape(())
        return Scores(torch.stack([-logit, logit]), temperature=2)
    if isinstance(found, Tensor) and found.ndim == 1 and found.numel():
        return Scores(found)
    raise HeatmapError(
        f"the model returns {_describe(output)} for one image; expected class scores, a tensor (N, classes). "
        "Pass a callable as target: it gets this output and returns the score to explain"
    )


def class_seeds(goals: Sequence[Goal], output: Any) -> Tensor | None:
    """The weights (n, classes) by which each goal's score is a sum of an output (B, classes): ones and minus ones.

    Of one goal for each image, or all of one image. None for callables, for one logit and for other outputs.
    """
    if (
        not isinstance(output, Tensor)
        or output.ndim != 2
        or output.shape[1] < 2
        or any(goal.function for goal in goals)
    ):
        return None
    rows = output.detach()
    seeds = rows.new_zeros(len(goals), rows.shape[1])
    for seed, goal, row in zip(seeds, goals, rows.expand(len(goals), -1), strict=True):
        seed[goal.index_in(row)] += 1
        if goal.against is not None:
            seed[index_within(goal.against, len(row))] -= 1
    return seeds


def _scalar(function: Callable[[Any], Tensor], score: Any) -> Tensor:
    if isinstance(score, Tensor) and score.numel() == 1:
        return score.reshape(())
    shape = f"a tensor of shape {tuple(score.shape)}" if isinstance(score, Tensor) else f"{score!r:.60}"
    raise HeatmapError(f"the target {function!r} returned {shape}; expected a tensor with one value")


def _describe(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a dict with {', '.join(map(str, output))}"
    return f"a {type(output).__name__}"
