#!/usr/bin/env bash
# A TIFF may say that 0 is white (photometric 'miniswhite', usual for scanned and some medical images). Pillow and
# OpenCV invert such a file on reading, tifffile and imageio (which uses it) return the stored numbers: negatives of
# each other. A model trained through one and tested through the other sees negatives; a mask becomes its own
# complement.
# Source: TIFF 6.0, tag 262; the four readers.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(tifffile==2026.3.3 numpy==2.4.6 pillow==13.0.0 imageio==2.38.1 opencv-python-headless==5.0.0.93)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import cv2, tifffile
import imageio.v3 as imageio
import numpy as np
from importlib.metadata import version
from PIL import Image

for name in ("tifffile", "imageio", "pillow", "opencv-python-headless"):
    print(name, version(name))
tifffile.imwrite("scan.tif", np.array([[0, 255]], np.uint8), photometric="miniswhite")
print("expected: every reader gives the same brightness: white (255), black (0)")
seen = {"Pillow": np.asarray(Image.open("scan.tif")), "OpenCV": cv2.imread("scan.tif", cv2.IMREAD_GRAYSCALE),
        "tifffile": tifffile.imread("scan.tif"), "imageio": imageio.imread("scan.tif")}
seen = {name: np.ravel(pixels).tolist() for name, pixels in seen.items()}
print("seen:", seen)
assert seen == {"Pillow": [255, 0], "OpenCV": [255, 0], "tifffile": [0, 255], "imageio": [0, 255]}
PYTHON
