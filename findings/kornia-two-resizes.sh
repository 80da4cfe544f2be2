#!/usr/bin/env bash
# kornia has two resizes that disagree: geometry.transform.resize aligns the edges of images, augmentation.Resize the
# centres of their corner pixels (align_corners=True). Magnified by 8, the same pixel is up to 3.5 px apart; at a
# network's usual 32 it is up to 15.5. A heatmap enlarged by one does not lie on an image enlarged by the other.
# Source: defaults of the two, 0.9.0.
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
from kornia.geometry.transform import resize

print("kornia", version("kornia"))
image = torch.zeros(1, 1, 8, 8)
image[0, 0, 1, 1] = 1
centre = lambda picture: torch.nonzero(picture[0, 0] >= picture.max() - 1e-6).double().mean(dim=0).tolist()
seen = {"geometry.transform.resize": centre(resize(image, (64, 64))), "augmentation.Resize": centre(K.Resize((64, 64))(image))}
print("expected: both put pixel (1, 1) at (11.5, 11.5), the centre of rows and columns 8 to 15")
print("seen:", seen)
assert seen == {"geometry.transform.resize": [11.5, 11.5], "augmentation.Resize": [9.0, 9.0]}
PYTHON
