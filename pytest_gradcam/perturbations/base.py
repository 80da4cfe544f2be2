"""What all perturbations share: a checked, frozen value that is called on an image and composed with `|`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar, dataclass_transform

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_gradcam import images
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.validation import is_flag, is_number, is_whole

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Values = NDArray[Any]
Picture = TypeVar("Picture", NDArray[np.uint8], Image.Image)
AnyKind = TypeVar("AnyKind", bound="Kind")


class Perturbation:
    """A change of an image, as a value: equal and hashable by what it does, and its repr is the code that makes it.

    Called on a uint8 array (H, W, 3) or (H, W), or a PIL image, it returns a new image of the same type and size.
    `a | b` is the perturbation that applies a, then b. Iterating yields the single perturbations it is made of.
    """

    severity: float

    def __call__(self, image: Picture) -> Picture:
        """The perturbed image; the one passed is not changed. Raises HeatmapError for anything but an 8-bit image."""
        pixels = images.pixels(image)
        if pixels.size == 0:  # only a PIL image gets here without pixels
            raise HeatmapError("the image has no pixels; expected at least one; check how it was cropped or loaded")
        for part in self:
            pixels = part.render(pixels)
        return pixels if isinstance(image, np.ndarray) else Image.fromarray(pixels)

    def mask(self, mask: Mask) -> Mask:
        """Where the masked pixels are after the change: a new bool array (H, W), False where new content comes in.

        Raises HeatmapError for anything but a bool array (H, W).
        """
        moved = _checked_mask(mask)
        for part in self:
            moved = part.move(moved)
        return moved

    @property
    def moves(self) -> bool:
        """Whether it moves pixels, so that a mask or heatmap must follow."""
        return any(part.moves for part in self)

    def origins(self, places: Values, shape: tuple[int, int]) -> Values:
        """Where in the original of this shape (H, W) the changed image's content at each place (N, 2) was.

        Places are x and y in pixels of the image, whole numbers at the pixels' centres; NaN for content that came in.
        """
        places = _inside(np.asarray(places, np.float64), shape)
        for part in reversed(tuple(self)):
            if part.moves:
                places = _inside(part.origin(places, shape), shape)
        return places

    def __or__(self, other: Perturbation) -> Perturbation:
        if not isinstance(other, Perturbation):
            return NotImplemented
        return compose([self, other])

    def __iter__(self) -> Iterator[Kind]:
        raise NotImplementedError

    def _repr_pretty_(self, printer: _Printer, cycle: bool) -> None:
        # Hypothesis and IPython would otherwise print a dataclass field by field, defaults included.
        printer.text(repr(self))


@dataclass(frozen=True, repr=False)
class Kind(Perturbation):
    """One perturbation of one kind; severity is in [0, 1], and 0 changes nothing."""

    severity: float

    def __post_init__(self) -> None:
        for field in fields(self):
            checked = _CHECKS[field.name](self, field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, checked)

    def __iter__(self) -> Iterator[Kind]:
        yield self

    def __repr__(self) -> str:
        values = [(field.name, getattr(self, field.name)) for field in fields(self)[1:]]
        defaults = {field.name: field.default for field in fields(self)}
        extra = [f"{name}={value!r}" for name, value in values if value != defaults[name]]
        return f"{type(self).__name__}({', '.join([repr(self.severity), *extra])})"

    def render(self, image: Pixels) -> Pixels:
        """The perturbed pixels, rounded to whole levels and clipped to 0-255."""
        if self.severity == 0:
            return image
        changed = self._apply(image)
        return changed if changed.dtype == np.uint8 else levels(changed)

    @property
    def moves(self) -> bool:
        return False

    def move(self, mask: Mask) -> Mask:
        """The mask after the change; only a geometric kind moves it."""
        return mask

    def origin(self, places: Values, shape: tuple[int, int]) -> Values:
        """Where the content at each place (N, 2) was before the change; that may be outside the image."""
        return places

    def _apply(self, image: Pixels) -> Values:
        """The changed values on the scale 0-255, of any float type or uint8, for a severity above 0."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class Composition(Perturbation):
    """Perturbations applied one after the other; its severity is that of the strongest part."""

    parts: tuple[Kind, ...]

    @property
    def severity(self) -> float:  # type: ignore[override]
        """The highest severity among the parts, 0 without any."""
        return max((part.severity for part in self.parts), default=0.0)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self.parts)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.parts)) or "identity"


#: The perturbation that changes nothing: `identity | a == a == a | identity`.
identity: Perturbation = Composition(())


def compose(perturbations: Sequence[Perturbation]) -> Perturbation:
    """All of them applied from left to right; one alone is itself, none is the identity."""
    parts = tuple(part for perturbation in perturbations for part in perturbation)
    return parts[0] if len(parts) == 1 else Composition(parts)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def frozen(cls: type[AnyKind]) -> type[AnyKind]:
    """The class as a frozen dataclass whose own fields are keyword-only; it keeps the repr of Kind."""
    return dataclass(frozen=True, kw_only=True, repr=False)(cls)


def levels(values: Values) -> Pixels:
    """The values as 8-bit levels: rounded, and clipped to 0-255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def over(field: Values, image: Pixels) -> Values:
    """A field (H, W) in a shape that broadcasts over the image's channels."""
    return field if image.ndim == 2 else field[..., None]


def side(image: Values) -> int:
    """The shorter side in pixels: the unit in which sizes scale with the image."""
    height, width = image.shape[:2]
    return int(min(height, width))


def centred(image: Values) -> tuple[Values, Values]:
    """x (1, W) and y (H, 1) of the pixel centres, measured from the image's centre in units of the shorter side."""
    height, width = image.shape[:2]
    x = np.arange(width, dtype=np.float32)[None] - (width - 1) / 2
    y = np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2
    return x / side(image), y / side(image)


def _inside(places: Values, shape: tuple[int, int]) -> Values:
    """The places (N, 2), NaN where they lie outside of an image of this shape."""
    return np.where(inside(places, shape)[:, None], places, np.nan)


def inside(places: Values, shape: tuple[int, int]) -> Mask:
    """Whether each place (N, 2), x and y, lies in an image of this shape (H, W); NaN lies nowhere."""
    (x, y), (height, width) = places.T, shape
    return np.asarray((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5))


class _Printer(Protocol):
    def text(self, obj: str) -> None: ...


def _checked_mask(mask: Mask) -> Mask:
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.ndim != 2 or array.size == 0:
        raise HeatmapError(
            f"a mask of shape {array.shape} and type {array.dtype} cannot be moved; expected a bool array (H, W) with "
            "at least one pixel; make one with a comparison such as mask > 0"
        )
    return array.copy()


def _fraction(owner: Kind, name: str, value: Any) -> float:
    if is_number(value) and 0 <= value <= 1:
        return float(value)
    raise HeatmapError(f"{_not_usable(owner, name, value)}; expected a number from 0 to 1{_advice(owner, name, value)}")


def _advice(owner: Kind, name: str, value: Any) -> str:
    if name != "severity":
        return ", a share of the image's width or height"
    flags = [field.name for field in fields(owner) if isinstance(field.default, bool)]
    if flags and is_number(value) and value < 0:
        return f"; for the opposite direction pass {flags[0]}=True"
    return "; 0 is no change and 1 the strongest"


def _angle(owner: Kind, name: str, value: Any) -> float:
    if is_number(value):
        return int(value) if value == int(value) else float(value)
    raise HeatmapError(f"{_not_usable(owner, name, value)}; expected a finite number; pass the direction in degrees")


def _seed(owner: Kind, name: str, value: Any) -> int:
    if is_whole(value) and value >= 0:
        return int(value)
    raise HeatmapError(
        f"{_not_usable(owner, name, value)}; expected a whole number from 0; each gives another random draw"
    )


def _flag(owner: Kind, name: str, value: Any) -> bool:
    if is_flag(value):
        return bool(value)
    raise HeatmapError(f"{_not_usable(owner, name, value)}; expected True or False; True is the opposite direction")


def _text(owner: Kind, name: str, value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise HeatmapError(
        f"{_not_usable(owner, name, value)}; expected a non-empty string; pass the characters to burn in"
    )


def _not_usable(owner: Kind, name: str, value: Any) -> str:
    return f"{name}={value!r} of {type(owner).__name__} is not usable"


# The same parameter has the same name and the same bounds in every kind.
_CHECKS: dict[str, Callable[[Kind, str, Any], Any]] = {
    "severity": _fraction,
    "x": _fraction,
    "y": _fraction,
    "angle": _angle,
    "seed": _seed,
    "down": _flag,
    "out": _flag,
    "clockwise": _flag,
    "text": _text,
}
