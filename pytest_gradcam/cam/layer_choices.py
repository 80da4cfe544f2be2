"""The layers that were chosen, remembered for each structure of the model and size of its input."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.layers import Choice, Site, choose
from pytest_gradcam.cam.output_kind import OutputReader
from pytest_gradcam.cam.outputs import Goal, per_image
from pytest_gradcam.cam.structure import anatomy
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.inputs.reader import Input, stack
from pytest_gradcam.state.forward_only import require_insides
from pytest_gradcam.state.guard import untouched
from pytest_gradcam.state.memory import give_back

_REMEMBERED = 32  # choices: one per structure, input shape, callable target and named layer


@dataclass(frozen=True)
class Chosen:
    """A choice of the layer; `steady` if it does not depend on which image came first."""

    choice: Choice
    steady: bool


#: For methods that look at no layer. Not steady: a cache keeps no replicates, so their maps are made each time.
NO_LAYER = Chosen(Choice(Site("", 0, (), "BCHW", (1, 1), 0), "", ()), steady=False)


class LayerChoices:
    """The layers chosen so far, and the question that was asked last; `outputs` reads the model's output."""

    def __init__(self, outputs: OutputReader) -> None:
        self._outputs = outputs
        self._found: OrderedDict[Any, Chosen] = OrderedDict()
        self._last: tuple[Input, Goal, str | None] | None = None

    def copy(self) -> LayerChoices:
        """The same choices, for a copy of the model: what is chosen for it from now on is not remembered here."""
        other = copy(self)
        other._found = OrderedDict(self._found)
        return other

    def of(self, model: nn.Module, inputs: Tensor, goal: Goal, name: str | None) -> Chosen:
        """The layer for inputs (B, C, H, W) of this size; `name` is the layer that the user named.

        The caller holds the guard, and has the outputs read.
        """
        key = (name, tuple(inputs.shape[1:]), goal.function, anatomy(model))
        if key not in self._found:
            self._found[key] = _choose(model, inputs, goal, name)
            give_back()  # the activations and gradients of all layers, which no heatmap needs again
        self._found.move_to_end(key)
        while len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)
        return self._found[key]

    def asked(self, image: Input, goal: Goal, name: str | None) -> None:
        """Remembers the question for `last`: a heatmap from a cache needs no choice, and may be asked for its layer."""
        self._last = (image, goal, name)

    def last(self, model: nn.Module) -> Choice:
        """The choice for the last question. Raises HeatmapError before the first one."""
        if self._last is None:
            raise HeatmapError("no layer is in use yet: it is chosen on the first image; explain one, or pass layer=")
        image, goal, name = self._last
        with untouched(model):
            inputs = stack([image], model)
            with self._outputs.reading_for(goal.function, model, inputs):
                return self.of(model, inputs, goal, name).choice


def _choose(model: nn.Module, inputs: Tensor, goal: Goal, name: str | None) -> Chosen:
    require_insides(model, "a class activation map")
    # On fixed noise: a choice that depended on the first image would depend on the order of the tests.
    noise = torch.randn(inputs.shape[1:], generator=torch.Generator().manual_seed(0))[None]
    score = partial(_score_of_one, Goal(function=goal.function))
    faults: dict[Site, str] = {}
    look = partial(choose, model, score=score, faults=faults)
    try:
        return Chosen(look(noise.to(inputs), name=name), steady=True)
    except HeatmapError:
        known = -1
        # Until the noise, in which more cells answer, has nothing against what the image says.
        while len(faults) > known:
            known = len(faults)
            found = look(inputs[:1], name=name)
            with suppress(HeatmapError):
                look(noise.to(inputs), name=found.site.name)
        return Chosen(found, steady=False)


def _score_of_one(goal: Goal, output: Any) -> Tensor:
    return goal.score(per_image(output, 0, 1))
