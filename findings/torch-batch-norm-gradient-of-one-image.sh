#!/usr/bin/env bash
# On the CPU, the gradient through a batch (or instance) normalisation of ONE image is wrong where its output becomes tokens,
# `norm(x).flatten(2).transpose(1, 2)`, as in hybrids of convolutions and a transformer (XCiT, LeViT): for a batch of one the
# strides of the gradient fit two memory layouts, and the kernel takes the wrong one. No error, no NaN; with two images it is
# right. Grad-CAM and saliency explain one image at a time, so they meet it where training does not.
# Source: native_batch_norm_backward on the CPU, torch 2.15.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torch==2.15.0 numpy==2.4.6)
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
from torch import nn

print("torch", torch.__version__)
torch.manual_seed(0)
norm = nn.BatchNorm2d(8).eval()  # as built: x / sqrt(1 + 1e-5)
weights = torch.randn(36, 8)  # of a score that sums over 36 tokens
right = weights.T.reshape(8, 6, 6) / (1 + norm.eps) ** 0.5
print("expected: the gradient of the score at an image is weights / sqrt(1 + eps), however many images there are")
seen = {}
for images in (1, 2):
    x = torch.randn(images, 8, 6, 6, requires_grad=True)
    score = (norm(x).flatten(2).transpose(1, 2) * weights).sum()
    found = torch.autograd.grad(score, x)[0]
    seen[images] = float((found - right).abs().max() / right.abs().max())
    print(f"seen: {images} image(s): largest error {seen[images]:.7f} of the largest gradient")
assert seen[1] > 0.5 and seen[2] < 1e-5
PYTHON
