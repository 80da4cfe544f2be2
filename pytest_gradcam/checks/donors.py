"""Which images give their pixels to which: what other images hold in the place of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pytest_gradcam.checks.masked_image import MaskedImage
from pytest_gradcam.replacement import fills
from pytest_gradcam.replacement.fills import Bools, Floats

_DRAWS = 64  # changed images in all, about: few images give to each other several times
_MOST = 8  # draws for one image
_COVERED = 0.9  # of the place, by donors' masked pixels: what is not in their masks may be their object
_DONORS = 5  # images of one class that one place may be pieced together from
_ALIKE = 0.03  # of the images' range: a place whose pixels differ by less, root mean square, holds the same
_PATTERN = 0.5  # correlation of two places' fine structure above which they show the same mark
_PAIRS = 48  # patches that are compared with what was there


@dataclass(frozen=True)
class Patch:
    """For image `to`: `content` (C, H, W), what its place would hold, given by the images `donors`."""

    to: int
    content: Floats
    donors: tuple[int, ...]


@dataclass(frozen=True)
class Patches:
    """All patches between `images` images; `same` says that they mostly bring what was there before."""

    patches: list[Patch]
    images: int
    same: bool

    @property
    def enough(self) -> bool:
        """Whether nearly all images were given something."""
        return len({patch.to for patch in self.patches}) >= max(2, 0.8 * self.images)

    @property
    def worth(self) -> int:
        """How many independent images this comes to: when few give to many, the few decide."""
        return min(
            len({patch.to for patch in self.patches}), 2 * len({j for patch in self.patches for j in patch.donors})
        )


def arrange(places: Sequence[MaskedImage], classes: NDArray[np.intp], allowed: Callable[[int, int], bool]) -> Patches:
    """Patches for each place from images that are `allowed` to give to it: from each of their classes in turn.

    Within a class the donors that have given the least come first, so that each gives about equally often. The donors of
    one patch share their class. A donor of another size than the receiver is passed over. The places come in an order of
    their contents, so that who gives to whom does not depend on the order in which they were passed.
    """
    count = len(places)
    wanted, given, patches = min(_MOST, -(-_DRAWS // count)), np.zeros(count, int), []
    for i in range(count):
        fitting = [j for j in range(count) if j != i and allowed(i, j)]
        fitting = [j for j in fitting if places[j].pixels.shape == places[i].pixels.shape]
        for donors in _in_turn(i, fitting, classes, given, min(wanted, len(fitting))):
            patch = _patch(places, i, donors)
            if patch is not None:
                patches.append(patch)
                given[list(patch.donors)] += 1
    first = list({patch.to: patch for patch in reversed(patches)}.values())
    checked = [hold_the_same(places[patch.to], patch.content) for patch in first[:: max(1, len(first) // _PAIRS)]]
    return Patches(patches, count, bool(checked) and float(np.mean(checked)) > 0.5)


def _in_turn(
    to: int, fitting: Sequence[int], classes: NDArray[np.intp], given: NDArray[np.intp], draws: int
) -> Iterator[list[int]]:
    """The donors of each of so many patches, of one class each: the first of them was not first before."""
    several = sorted({int(classes[j]) for j in fitting})
    fresh, turn = {index: [j for j in fitting if classes[j] == index] for index in several}, to
    for _ in range(draws):
        while not fresh[index := several[turn % len(several)]]:
            turn += 1
        # Of donors that have given as often, the next ones in the order of contents: another one for each receiver.
        ranked = sorted((j for j in fitting if classes[j] == index), key=lambda j: (given[j], (j - to) % len(classes)))
        first = next(j for j in ranked if j in fresh[index])
        fresh[index].remove(first)
        turn += 1
        yield [first, *(j for j in ranked if j != first)][:_DONORS]


def _patch(places: Sequence[MaskedImage], to: int, donors: Sequence[int]) -> Patch | None:
    """What the donors' masked pixels make of the place, one after the other; None if much of it stays open."""
    place = places[to]
    content, open_ = place.pixels.copy(), place.mask.copy()
    used: list[int] = []
    for j in donors:
        pixels, mask = _aligned(places[j], place.mask)
        new = open_ & mask
        if new.any():
            content[:, new] = pixels[:, new]
            open_ &= ~mask
            used.append(j)
        if not open_.any():
            break
    if open_.sum() > (1 - _COVERED) * place.mask.sum():
        return None
    rest = fills.inpaint(content, open_, padding=place.padding) if open_.any() else content
    # Around the place, where the edge is soft, the first donor's pixels go on.
    pixels, mask = _aligned(places[used[0]], place.mask)
    return Patch(to, np.where(place.mask, rest, pixels), tuple(used))


def _aligned(donor: MaskedImage, mask: Bools) -> tuple[Floats, Bools]:
    """The donor's pixels and mask, moved so that its mask lies on this one where that covers more of it."""
    if donor.mask[mask].mean() >= _COVERED:
        return donor.pixels, donor.mask
    own, other = (np.argwhere(each) for each in (mask, donor.mask))
    moves = [np.zeros(2, int), own.min(0) - other.min(0), own.max(0) - other.max(0)]
    moved = [_moved(donor.pixels, donor.mask, *move) for move in moves]
    return max(moved, key=lambda one: float(one[1][mask].mean()))


def _moved(pixels: Floats, mask: Bools, down: int, right: int) -> tuple[Floats, Bools]:
    """Pixels (C, H, W), their edges held, and a mask (H, W), moved."""
    if not down and not right:
        return pixels, mask
    height, width = mask.shape
    rows, columns = np.arange(height)[:, None] - down, np.arange(width)[None, :] - right
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    return pixels[:, rows, columns], mask[rows, columns] & inside


def hold_the_same(place: MaskedImage, content: Floats) -> bool:
    """Whether the place of the image holds what it holds in `content` (C, H, W), or the same mark on other ground."""
    one, two = place.pixels[:, place.mask], content[:, place.mask]
    span = max(float(np.ptp(place.pixels)), float(np.ptp(content)))
    if float(np.sqrt(np.mean((one - two) ** 2))) < _ALIKE * span:
        return True
    fine = [_fine(each)[:, place.mask].ravel() for each in (place.pixels, content)]
    spread = float(fine[0].std() * fine[1].std())
    if spread <= (1e-3 * span) ** 2:
        return False
    return float(np.mean((fine[0] - fine[0].mean()) * (fine[1] - fine[1].mean()))) / spread > _PATTERN


def _fine(pixels: Floats) -> Floats:
    """What is left of an image without its slow changes."""
    return np.asarray(pixels - ndimage.gaussian_filter(pixels, (0, 2, 2)))
