#!/usr/bin/env bash
# torchvision: ToTensor on a 16-bit grey PNG, as X-ray and depth data come, gives int16 without scaling, and the
# brighter half of the range turns negative: 40000 -> -25536, white -> -1. v2.ToImage and ToDtype(scale=True), named
# as its replacement, give 0..1.
# Source: torchvision.transforms.functional.to_tensor, 0.29.2.
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
from torchvision.transforms import ToTensor, v2

print("torchvision", version("torchvision"), "pillow", version("pillow"))
Image.fromarray(np.array([[0, 20000, 40000, 65535]], np.uint16)).save("xray.png")
image = Image.open("xray.png")
print("mode", image.mode)
print("expected: brighter pixels have larger values, white is 1.0 (or 65535)")
old, new = ToTensor()(image).ravel(), v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])(image).ravel()
print("seen: ToTensor", old.dtype, old.tolist())
print("      v2      ", new.dtype, [round(value, 3) for value in new.tolist()])
assert old.tolist() == [0, 20000, -25536, -1] and new[3] == 1 and new[2] > 0.6
PYTHON
