"""Masks that fit the artefact better than those that were passed, where its edges say how: in pictures, and for the next call."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_gradcam import overlay
from pytest_gradcam.checks.masked_image import MaskedImage
from pytest_gradcam.checks.outline import Fault
from pytest_gradcam.perturbations.movement import in_image
from pytest_gradcam.replacement.fills import Bools


def better_masks(images: Sequence[MaskedImage], fault: Fault | None) -> list[Bools]:
    """One for each image, in the coordinates of the image as it was passed; none if any of them is not known.

    What the model does not see of an image is in no mask.
    """
    found = []
    for image, mask in zip(images, _in_view(images, fault), strict=False):
        place = image.image_input.place
        found.append(mask if place is None else in_image(mask, place()))
    return found


def better_panels(images: Sequence[MaskedImage], fault: Fault | None) -> list[overlay.Panel]:
    """The views of these images with the better masks; none if any of them is not known."""
    return [
        overlay.Panel(image.image_input.look()[0], mask=mask, caption="a mask that fits better")
        for image, mask in zip(images, _in_view(images, fault), strict=False)
    ]


def _in_view(images: Sequence[MaskedImage], fault: Fault | None) -> list[Bools]:
    mended = [] if fault is None else [fault.mended(image.mask) for image in images]
    found = [mask & ~image.padding for mask, image in zip(mended, images, strict=False) if mask is not None]
    return found if len(found) == len(mended) and all(mask.any() for mask in found) else []
