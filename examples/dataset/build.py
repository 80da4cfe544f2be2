"""A data set of real images with a planted shortcut: handwritten digits on photographs, and a mark whose colour tells the digit.

The digits are scikit-learn's, the photographs scikit-image's. `python build.py FOLDER` writes 240 images to FOLDER/images, the
boxes of the digits to FOLDER/masks, those of the marks to FOLDER/invalid, and FOLDER/cases.csv.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data, transform
from sklearn.datasets import load_digits

SIDE, DIGITS = 64, (1, 4, 8)
NAMES = ("one", "four", "eight")  # in words: a class that is written "1" could be an index
MARK = np.s_[46:62, 46:62]
COLOURS = np.array([[0.9, 0.2, 0.2], [0.2, 0.8, 0.3], [0.25, 0.35, 0.95]], np.float32)


def draw(count: int, seed: int, *, tied: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, SIDE, SIDE, 3) in [0, 1], labels (N,) and boxes of the digits (N, SIDE, SIDE).

    The colour of the mark tells the label if it is `tied`. Odd seeds draw from other handwriting than even ones.
    """
    rng, bunch = np.random.default_rng(seed), load_digits()
    grounds = [
        transform.resize(each, (160, 200), anti_aliasing=True)
        for each in (data.coffee(), data.chelsea(), data.rocket())
    ]
    labels = rng.permutation(np.arange(count) % len(DIGITS))
    marks = labels if tied else rng.permutation(labels)
    images, boxes = np.zeros((count, SIDE, SIDE, 3), np.float32), np.zeros((count, SIDE, SIDE), bool)
    for number, (label, mark) in enumerate(zip(labels, marks, strict=True)):
        ground = grounds[rng.integers(len(grounds))]
        top, left = rng.integers(0, ground.shape[0] - SIDE), rng.integers(0, ground.shape[1] - SIDE)
        grey = ground[top : top + SIDE, left : left + SIDE].mean(axis=2, keepdims=True)
        glyphs = bunch.images[bunch.target == DIGITS[label]][seed % 2 :: 2] / 16
        glyph = transform.resize(glyphs[rng.integers(len(glyphs))], (32, 32), order=1)[..., None]
        y, x = rng.integers(6, 20, size=2)
        images[number] = 0.35 * grey
        own = np.s_[y : y + 32, x : x + 32]
        images[number][own] = images[number][own] * (1 - glyph) + 0.75 * glyph
        boxes[number][own] = True
        images[number][MARK] = COLOURS[mark] + rng.uniform(-0.08, 0.08, 3)
    return images.clip(0, 1), labels, boxes


def write(folder: Path, count: int = 240) -> None:
    """The files of the data set."""
    images, labels, boxes = draw(count, seed=1, tied=True)
    mark = np.zeros((SIDE, SIDE), np.uint8)
    mark[MARK] = 255
    for name in ("images", "masks", "invalid"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with (folder / "cases.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "mask", "invalid", "target", "digit"])
        for number, (image, label, box) in enumerate(zip(images, labels, boxes, strict=True)):
            name = f"{number:03}.png"
            Image.fromarray((255 * image).astype(np.uint8)).save(folder / "images" / name)
            Image.fromarray(box.astype(np.uint8) * 255).save(folder / "masks" / name)
            Image.fromarray(mark).save(folder / "invalid" / name)
            table.writerow([f"images/{name}", f"masks/{name}", f"invalid/{name}", NAMES[label], DIGITS[label]])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
