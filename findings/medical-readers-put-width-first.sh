#!/usr/bin/env bash
# MONAI and TorchIO read a PNG as (width, height), not (height, width) as every other vision library does. A mask read
# by Pillow or OpenCV then lies across the diagonal; on square images, the usual case in medical data, no shape
# betrays it.
# Source: monai.transforms.LoadImage, torchio.ScalarImage.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(monai==1.6.1 torchio==1.2.1 torch==2.15.0 numpy==2.4.6 pillow==13.0.0)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import numpy as np
from importlib.metadata import version
from monai.transforms import LoadImage
from PIL import Image
import torchio

print("monai", version("monai"), "torchio", version("torchio"), "pillow", version("pillow"))
pixels = np.zeros((64, 64), np.uint8)
pixels[5, 50] = 255  # row 5, column 50
Image.fromarray(pixels).save("square.png")
print("expected: the bright pixel of row 5, column 50 is at index (5, 50)")
seen = {
    "Pillow": np.argwhere(np.asarray(Image.open("square.png")) > 0)[0].tolist(),
    "MONAI": np.argwhere(np.asarray(LoadImage(image_only=True)("square.png")) > 0)[0].tolist(),
    "TorchIO": np.argwhere(torchio.ScalarImage("square.png").numpy()[0, :, :, 0] > 0)[0].tolist(),
}
print("seen:", seen)
assert seen == {"Pillow": [5, 50], "MONAI": [50, 5], "TorchIO": [50, 5]}
PYTHON
