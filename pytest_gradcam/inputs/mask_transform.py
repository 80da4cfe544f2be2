"""Masks and views through the user's preprocess.

A mask is carried on its image: the image, half as bright, with the mask on it and with the mask's negative on it go through
the same callable. The difference of the two is the mask where the model sees it, whatever the image shows, and their sum
is the image again, up to a constant, for every pipeline that is affine per channel. Where it is not, something has moved,
or the colours depend on the whole image. An all-black and an all-white image give the units, and show the padding: there
black and white come out the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from pytest_gradcam import masks
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.images import Picture
from pytest_gradcam.inputs.known_transforms import description
from pytest_gradcam.inputs.preprocess import Pipeline, Preprocess
from pytest_gradcam.inputs.preprocess_checks import Steadiness, equal
from pytest_gradcam.perturbations.movement import Placement
from pytest_gradcam.questions.protocols import MaskInView
from pytest_gradcam.state.tensors import all_finite

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
#: The channels of the model's input that people see as grey (one), or as red, green and blue (three).
Channels = tuple[int, ...]
_Key = TypeVar("_Key")
_Made = TypeVar("_Made")

_SIZES = 16  # image sizes whose probes are kept
_MASKS = 16  # masks of one image whose places in the view are kept: a search asks for the same one again and again

# Of the range from black to white, the mean over the pixels.
_AFFINE = 0.008  # rounding to 8 bits leaves less
_CURVED = 0.06  # what gamma and JPEG leave beside a straight line
_ALIKE = 0.95  # correlation of an image with what is left of it once the mask is taken off
#: A pixel of which the mask covers half leads by 0, give or take a level for rounding to 8 bits: it is out.
_HALF = 1.5 / 255
_FAINT = 0.01  # a mask and its negative differ by this much at least, in any pixel off the outline


@dataclass(frozen=True)
class Probe:
    """What the preprocess makes of black at one image size (C, H, W), the range up to white, and the padding (H, W)."""

    black: FloatArray
    span: FloatArray
    padding: BoolArray

    @cached_property
    def _scale(self) -> FloatArray:
        blank = self.padding | (self.span == 0)
        return np.asarray(np.where(blank, 0, 1 / np.where(blank, 1, self.span)), np.float32)

    def share(self, out: FloatArray) -> FloatArray:
        """The 0-1 image (C, H, W) that `out` was made of; 0.5 in the padding."""
        share = self.difference(out, self.black)
        share[:, self.padding] = 0.5
        return share

    def difference(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """The first minus the second (C, H, W), in shares of the range; 0 in the padding."""
        return (a - b) * self._scale


class TracedPreprocess:
    """Runs one preprocess on pictures, and carries views and masks through it."""

    def __init__(self, preprocess: Preprocess, *, grey: bool, channels: Channels | None = None) -> None:
        self.channels = channels
        self._pipeline = Pipeline(preprocess, grey=grey)
        self._steadiness = Steadiness(preprocess, self._pipeline)
        self._probes: OrderedDict[tuple[int, int], Probe] = OrderedDict()
        self._preprocess = preprocess
        self._regions: OrderedDict[tuple[str, tuple[int, int], bytes], MaskInView] = OrderedDict()

    @property
    def known(self) -> bool:
        """Whether it is made of parts that use no random numbers, so that nothing about them has to be measured."""
        return bool(description(self._preprocess))

    def region(self, shape: tuple[int, int], mask: bytes, make: Callable[[], MaskInView]) -> MaskInView:
        """A mask of an image of this size in the view: remembered where the pipeline treats all images alike."""
        known = description(self._preprocess)
        return _remembered(self._regions, (known, shape, mask), _MASKS, make) if known else make()

    def read(self, picture: Picture) -> SeenPicture:
        """The picture as the model sees it. Raises HeatmapError if the preprocess is random, or its output not finite."""
        out = self._pipeline(picture.pil) if self.known else self._steadiness.run(picture.pil, picture.name)
        if not all_finite(out):
            raise HeatmapError(f"the preprocess makes NaN or infinite values of {picture.name}; check both")
        return SeenPicture(self, picture, out)

    def run(self, image: Image.Image) -> FloatArray:
        """What it makes of a painted image (C, H, W)."""
        found: FloatArray = self._pipeline(image).float().numpy()
        return found

    def probe(self, shape: tuple[int, int], out: tuple[int, ...]) -> Probe:
        """What black and white become at this size (H, W), where an image becomes (C, H, W)."""
        if shape in self._probes and self._probes[shape].black.shape != out:
            self.forget(shape)  # the preprocess was changed
        found = _remembered(self._probes, shape, _SIZES, lambda: self._new_probe(shape))
        if found.black.shape != out:
            raise _not_affine("the size of its output depends on what the image shows")
        return found

    def forget(self, shape: tuple[int, int]) -> None:
        """Make the probe of this size anew when it is next asked for."""
        self._probes.pop(shape, None)

    def require_repeatable(self, picture: Picture, out: Tensor) -> None:
        """Raises HeatmapError if the picture no longer becomes `out`."""
        self._steadiness.require_repeatable(picture.pil, picture.name)
        if not equal(self._pipeline(picture.pil), out):
            raise HeatmapError(
                f"{picture.name} comes out of the preprocess differently than before: it is random, or was changed after the "
                "image was read; explain the image anew after a change"
            )

    def _new_probe(self, shape: tuple[int, int]) -> Probe:
        black, white = (self.run(_painted(np.full(shape, level, np.uint8))) for level in (0, 255))
        if black.shape != white.shape or not (np.isfinite(black).all() and np.isfinite(white).all()):
            raise _not_affine("a black image comes out as NaN")
        span = white - black
        width = np.abs(span).max(axis=0)
        if width.max() < 1e-6:
            raise _not_affine("black and white come out the same")
        return Probe(black, span, width < 1e-3 * width.max())


class SeenPicture:
    """A picture and the model's input `tensor` (C, H, W) that was made of it."""

    def __init__(self, source: TracedPreprocess, picture: Picture, tensor: Tensor) -> None:
        self.tensor = tensor
        self._source = source
        self._picture = picture
        self._regions: OrderedDict[bytes, MaskInView] = OrderedDict()
        self._placement: Placement | None = None
        self._checked = False

    def view(self, out: Tensor) -> tuple[NDArray[np.uint8], BoolArray]:
        """The view uint8 (H, W, 3) of a model input (C, H, W), and the pixels (H, W) that the preprocess added.

        No padding where it cannot be measured: the view only illustrates, and passing it as a mask is an error.
        """
        try:
            probe = self._probe()
            if probe.padding.any() and not self._checked:
                self._carried(np.full(self._picture.shape, 255, np.uint8))
                probe = self._probe()
        except HeatmapError:
            return display(out, self._source.channels), np.zeros(tuple(out.shape[-2:]), bool)
        return _rgb(np.clip(probe.share(out.float().numpy()), 0, 1), self._source.channels), probe.padding

    def carry(self, mask: Any) -> MaskInView:
        """The mask, given in the image's coordinates, in those of the view."""
        pixels = masks.as_mask(mask, shape=self._picture.shape)
        key = np.packbits(pixels).tobytes()
        found = _remembered(self._regions, key, _MASKS, lambda: self._known_region(pixels, key))
        return replace(found, pixels=found.pixels.copy())

    def placement(self) -> Placement:
        """Where the view lies in the image. Raises HeatmapError if no resizing, cropping and turning explains it."""
        if self._placement is None:
            self._placement = self._placed()
        return self._placement

    def _known_region(self, pixels: BoolArray, key: bytes) -> MaskInView:
        return self._source.region(self._picture.shape, key, lambda: self._region(pixels))

    def _region(self, pixels: BoolArray) -> MaskInView:
        if not pixels.any() or pixels.all():  # decided without the preprocess: nothing, or nothing but the mask
            return MaskInView(np.full(tuple(self.tensor.shape[-2:]), pixels.any()))
        lead = self._carried(pixels.view(np.uint8) * np.uint8(255))
        inside = (lead > _HALF) & ~self._probe().padding
        return MaskInView(inside, "" if inside.any() else self._extent())

    def _carried(self, painted: NDArray[np.uint8], *, two_valued: bool = True) -> FloatArray:
        """A painted field (H, W), 0-255, as (H, W) in the view, -0.5 to 0.5; 0 in the padding.

        Raises HeatmapError where the preprocess treats the image on which it is painted differently from the image.
        """
        ground, field = self._picture.pil.convert("RGB"), _painted(painted).convert("RGB")
        pair = [self._source.run(Image.blend(ground, each, 0.5)) for each in (field, ImageOps.invert(field))]
        symptom = self._symptom(pair, two_valued)
        if symptom:  # of a preprocess that was changed since its probes were made?
            self._source.forget(self._picture.shape)
            symptom = self._symptom(pair, two_valued)
        if symptom:
            self._source.require_repeatable(self._picture, self.tensor)
            raise _not_affine(f"{symptom} {self._picture.name}")
        self._checked = True
        return _lead(self._probe(), pair)

    def _symptom(self, pair: Sequence[FloatArray], two_valued: bool) -> str:
        """What contradicts that the preprocess is the same for all images of this size; nothing if nothing does."""
        probe, out = self._probe(), self.tensor.float().numpy()
        if any(each.shape != out.shape or not np.isfinite(each).all() for each in pair):
            return "the size of its output depends on what the image shows, as with"
        if two_valued and _blurred(probe, pair):
            return "a mask and its negative do not come out as opposites on"
        if not _still(probe, out, pair):
            return "what it does to a pixel depends on the rest of the image, as in"
        return ""

    def _probe(self) -> Probe:
        return self._source.probe(self._picture.shape, tuple(self.tensor.shape))

    def _placed(self) -> Placement:
        x_of, y_of = self._places()
        probe, shape = self._probe(), self._picture.shape
        seen = _inner(~probe.padding)  # along the outline, resizing mixes with what is beside
        y, x = np.nonzero(seen)
        pixels = np.column_stack([x, y, np.ones(len(x))])
        places = np.column_stack([x_of[seen], y_of[seen]])
        fitted = np.asarray(np.linalg.lstsq(pixels, places, rcond=None)[0].T, np.float64)
        # 8-bit ramps give positions to two levels of 255; a heatmap does not resolve less than a pixel of the view.
        allowed = 2 * np.array(shape[::-1]) / 255 + np.abs(fitted[:, :2]).sum(axis=1)
        if len(x) < 3 or (np.abs(pixels @ fitted.T - places) > allowed).any() or _flat(fitted):
            raise HeatmapError(
                "a heatmap cannot follow a geometric perturbation through this preprocess: where its pixels come from "
                "is unclear; expected resizing, cropping, padding and flipping. Leave similarity_at_least out, or "
                "draw from kinds that move no pixel"
            )
        return Placement(shape, fitted)

    def _extent(self) -> str:
        """Which part of the image the view shows, in words."""
        ends = []
        for place in self._places():
            seen = place[~self._probe().padding]
            ends += [round(max(0.0, float(seen.min()))), round(float(seen.max()))]
        height, width = self._picture.shape
        return (
            f"the view shows x {ends[0]} to {ends[1]} and y {ends[2]} to {ends[3]} of the {width} x {height} px image"
        )

    def _places(self) -> list[FloatArray]:
        """x and y in the image of each pixel of the view, each (H, W): ramps along both axes tell."""
        shape = height, width = self._picture.shape
        across = np.linspace(0, 255, width).round().astype(np.uint8)[None, :]
        down = np.linspace(0, 255, height).round().astype(np.uint8)[:, None]
        ramps = ((np.broadcast_to(across, shape), width), (np.broadcast_to(down, shape), height))
        return [(self._carried(ramp, two_valued=False) + 0.5) * (length - 1) for ramp, length in ramps]


def _lead(probe: Probe, pair: Sequence[FloatArray]) -> FloatArray:
    """By how much the first of two outputs is the brighter one (H, W), in shares of the range."""
    lead: FloatArray = probe.difference(*pair).mean(axis=0)
    return lead


def _blurred(probe: Probe, pair: Sequence[FloatArray]) -> bool:
    """Whether a mask and its negative come out the same in more than the outline and the padding."""
    faint = np.abs(pair[0] - pair[1]).max(axis=0) < _FAINT * np.abs(probe.span).max()
    odd = faint != probe.padding
    return bool(_inner(odd).any())


def _inner(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the pixels (H, W) that lie in the middle of nine; without SciPy, which takes a tenth of a second to import."""
    inner = np.zeros_like(pixels)
    rows = pixels[:-2] & pixels[1:-1] & pixels[2:]
    inner[1:-1, 1:-1] = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return inner


def _still(probe: Probe, out: FloatArray, pair: Sequence[FloatArray]) -> bool:
    """Whether the image lies in a painted pair where it lies on its own."""
    # The image, and what is left of it with the mask taken off, in shares of the range; both are 0 in the padding.
    own, rest = probe.difference(out, probe.black), probe.difference(pair[0] + pair[1], 2 * probe.black)
    off = np.abs(rest - own - 0.5)
    seen = ~probe.padding
    if (off.mean() if seen.all() else off[:, seen].mean()) <= _AFFINE:
        return True
    x, y = own[:, seen].ravel(), rest[:, seen].ravel()
    if x.std() < _AFFINE:  # a blank image
        return bool(np.abs(y - y.mean()).mean() <= _CURVED)
    slope, shift = np.polyfit(x, y, 1)
    curve = np.abs(slope * x + shift - y).mean()
    return bool(slope > 0 and curve <= _CURVED and np.corrcoef(x, y)[0, 1] >= _ALIKE and _unmoved(own, rest))


def _unmoved(own: FloatArray, rest: FloatArray) -> bool:
    """Whether two images (C, H, W) fit best where they are, to a pixel."""
    from skimage.registration import phase_cross_correlation

    shift = phase_cross_correlation(own.mean(axis=0), rest.mean(axis=0))[0]
    return bool(np.abs(shift).max() <= 1)


def _remembered(kept: OrderedDict[_Key, _Made], key: _Key, limit: int, make: Callable[[], _Made]) -> _Made:
    """What is kept under the key, made where it is missing; the `limit` most recently used stay."""
    if key not in kept:
        kept[key] = make()
    kept.move_to_end(key)
    while len(kept) > limit:
        kept.popitem(last=False)
    return kept[key]


def _painted(grey: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(grey))


def _flat(affine: NDArray[np.float64]) -> bool:
    """Whether the affine map (2, 3) loses a direction, so that nothing can be mapped back."""
    return bool(abs(np.linalg.det(affine[:, :2])) < 1e-9)


def display(tensor: Tensor, channels: Channels | None = None) -> NDArray[np.uint8]:
    """A picture uint8 (H, W, 3) of a model input (C, H, W) whose preprocess is unknown, scaled to its own range."""
    values = _shown(tensor.detach().float().cpu().numpy(), channels)
    low, high = float(values.min()), float(values.max())
    return _rgb(((values - low) / (high - low if high > low else 1)).astype(np.float32))


def _shown(values: FloatArray, channels: Channels | None) -> FloatArray:
    """The channels that people see. Raises HeatmapError for one that the input does not have."""
    if channels is None:
        return values
    if max(channels) >= len(values):
        raise HeatmapError(
            f"channels={channels} names channel {max(channels)}, and the model's input has {len(values)}, from 0; check "
            "gradcam_channels (channels= of an Explainer)"
        )
    return values[list(channels)]


def _rgb(share: FloatArray, channels: Channels | None = None) -> NDArray[np.uint8]:
    share = _shown(share, channels)
    colour = share if share.shape[0] == 3 else np.repeat(share.mean(axis=0, keepdims=True), 3, axis=0)
    return np.ascontiguousarray((colour * 255).round().astype(np.uint8).transpose(1, 2, 0))


def _not_affine(symptom: str) -> HeatmapError:
    return HeatmapError(
        f"the mask cannot be carried through the preprocess: {symptom}; expected resizing, cropping, padding and "
        "normalisation by constants. Preprocess the image yourself and pass the tensor (C, H, W), with masks in its "
        "coordinates"
    )
