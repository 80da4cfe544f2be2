"""Masks from what users have: arrays, PIL images, tensors, files."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_gradcam import images
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, shown, size
from pytest_gradcam.validation import brief, is_whole

Array = NDArray[Any]

_NPY = b"\x93NUMPY"
_ORIENTATION = 0x0112  # the EXIF tag
_CONTENT = "expected two values: 0 and 1, or 0 and 255"


def as_mask(mask: object, *, shape: Sequence[int] | None = None, name: str = "mask") -> Bools:
    """The mask as bool (H, W); a bool array is returned unchanged.

    Reads arrays and torch tensors of bools, of 0 and 1, or of 0 and 255; PIL images (1, L, P, RGB with equal
    channels) and paths of PNG, other lossless images and NPY. Raises HeatmapError, naming `name`, for NaN, soft values,
    label ids, the wrong number of dimensions, and a shape other than `shape` (H, W) if that is given.
    """
    if isinstance(mask, (str, os.PathLike)) and repr(os.fspath(mask)) not in name:
        name = f"{name} {os.fspath(mask)!r}"
    values = _flat(_values(mask, name), name)
    if shape is not None and values.shape != size(shape):
        raise HeatmapError(_other_shape(values.shape, size(shape), name))
    return _truth(values, name, is_file=isinstance(mask, (str, os.PathLike)))


def load(path: str | os.PathLike[str], *, value: int | None = None) -> Bools:
    """The mask in an image file or an NPY file, bool (H, W).

    `value` names the id to select from a label image or a palette image (for a palette, the index of the colour).
    Raises HeatmapError for a file that cannot be read safely, for label ids without a `value`, and for a `value` that
    the file does not hold; the last two list the ids that it holds.
    """
    name = f"mask {os.fspath(path)!r}"
    if value is None:
        return as_mask(path, name=name)
    if not is_whole(value):
        raise HeatmapError(f"value={shown(value)} is not an id; pass an integer, one id at a time")
    values = _flat(_from_file(path, name, as_labels=True), name)
    if values.dtype.kind not in "biuf":
        raise HeatmapError(f"{name} has type {values.dtype}; expected label ids as numbers; save it as integers")
    selected = np.asarray(values == value, np.bool_)
    if not selected.any():
        raise HeatmapError(f"{name} holds no pixel of value {shown(value)}; it holds {_ids(values)}; pass one of these")
    return selected


def _values(mask: object, name: str) -> Array:
    torch = sys.modules.get("torch")
    if mask is None:
        raise HeatmapError(
            f"{name} is None; expected a bool array (H, W), a PIL image or a path; check how it was made"
        )
    if isinstance(mask, (str, os.PathLike)):
        return _from_file(mask, name)
    if isinstance(mask, Image.Image):
        return _from_pil(mask, name)
    if torch is not None and isinstance(mask, torch.Tensor):
        return _from_tensor(mask, name)
    if isinstance(mask, np.ma.MaskedArray):
        raise HeatmapError(f"{name} is a masked array, which holds two masks; pass its .mask or its .data")
    try:
        return np.asarray(mask)
    except ValueError as error:
        raise HeatmapError(f"{name} cannot be read as an array ({error}); pass a bool array (H, W)") from error


def _from_tensor(mask: Any, name: str) -> Array:
    try:
        values = mask.detach().cpu()
        array: Array = (values.double() if values.is_floating_point() else values).numpy()  # numpy has no bfloat16
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise HeatmapError(
            f"{name} is a tensor that holds no plain array ({error}); pass a dense bool tensor"
        ) from error
    return array


def _from_file(path: str | os.PathLike[str], name: str, *, as_labels: bool = False) -> Array:
    content = images.file_content(path, name)
    if Path(path).suffix.lower() == ".npy":
        return _from_npy(content, name)
    with images.open_image(content, name) as image:
        return _from_image(image, name, as_labels=as_labels)


def _from_npy(content: bytes, name: str) -> Array:
    if not content.startswith(_NPY):
        raise HeatmapError(f"{name} is not an NPY file; expected one array, as numpy.save writes it; save it again")
    try:
        array: Array = np.load(io.BytesIO(content), allow_pickle=False)
    # NumPy reads the header as Python text: it fails with nearly every kind of error, as does an array beyond memory.
    except Exception as error:
        raise HeatmapError(f"{name} cannot be read ({brief(str(error))}); expected an array in an NPY file") from None
    return array


def _from_pil(image: Image.Image, name: str) -> Array:
    try:
        return _from_image(image, name)
    except HeatmapError:
        raise
    except (OSError, SyntaxError, EOFError, ValueError) as error:  # Pillow decodes on first use
        raise HeatmapError(f"{name} cannot be read ({brief(str(error))}); check that its file is complete") from error


def _from_image(image: Image.Image, name: str, *, as_labels: bool = False) -> Array:
    if image.getexif().get(_ORIENTATION, 1) != 1:
        raise HeatmapError(f"{name} is rotated by an EXIF orientation, which not every reader applies; save it upright")
    image.load()  # which silently turns a TIFF as its orientation says
    if getattr(image, "n_frames", 1) != 1:
        raise HeatmapError(f"{name} has {getattr(image, 'n_frames', 1)} frames; expected one; save the one you mean")
    if image.mode == "P":
        return np.asarray(image) if as_labels else _from_palette(image, name)
    if image.mode in ("LA", "RGBA"):
        image = _without_alpha(image, name)
    if image.mode == "RGB":
        return _one_channel(np.asarray(image), name)
    if image.mode == "1":
        # What it holds as True are bytes of 255, and code that looks at the bytes would see other numbers than 1.
        return np.asarray(np.asarray(image) | np.False_)
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        return np.asarray(image)
    raise HeatmapError(
        f"{name} is a picture of mode {image.mode!r}; expected '1', 'L', 'P' or 'RGB'; convert it to 'L'"
    )


def _from_palette(image: Image.Image, name: str) -> Array:
    """Colours if all are black or white, in any order; else indices 0 and 1, if 0 is black as in label images."""
    colours = np.asarray(image.convert("RGB"))
    if np.isin(colours, (0, 255)).all() and (colours == colours[..., :1]).all():
        return np.asarray(image.convert("L"))
    indices = np.asarray(image)
    if indices.max() > 1:
        raise HeatmapError(_other_values(indices, name, is_file=True))
    if colours[indices == 0].any():
        raise HeatmapError(
            f"{name} is a palette image whose index 0 is not black, so it does not say what is background; "
            "expected black and white; pass value= to masks.load, the index of the region's colour"
        )
    return indices


def _without_alpha(image: Image.Image, name: str) -> Image.Image:
    if image.getchannel("A").getextrema() != (255, 255):
        raise HeatmapError(f"{name} has transparent pixels, and does not say what they mean; save it without alpha")
    return image.convert(image.mode[:-1])


def _one_channel(values: Array, name: str) -> Array:
    if not (values == values[..., :1]).all():
        raise HeatmapError(
            f"{name} is a colour picture; expected equal channels; select the region's colour: "
            "(np.asarray(picture) == colour).all(axis=-1)"
        )
    first: Array = values[..., 0]
    return first


def _flat(values: Array, name: str) -> Array:
    if values.ndim == 2 and values.size:
        return values
    advice = "pass a bool array of the image's height and width"
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[-1]):
        advice = f"squeeze it: {name.split()[0]}{'[0]' if values.shape[0] == 1 else '[..., 0]'}"
    elif values.ndim == 3 and values.shape[-1] in (3, 4):
        advice = "it is a colour picture; select the region's colour: (picture == colour).all(axis=-1)"
    elif values.ndim == 3:
        advice = "pass one mask, or the union of them: .any(axis=0)"
    elif values.shape == (4,):
        advice = "for the corners of a box pass masks.box((H, W), corners)"
    raise HeatmapError(f"{name} has shape {values.shape}; expected (H, W); {advice}")


def _other_shape(shape: tuple[int, ...], expected: tuple[int, int], name: str) -> str:
    advice = "make it at the size of the image, in the image's own pixels"
    if shape == expected[::-1]:
        advice = "it is the transpose: numpy and masks count rows first, (H, W); pass its .T"
    return f"{name} has shape {shape}, the image has {expected} (H, W); {advice}"


def _truth(values: Array, name: str, *, is_file: bool = False) -> Bools:
    if values.dtype == np.bool_:
        return values
    if values.dtype.kind not in "iuf":
        raise HeatmapError(f"{name} has type {values.dtype}; expected bools or numbers; {_CONTENT}")
    for high in (1, 255, 65535):  # the last is what 16-bit files hold
        region: Bools = values == high
        if (region | (values == 0)).all():
            return region
    raise HeatmapError(_other_values(values, name, is_file=is_file))


def _other_values(values: Array, name: str, *, is_file: bool) -> str:
    if not np.isfinite(values).all():
        return f"{name} holds NaN or Inf; {_CONTENT}; decide what these pixels are"
    if (values % 1 != 0).any():
        low, high = values.min(), values.max()
        return f"{name} is soft, with values from {low:.4g} to {high:.4g}; {_CONTENT}; pass mask > 0.5 or the like"
    ids = np.unique(values)
    if len(ids) > 32:
        return f"{name} has {len(ids)} values; {_CONTENT}; if it was saved as JPEG or resized, save it as PNG"
    how = f"masks.load(path, value={ids[-1]:g})" if is_file else f"mask == {ids[-1]:g}"
    return f"{name} holds the label ids {_ids(values)}; {_CONTENT}; select one: {how}"


def _ids(values: Array) -> str:
    ids = [f"{value:g}" for value in np.unique(values)]
    return ", ".join(ids if len(ids) <= 12 else [*ids[:12], f"and {len(ids) - 12} more"])
