#!/usr/bin/env bash
# pytorch-grad-cam's AblationCAM divides a channel's fall of the score by the score. Logits are often negative, most of
# all those of classes that are not predicted: then every weight changes its sign, and the map shows what speaks against
# the class. A constant in the last layer's bias, which says nothing about the image, is enough.
# Source: AblationCAM.get_cam_weights (grad-cam 1.5.7).
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(grad-cam==1.5.7 torch==2.15.0 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - 2>/dev/null <<'PYTHON'
import torch
from importlib.metadata import version
from pytorch_grad_cam import AblationCAM, GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

print("grad-cam", version("grad-cam"))


class Net(nn.Module):
    """Its logit is 6 x the mean of what is bright - 3 x the mean of what is dark + bias."""

    def __init__(self, bias):
        super().__init__()
        self.split, self.relu, self.head = nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Linear(2, 1)
        self.split.weight.data = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
        self.head.weight.data, self.head.bias.data = torch.tensor([[6.0, -3.0]]), torch.tensor([bias])

    def forward(self, x):
        return self.head(self.relu(self.split(x)).mean((2, 3)))


image = torch.zeros(1, 1, 32, 32)
image[..., 4:12, 4:12], image[..., 20:28, 20:28] = 1, -1
print("expected: heat 1 on the evidence for the class and 0 on the evidence against it, whatever the bias")
seen = {}
for bias in (1.0, -1.0):
    model = Net(bias).eval()
    logit = model(image).item()
    for method in (GradCAM, AblationCAM):
        heat = method(model=model, target_layers=[model.relu])(image, targets=[ClassifierOutputTarget(0)])[0]
        pro, contra = seen[method, bias] = round(float(heat[8, 8])), round(float(heat[24, 24]))
        print(f"seen: logit {logit:6.3f}, {method.__name__:11} heat on the evidence for {pro}, against {contra}")
assert seen[GradCAM, 1.0] == seen[GradCAM, -1.0] == seen[AblationCAM, 1.0] == (1, 0)
assert seen[AblationCAM, -1.0] == (0, 1)
PYTHON
