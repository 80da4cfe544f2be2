"""Which images of a set count: each content once, and in an order that does not depend on how they were passed."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from pytest_gradcam.checks.masked_image import MaskedImage


def content(image: MaskedImage) -> str:
    """A digest of what the model sees of the image, and of its mask: the same for copies, whatever their file is called."""
    found = sha256(repr(image.pixels.shape).encode())
    found.update(image.pixels.tobytes())
    found.update(image.mask.tobytes())
    return found.hexdigest()


def distinct(images: Sequence[MaskedImage], targets: Sequence[Any]) -> list[int]:
    """The indices of the images that differ in content or target, in the order of their digests.

    A verdict on a set rests on as many images as there are different ones, and whatever is drawn for them, in this order,
    is the same for every order in which they are passed.
    """
    first: dict[tuple[str, str], int] = {}
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        first.setdefault((content(image), repr(target)), index)
    return [index for _, index in sorted(first.items())]
