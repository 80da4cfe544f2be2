"""Images as users have them, read into 8-bit pictures, deeper ones through a window, or refused by name."""

from __future__ import annotations

import io
import os
import stat
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.validation import is_number

_ORIENTATION = 0x0112  # the EXIF tag
_BITS_PER_SAMPLE = 258  # the TIFF tag
#: The formats of image files that are read, by Pillow's names.
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM")
#: The values that become black and white.
Window = tuple[float, float]
_WINDOW = (
    "; choose the window from lo to hi that your training uses, and state it: gradcam_window = lo hi (window=(lo, hi) of an "
    "Explainer), or convert it and pass numpy.uint8(255 * numpy.clip((a.astype(float) - lo) / (hi - lo), 0, 1)), a the array "
    "of its values"
)
_DEEP = {"I", "I;16", "I;16L", "I;16B", "I;16N", "F"}  # Pillow would silently clip these at 255


@dataclass(frozen=True)
class Picture:
    """An image of mode RGB or L, what to call it in a message, and the digest of its file if it has one."""

    pil: Image.Image
    name: str
    file_digest: str = ""

    @cached_property
    def digest(self) -> str:
        """A SHA-256 of the file, as sha256sum prints it; without a file, of the pixels, and it says so."""
        if self.file_digest:
            return self.file_digest
        header = f"{self.pil.mode} {self.pil.width} {self.pil.height} ".encode()
        return f"sha256 of the pixels {sha256(header + self.pil.tobytes()).hexdigest()}"

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.pil.height, self.pil.width


def is_tensor(value: Any) -> bool:
    """Whether it is a torch tensor; torch itself is not imported for this."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def read(image: Any, window: Window | None = None) -> Picture:
    """The picture of a path, PIL image or uint8 array, (H, W, 3) or (H, W).

    A file with an EXIF orientation is turned the way it is displayed. The `window` says which values of a 16-bit or float image
    become black and white, what lies outside is clipped; 8-bit images need none, and keep their values. Raises HeatmapError,
    naming the kind, for images that cannot be converted to 8 bits without a decision by the user: 16-bit and float images
    without a window, transparency, several frames.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, (str, os.PathLike)):
        return _read_file(Path(image), window)
    if isinstance(image, Image.Image):
        return _read_pil(image, window)
    if isinstance(image, np.ndarray):
        return _read_array(image, window)
    raise HeatmapError(
        f"{type(image).__name__} is not an image; expected a path, a PIL image, a uint8 array (H, W, 3) or (H, W), "
        "or a float tensor (C, H, W) that is ready for the model"
    )


def pixels(image: Any) -> NDArray[np.uint8]:
    """A copy of the pixels of a PIL image or uint8 array, (H, W, 3) or (H, W). Raises HeatmapError as `read` does."""
    if not isinstance(image, np.ndarray):
        return np.array(read(image).pil)
    _refuse_array(image)
    return np.array(image, order="C")


def as_window(value: Any) -> Window | None:
    """The window as two plain numbers, None for none. Raises HeatmapError unless the first is less than the second."""
    if value is None:
        return None
    ends = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else ()
    if len(ends) != 2 or not all(map(is_number, ends)) or not ends[0] < ends[1]:
        raise HeatmapError(
            f"window={value!r:.60} is not a window; expected two numbers (lo, hi) with lo < hi: the values that become black "
            "and white"
        )
    return float(ends[0]), float(ends[1])


def shape_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(H, W) of the picture in a file, as `read` turns it, from the header alone.

    Raises HeatmapError for a file that is missing or not an image; whether its pixels are whole is not checked.
    """
    with open_image(file_content(path, f"image file {path}"), str(path)) as opened:
        turned = opened.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (opened.width, opened.height) if turned else (opened.height, opened.width)


def png(image: Image.Image) -> bytes:
    """An RGB image as the bytes of a PNG file.

    Each row is stored as its difference to the one above, where Pillow tries five ways for each: a seventh of the time, and
    files that are a tenth larger (PNG, W3C 2003, sections 9 and 10).
    """
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB")).reshape(image.height, -1)
    rows = np.empty((image.height, 1 + pixels.shape[1]), np.uint8)
    rows[:, 0] = 2  # the filter 'up'
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, 1)), (b"IEND", b""))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        parts += (struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
    return b"".join(parts)


def file_content(path: str | os.PathLike[str], name: str) -> bytes:
    """The bytes of a regular file. Raises HeatmapError, naming `name`, for a pipe or device, which may never end."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise HeatmapError(f"{name} is a directory; pass one of its files")
        if not stat.S_ISREG(mode):
            raise HeatmapError(f"{name} is a pipe, socket or device; expected a regular file; copy its content to one")
        return Path(path).read_bytes()
    except HeatmapError:
        raise
    except FileNotFoundError:
        raise HeatmapError(f"there is no {name} (looked from {Path.cwd()}); check the path") from None
    except (OSError, ValueError) as error:
        raise HeatmapError(f"{name} cannot be read ({error}); check the path") from None


@contextmanager
def open_image(content: bytes, name: str) -> Iterator[Image.Image]:
    """The image in a file's bytes, not decoded yet.

    Raises HeatmapError, naming `name`, for formats other than `FORMATS`, for colours deeper than 8 bits, and if decoding
    fails inside the block. Pillow knows more formats; some of them start other programs, or describe pages, not pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            _refuse_deep_colour(opened, name)
            yield opened
    except HeatmapError:
        raise
    except UnidentifiedImageError:
        raise HeatmapError(
            f"{name} is not an image file that is read here; expected {', '.join(FORMATS)}; convert it to PNG"
        ) from None
    except (
        OSError,
        SyntaxError,
        EOFError,
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise HeatmapError(f"{name} cannot be read ({error}); check that the file is complete, and its size") from None


def _refuse_deep_colour(image: Image.Image, name: str) -> None:
    if image.mode not in _DEEP and (depth := _bits(image)) > 8:
        raise HeatmapError(
            f"{name} has {depth} bits per channel, of which Pillow would silently keep the upper 8{_WINDOW}"
        )


def _bits(image: Image.Image) -> int:
    """The bits of a channel in the file that an image was opened from, as far as that is known: else 8."""
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))))  # type: ignore[attr-defined]
    tiles = getattr(image, "tile", ())
    arguments = tiles[0][3] if tiles else ""
    if image.format == "PPM":
        highest = [one for one in arguments if isinstance(one, int)] if isinstance(arguments, tuple) else []
        return 16 if max(highest, default=0) > 255 else 8
    return 16 if image.format == "PNG" and ";16" in str(arguments) else 8


def _read_file(path: Path, window: Window | None) -> Picture:
    content = file_content(path, f"image file {path}")
    with open_image(content, str(path)) as opened:
        _refuse(opened, str(path), window)
        turned = ImageOps.exif_transpose(opened)
    return Picture(_eight_bit(turned, str(path), window), str(path), f"sha256 {sha256(content).hexdigest()}")


def _read_pil(image: Image.Image, window: Window | None) -> Picture:
    name = str(getattr(image, "filename", "") or f"PIL image {image.width}x{image.height}")
    _refuse(image, name, window)
    _refuse_deep_colour(image, name)
    if image.getexif().get(_ORIENTATION, 1) != 1:
        raise HeatmapError(
            f"{name} has an EXIF orientation that was not applied, so it is not clear which way its mask lies; "
            "pass the path, or PIL.ImageOps.exif_transpose(image)"
        )
    try:
        return Picture(_eight_bit(image, name, window), name)
    except (OSError, SyntaxError) as error:
        raise HeatmapError(f"{name} cannot be read ({error}); check that the file is complete") from None


def _read_array(array: NDArray[Any], window: Window | None) -> Picture:
    colour = array.ndim == 3 and array.shape[2] == 3
    if window is not None and array.dtype != np.uint8 and array.dtype.kind in "iuf" and (array.ndim == 2 or colour):
        array = _windowed(array, window, f"the array of shape {array.shape}")
    _refuse_array(array)
    return Picture(Image.fromarray(array), f"array {array.shape[1]}x{array.shape[0]}")


def _refuse_array(array: NDArray[Any]) -> None:
    colour = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or array.size == 0 or not (array.ndim == 2 or colour):
        raise HeatmapError(
            f"an array of shape {array.shape} and type {array.dtype} is not an image; expected uint8 of shape (H, W, 3) "
            f"or (H, W){_array_hint(array)}"
        )


def _windowed(values: NDArray[Any], window: Window, name: str) -> NDArray[np.uint8]:
    """8 bits of what lies in the window. Raises HeatmapError for NaN and infinite values."""
    if not np.isfinite(values).all():
        raise HeatmapError(f"{name} holds NaN or infinite values, which no window shows; check how it was made")
    low, high = window
    return np.round(255 * np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)).astype(np.uint8)


def _array_hint(array: NDArray[Any]) -> str:
    if array.ndim > 3 or (array.ndim == 3 and min(array.shape[0], array.shape[2]) > 4):
        return (
            "; videos and volumes are not supported, and an image of many channels has no picture: pass one frame or slice, or "
            "the model's input as a float torch tensor (C, H, W)"
        )
    if array.ndim == 3 and array.shape[2] == 4:
        return "; composite the alpha channel onto a background first"
    if array.ndim == 3 and array.shape[0] in (1, 3):
        return "; move the channels last, or pass a float torch tensor if it is ready for the model"
    if array.ndim == 3 and array.shape[2] == 1:
        return "; drop the last axis"
    if array.ndim in (2, 3) and array.dtype != np.uint8:
        return f"; its values run from {_ends(array)}{_WINDOW}"
    return ""


def _ends(array: NDArray[Any]) -> str:
    """'0 to 4095', NaN left out."""
    if array.dtype.kind not in "iufb" or not array.size or not np.isfinite(array).any():
        return "no number to another"
    finite = array[np.isfinite(array)]
    return f"{finite.min():g} to {finite.max():g}"


def _refuse(image: Image.Image, name: str, window: Window | None) -> None:
    if image.mode in _DEEP and window is None:
        raise HeatmapError(
            f"{name} is a {'float' if image.mode == 'F' else '16-bit or deeper'} image (mode {image.mode}), which "
            f"would be clipped at 255{_WINDOW}, or pass the model's input tensor"
        )
    # MPO is a JPEG with a preview behind it, as many cameras write: its first frame is the photograph.
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise HeatmapError(f"{name} holds {image.n_frames} frames; pass the one to explain as an image of its own")  # type: ignore[attr-defined]


def _eight_bit(image: Image.Image, name: str, window: Window | None) -> Image.Image:
    """The image in RGB or L, its pixels unchanged, or seen through the window if they are deeper."""
    if image.mode in _DEEP:
        assert window is not None, "refused above"
        return Image.fromarray(_windowed(np.asarray(image), window, name))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        low, _ = image.convert("RGBA").getchannel("A").getextrema()
        if low < 255:  # type: ignore[operator]
            raise HeatmapError(
                f"{name} has transparent pixels, and what the model sees of them depends on the background; "
                "composite it onto the background that your training uses"
            )
    return image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
