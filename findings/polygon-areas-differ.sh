#!/usr/bin/env bash
# The ring (2,2) (6,2) (6,6) (2,6) of a COCO annotation is 4 x 4 = 16 pixels for pycocotools, 25 for Pillow, OpenCV
# and scikit-image, which all include the right and lower outline. A ring 0.4 px high has no pixel at all in
# pycocotools. So the same annotation is up to half as large again, depending on who draws it, and thin objects
# vanish.
# Source: rleFrPoly in pycocotools; the polygon functions of the others.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(
    pycocotools==2.0.11
    numpy==2.4.6
    pillow==13.0.0
    opencv-python-headless==5.0.0.93
    scikit-image==0.26.0
)
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
import numpy as np
from importlib.metadata import version
from PIL import Image, ImageDraw
from pycocotools import mask
from skimage.draw import polygon2mask

for name in ("pycocotools", "pillow", "opencv-python-headless", "scikit-image"):
    print(name, version(name))

def coco(ring):
    return int(mask.decode(mask.merge(mask.frPyObjects([[float(x) for point in ring for x in point]], 20, 20))).sum())

ring, image, array = [(2, 2), (6, 2), (6, 6), (2, 6)], Image.new("L", (20, 20)), np.zeros((20, 20), np.uint8)
ImageDraw.Draw(image).polygon(ring, fill=1)
cv2.fillPoly(array, [np.array(ring)], 1)
print("expected: one annotation, one number of pixels; an object with an area has at least one")
seen = {"pycocotools": coco(ring), "Pillow": int(np.asarray(image).sum()), "OpenCV": int(array.sum()),
        "scikit-image": int(polygon2mask((20, 20), [(y, x) for x, y in ring]).sum()),
        "pycocotools, 4 x 0.4 px": coco([(2, 2), (6, 2), (6, 2.4), (2, 2.4)])}
print("seen:", seen)
assert list(seen.values()) == [16, 25, 25, 25, 0]
PYTHON
