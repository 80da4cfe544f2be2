#!/usr/bin/env bash
# torchvision v2: any operation on a tv_tensors.Mask gives a plain tensor, also `mask > 0`. Next to an Image, v2
# transforms pass plain tensors through: the image is flipped, the mask is not, nothing is said. A mask that was
# binarised after wrapping no longer belongs to its image.
# Source: tv_tensors' unwrapping rule and the pure-tensor rule of torchvision.transforms.v2, 0.29.2: each sensible,
# together a trap.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torchvision==0.29.2 torch==2.15.0 numpy==2.4.6)
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
from torchvision import tv_tensors
from torchvision.transforms import v2

print("torchvision", version("torchvision"))
image = tv_tensors.Image(torch.zeros(1, 2, 4))
image[..., 0] = 1
labels = tv_tensors.Mask(torch.tensor([[7, 0, 0, 0], [7, 0, 0, 0]]))
print("expected: image and mask are flipped together")
seen = {}
for name, mask in (("labels", labels), ("labels > 0", labels > 0)):
    flipped, moved = v2.RandomHorizontalFlip(p=1)(image, mask)
    seen[name] = (type(mask).__name__, flipped[0, 0].tolist(), moved[0].long().tolist())
    print(f"seen: mask = {name} ({seen[name][0]}): image row {seen[name][1]}, mask row {seen[name][2]}")
assert seen["labels"] == ("Mask", [0, 0, 0, 1], [0, 0, 0, 7])
assert seen["labels > 0"] == ("Tensor", [0, 0, 0, 1], [1, 0, 0, 0])
PYTHON
