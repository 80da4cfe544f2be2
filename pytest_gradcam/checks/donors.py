"""Which images donate pixels to which: what other images show where one is masked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from pytest_gradcam.checks.masked_image import MaskedImage
from pytest_gradcam.replacement import fills
from pytest_gradcam.replacement.fills import Bools, Floats

Indices = NDArray[np.intp]
_DRAWS = 64  # changed images in total, about: few images donate to each other several times
_FEWEST, _MOST = 3, 8  # draws for one image
_COVERED = 0.9  # share of the mask that donors' masked pixels must cover: outside of their masks may be their object
_DONORS = 5  # images of one class that one patch may be pieced together from
_ALIKE = 0.03  # share of the images' range: pixels that differ by less (root mean square) are the same
_PATTERN = 0.5  # correlation of the fine structure above which two images show the same mark
_BLUR = 2  # standard deviation in pixels of the blur that takes out the fine structure
_PAIRS = 48  # patches that are compared with the pixels they replace


@dataclass(frozen=True)
class Patch:
    """What replaces the masked pixels of image `to`: `content` (C, H, W), from the images `donors`."""

    to: int
    content: Floats
    donors: tuple[int, ...]


@dataclass(frozen=True)
class Patches:
    """All patches between images."""

    patches: list[Patch]
    images: Sequence[MaskedImage]

    @cached_property
    def same(self) -> bool:
        """Whether most of them look like what they replace."""
        first = list({patch.to: patch for patch in reversed(self.patches)}.values())
        checked = first[:: max(1, len(first) // _PAIRS)]
        found = [hold_the_same(self.images[patch.to], patch.content) for patch in checked]
        return bool(found) and float(np.mean(found)) > 0.5

    @property
    def enough(self) -> bool:
        """Whether nearly all images receive a patch."""
        return len({patch.to for patch in self.patches}) >= max(2, 0.8 * len(self.images))

    @property
    def worth(self) -> int:
        """The number of independent images that the patches amount to: if few donate to many, the few count."""
        return min(
            len({patch.to for patch in self.patches}), 2 * len({j for patch in self.patches for j in patch.donors})
        )


def arrange(
    images: Sequence[MaskedImage], classes: NDArray[np.intp], allowed: Callable[[int, int], bool], *, share: float = 1
) -> Patches:
    """Patches for each image from those that are `allowed` to donate to it: from each of their classes in turn.

    Each image receives three to eight, the more the fewer images there are, or this `share` of them.

    Within a class the donors that have donated least come first, so that each donates about equally often. The donors of
    one patch share their class. Donors whose size differs from the receiver's are left out. The images come in an order
    of their contents (`samples.distinct`), so who donates to whom does not depend on the order in which they were passed.
    """
    count = len(images)
    wanted = math.ceil(share * min(_MOST, max(_FEWEST, -(-_DRAWS // count))))
    donated, patches = np.zeros(count, int), list[Patch]()
    for i in range(count):
        fitting = [j for j in range(count) if j != i and allowed(i, j)]
        fitting = [j for j in fitting if images[j].pixels.shape == images[i].pixels.shape]
        for donors in _in_turn(i, fitting, classes, donated, min(wanted, len(fitting))):
            patch = _patch(images, i, donors)
            if patch is not None:
                patches.append(patch)
                donated[list(patch.donors)] += 1
    return Patches(patches, images)


def _in_turn(
    to: int, fitting: Sequence[int], classes: NDArray[np.intp], donated: NDArray[np.intp], draws: int
) -> Iterator[list[int]]:
    """The donors of each of `draws` patches for image `to`, of one class each; no image is first donor of two of them."""
    several = sorted({int(classes[j]) for j in fitting})
    fresh, turn = {index: [j for j in fitting if classes[j] == index] for index in several}, to
    for _ in range(draws):
        while not fresh[index := several[turn % len(several)]]:
            turn += 1
        # Ties go to the next image in the order of contents: another one for each receiver.
        ranked = sorted(
            (j for j in fitting if classes[j] == index), key=lambda j: (donated[j], (j - to) % len(classes))
        )
        first = next(j for j in ranked if j in fresh[index])
        fresh[index].remove(first)
        turn += 1
        yield [first, *(j for j in ranked if j != first)][:_DONORS]


def _patch(images: Sequence[MaskedImage], to: int, donors: Sequence[int]) -> Patch | None:
    """The mask filled with the donors' masked pixels, one donor after the other; None if too much of it stays open."""
    image = images[to]
    content, open_ = image.pixels.copy(), image.mask.copy()
    used: list[int] = []
    for j in donors:
        pixels, mask = aligned(images[j], image.mask)
        new = open_ & mask
        if new.any():
            content[:, new] = pixels[:, new]
            open_ &= ~mask
            used.append(j)
        if not open_.any():
            break
    if open_.sum() > (1 - _COVERED) * image.mask.sum():
        return None
    rest = fills.inpaint(content, open_, padding=image.padding) if open_.any() else content
    # Around the mask, where the edge is soft, the first donor's pixels continue.
    pixels, mask = aligned(images[used[0]], image.mask)
    return Patch(to, np.where(image.mask, rest, pixels), tuple(used))


def aligned(donor: MaskedImage, mask: Bools) -> tuple[Floats, Bools]:
    """The donor's pixels and mask, moved onto this mask if that covers more of it."""
    if donor.mask[mask].mean() >= _COVERED:
        return donor.pixels, donor.mask
    own, other = (np.argwhere(each) for each in (mask, donor.mask))
    moves = [np.zeros(2, int), own.min(0) - other.min(0), own.max(0) - other.max(0)]
    moved = [_moved(donor.mask, *move) for move in moves]
    best = max(range(len(moves)), key=lambda place: float(moved[place][2][mask].mean()))
    rows, columns, covered = moved[best]
    return donor.pixels[:, rows, columns], covered


def _moved(mask: Bools, down: int, right: int) -> tuple[Indices, Indices, Bools]:
    """Where the pixels of a moved image come from, its edges repeated, as rows and columns; and a mask (H, W), moved."""
    height, width = mask.shape
    rows, columns = np.arange(height)[:, None] - down, np.arange(width)[None, :] - right
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    return rows, columns, mask[rows, columns] & inside


def hold_the_same(image: MaskedImage, content: Floats) -> bool:
    """Whether image and `content` (C, H, W) look the same in the mask, or show the same mark on different ground."""
    change = image.pixels[:, image.mask] - content[:, image.mask]
    span = max(float(np.ptp(image.pixels)), float(np.ptp(content)))
    if float(np.sqrt(np.mean(change**2))) < _ALIKE * span:
        return True
    fine = [_fine(each, image.mask).ravel() for each in (image.pixels, content)]
    spread = float(fine[0].std() * fine[1].std())
    if spread <= (1e-3 * span) ** 2:
        return False
    return float(np.mean((fine[0] - fine[0].mean()) * (fine[1] - fine[1].mean()))) / spread > _PATTERN


def _fine(pixels: Floats, mask: Bools) -> Floats:
    """The fine structure (C, M) of an image in the M pixels of the mask."""
    reach = 4 * _BLUR  # the filter looks no further
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = tuple(slice(max(0, each[0] - reach), each[-1] + 1 + reach) for each in (rows, columns))
    near = pixels[:, *part]
    return np.asarray((near - scipy.ndimage.gaussian_filter(near, (0, _BLUR, _BLUR)))[:, mask[part]])
