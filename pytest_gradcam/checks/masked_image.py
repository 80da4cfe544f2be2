"""A masked place in an image as the model sees it: what is there, and the same image with something else there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import images as pictures
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import Engine, ModelInput, Question
from pytest_gradcam.replacement import fills
from pytest_gradcam.replacement.fills import Bools, Floats


@dataclass(frozen=True)
class MaskedImage:
    """An image, its pixels float (C, H, W) in the model's units, the mask and the padding bool (H, W) in the view."""

    one: ModelInput
    pixels: Floats
    mask: Bools
    padding: Bools

    def at(self, mask: Bools) -> MaskedImage:
        """Another place in the same image."""
        return replace(self, mask=mask & ~self.padding)

    def emptied(self, level: Floats) -> ModelInput:
        """The image with nothing but this colour (C,), the padding kept."""
        return self.at(np.ones_like(self.mask)).filled(fills.colour, level=level)

    def filled(self, fill: Callable[..., Floats], **how: Any) -> ModelInput:
        """The image with the place filled by a function of `fills`."""
        changed = fill(self.pixels, self.mask, padding=self.padding, **how)
        return self.one.with_pixels(changed)


def read_masked_image(engine: Engine, image: Any, mask: Any) -> MaskedImage:
    """Raises HeatmapError for what is no image or no mask, and where nothing or nothing but the mask is in the view."""
    one = engine.read(image)
    region = one.carry(mask)
    padding = one.look()[1]
    none = np.zeros(one.shape, bool) if padding is None else padding
    pixels = region.pixels & ~none
    if not pixels.any():
        why = f"the preprocess kept 0 % of it: {region.seen}" if region.seen else "it has no pixel"
        raise HeatmapError(f"the mask of {one.name} is empty in the view: {why}; check the mask")
    if (pixels | none).all():
        raise HeatmapError(
            f"the mask of {one.name} covers the whole view, so nothing would be left; pass a smaller one"
        )
    return MaskedImage(one, one.pixels, pixels, none)


def read_masked_images(engine: Engine, images: Any, masks: Any) -> list[MaskedImage]:
    """The images with one mask for all of them, or one each."""
    several = as_images(images)
    own = one_each(masks)
    if own is not None and len(own) != len(several):
        raise HeatmapError(f"there are {len(own)} masks for {len(several)} images; expected one for all, or one each")
    return [read_masked_image(engine, image, masks if own is None else own[i]) for i, image in enumerate(several)]


def as_images(images: Any) -> list[Any]:
    """The images as a list. Raises HeatmapError for a single one and for none."""
    several = isinstance(images, Sequence) and not isinstance(images, (str, bytes))
    if isinstance(images, np.ndarray) or pictures.is_tensor(images):
        several = images.ndim == 4 or (isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[-1] != 3)
    if not several:
        raise HeatmapError(f"images={type(images).__name__} is one image; expected a list of them; pass [image]")
    if not len(images):
        raise HeatmapError("there are no images, so there is nothing to test; check how they were selected")
    return list(images)


def one_each(masks: Any) -> list[Any] | None:
    """The masks where there is one for each image; None where there is one for all."""
    if isinstance(masks, np.ndarray) or pictures.is_tensor(masks):
        return list(masks) if masks.ndim == 3 and masks.shape[-1] != 1 else None
    # A list of lists is one mask, written out.
    if isinstance(masks, (list, tuple)) and masks and not isinstance(masks[0], (list, tuple, int, float, bool)):
        return None if isinstance(masks[0], np.ndarray) and masks[0].ndim == 1 else list(masks)
    return None


def scores_of(engine: Engine, inputs: Sequence[ModelInput]) -> NDArray[np.float32]:
    """The logits (N, classes). Raises HeatmapError if one is not finite."""
    scores = engine.predict(inputs)
    if not np.isfinite(scores).all():
        bad = inputs[int(np.argwhere(~np.isfinite(scores))[0][0])].name
        raise HeatmapError(f"the model's scores for {bad} hold NaN or infinite values; check the weights")
    return scores


def common_level(places: Sequence[MaskedImage]) -> Floats:
    """The mean colour (C,) of the images; of one image the middle of its range, since its own mean keeps its cue."""
    if len(places) == 1:
        return fills.middle(places[0].pixels)
    return np.asarray(np.mean([place.pixels[:, ~place.padding].mean(axis=1) for place in places], axis=0), np.float32)


def heat_of(engine: Engine, one: ModelInput, target: int, question: Question) -> NDArray[np.float32] | None:
    """The heatmap's values (H, W), for a picture; None where there is no layer to read one at."""
    try:
        found = engine.heatmaps([one], [target], layer=question.layer, method=question.method)[0]
    except HeatmapError:
        return None
    values: NDArray[np.float32] = found.values
    return values
