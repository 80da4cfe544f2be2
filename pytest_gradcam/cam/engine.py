"""The engine that makes heatmaps of one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pytest_gradcam.cam import model_methods
from pytest_gradcam.cam.cache import HeatmapCache, model_key
from pytest_gradcam.cam.cache import key as cache_key
from pytest_gradcam.cam.chance import draws_allowed, floats_in
from pytest_gradcam.cam.compute import Maps, make
from pytest_gradcam.cam.identity import Identity, about, describe
from pytest_gradcam.cam.layer_choices import NO_LAYER, LayerChoices
from pytest_gradcam.cam.layers import Candidate
from pytest_gradcam.cam.method import Method
from pytest_gradcam.cam.mixing import Mixing
from pytest_gradcam.cam.output_kind import Asked, OutputReader
from pytest_gradcam.cam.outputs import Goal, fine_logits, logits, per_image, resolve
from pytest_gradcam.cam.placed import detections, explain_area, explain_objects
from pytest_gradcam.cam.redraw import Redraw, copied
from pytest_gradcam.cam.target_scores import TargetScore, target_scores
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.heatmap import Heatmap
from pytest_gradcam.images import Picture, Window
from pytest_gradcam.inputs.mask_transform import Channels
from pytest_gradcam.inputs.preprocess import Preprocess
from pytest_gradcam.inputs.reader import Input, Reader, batches, stack
from pytest_gradcam.settings import NO_HEATMAP, SCORE_METHODS, Settings
from pytest_gradcam.state.called_with import Call
from pytest_gradcam.state.forward_only import blind
from pytest_gradcam.state.guard import forward, untouched
from pytest_gradcam.state.parts import parts_of
from pytest_gradcam.state.surroundings import keep_random_states, seed_all
from pytest_gradcam.state.undo import in_turn, undoing
from pytest_gradcam.state.wrappers import unwrap
from pytest_gradcam.targets import Box, Classes, ClassNames, Detection, Region, Target

_Subject = TypeVar("_Subject", bound=Subject)


@dataclass(frozen=True)
class Interface:
    """What lies between a model and its users: how images become its input, and what its scores stand for.

    `preprocess` is a callable from a PIL image to a float tensor (C, H, W), not needed for tensors; `classes` are names in
    the order of the scores, or a dict name -> index; `output` is what the user says about the scores. `window` (lo, hi) are
    the values of 16-bit and float images that become black and white; `channels` those of the model's input that people see.
    `call` says how the model is called, if not with a batch alone.
    """

    preprocess: Preprocess | None = None
    classes: Classes | None = None
    output: Asked = field(default_factory=Asked)
    window: Window | None = None
    channels: Channels | None = None
    call: Call = field(default_factory=Call)


class Engine:
    """Explains a classifier's scores by class activation maps. The model is given back as it was after every call.

    `layer` is a module's dotted name, by default the deepest place where the choice is sound; `method` applies to calls
    that name none; `cache` keeps heatmaps from one call to the next; without one each call computes its own.
    Raises HeatmapError for arguments that cannot work with any image.
    """

    def __init__(
        self,
        model: nn.Module,
        interface: Interface = Interface(),
        layer: str | None = None,
        method: Method = Method(),  # noqa: B008 - frozen
        cache: HeatmapCache | None = None,
    ) -> None:
        self.model = model
        self._method = method
        self._interface = interface
        self._network = interface.call.around(unwrap(model))
        self._layer = layer
        self._names = ClassNames(interface.classes)
        self._outputs_of = OutputReader(interface.output, self._names)
        self._reader = Reader(interface.preprocess, self._network, interface.window, interface.channels)
        self._cache = cache
        self._identity = Identity(unwrap(model))
        self._choices = LayerChoices(self._outputs_of)
        self._mixing: Mixing | None = Mixing()

    @classmethod
    def from_settings(
        cls, settings: Settings, model: Any, preprocess: Any, classes: Any, cache: HeatmapCache | None = None
    ) -> Engine:
        """The engine that the settings describe, for a model that is already where it is to run."""
        output = Asked(settings.output, settings.output_key, settings.task)
        method = Method(settings.method, settings.batch_size, settings.rise_masks)
        interface = Interface(preprocess, classes, output, settings.window, settings.channels)
        return cls(model, interface, settings.layer, method, cache)

    @property
    def parts(self) -> tuple[nn.Module, Interface, str | None, Method]:
        """What it was made from, but for the cache: `Engine(*parts)` makes the same heatmaps."""
        return self.model, self._interface, self._layer, self._method

    def picture(self, image: Any) -> Picture:
        """The picture of an image that is no tensor, as `read` sees it before the preprocess."""
        return self._reader.picture(image)

    def read(self, image: Any) -> Input:
        """The image as the model's input; an Input is returned unchanged.

        Every method that takes images also takes these, so that a caller can read an image once and vary its tensor.
        Raises HeatmapError if it is not an image, or cannot become the model's input.
        """
        if isinstance(image, Input):
            return image
        return self._reader.read(image) if self._reader.in_parallel else in_turn(self._reader.read)(image)

    def __repr__(self) -> str:
        return describe(unwrap(self.model))

    @in_turn
    def identified(self, subject: _Subject, image: Any = None) -> _Subject:
        """The subject, or record, completed with the model and, if it is about one, the image."""
        kind = self._outputs_of.last
        if kind is not None:
            subject = replace(subject, output=str(kind), task=kind.task)
        return about(subject, self._identity.model(), None if image is None else self.read(image))

    @property
    @in_turn
    def multi_label(self) -> bool:
        """Whether an image may have several of the model's classes; False before the first image."""
        return self._outputs_of.last is not None and self._outputs_of.last.multi

    @property
    def method(self) -> str:
        """The name of the method of calls that name none."""
        return self._method.name

    @in_turn
    def heatmaps_by(self, layer: str | None, method: str | None) -> dict[str, str | None]:
        """What heatmaps come from: the digest of the weights, the layer if one is named, and the method."""
        weights, _ = self._identity.read()
        return {"weights": weights, "layer": layer or self._layer, "method": method or self.method}

    @property
    def names(self) -> ClassNames:
        """The names of the model's classes."""
        return self._names

    @property
    @in_turn
    def layer(self) -> str:
        """The target layer in use, by its dotted name. Raises HeatmapError before the first image if it is not set."""
        return self._layer or self._choices.last(self._network).site.name

    @in_turn
    def layers(self) -> tuple[Candidate, ...]:
        """The layers where a heatmap of the last image explained could be read, deepest first.

        Each candidate has a `site` (its layer's `name` and its `grid`, (h, w)) and a `note`, which says why it was
        chosen or passed over. Raises HeatmapError before the first image.
        """
        return self._choices.last(self._network).candidates

    @in_turn
    def heatmaps(
        self, images: Sequence[Any], targets: Sequence[Target], *, layer: str | None = None, method: str | None = None
    ) -> list[Heatmap]:
        """The heatmaps of several images, one target each. Raises HeatmapError if the numbers differ."""
        goals = list(targets)
        if len(goals) != len(images):
            raise HeatmapError(f"there are {len(goals)} targets for {len(images)} images; expected one per image")
        ready = [self.read(image) for image in images]
        if any(isinstance(target, (Box, Region)) for target in goals):
            each = zip(ready, goals, strict=True)
            return [self._explain_dense(one, [target], layer, method)[0] for one, target in each]
        return self._heatmaps(ready, [resolve(target, self._names) for target in goals], layer, method)

    @in_turn
    def compare(
        self, image: Any, targets: Sequence[Target], *, layer: str | None = None, method: str | None = None
    ) -> list[Heatmap]:
        """The heatmaps of one image for several targets, from one forward pass (and one more for each callable)."""
        if any(isinstance(target, (Box, Region)) for target in targets):
            return self._explain_dense(self.read(image), targets, layer, method)
        goals = [resolve(target, self._names) for target in targets]
        ready = [self.read(image)] * len(goals)
        return self._heatmaps(ready, goals, layer, method, shared=True)

    @in_turn
    def predict(self, images: Sequence[Any]) -> NDArray[np.float32]:
        """The model's logits (N, classes) for N images; a model with one logit z has -z and z."""
        ready = [self.read(image) for image in images]
        rows: dict[int, NDArray[np.float32]] = {}
        for place, output in self._outputs(ready):
            rows[place] = logits(output)
        return np.stack([rows[place] for place in range(len(ready))]) if ready else np.zeros((0, 0), np.float32)

    @in_turn
    def scores(self, images: Sequence[Any], target: Target = None) -> NDArray[np.float64]:
        """The score (N,) that a heatmap would explain, for N images of one size.

        `target` None is the class predicted for the first image.
        """
        goal, found = resolve(target, self._names), {}
        for place, output in self._outputs([self.read(image) for image in images], goal.function):
            goal = goal.settled(output)
            found[place] = float(goal.score(output))
        return np.array([found[place] for place in sorted(found)])

    @in_turn
    def scored(self, images: Sequence[Any], targets: Sequence[Target]) -> list[TargetScore]:
        """What each image's target, which is not a class, is worth there. Raises HeatmapError if the model does not find it."""
        return target_scores(self, self._network, self._outputs_of, [self.read(image) for image in images], targets)

    @property
    def network(self) -> nn.Module:
        """The model without torch.compile and DataParallel around it."""
        return self._network

    @property
    def exact(self) -> bool:
        """Whether computing something twice gives the same bits, as on a CPU."""
        return all(parameter.device.type == "cpu" for parameter in self._network.parameters())

    def without_heatmaps(self, method: str | None) -> str:
        """Why this model has no heatmaps by this method (None for its own), but scores; empty if it has."""
        return blind(self._network, method or self.method)

    def fresh(self) -> Engine:
        """A copy of this engine that uses no cache, and always batches, even if images affect each other."""
        other = self._of(self._network)
        other._mixing = None
        return other

    def seeded(self, seed: int) -> undoing[None]:
        """A `with` block in which all random generators start from this seed; they are restored afterwards."""

        def begin() -> None:
            keep_random_states()
            seed_all(seed)

        return undoing(begin)

    any_draw = staticmethod(draws_allowed)

    def redraw(self) -> Redraw[Engine]:
        """A copy of the model whose weights can be redrawn. Raises HeatmapError if the model cannot be copied."""
        return Redraw(self._network, copied(self._network), self._of)

    def _of(self, network: nn.Module) -> Engine:
        """This engine for another network of the same structure: it keeps the chosen layers and uses no cache."""
        other = copy(self)
        other.model = other._network = network
        other._cache = None
        other._choices = self._choices.copy()
        return other

    def _outputs(self, ready: Sequence[Input], function: Any = None) -> Iterator[tuple[int, Any]]:
        """The index of each input and its logits, or for a callable target the model's own output."""
        for places in batches(ready, self._together(ready)):
            with untouched(self._network), torch.no_grad():
                inputs = stack([ready[place] for place in places], self._network)
                run = partial(forward, self._network, inputs)
                with self._outputs_of.reading_for(function, self._network, inputs):
                    output = self._outputs_of.steadily(self._network, run, floats_in)
            yield from ((place, per_image(output, i, len(places))) for i, place in enumerate(places))

    def _together(self, ready: Sequence[Input]) -> int:
        """How many images may share a forward pass: one if they would affect each other."""
        group = next((group for group in batches(ready, self._method.batch_size) if len(group) > 1), None)
        if group is None or self._mixing is None:
            return self._method.batch_size
        with untouched(self._network):
            return 1 if self._mix(stack([ready[group[0]]], self._network)) else self._method.batch_size

    def _mix(self, inputs: Tensor) -> bool:
        return self._mixing is not None and self._mixing.of(self._network, inputs)

    @in_turn
    def detections(self, image: Any) -> list[Detection]:
        """What a detector finds in the image, the surest first. Raises HeatmapError for other models."""
        return detections(self._network, self.read(image), self._names)

    def unexplained(self, image: Any, subject: Subject) -> Heatmap:
        """The image as what a check without a heatmap is about: its heatmap is empty."""
        one = self.read(image)
        subject = self.identified(replace(subject, method=NO_HEATMAP), one)
        return Heatmap(np.zeros((1, 1), np.float32), one.seen, subject)

    def _explain_dense(
        self, one: Input, targets: Sequence[Target], layer: str | None, method: str | None
    ) -> list[Heatmap]:
        """The heatmaps of objects of a detector, of classes of a segmenter, and of what else is asked about this image."""
        how, named = method or self.method, layer or self._layer
        dense = [target for target in targets if isinstance(target, (Box, Region))]
        if dense and how not in ("gradcam", "hirescam"):
            raise HeatmapError(
                f"method={how!r} does not apply to a {type(dense[0]).__name__}; "
                "expected none, or hirescam: only gradient times activation keeps the position of one object"
            )
        boxes = [target for target in dense if isinstance(target, Box)]
        objects = iter(explain_objects(self._network, one, boxes, self._outputs_of, named) if boxes else [])
        made = []
        for target in targets:
            if not isinstance(target, (Box, Region)):
                made += self._heatmaps([one], [resolve(target, self._names)], layer, method)
                continue
            found = (
                explain_area(self._network, one, target, self._outputs_of, named)
                if isinstance(target, Region)
                else next(objects)
            )
            made.append(Heatmap(found[0], one.seen, about(found[1], self._identity.model(), one)))
        return made

    def _heatmaps(
        self,
        ready: Sequence[Input],
        goals: Sequence[Goal],
        layer: str | None,
        method: str | None,
        *,
        shared: bool = False,
    ) -> list[Heatmap]:
        """One heatmap per input, from the cache if it is there; `shared` says that all inputs are the same image."""
        how, named = self._method.named(method), layer or self._layer
        if ready:
            self._choices.asked(ready[-1], goals[-1], named)
        keys, who = self._keys(ready, goals, named, how.name)
        made = {place: found for place, key in enumerate(keys) if (found := self._kept(key, ready[place], who))}
        missing = [place for place in range(len(ready)) if place not in made]
        size = len(missing) if shared else self._together([ready[place] for place in missing])
        for places in self._groups(missing, ready, goals, size):
            group, asked = [ready[place] for place in places], [goals[place] for place in places]
            new, steady = self._explain_batch(group, asked, named, how, shared=shared)
            made.update(zip(places, new, strict=True))
            if steady and self._cache is not None:
                for place in places:
                    self._cache.put(keys[place], made[place].grid, made[place].subject)
        return [made[place] for place in range(len(ready))]

    def _groups(
        self, places: Sequence[int], ready: Sequence[Input], goals: Sequence[Goal], size: int
    ) -> Iterator[list[int]]:
        """Indices that can share a forward pass and a layer: for a callable target the layer is chosen separately."""
        for function in dict.fromkeys(goals[place].function for place in places):
            alike = [place for place in places if goals[place].function is function]
            for indices in batches([ready[place] for place in alike], size):
                yield [alike[i] for i in indices]

    def _keys(
        self, ready: Sequence[Input], goals: Sequence[Goal], layer: str | None, method: str
    ) -> tuple[list[str | None], Subject]:
        """The heatmaps' cache keys, and the model's half of their subjects."""
        if self._cache is None or not any(one.lasting for one in ready):
            return [None] * len(ready), Subject()
        parts = parts_of(self._network)
        weights, who = self._identity.read(parts)
        model, each = model_key(parts, weights, self._outputs_of), zip(ready, goals, strict=True)
        return [cache_key(model, one.tensor, goal, layer, method) if one.lasting else None for one, goal in each], who

    def _kept(self, key: str | None, one: Input, who: Subject) -> Heatmap | None:
        found = self._cache.get(key) if self._cache is not None else None
        # The same pixels may now come from another file.
        return None if found is None else Heatmap(found.grid, one.seen, about(found.subject, who, one))

    def _explain_batch(
        self, group: Sequence[Input], goals: Sequence[Goal], layer: str | None, how: Method, *, shared: bool
    ) -> tuple[list[Heatmap], bool]:
        """The heatmaps of inputs of one size, and whether they may be cached. A `shared` image runs once."""
        with untouched(self._network) as parts:
            who = self._identity.model(parts)
            inputs = stack(group[:1] if shared else group, self._network)
            if how.name in (*model_methods.METHODS, *SCORE_METHODS) and self._mix(inputs):
                how = how.one_at_a_time()  # these methods run many variants of an image
            with self._outputs_of.reading_for(goals[0].function, self._network, inputs) as kind:
                chosen = NO_LAYER
                if how.needs_layer:
                    chosen = self._choices.of(self._network, inputs, goals[0], layer)
                site = chosen.choice.site
                run = partial(make, self._network, inputs, site, goals, how)
                maps = self._outputs_of.steadily(self._network, run, Maps.to_compare, "output or heatmap")
        made = []
        for one, goal, (output, score, grid, resampled) in zip(group, goals, maps.each(), strict=True):
            where = site.centres if grid.shape == site.grid else None
            subject = goal.subject(output, score, self._names, kind)
            subject = about(replace(subject, layer=site.name, centres=where, method=how.name), who, one)
            made.append(Heatmap(grid, one.seen, subject, resampled, None if goal.function else fine_logits(output)))
        return made, chosen.steady or how.name == NO_HEATMAP
