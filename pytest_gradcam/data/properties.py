"""Properties of whole images that predict their class better than they should: light, sharpness, size, camera, coding.

Numbers are held against the class by the test of Kruskal and Wallis (1952), with the effect epsilon squared (Kelley 1935), the
share of the ranks' variance that the class explains; names by a chi-squared test, with Cramer's V. All p-values are Holm's.
Hues are angles: their circle is cut where the widest gap between them is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from pytest_gradcam import images
from pytest_gradcam.data.case import is_path
from pytest_gradcam.data.results import Results, group_of
from pytest_gradcam.data.statistics import holm
from pytest_gradcam.errors import HeatmapError

_MOST = 500  # images that are measured
_LEVEL, _STRONG = 0.05, 0.3
_CAMERA = 0x0110  # the EXIF tag of the camera's model
_SIDE = 128  # px that images are shrunk to before their colours are measured
_BLUR = 0.1  # of the sides: a place that is smaller is not its colour
_HUES = ("hue", "hue of the most colourful place")


@dataclass(frozen=True)
class Property:
    """How well one property of the images tells their classes apart: `effect` in [0, 1], `p_value` corrected for all of them."""

    name: str
    effect: float
    p_value: float
    images: int

    @property
    def suspicious(self) -> bool:
        """Whether the effect is strong and not due to chance."""
        return self.p_value <= _LEVEL and self.effect >= _STRONG

    def __str__(self) -> str:
        return (
            f"{self.name} predicts the class over {self.images} images (effect {self.effect:.2f} of 1, p {self.p_value:.2g}): "
            "check how the images of each class were taken and stored"
        )


def telling(audit: Results) -> tuple[Property, ...]:
    """The properties of an audit's different images against the classes that were explained, the strongest effect first."""
    measured: list[tuple[str, dict[str, Any]]] = []
    cases = audit.cases
    for row in audit.distinct(audit.checks[0]):
        if len(measured) == _MOST or cases is None:
            break
        try:
            if row["digest"] and (found := of_image(cases[row["place"]].read_image())):
                measured.append((group_of(row, "class"), found))
        except HeatmapError:
            continue
    names = sorted({name for _, found in measured for name in found})
    tested = [each for name in names if (each := _tested(name, measured)) is not None]
    adjusted = holm([each.p_value for each in tested])
    corrected = [replace(each, p_value=p_value) for each, p_value in zip(tested, adjusted, strict=True)]
    return tuple(sorted(corrected, key=lambda each: each.effect, reverse=True))


def of_image(image: Any) -> dict[str, Any]:
    """The properties of an image; nothing for a tensor, which has been through a preprocess."""
    if images.is_tensor(image):
        return {}
    picture = images.read(image)
    found = _of_pixels(picture.pil) | {
        "aspect ratio": picture.pil.width / picture.pil.height,
        "size": float(picture.pil.width * picture.pil.height),
    }
    return found | _of_file(Path(image)) if is_path(image) else found


def _of_pixels(image: Image.Image) -> dict[str, float]:
    small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    colour = np.asarray(small, np.float64) / 255
    grey = colour.mean(axis=2)
    soft = scipy.ndimage.gaussian_filter(colour, (_BLUR * len(grey), _BLUR * len(grey[0]), 0))
    places = soft.reshape(-1, 3)
    rim = np.concatenate([colour[0], colour[-1], colour[:, 0], colour[:, -1]])
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(laplacian.std()) if laplacian.size else 0.0,
        "hue": _hue(colour.mean(axis=(0, 1))),
        "hue of the most colourful place": _hue(places[places.var(axis=1).argmax()]),
        "border colour": float(rim.mean()),
    }


def _hue(colour: NDArray[np.float64]) -> float:
    """The angle of a colour (3,) on the circle of hues; 0 is red, and grey."""
    red, green, blue = colour
    return round(float(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)), 6)


def _of_file(path: Path) -> dict[str, Any]:
    """What the file says besides its pixels."""
    found: dict[str, Any] = {}
    with images.open_image(images.file_content(path, str(path)), str(path)) as opened:
        if camera := str(opened.getexif().get(_CAMERA, "")).strip():
            found["camera"] = camera
        tables = getattr(opened, "quantization", None)
        if tables:
            found["JPEG quality"] = -float(np.mean([value for table in tables.values() for value in table]))
    return found


def _tested(name: str, measured: list[tuple[str, dict[str, Any]]]) -> Property | None:
    """One property, not corrected; None where it is the same in all images, or fewer than two classes have it."""
    pairs = [(label, found[name]) for label, found in measured if name in found]
    by_label: dict[str, list[Any]] = {}
    for label, value in pairs:
        by_label.setdefault(label, []).append(value)
    groups = [values for values in by_label.values() if len(values) > 1]
    total = sum(map(len, groups))
    if len(groups) < 2 or len({value for values in groups for value in values}) < 2:
        return None
    if name in _HUES:
        groups = _cut(groups)
    test: Callable[[list[list[Any]]], tuple[float, float]] = _names if isinstance(groups[0][0], str) else _numbers
    effect, p_value = test(groups)
    return Property(name, effect, p_value, total)


def _numbers(groups: list[list[Any]]) -> tuple[float, float]:
    from scipy.stats import kruskal  # which takes half a second to import

    statistic, p_value = kruskal(*groups)
    return float(min(1.0, statistic / (sum(map(len, groups)) - 1))), float(p_value)


def _cut(groups: list[list[float]]) -> list[list[float]]:
    """The angles counted from the middle of the widest gap between any two neighbours of them."""
    angles = np.sort([angle for values in groups for angle in values])
    gaps = np.diff(angles, append=angles[0] + 2 * np.pi)
    start = float(angles[gaps.argmax()] + gaps.max() / 2)
    return [[round((angle - start) % (2 * np.pi), 6) for angle in values] for values in groups]


def _names(groups: list[list[Any]]) -> tuple[float, float]:
    from scipy.stats import chi2_contingency

    values = sorted({value for group in groups for value in group})
    table: NDArray[np.intp] = np.array([[group.count(value) for value in values] for group in groups])
    found = chi2_contingency(table, correction=False)
    return float(np.sqrt(found.statistic / (table.sum() * (min(table.shape) - 1)))), float(found.pvalue)
