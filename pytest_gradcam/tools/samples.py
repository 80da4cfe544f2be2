"""Photographs to try things on: three that come with scikit-image, each with an outline of what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import numpy as np
import skimage
from PIL import Image

from pytest_gradcam import masks
from pytest_gradcam.errors import SettingsError

#: ImageNet's name of what each photograph shows, and the corners x,y of its outline.
_PHOTOGRAPHS = {
    "camera.png": (
        "tripod",
        "258,147 268,140 318,139 325,143 325,160 322,182 304,190 300,215 300,300 312,312 335,300 338,305 "
        "315,325 382,472 397,490 405,512 229,512 231,490 278,330 279,314 287,305 287,215 274,190 260,176",
    ),
    "coffee.png": (
        "espresso",
        "173,108 176,85 203,42 258,19 322,22 378,50 409,115 398,165 355,235 325,255 308,281 285,285 262,272 256,246 "
        "232,301 205,304 197,275 217,235 178,170",
    ),
    "rocket.jpg": ("missile", "322,127 311,145 309,190 308,350 311,408 332,408 335,190 333,145"),
}


def copy(folder: Path) -> Iterator[Path]:
    """The files that are written below the folder. Raises SettingsError if one is there already, before anything is written."""
    targets = {name: folder / "photos" / label / name for name, (label, _) in _PHOTOGRAPHS.items()}
    outlines = {name: folder / "masks" / label / f"{Path(name).stem}.png" for name, (label, _) in _PHOTOGRAPHS.items()}
    for path in (*targets.values(), *outlines.values()):
        if path.exists():
            raise SettingsError(f"{path} is there already; samples replaces no file, pass another folder")
    for name, (_, outline) in _PHOTOGRAPHS.items():
        for path in (targets[name], outlines[name]):
            path.parent.mkdir(parents=True, exist_ok=True)
        copyfile(Path(skimage.__file__).parent / "data" / name, targets[name])
        points = [tuple(map(int, corner.split(","))) for corner in outline.split()]
        with Image.open(targets[name]) as picture:
            mask = masks.polygon((picture.height, picture.width), points)
        Image.fromarray(mask.astype(np.uint8) * 255).save(outlines[name])
        yield from (targets[name], outlines[name])
