"""What is explained: a class, one class rather than another, or a callable of the model's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_gradcam.cam.dense import Box, Region
from pytest_gradcam.checks import margins
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.settings import nearest


@dataclass(frozen=True)
class Contrast:
    """What speaks for one class rather than another: the difference of their logits. Each is an index or a name."""

    target: int | str
    rather_than: int | str


#: None (the predicted class), an index, a class name, a contrast, a callable from the output for one image to a scalar,
#: and for detectors a box, for segmenters a region.
Target = int | str | Contrast | Box | Region | Callable[[Any], Tensor] | None
Classes = Sequence[str] | Mapping[str, int]


class ClassNames:
    """The names of a model's classes, both ways. Without names a class is called by its index."""

    def __init__(self, classes: Classes | None) -> None:
        if isinstance(classes, str):
            raise HeatmapError(f"classes={classes!r} is one name; expected a sequence of names or a dict name -> index")
        pairs = classes.items() if isinstance(classes, Mapping) else ((n, i) for i, n in enumerate(classes or ()))
        self.pairs = [(str(name), int(index)) for name, index in pairs]
        self._names = {index: name for name, index in self.pairs}

    def name(self, index: int) -> str:
        return self._names.get(index, str(index))

    def index(self, name: str) -> int:
        """Raises HeatmapError for a name that no class has, or that several have."""
        found = [index for known, index in self.pairs if known == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise HeatmapError(
                f"the class name {name!r} stands for the indices {', '.join(map(str, found))}; pass the index you mean"
            )
        if not self.pairs:
            raise HeatmapError(
                f"the class name {name!r} means nothing here, since no class names are set; "
                "pass an index, or set classes (gradcam_classes in pytest)"
            )
        names = [known for known, _ in self.pairs]
        hint = nearest(name, names) or "; check gradcam_classes"
        raise HeatmapError(f"there is no class {name!r} among the {len(names)} class names{hint}")


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
        return score if self.against is None else score - row[_within(self.against, row)]

    def index_in(self, row: Tensor) -> int:
        """The class explained, in its scores (classes,). Raises HeatmapError if there is none of this index."""
        return int(row.argmax()) if self.index is None else _within(self.index, row)

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
            name = f"{name} rather than {names.name(_within(self.against, row))}"
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


@dataclass(frozen=True)
class Lead:
    """How far one class leads: over the best other class, or over the class `against`."""

    index: int
    against: int | None = None

    def of(self, scores: NDArray[np.float32]) -> margins.Floats:
        """The margins (N,) in scores (N, classes)."""
        return margins.margins(scores, np.full(len(scores), self.index), self.against)


def lead_of(target: Target, row: NDArray[np.float32], names: ClassNames) -> Lead:
    """The lead that a target asks for, of one image's scores (classes,); by default that of the predicted class.

    Raises HeatmapError for a target that is no class.
    """
    if isinstance(target, (Box, Region)) or (callable(target) and not isinstance(target, Contrast)):
        raise HeatmapError(
            f"target={target!r} has no margin over other classes; expected None, a class index, a class name or a Contrast"
        )
    goal, scores = resolve(target, names), torch.from_numpy(row)
    against = None if goal.against is None else _within(goal.against, scores)
    return Lead(int(row.argmax()) if goal.index is None else _within(goal.index, scores), against)


def resolve(target: Target, names: ClassNames) -> Goal:
    """Raises HeatmapError for a name that no class has and for what is no target."""
    if target is None:
        return Goal()
    if isinstance(target, Contrast):
        return Goal(class_index(target.target, names), class_index(target.rather_than, names))
    if callable(target):
        return Goal(function=target)
    return Goal(class_index(target, names))


def class_index(target: Any, names: ClassNames) -> int:
    """The index of a class that is given by index or name."""
    if isinstance(target, str):
        return names.index(target)
    if hasattr(target, "__index__") and not isinstance(target, bool):
        return int(target.__index__())
    raise HeatmapError(
        f"target={target!r} is no target; expected None, a class index, a class name, a Contrast or a callable"
    )


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
            seed[_within(goal.against, row)] -= 1
    return seeds


def _scalar(function: Callable[[Any], Tensor], score: Any) -> Tensor:
    if isinstance(score, Tensor) and score.numel() == 1:
        return score.reshape(())
    shape = f"a tensor of shape {tuple(score.shape)}" if isinstance(score, Tensor) else f"{score!r:.60}"
    raise HeatmapError(f"the target {function!r} returned {shape}; expected a tensor with one value")


def _within(index: int, row: Tensor) -> int:
    if not -len(row) <= index < len(row):
        raise HeatmapError(
            f"the target {index} is out of range; expected an index from 0 to {len(row) - 1}, "
            "since that is how many scores the model gives"
        )
    return index % len(row)


def _describe(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a dict with {', '.join(map(str, output))}"
    return f"a {type(output).__name__}"
