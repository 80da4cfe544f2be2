"""Renders docs/perturbations.png: every kind of perturbation at three severities, on one photograph.

Run it from anywhere: `python docs/render_perturbations.py`.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from skimage import data

from pytest_gradcam.perturbations import KINDS, Kind

TARGET = Path(__file__).with_name("perturbations.png")
SEVERITIES = (0.2, 0.5, 1.0)
CELL = (114, 76)
COLUMNS = 3
LABEL = 14
GAP = 6


def main() -> None:
    """Writes the contact sheet beside this script."""
    photograph = Image.fromarray(data.coffee()).resize((2 * CELL[0], 2 * CELL[1]), Image.Resampling.LANCZOS)
    strips = [strip(kind, photograph) for kind in KINDS.values()]
    sheet(strips).save(TARGET, optimize=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")


def strip(kind: type[Kind], photograph: Image.Image) -> Image.Image:
    """One kind at all severities, from left to right, under its names."""
    image = Image.new("RGB", (len(SEVERITIES) * (CELL[0] + 2), LABEL + CELL[1]), "white")
    draw = ImageDraw.Draw(image)
    for place, severity in enumerate(SEVERITIES):
        perturbation = kind(severity)
        left = place * (CELL[0] + 2)
        draw.text((left, 1), repr(perturbation), fill="black", font=ImageFont.load_default(10))
        image.paste(perturbation(photograph).resize(CELL, Image.Resampling.LANCZOS), (left, LABEL))
    return image


def sheet(strips: list[Image.Image]) -> Image.Image:
    """The strips in columns, read from left to right."""
    width, height = strips[0].width + 2 * GAP, strips[0].height + GAP
    rows = -(-len(strips) // COLUMNS)
    image = Image.new("RGB", (COLUMNS * width, rows * height + GAP), "white")
    for place, one in enumerate(strips):
        image.paste(one, (GAP + place % COLUMNS * width, GAP + place // COLUMNS * height))
    return image


if __name__ == "__main__":
    main()
