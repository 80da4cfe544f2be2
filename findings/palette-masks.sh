#!/usr/bin/env bash
# Segmentation masks of Pascal VOC, DAVIS and others are PNGs with a palette: the pixel is the class, the palette a
# colour to look at. Of these four readers only Pillow gives the classes. scikit-image, imageio and OpenCV give the
# colours, also where 'unchanged' is asked for, and OpenCV's grey reading gives a brightness, which looks like a class
# number but is none (here 1 -> 38, 15 -> 147).
# Source: the readers; VOC2012 development kit for the palette.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(numpy==2.4.6 pillow==13.0.0 imageio==2.38.1 opencv-python-headless==5.0.0.93 scikit-image==0.26.0)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import cv2
import imageio.v3 as imageio
import numpy as np
import skimage.io
from importlib.metadata import version
from PIL import Image

for name in ("pillow", "scikit-image", "imageio", "opencv-python-headless"):
    print(name, version(name))
picture = Image.new("P", (3, 1))
picture.putdata([0, 1, 15])
palette = np.zeros((256, 3), np.uint8)
palette[1], palette[15] = (128, 0, 0), (192, 128, 128)  # VOC: aeroplane, person
picture.putpalette(palette.ravel().tolist())
picture.save("mask.png")
print("expected: the classes 0, 1, 15, or an error")
seen = {"Pillow": np.asarray(Image.open("mask.png")), "scikit-image": skimage.io.imread("mask.png"),
        "imageio": imageio.imread("mask.png"), "OpenCV unchanged": cv2.imread("mask.png", cv2.IMREAD_UNCHANGED),
        "OpenCV grey": cv2.imread("mask.png", cv2.IMREAD_GRAYSCALE)}
for name, pixels in seen.items():
    print("seen:", name, pixels.shape, pixels[0].tolist())
assert seen["Pillow"].tolist() == [[0, 1, 15]] and seen["OpenCV grey"].tolist() == [[0, 38, 147]]
assert all(seen[name].shape == (1, 3, 3) for name in ("scikit-image", "imageio", "OpenCV unchanged"))
PYTHON
