"""The salient objects of an image, by a U2-Net (Qin et al. 2020) as an ONNX file that is installed or named."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_gradcam.errors import HeatmapError

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SMALLEST = 0.002  # of the picture: smaller spots are noise


def installed() -> Path | None:
    """The U2-Net that a package rembg brings, if ONNX Runtime can run it here. Nothing is imported, or downloaded."""
    package = find_spec("rembg")
    if package is None or find_spec("onnxruntime") is None:
        return None
    folders = package.submodule_search_locations or ()
    return next((file for folder in folders for file in sorted(Path(folder).glob("u2net*.onnx"))), None)


def check(file: Path) -> None:
    """Raises HeatmapError if this is no U2-Net that can be run here."""
    _session(file)


def labels(pixels: NDArray[np.uint8], file: Path) -> NDArray[np.int64]:
    """The connected objects of an image (H, W, 3), numbered from 1; 0 is the background."""
    from skimage.measure import label, regionprops

    height, width = pixels.shape[:2]
    map_ = Image.fromarray(_saliency(pixels, file)).resize((width, height), Image.Resampling.BILINEAR)
    found: NDArray[np.int64] = label(np.asarray(map_) > 0.5).astype(np.int64)
    for spot in regionprops(found):
        if spot.area < _SMALLEST * height * width:
            found[found == spot.label] = 0
    return found


def _saliency(pixels: NDArray[np.uint8], file: Path) -> NDArray[np.float32]:
    """How salient each place is, in [0, 1], in the size of the network's input."""
    session = _session(file)
    feed = session.get_inputs()[0]
    height, width = (side if isinstance(side, int) else 320 for side in feed.shape[2:])
    small = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS), np.float32)
    normal = (small / max(small.max(), 1) - _MEAN) / _STD
    found = session.run(None, {feed.name: normal.transpose(2, 0, 1)[None].astype(np.float32)})[0]
    return np.asarray(found[0, 0], np.float32)


@lru_cache(maxsize=2)
def _session(file: Path) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise HeatmapError(
            "a U2-Net needs ONNX Runtime, which is not installed; pip install pytest-gradcam[onnx]"
        ) from None
    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has an exception for each way in which a file is none
        raise HeatmapError(f"{file} cannot be read as an ONNX file: {error}") from None
    shapes = [len(each.shape) for each in (*session.get_inputs(), *session.get_outputs()[:1])]
    if shapes != [4, 4]:
        raise HeatmapError(f"{file} is no U2-Net: expected one image (N, 3, H, W) and maps (N, 1, H, W)")
    return session
