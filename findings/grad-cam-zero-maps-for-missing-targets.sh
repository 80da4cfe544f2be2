#!/usr/bin/env bash
# pytorch-grad-cam: fewer targets than images raises nothing; images without a target get a map of zeros. An all-zero
# map reads as "no evidence outside the object", so checks on the second and third image say nothing.
# Source: BaseCAM.forward of grad-cam 1.5.7, which pairs targets and outputs with zip().
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(grad-cam==1.5.7 torch==2.15.0 torchvision==0.29.2)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import torch, torchvision
from importlib.metadata import version
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

print("grad-cam", version("grad-cam"))
print("expected: an error, or one target used for all three images")
torch.manual_seed(0)
model = torchvision.models.resnet18().eval()
cam = GradCAM(model=model, target_layers=[model.layer4[-1]])
heatmaps = cam(torch.rand(3, 3, 64, 64), targets=[ClassifierOutputTarget(1)])
peaks = heatmaps.reshape(3, -1).max(axis=1)
print("seen: largest value of each of the three heatmaps:", peaks.round(3).tolist())
assert peaks[0] > 0.99 and peaks[1] == 0 and peaks[2] == 0
PYTHON
