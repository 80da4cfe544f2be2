#!/usr/bin/env bash
# torchvision's 'nearest' takes the centre of each cell for PIL images, and its upper left pixel for tensors and
# tv_tensors.Mask. The same v2.Resize on the same mask, once as PIL image and once as Mask, keeps different rows: thin
# structures are there in one and gone in the other, and the tensor's mask is shifted by half a cell against the
# (centre-aligned) image.
# Source: Pillow's NEAREST against torch's mode='nearest' ('nearest-exact' agrees with Pillow).
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torchvision==0.29.2 torch==2.15.0 numpy==2.4.6 pillow==13.0.0)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import numpy as np, torch
from importlib.metadata import version
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

for name in ("torchvision", "torch", "pillow"):
    print(name, version(name))
mask = np.zeros((10, 10), np.uint8)
mask[:, 5] = 1  # a line of one pixel
pil, tensor = Image.fromarray(mask), tv_tensors.Mask(torch.tensor(mask))
print("expected: one nearest-neighbour resize of a mask, whatever holds it")
exact = v2.Resize((5, 5), interpolation=InterpolationMode.NEAREST_EXACT)
nearest = v2.Resize((5, 5), interpolation=InterpolationMode.NEAREST)
seen = {"PIL image": np.asarray(nearest(pil))[0].tolist(), "tv_tensors.Mask": nearest(tensor)[0].tolist(),
        "plain tensor": nearest(tensor.as_subclass(torch.Tensor)[None])[0, 0].tolist(),
        "plain tensor, NEAREST_EXACT": exact(tensor.as_subclass(torch.Tensor)[None])[0, 0].tolist()}
for name, row in seen.items():
    print("seen:", name, row)
assert seen["PIL image"] == seen["plain tensor, NEAREST_EXACT"] == [0, 0, 1, 0, 0]
assert seen["tv_tensors.Mask"] == seen["plain tensor"] == [0, 0, 0, 0, 0]
PYTHON
