"""Perturbed images and their original: what the model makes of each, measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import images, masks, metrics
from pytest_gradcam.checks.followed import Followed, FollowedObject
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.grids import require_evidence
from pytest_gradcam.images import Picture
from pytest_gradcam.perturbations import Perturbation, identity
from pytest_gradcam.perturbations.movement import Placement, move_heat
from pytest_gradcam.questions.explained_model import ExplainedModel, Question
from pytest_gradcam.questions.padding import refuse_padding
from pytest_gradcam.questions.protocols import Bools, Engine, HeatmapLike, ModelInput
from pytest_gradcam.settings import NO_HEATMAP
from pytest_gradcam.targets import Box, Region

_LATTICE = 56  # similarity is taken on every nth pixel, about this many per side: more cost time and show nothing new
_LEFT = 0.1  # share of the view that must be left after a movement, for a similarity to mean anything


@dataclass(frozen=True, eq=False)
class PerturbedImage:
    """One perturbed image: its heatmap `after`, that of the original `before`, and the mask, bool (H, W) of the image."""

    perturbation: Perturbation
    before: HeatmapLike
    after: HeatmapLike
    carry: Callable[[Bools], Bools]
    place: Callable[[], Placement]
    mask: Bools | None = None
    followed: Followed | None = None  # of a Box: the object in the perturbed image

    @property
    def keeps_class(self) -> bool:
        """Whether the model predicts the same class; of a multi-label model, whether it finds the target in both or neither;
        of a detector, whether it finds the object again.

        Raises HeatmapError if it predicts none.
        """
        if self.followed is not None:
            return self.followed.score > 0
        if self.before.subject.task == "multi":
            before_score, after_score = self.scores
            return (before_score > 0) == (after_score > 0)
        before, after = self.before.subject.predicted_index, self.after.subject.predicted_index
        if before is None or after is None:
            raise HeatmapError(
                "a callable target has no predicted class to compare; pass same_class=False, and bound the score"
            )
        return bool(before == after)

    @property
    def scores(self) -> tuple[float, float]:
        """The score of the target before and after, in its own units."""
        before, after = self.before.subject.score, self.after.subject.score
        assert before is not None
        assert after is not None
        return before, after if self.followed is None else self.followed.score

    @property
    def score_change(self) -> float:
        """How far the score of the target moved, up or down, in its own units."""
        before, after = self.scores
        return float(abs(after - before))

    @cached_property
    def region(self) -> Bools:
        """The mask in the view, moved as the image was. Raises HeatmapError if it is empty, or covers the whole view."""
        if self.mask is None:
            raise HeatmapError("the relevance mass needs a mask of where it should lie; pass mask=")
        region = self.after.carry(
            self.perturbation.mask(self.mask)
        ).pixels  # a preprocess may look at what an image shows
        if not region.any():
            raise HeatmapError(
                "nothing of the mask is left in the view; pass a milder perturbation, or check the mask and the crop "
                "of the preprocess"
            )
        if region.all():
            raise HeatmapError("the mask covers the whole view, so there is nothing to test; pass a smaller mask")
        return region

    @cached_property
    def mass(self) -> float:
        """The share of the heatmap inside the moved mask, in [0, 1]."""
        self._sound()
        return _mass(self.after, self.region)

    @cached_property
    def mass_before(self) -> float:
        """The same for the original and its mask. Raises HeatmapError as `Heatmap.mass` does."""
        self._sound()
        assert self.mask is not None
        return _mass(self.before, self.carry(self.mask))

    @property
    def lift(self) -> float:
        """The mass inside the moved mask divided by the moved mask's share of the view; 1 is chance."""
        return self.mass / float(self.region.mean())

    @property
    def lift_before(self) -> float:
        """The same for the original and its mask."""
        assert self.mask is not None
        return self.mass_before / float(self.carry(self.mask).mean())

    @cached_property
    def similarity(self) -> float:
        """Rank correlation of the heatmap with that of the original, moved as the image was, in [-1, 1].

        It is taken over the pixels whose content the original showed. Raises HeatmapError if too few are left.
        """
        self._sound()
        for heatmap in (self.before, self.after):
            require_evidence(heatmap.grid, heatmap.subject)
        moves = self.perturbation.moves
        moved = move_heat(self.before.values, self.perturbation, self.place()) if moves else self.before.values
        step = max(1, min(moved.shape) // _LATTICE)
        moved, after = (values[step // 2 :: step, step // 2 :: step] for values in (moved, self.after.values))
        seen = np.isfinite(moved)
        if seen.mean() < _LEFT:
            raise HeatmapError(
                f"only {100 * seen.mean():.0f} % of the view shows what the original showed, too little to compare "
                "heatmaps; pass a milder perturbation"
            )
        return metrics.similarity(moved[seen][None], after[seen][None])

    def _sound(self) -> None:
        """Raises HeatmapError if the gate allows no verdict on these heatmaps."""
        if reason := self.before.gate():
            raise HeatmapError(reason)
        if self.followed is not None and self.followed.score == 0:
            raise HeatmapError(f"{self.before.subject.target!r} is not found any more, so it has no heatmap to compare")


class PerturbedImages:
    """An image and its heatmap, from which perturbed images are made; without `heatmaps` their scores alone are measured.

    Raises HeatmapError for what is not an 8-bit picture: a tensor that is ready for the model cannot be perturbed.
    """

    def __init__(self, model: ExplainedModel, image: Any, question: Question, *, heatmaps: bool = True) -> None:
        if images.is_tensor(image):
            raise HeatmapError(
                "a tensor that is ready for the model cannot be perturbed: perturbations are what happens to an 8-bit "
                "picture; pass the path, PIL image or uint8 array that it was made from, and set preprocess="
            )
        goal = question.target
        if isinstance(goal, Region):
            raise HeatmapError(
                "a Region of a segmenter cannot be followed through a perturbation; expected the target of a classifier, a Box, "
                "or a callable; pass target=Value(lambda logits: logits[1][mask].mean()), same_class=False and score_within=, "
                "where nothing moves"
            )
        self._engine, self._asked, self._question = model.engine, question, question
        read = _read(model.engine, image)
        self._picture, self._pixels, self._input = read.picture, read.pixels, read.image_input
        #: Whether the perturbed images that were made last are all the original, as the model sees them.
        self.alike = False
        size = self._picture.shape
        self.object = FollowedObject(self._engine, self._input, size, goal) if isinstance(goal, Box) else None
        blind = self._engine.without_heatmaps(question.method)
        if blind or not heatmaps:
            self._question = question = replace(question, method=NO_HEATMAP)
        if self.object is None or question.method != NO_HEATMAP:
            self.before = model.explain(self._input, question)
        else:
            self.before = self._engine.unexplained(self._input, self.object.subject)
        if blind:
            self.before.gate = lambda: blind
        # By default the class predicted for the original is explained, whatever the perturbed image is predicted as.
        self._goal = self.before.subject.target_index if goal is None else goal

    def mask(self, mask: Any) -> Bools:
        """The mask, checked, in the image's coordinates."""
        refuse_padding(mask)
        return masks.as_mask(mask, shape=self._picture.shape)

    def carried(self, mask: Bools) -> Bools:
        """The mask where the model sees it, bool (H, W) in the view."""
        return self._input.carry(mask).pixels

    def of(self, perturbations: Sequence[Perturbation], mask: Bools | None) -> list[PerturbedImage]:
        """One image for each perturbation, from few forward passes."""
        place = self._input.place
        assert place is not None  # a picture has one
        changed = [self._perturbed(perturbation) for perturbation in perturbations]
        self.alike = all(np.array_equal(each.pixels, self._input.pixels) for each in changed)
        followed: list[Followed | None] = [None] * len(changed)
        if self.object is None:
            afters = self._explained(changed, [self._goal] * len(changed))
        else:
            objects = [self.object.after(*each) for each in zip(perturbations, changed, strict=True)]
            afters = [self._of_object(*each) for each in zip(changed, objects, strict=True)]
            followed = list(objects)
        # A heatmap needs a gradient, which a constant score has not; without heatmaps, it would survive everything.
        if self._question.method == NO_HEATMAP and all(
            after.subject.score == self.before.subject.score for after in afters
        ):
            self._require_response()
        return [
            PerturbedImage(perturbation, self.before, after, self.carried, place, mask, where)
            for perturbation, after, where in zip(perturbations, afters, followed, strict=True)
        ]

    def _explained(self, inputs: Sequence[ModelInput], goals: Sequence[Any]) -> Sequence[HeatmapLike]:
        how = {"layer": self._question.layer, "method": self._question.method}
        return self._engine.heatmaps(inputs, goals, **how)

    def _of_object(self, image: ModelInput, followed: Followed) -> HeatmapLike:
        """The object in a changed image: its heatmap where it is found and one is asked for, else an empty one."""
        assert self.object is not None
        if followed.found is not None and self._question.method != NO_HEATMAP:
            return self._explained([image], [followed.found])[0]
        score = 0.0 if followed.found is None else followed.found.score
        return self._engine.unexplained(image, replace(self.object.subject, score=score))

    def shown(self, image: PerturbedImage | None) -> list[HeatmapLike]:
        """The heatmaps of the original and of one perturbed image, for a picture; empty where none can be made."""
        if self._question.method != NO_HEATMAP:
            return [self.before] if image is None else [self.before, image.after]
        inputs = [self._input] if image is None else [self._input, self._perturbed(image.perturbation)]
        goals = [self._goal] * len(inputs)
        if image is not None and image.followed is not None:
            found = image.followed.found
            inputs, goals = (inputs, [self._goal, found]) if found is not None else (inputs[:1], goals[:1])
        try:
            return list(self._engine.heatmaps(inputs, goals, layer=self._asked.layer, method=self._asked.method))
        except HeatmapError:
            return []

    def _require_response(self) -> None:
        """Raises HeatmapError if the model scores noise, the negative and an empty image as it scores the image."""
        inputs = [self._input, *self._other_images()]
        if self.object is not None:
            found = [self.object.after(identity, each).score for each in inputs]
            scores = np.array(found)
        else:
            scores = self._engine.scores(inputs, self._goal) if callable(self._goal) else self._engine.predict(inputs)
        if not np.ptp(scores, axis=0).any():
            whose, cause = ("target", "what it returns") if callable(self._goal) else ("model", "the weights")
            raise HeatmapError(
                f"the {whose} gives every image the same scores, so any change leaves them as they are; check {cause}"
            )

    def _other_images(self) -> list[ModelInput]:
        """Noise, the negative and an empty image: as pictures, which are the same however the preprocess is written."""
        shown = self._pixels
        noise = np.random.default_rng(0).integers(0, 256, shown.shape, np.uint8)
        try:
            return [self._engine.read(other) for other in (noise, 255 - shown, np.full_like(shown, 128))]
        except HeatmapError:  # a preprocess that takes only what looks like its images
            pixels = self._input.pixels
            low, high = pixels.min(), pixels.max()
            noise = np.random.default_rng(0).uniform(low, high, pixels.shape)
            others = (noise, low + high - pixels, np.full(pixels.shape, (low + high) / 2))
            return [self._input.with_pixels(other.astype(np.float32)) for other in others]

    def _perturbed(self, perturbation: Perturbation) -> ModelInput:
        return self._engine.read(perturbation(self._pixels)).variant_of(self._input)


@dataclass(frozen=True, eq=False)
class _Read:
    """What an engine read last: the file's bytes, if it was a file, the picture, its pixels, and the input made from it."""

    content: bytes | None
    picture: Picture
    pixels: NDArray[np.uint8]
    image_input: ModelInput

    def is_of(self, image: Any, content: bytes | None, engine: Engine) -> bool:
        """Whether the file has these bytes, or the image these pixels."""
        if content is not None or self.content is not None:
            return content == self.content
        plain = type(image) is np.ndarray and image.dtype == np.uint8
        return np.array_equal(image if plain else np.asarray(engine.picture(image).pil), self.pixels)


# Hypothesis reads the same original for each of its examples, which costs as much as perturbing it.
_LAST: WeakKeyDictionary[Engine, _Read] = WeakKeyDictionary()


def _read(engine: Engine, image: Any) -> _Read:
    """The picture and the model's input; they are made anew only if the file's bytes or the pixels have changed."""
    last, content = _LAST.get(engine), _content(image)
    if last is None or not last.is_of(image, content, engine):
        picture = engine.picture(image)
        picture = replace(picture, pil=picture.pil.copy())  # the caller may change the array later
        last = _LAST[engine] = _Read(content, picture, np.asarray(picture.pil), engine.read(picture))
    return replace(last, image_input=last.image_input.named(str(image) if content is not None else last.picture.name))


def _content(image: Any) -> bytes | None:
    """The file's bytes; None for what is not a file that can be read."""
    if not isinstance(image, (str, os.PathLike)) or not os.path.isfile(image):
        return None
    try:
        return Path(image).read_bytes()
    except OSError:
        return None


def _mass(heatmap: HeatmapLike, region: Bools) -> float:
    require_evidence(heatmap.grid, heatmap.subject)
    return metrics.mass(heatmap.values, region)
