"""Whether the picture continues across the outline of a mask, and where else it has an edge: whether the mask fits the artefact.

A patch, a strip or another background hides the scene, and what is inside says nothing about what is outside. A cast, a
vignette or a mask that is too wide does not: neighbouring pixels on both sides of the outline are much alike.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from pytest_gradcam.checks.masked_image import MaskedImage
from pytest_gradcam.replacement.fills import Bools, Floats

Levels = NDArray[np.floating]
Places = tuple[NDArray[np.intp], NDArray[np.intp]]


def continuity(images: Sequence[MaskedImage]) -> float:
    """The correlation of neighbouring pixels across the outlines of the masks, pooled over the images.

    0 where one side does not vary.
    """
    pairs = [_across(image.pixels.mean(axis=0), image.mask, image.padding) for image in images]
    inside, outside = (np.concatenate([pair[side] for pair in pairs]).astype(np.float64) for side in (0, 1))
    return _correlation(inside, outside)


def _correlation(inside: Levels, outside: Levels) -> float:
    """The correlation of levels (N,) with others; 0 where one side does not vary."""
    if len(inside) < 2 or min(np.ptp(inside), np.ptp(outside)) <= 1e-6 * np.ptp(np.concatenate([inside, outside])):
        return 0.0
    return float(np.corrcoef(inside, outside)[0, 1])


def _across(level: Floats, mask: Bools, padding: Bools) -> tuple[Floats, Floats]:
    """The levels (H, W) on both sides of the outline, inside and outside, pixel by pixel; not along the padding."""
    inside, outside = [], []
    for axis in (0, 1):
        levels = np.moveaxis(level, axis, 0)
        within, without = (np.moveaxis(side, axis, 0) for side in (mask, ~(mask | padding)))
        for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            edge = within[here] & without[there]
            inside.append(levels[here][edge])
            outside.append(levels[there][edge])
    return np.concatenate(inside), np.concatenate(outside)


@dataclass(frozen=True)
class Fault:
    """What is wrong with masks: `name` says it, `pixels` how far at most the artefact's edge lies from the outline.

    `sides` has that distance for each side of the outline, positive outside of it: the upper one, and on with each quarter turn.
    """

    name: str
    pixels: int = 0
    sides: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def misses(self) -> bool:
        """Whether a part of the artefact lies outside the mask, or may."""
        return self.name != "too wide"

    @property
    def sentence(self) -> str:
        far = f" by about {self.pixels} px" if self.pixels else ""
        better = ", as reliance(...).better_masks does" if any(self.sides) else ""
        return f"the mask is {self.name}{far}: {_FAULTS[self.name]}{better}"

    def mended(self, mask: Bools) -> Bools | None:
        """The mask with each side of its outline moved to the artefact's edge; None if that is not known, or nothing is left."""
        if not any(self.sides):
            return None
        found = mask
        for side, far in enumerate(self.sides):
            found = np.rot90(_moved(np.rot90(found, side), far), -side)
        return found if found.any() and not found.all() else None


def _moved(mask: Bools, far: int) -> Bools:
    """The mask with its upper outline so many pixels further up, or down if it is negative."""
    moved = mask.copy()
    for step in range(1, abs(far) + 1):
        if far > 0:
            moved[:-step] |= mask[step:]
        else:
            moved[step:] &= mask[:-step]
    return moved


#: Names of faults, and what they mean.
_FAULTS = {
    "too wide": "there is an edge inside it, and the scene on both sides of its outline; shrink it",
    "too small": "there is an edge outside of it, and the same on both sides of its outline; widen it there",
    "shifted": "there are edges inside and outside of it, and not at its outline; move it",
    "open": "on one side nothing ends at its outline; see whether the artefact goes on there",
}
_FAR, _FARTHEST = 0.1, 24  # of the view, and in pixels: how far from the outline edges are looked for
_LOOKED_AT = 50  # images
_EDGE = 0.5  # an edge: neighbours differ by this share of what they would without any relation
_OUTSTANDING = 2.0  # and by this many times what is usual around it
_SAME = 0.25  # below this share neighbours are much alike
_ENOUGH = 50  # pairs of pixels on a side that say something
_CONTINUES = (0.7, 0.3)  # the picture continues: neighbours differ by at most this share, and correlate this much
_ENDS = (0.85, 0.25)  # it ends: they differ by at least this share, and correlate by no more
_PARTS = 6  # parts of an outline on one side that can be told apart


def fault(images: Sequence[MaskedImage]) -> Fault | None:
    """What is wrong with the masks, from where the pixels have an edge; None if nothing, or nothing can be seen.

    An artefact that hides the scene has an edge at the outline of an exact mask. Each side of the outline is looked at by
    itself: neighbours are compared at the outline and at growing distances from it, inside and outside.
    """
    if len({image.mask.shape for image in images}) > 1:
        return None
    reach = min(_FARTHEST, max(4, round(_FAR * min(images[0].mask.shape))))
    edges = [_edge(_profile(images[:_LOOKED_AT], side, reach)) for side in range(4)]
    seen = [edge for edge in edges if edge is not None]
    inside, outside = [-edge for edge in seen if edge < 0], [edge for edge in seen if 0 < edge <= reach]
    exact, unending = seen.count(0), seen.count(reach + 1)
    up, left, down, right = (0 if edge is None or edge > reach else edge for edge in edges)
    sides = up, left, down, right
    if inside and outside and exact <= 2:
        return Fault("shifted", max(inside + outside), sides)
    if outside:
        return Fault("too small", max(outside), sides)
    if inside and not exact:
        return Fault("too wide", max(inside), sides)
    return Fault("open") if (exact and unending) or _open(images[:_LOOKED_AT]) else None


def _open(images: Sequence[MaskedImage]) -> bool:
    """Whether the picture continues across some parts of the outline, and ends at all others.

    Half of a frame is open where the frame is cut, however straight the outline is: the same goes on there.
    """
    parts = [part for side in range(4) for part in _parts(images, side)]
    continues = [differ <= _CONTINUES[0] and correlate >= _CONTINUES[1] for differ, correlate in parts]
    ends = [differ >= _ENDS[0] and correlate <= _ENDS[1] for differ, correlate in parts]
    return any(continues) and any(ends) and all(map(operator.or_, continues, ends))


def _parts(images: Sequence[MaskedImage], side: int) -> Iterator[tuple[float, float]]:
    """How much neighbours across each connected part of the outline on one side differ, and correlate.

    All parts are one if the images have different numbers of them, or many.
    """
    turned = [np.rot90(image.pixels, side, axes=(1, 2)) for image in images]
    rims = [_rim(image, side) for image in images]
    counts = np.array([count for _, count in rims])
    usual = int(np.bincount(counts).argmax())
    apart = usual <= _PARTS and (counts == usual).mean() >= 0.9
    for part in range(1, usual + 1) if apart else [0]:
        pairs = []
        for pixels, (labels, count) in zip(turned, rims, strict=True):
            if not apart or count == usual:
                row, column = np.nonzero(labels == part if apart else labels)
                pairs.append((pixels[:, row, column], pixels[:, row - 1, column]))
        near, far = (np.concatenate([pair[end] for pair in pairs], axis=1).astype(np.float64) for end in (0, 1))
        if near.shape[1] >= 2 * _ENOUGH:
            yield _difference(near, far), _correlation(near.mean(axis=0), far.mean(axis=0))


def _rim(image: MaskedImage, side: int) -> tuple[NDArray[np.int32], int]:
    """The upper outline of the mask, turned so that this side is up: its connected parts, numbered, and how many there are."""
    mask, hidden = np.rot90(image.mask, side), np.rot90(image.padding, side)
    rim = np.zeros_like(mask)
    rim[1:] = mask[1:] & ~(mask | hidden)[:-1]
    labels, count = scipy.ndimage.label(rim, structure=np.ones((3, 3)))
    return labels, count


def _edge(profile: Floats) -> int | None:
    """How far outside the outline the edge lies, negative inside; past the profile if there is none, None if unknown."""
    reach, known = len(profile) // 2, np.isfinite(profile)
    if not known[reach] or known.sum() < 4:
        return None
    usual = max(0.05, float(np.median(profile[known])))
    outstanding = np.flatnonzero(known & (profile >= _EDGE) & (profile >= _OUTSTANDING * usual))
    if not len(outstanding):
        return reach + 1 if profile[reach] < _SAME else None
    strong = outstanding[profile[outstanding] >= 0.75 * profile[outstanding].max()]
    return int(min(strong - reach, key=abs))


def _profile(images: Sequence[MaskedImage], side: int, reach: int) -> Floats:
    """How different neighbours are, across the outline on one side and at distances up to `reach` on either side of it.

    It is 0 for equal neighbours and about 1 for unrelated ones.
    """
    pairs: list[list[tuple[Floats, Floats]]] = [[] for _ in range(2 * reach + 1)]
    known: dict[bytes, dict[int, tuple[Places, Places]]] = {}  # images often share their mask
    for image in images:
        pixels = np.rot90(image.pixels, side, axes=(1, 2))
        mask, hidden = np.rot90(image.mask, side), np.rot90(image.padding, side)
        outline = mask.tobytes() + hidden.tobytes()
        if outline not in known:
            known[outline] = _rows(mask, hidden, reach)
        for distance, (near, far) in known[outline].items():
            pairs[reach + distance].append((pixels[:, *near], pixels[:, *far]))
    found = np.full(len(pairs), np.nan)
    for place, each in enumerate(pairs):
        near_, far_ = (np.concatenate([pair[end] for pair in each], axis=1).astype(np.float64) for end in (0, 1))
        if near_.shape[1] >= _ENOUGH:
            found[place] = _difference(near_, far_)
    return found


def _difference(near: Levels, far: Levels) -> float:
    """The mean squared difference of pixels (C, N), as a share of what it would be for unrelated ones of the same spread."""
    spread = float((near.var(axis=1) + far.var(axis=1)).sum())
    return float(((near - far) ** 2).mean(axis=1).sum()) / max(spread, 1e-9)


def _rows(mask: Bools, hidden: Bools, reach: int) -> dict[int, tuple[Places, Places]]:
    """For each distance from -reach to reach the pixels on both sides of it, above the outline's upper side.

    Only those to which the way from the outline lies inside the mask all along, or outside of it.
    """
    outside = ~(mask | hidden)
    row, column = np.nonzero(mask[1:] & outside[:-1])
    row = row + 1
    found = {0: ((row, column), (row - 1, column))}
    for way, region, start in ((-1, mask, 0), (1, outside, 1)):
        at, beside = row - start, column
        for distance in range(1, reach + 1):
            after = at - way
            valid = (after >= 0) & (after < len(mask))
            at, after, beside = at[valid], after[valid], beside[valid]
            goes_on = region[after, beside]
            at, after, beside = at[goes_on], after[goes_on], beside[goes_on]
            # `near` is the lower one of the two, `far` the upper one.
            near, far = (at, after) if way > 0 else (after, at)
            found[way * distance] = (near, beside), (far, beside)
            at = after
    return found
