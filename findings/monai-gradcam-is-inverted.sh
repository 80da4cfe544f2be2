#!/usr/bin/env bash
# MONAI's GradCAM and GradCAM++ scale their maps so that the most important place is 0 and the least important 1: the
# opposite of the papers and of pytorch-grad-cam, captum and torchcam. A check of "the heat lies on the object" judges
# the background. An all-zero map would read as important everywhere.
# Source: monai.visualize.class_activation_maps.default_normalizer, MONAI 1.6.1.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(monai==1.6.1 torch==2.15.0 numpy==2.4.6)
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
from importlib.metadata import version
from monai.visualize import GradCAM, GradCAMpp

print("monai", version("monai"))
print("expected: the bright square, the only thing the model looks at, has the highest value")
model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)).eval()
with torch.no_grad():  # the logit of class 1 is the mean brightness
    model[0].weight.fill_(1), model[0].bias.zero_(), model[4].bias.zero_()
    model[4].weight.copy_(torch.tensor([[0.0], [1.0]]))
image = torch.zeros(1, 1, 8, 8)
image[..., 2:4, 2:4] = 1
for method in (GradCAM, GradCAMpp):
    heatmap = method(nn_module=model, target_layers="1")(image, class_idx=1)[0, 0]
    print(f"seen: {method.__name__}: on the square {heatmap[2, 2]:.1f}, on the background {heatmap[7, 7]:.1f}")
    assert heatmap[2, 2] == 0 and heatmap[7, 7] == 1
PYTHON
