"""From light to the recorder's frame: lens, sensor, coding, dead columns and the caption that is burnt in."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from underpass.lens import HEIGHT, WIDTH

DEAD = {236: 0, 262: 255}  # the first of two neighbouring columns, and the level at which both are stuck
NAME = "CAM 3"
RECORDERS = ("north", "south")
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


@dataclass(frozen=True)
class Shot:
    """How one frame is taken: gain of the sensor, seed of its noise, the recorder and what its clock says."""

    gain: float
    noise: float
    seed: int
    recorder: str
    clock: tuple[int, int, int, int, int, int]  # year, month, day, hour, minute, second


def shot(rng: np.random.Generator, recorder: str) -> Shot:
    """A frame's circumstances, at any time of 2020."""
    clock = (2020, *(int(rng.integers(low, high)) for low, high in ((1, 13), (1, 29), (0, 24), (0, 60), (0, 60))))
    return Shot(
        gain=float(np.exp(rng.normal(0.15, 0.25))),
        noise=float(rng.uniform(0.4, 1.1)),
        seed=int(rng.integers(2**31)),
        recorder=recorder,
        clock=clock,
    )


def develop(light, how: Shot):
    """The picture uint8 (H, W, 3) that the camera sends: no caption and no dead columns yet."""
    rng = np.random.default_rng(how.seed)
    light = gaussian_filter(light * (np.float32(how.gain) * _vignette()), (0.55, 0.55, 0))
    grain = rng.standard_normal((HEIGHT, WIDTH, 3), dtype=np.float32)
    grain += 0.8 * gaussian_filter1d(rng.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32), 0.7, axis=1)
    rows = rng.standard_normal((HEIGHT, 1, 1), dtype=np.float32)
    light += np.float32(how.noise) * (
        np.float32(0.022) * np.sqrt(light + np.float32(0.02)) * grain + np.float32(0.0016) * rows
    )
    level = (1 - np.exp(np.float32(-1.25) * np.maximum(light, 0))) ** np.float32(1 / 2.2)
    return _coded(_signal(level))


def _signal(level):
    """The analogue line: little room for colour, edges drawn too sharp, black not quite black."""
    luma = level @ np.array([0.299, 0.587, 0.114], np.float32)
    colour = 0.72 * gaussian_filter(level - luma[..., None], (0.6, 1.8, 0))
    sharp = luma + 0.55 * (luma - gaussian_filter(luma, (0.8, 1.1)))
    return np.clip(0.045 + 0.93 * (sharp[..., None] + colour), 0, 1)


def _coded(level):
    stream = io.BytesIO()
    Image.fromarray((255 * level).round().astype(np.uint8)).save(stream, "JPEG", quality=68)
    return np.array(Image.open(stream))


@lru_cache(maxsize=1)
def _vignette():
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    square = ((x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2) / (WIDTH / 2) ** 2
    return 1 / (1 + np.float32(0.42) * square[..., None]) ** 2


def dead_columns():
    """The pixels (H, W) that record nothing."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for column in DEAD:
        mask[:, column : column + 2] = True
    return mask


def break_columns(picture):
    """The picture with the sensor's dead columns in it."""
    picture = picture.copy()
    for column, level in DEAD.items():
        picture[:, column : column + 2] = level
    return picture


def caption(how: Shot):
    """What the recorder writes over a frame: levels uint8 (H, W), and the pixels (H, W) that it writes."""
    year, month, day, hour, minute, second = how.clock
    time = f"{hour:02}:{minute:02}:{second:02}"
    if how.recorder == "north":
        stamp, plate = f"{year}-{month:02}-{day:02} {time}", False
    else:
        stamp, plate = f"{day:02}/{month:02}/{year % 100:02} {DAYS[(day + 3 * month) % 7]} {time[:5]}", True
    levels, written = _written(stamp, 8, plate)
    named, name = _written(NAME, WIDTH - 8 - 6 * len(NAME), False)
    return np.where(name, named, levels), written | name


def _written(text, left, plate):
    """White letters at the top of the frame, with a dark rim or on a black plate."""
    ink = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(ink).text((left, 6), text, fill=255, font=ImageFont.load_default_imagefont())
    letters = np.asarray(ink) > 0
    rim = np.zeros_like(letters)
    if plate:
        rim[4:19, left - 3 : left + 6 * len(text) + 3] = True
    else:
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1)):
            rim |= np.roll(letters, (dy, dx), (0, 1))
    return np.where(letters, 235, 12).astype(np.uint8), letters | rim


def stamp_area():
    """The part of the frame (H, W) in which either recorder writes its date and time."""
    area = np.zeros((HEIGHT, WIDTH), bool)
    area[4:19, 5:126] = True
    return area
