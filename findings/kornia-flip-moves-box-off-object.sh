#!/usr/bin/env bash
# kornia: flipping an image with its boxes moves xyxy boxes about the centre of the pixel numbers, not of the image,
# so each box ends up one pixel beside its object. A small object is left outside; torchvision's v2 flips the same box
# exactly.
# Source: kornia.augmentation.AugmentationSequential with data key bbox_xyxy (width = xmax - xmin), 0.9.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(kornia==0.9.0 torch==2.15.0 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import torch
from importlib.metadata import version
import kornia.augmentation as K

print("kornia", version("kornia"))
image, box = torch.zeros(1, 1, 8, 8), torch.tensor([[[3.0, 2.0, 4.0, 3.0]]])
image[0, 0, 2, 3] = 1  # the box is exactly this pixel: width = xmax - xmin = 1
print("expected: the pixel moves to column 4, its box to x from 4 to 5")
flipped, moved = K.AugmentationSequential(K.RandomHorizontalFlip(p=1.0), data_keys=["input", "bbox_xyxy"])(image, box)
column, (x0, _, x1, _) = int(flipped[0, 0].argmax()) % 8, moved[0, 0].tolist()
print(f"seen: the pixel is in column {column}, its box from {x0:.0f} to {x1:.0f}")
assert (column, x0, x1) == (4, 3.0, 4.0)
PYTHON
