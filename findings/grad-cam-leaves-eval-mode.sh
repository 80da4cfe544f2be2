#!/usr/bin/env bash
# pytorch-grad-cam switches the model to eval mode and leaves it there, and overwrites the parameters' .grad. A
# heatmap drawn during training (a callback, a session-wide model fixture) stops dropout and freezes BatchNorm from
# then on, and throws away gradients that were being accumulated.
# Source: BaseCAM.__init__ and BaseCAM.forward of grad-cam 1.5.7.
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
print("expected: after the with block the model trains on, with the gradients it had accumulated")
torch.manual_seed(0)
model = torchvision.models.resnet18().train()
model(torch.rand(2, 3, 64, 64)).sum().backward()
before = model.fc.bias.grad.clone()
with GradCAM(model=model, target_layers=[model.layer4[-1]]) as cam:
    cam(torch.rand(1, 3, 64, 64), targets=[ClassifierOutputTarget(1)])
after = model.fc.bias.grad
print(f"seen: training flag {model.training}; sum of fc.bias.grad {before.sum():.1f} before, {after.sum():.1f} after")
assert not model.training and not torch.equal(before, after)
PYTHON
