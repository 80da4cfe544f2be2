"""A masked region in an image as the model sees it: what it contains, and the same image with other content there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import images as pictures
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import Question
from pytest_gradcam.questions.padding import refuse_padding
from pytest_gradcam.questions.protocols import Engine, ModelInput
from pytest_gradcam.replacement import fills
from pytest_gradcam.replacement.fills import Bools, Floats
from pytest_gradcam.targets import Target
from pytest_gradcam.validation import each_of


@dataclass(frozen=True)
class MaskedImage:
    """An image, its pixels float (C, H, W) in the model's units, the mask and the padding bool (H, W) in the view."""

    image_input: ModelInput
    pixels: Floats
    mask: Bools
    padding: Bools

    def at(self, mask: Bools) -> MaskedImage:
        """The same image with another mask."""
        return replace(self, mask=mask & ~self.padding)

    def emptied(self, level: Floats) -> ModelInput:
        """The image filled with this colour (C,), except for the padding."""
        return self.at(np.ones_like(self.mask)).filled(fills.colour, level=level)

    def filled(self, fill: Callable[..., Floats], **how: Any) -> ModelInput:
        """The image with the masked pixels filled by a function of `fills`."""
        changed = fill(self.pixels, self.mask, padding=self.padding, **how)
        return self.image_input.with_pixels(changed)


def read_masked_image(engine: Engine, image: Any, mask: Any) -> MaskedImage:
    """The image with its mask in the view. Raises HeatmapError if the mask is empty there, or covers the whole view."""
    refuse_padding(mask)
    image_input = engine.read(image)
    carried = image_input.carry(mask)
    padding = image_input.look()[1]
    if padding is None:
        padding = np.zeros(image_input.shape, bool)
    pixels = carried.pixels & ~padding
    if not pixels.any():
        why = f"the preprocess kept 0 % of it: {carried.seen}" if carried.seen else "it has no pixel"
        raise HeatmapError(f"the mask of {image_input.name} is empty in the view: {why}; check the mask")
    if (pixels | padding).all():
        raise HeatmapError(
            f"the mask of {image_input.name} covers the whole view, so nothing would be left; pass a smaller one"
        )
    return MaskedImage(image_input, image_input.pixels, pixels, padding)


def read_masked_images(engine: Engine, images: Any, masks: Any, argument: str = "images") -> list[MaskedImage]:
    """The images, each with its mask: one mask for all of them, or one per image. Errors name the item of the argument."""
    several = as_images(images)
    own = one_each(masks)
    if own is None and isinstance(masks, (list, tuple)) and not masks:
        raise HeatmapError(
            "masks is empty; expected one mask for all images, or one per image; check how they were selected"
        )
    if own is not None and len(own) != len(several):
        raise HeatmapError(
            f"there are {len(own)} masks for {len(several)} images; expected one for all, or one per image"
        )
    pairs = zip(several, [masks] * len(several) if own is None else own, strict=True)
    return each_of(argument, pairs, lambda pair: read_masked_image(engine, *pair))


def as_images(images: Any) -> list[Any]:
    """The images as a list. Raises HeatmapError for a single one and for none."""
    several = isinstance(images, Sequence) and not isinstance(images, (str, bytes))
    if isinstance(images, np.ndarray) or pictures.is_tensor(images):
        several = images.ndim == 4 or (isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[-1] != 3)
    if not several:
        raise HeatmapError(_no_list(images))
    if not len(images):
        raise HeatmapError("there are no images, so there is nothing to test; check how they were selected")
    return list(images)


def _no_list(images: Any) -> str:
    if isinstance(images, (str, os.PathLike)) and os.path.isdir(images):
        found = f"sorted(pathlib.Path({os.fspath(images)!r}).glob('*.png'))"
        return f"images={os.fspath(images)!r} is a folder; expected a list of images; pass those in it, as in {found}"
    kind = type(images).__name__
    if (
        isinstance(images, Iterable)
        and not isinstance(images, (str, bytes, np.ndarray))
        and not pictures.is_tensor(images)
    ):
        return f"images={kind} is not a list; expected a list of images; pass list(images)"
    return f"images={kind} is one image; expected a list of them; pass [image]"


def one_each(masks: Any) -> list[Any] | None:
    """The masks if there is one per image; None if there is one for all."""
    if isinstance(masks, np.ndarray) or pictures.is_tensor(masks):
        return list(masks) if masks.ndim == 3 and masks.shape[-1] != 1 else None
    # A list of lists is one mask, written out.
    if isinstance(masks, (list, tuple)) and masks and not isinstance(masks[0], (list, tuple, int, float, bool)):
        return None if isinstance(masks[0], np.ndarray) and masks[0].ndim == 1 else list(masks)
    return None


def scores_of(engine: Engine, inputs: Sequence[ModelInput]) -> NDArray[np.float32]:
    """The logits (N, classes). Raises HeatmapError if one is not finite."""
    return finite_scores(engine.predict(inputs), inputs)


def finite_scores(rows: Any, inputs: Sequence[ModelInput]) -> NDArray[np.float32]:
    """The rows (N, classes) of the inputs as one array. Raises HeatmapError if one is not finite."""
    scores = np.asarray(rows, np.float32)
    if not np.isfinite(scores).all():
        bad = inputs[int(np.argwhere(~np.isfinite(scores))[0][0])].name
        raise HeatmapError(f"the model's scores for {bad} contain NaN or infinite values; check the weights")
    return scores


def common_level(images: Sequence[MaskedImage]) -> Floats:
    """The mean colour (C,) of the images; the middle of the range for one image, whose own mean would keep its cue."""
    if len(images) == 1:
        return fills.middle(images[0].pixels)
    return np.asarray(np.mean([image.pixels[:, ~image.padding].mean(axis=1) for image in images], axis=0), np.float32)


def heat_of(engine: Engine, image_input: ModelInput, target: Target, question: Question) -> NDArray[np.float32] | None:
    """The heatmap's values (H, W), for a picture; None if there is no layer to read one at."""
    try:
        return engine.heatmaps([image_input], [target], layer=question.layer, method=question.method)[0].values
    except HeatmapError:
        return None
