"""The user's preprocess seen from outside: what it does to a mask, and what the model sees of an image.

An all-black image, an all-white one and the mask painted black and white go through the same callable, so
`(out - black) / (white - black)` is the mask in the model's input, for every pipeline that is affine per channel.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion
from torch import Tensor

from pytest_gradcam import masks
from pytest_gradcam.cam.surroundings import random_states_kept
from pytest_gradcam.cam.tensors import all_finite
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.images import Picture
from pytest_gradcam.perturbations.movement import Placement
from pytest_gradcam.questions.protocols import MaskInView

Preprocess = Callable[[Image.Image], Tensor]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
_Key = TypeVar("_Key")
_Made = TypeVar("_Made")

_SIZES = 16  # image sizes whose probes are kept
_MASKS = 16  # masks whose places in the view are kept: a search asks for the same one again and again
_RERUNS = 8  # a preprocess that flips half of the images agrees with itself this often once in 256 tries


@dataclass(frozen=True)
class Probe:
    """What the preprocess makes of black and of white at one image size: `black` and `span` are (C, H, W)."""

    black: FloatArray
    span: FloatArray
    padding: BoolArray

    def share(self, out: FloatArray) -> FloatArray:
        """The 0-1 image (C, H, W) that `out` was made of; 0.5 in the padding."""
        safe = np.where(self.padding, 1, self.span)
        return np.where(self.padding, 0.5, (out - self.black) / np.where(safe == 0, 1, safe)).astype(np.float32)


class TracedPreprocess:
    """Runs one preprocess, and carries views and masks through it."""

    def __init__(self, preprocess: Preprocess, *, grey: bool) -> None:
        self._preprocess = preprocess
        self._mode = "L" if grey else "RGB"
        self._probes: OrderedDict[tuple[int, int], Probe] = OrderedDict()
        self._placements: OrderedDict[tuple[int, int], Placement] = OrderedDict()
        self._regions: OrderedDict[tuple[tuple[int, int], bytes], MaskInView] = OrderedDict()
        self._steady = False

    def tensor(self, picture: Picture) -> Tensor:
        """The model's input (C, H, W), float, on the CPU. Raises HeatmapError if it is not, or random, or not finite."""
        image = picture.pil.convert(self._mode)
        with random_states_kept():
            before = _random_marks()
            out = self._run(image)
            drew = not _same_marks(before, _random_marks())
            if not self._steady:
                self._check_steady(image, out, reruns=_RERUNS if drew else 1)
        if not all_finite(out):
            raise HeatmapError(f"the preprocess makes NaN or infinite values of {picture.name}; check both")
        return out

    def view(self, picture: Picture, out: Tensor) -> tuple[NDArray[np.uint8], BoolArray]:
        """The view uint8 (H, W, 3) of the model's input, and the pixels (H, W) that the preprocess added."""
        try:
            probe = self._probe(picture.shape)
        except HeatmapError:  # the view only illustrates; a mask on it is refused, by name, when one comes
            return display(out), np.zeros(tuple(out.shape[-2:]), bool)
        share = np.clip(probe.share(out.float().numpy()), 0, 1)
        return _rgb(share), probe.padding

    def carry(self, picture: Picture, mask: Any) -> MaskInView:
        """The mask, given in the image's coordinates, in those of the view."""
        pixels = masks.as_mask(mask, shape=picture.shape)
        key = (picture.shape, np.packbits(pixels).tobytes())
        found = _remembered(self._regions, key, _MASKS, lambda: self._carried(picture, pixels))
        return replace(found, pixels=found.pixels.copy())

    def placement(self, picture: Picture) -> Placement:
        """Where the view lies in the image. Raises HeatmapError if no resizing, cropping and turning explains it."""
        return _remembered(self._placements, picture.shape, _SIZES, lambda: self._placed(picture.shape))

    def _carried(self, picture: Picture, pixels: BoolArray) -> MaskInView:
        if not pixels.any() or pixels.all():  # decided without the preprocess: nothing, or nothing but the mask
            return MaskInView(np.full(self._probe(picture.shape).padding.shape, pixels.any()))
        probe = self._probe(picture.shape)
        inside, outside = (self._seen(probe, painted) for painted in (pixels, ~pixels))
        inside, outside = inside & ~probe.padding, outside & ~probe.padding
        # The mask and its negative may disagree on the pixels along the outline, and nowhere else.
        if binary_erosion(inside == (outside | probe.padding), np.ones((3, 3))).any():
            raise _not_affine("a mask and its negative do not come out as opposites")
        return MaskInView(inside, "" if inside.any() else self._extent(probe, picture.shape))

    def _probe(self, shape: tuple[int, int]) -> Probe:
        return _remembered(self._probes, shape, _SIZES, lambda: self._new_probe(shape))

    def _new_probe(self, shape: tuple[int, int]) -> Probe:
        black, white = (self._painted(np.full(shape, level, np.uint8)) for level in (0, 255))
        if black.shape != white.shape or not (np.isfinite(black).all() and np.isfinite(white).all()):
            raise _not_affine("a black image comes out as NaN")
        span = white - black
        width = np.abs(span).max(axis=0)
        if width.max() < 1e-6:
            raise _not_affine("black and white come out the same")
        return Probe(black, span, width < 1e-3 * width.max())

    def _seen(self, probe: Probe, mask: BoolArray) -> BoolArray:
        out = self._painted(np.where(mask, 255, 0).astype(np.uint8))
        if out.shape != probe.black.shape or not np.isfinite(out).all():
            raise _not_affine("the size of its output depends on what the image shows")
        seen: BoolArray = probe.share(out).mean(axis=0) >= 0.5
        return seen

    def _placed(self, shape: tuple[int, int]) -> Placement:
        probe = self._probe(shape)
        seen = binary_erosion(~probe.padding, np.ones((3, 3)))  # along the outline, resizing mixes with what is beside
        y, x = np.nonzero(seen)
        pixels = np.column_stack([x, y, np.ones(len(x))])
        places = np.column_stack([place[seen] for place in self._places(probe, shape)])
        fitted = np.asarray(np.linalg.lstsq(pixels, places, rcond=None)[0].T, np.float64)
        # 8-bit ramps give the place to one level of 255; a pixel of the view is what a heatmap can be told apart by.
        allowed = np.array(shape[::-1]) / 255 + np.abs(fitted[:, :2]).sum(axis=1)
        if len(x) < 3 or (np.abs(pixels @ fitted.T - places) > allowed).any() or _flat(fitted):
            raise HeatmapError(
                "a heatmap cannot follow a geometric perturbation through this preprocess: where its pixels come from "
                "cannot be told; expected resizing, cropping, padding and flipping. Leave similarity_at_least out, or "
                "draw from kinds that move no pixel"
            )
        return Placement(shape, fitted)

    def _extent(self, probe: Probe, shape: tuple[int, int]) -> str:
        """Which part of the image the view shows, in words."""
        ends = []
        for place in self._places(probe, shape):
            seen = place[~probe.padding]
            ends += [round(max(0.0, float(seen.min()))), round(float(seen.max()))]
        height, width = shape
        return (
            f"the view shows x {ends[0]} to {ends[1]} and y {ends[2]} to {ends[3]} of the {width} x {height} px image"
        )

    def _places(self, probe: Probe, shape: tuple[int, int]) -> list[FloatArray]:
        """x and y in the image of each pixel of the view, each (H, W): ramps along both axes tell."""
        height, width = shape
        places = []
        for ramp, length in (
            (np.linspace(0, 255, width)[None, :], width),
            (np.linspace(0, 255, height)[:, None], height),
        ):
            out = self._painted(np.broadcast_to(ramp, shape).round().astype(np.uint8))
            places.append(probe.share(out).mean(axis=0) * (length - 1))
        return places

    def _painted(self, grey: NDArray[np.uint8]) -> FloatArray:
        with random_states_kept():
            return self._run(Image.fromarray(grey).convert(self._mode)).float().numpy()

    def _run(self, image: Image.Image) -> Tensor:
        out = self._preprocess(image)
        if not isinstance(out, Tensor) or out.ndim != 3 or not out.is_floating_point():
            raise HeatmapError(
                f"the preprocess returned {_describe(out)}; expected a float tensor (C, H, W) of one image"
                + ("; drop the batch axis with [0]" if isinstance(out, Tensor) and out.ndim == 4 else "")
            )
        return out.detach().cpu()

    def _check_steady(self, image: Image.Image, out: Tensor, *, reruns: int) -> None:
        for _ in range(reruns):
            again = self._run(image)
            if again.shape != out.shape or not torch.equal(again.nan_to_num(), out.nan_to_num()):
                raise HeatmapError(
                    "the preprocess is random: the same image comes out different each time, so no verdict can be "
                    "repeated; pass the transforms of evaluation, not those of training"
                )
        self._steady = True


def _remembered(kept: OrderedDict[_Key, _Made], key: _Key, limit: int, make: Callable[[], _Made]) -> _Made:
    """What is kept under the key, made where it is missing; the `limit` most recently used stay."""
    if key not in kept:
        kept[key] = make()
    kept.move_to_end(key)
    while len(kept) > limit:
        kept.popitem(last=False)
    return kept[key]


def _flat(affine: NDArray[np.float64]) -> bool:
    """Whether the affine map (2, 3) loses a direction, so that nothing can be mapped back."""
    return bool(abs(np.linalg.det(affine[:, :2])) < 1e-9)


def display(tensor: Tensor) -> NDArray[np.uint8]:
    """A picture uint8 (H, W, 3) of a model input (C, H, W) whose preprocess is unknown, scaled to its own range."""
    values = tensor.detach().float().cpu().numpy()
    low, high = float(values.min()), float(values.max())
    return _rgb(((values - low) / (high - low if high > low else 1)).astype(np.float32))


def _rgb(share: FloatArray) -> NDArray[np.uint8]:
    colour = share if share.shape[0] == 3 else np.repeat(share.mean(axis=0, keepdims=True), 3, axis=0)
    return np.ascontiguousarray((colour * 255).round().astype(np.uint8).transpose(1, 2, 0))


def _not_affine(symptom: str) -> HeatmapError:
    return HeatmapError(
        f"the mask cannot be carried through the preprocess: {symptom}; expected resizing, cropping, padding and "
        "normalisation by constants. Preprocess the image yourself and pass the tensor (C, H, W), with masks in its "
        "coordinates"
    )


def _describe(out: Any) -> str:
    return f"a {out.dtype} tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"


def _random_marks() -> tuple[Any, Any, Any]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _same_marks(before: tuple[Any, Any, Any], after: tuple[Any, Any, Any]) -> bool:
    return (
        before[0] == after[0]
        and all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))
        and torch.equal(before[2], after[2])
    )
