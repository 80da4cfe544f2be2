#!/usr/bin/env bash
# pytorch-grad-cam keeps a reference to the layer's output, not a copy. torchvision's DenseNet applies an in-place
# ReLU to the output of `features`, so the activations that the heatmap is made of are not what the layer returned. A
# map of `features` is computed from other numbers than its definition says, and silently.
# Source: ActivationsAndGradients.save_activation (grad-cam 1.5.7), DenseNet.forward (torchvision 0.29.2).
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

print("grad-cam", version("grad-cam"), "torchvision", version("torchvision"))
print("expected: the stored activations are what model.features returned (signed, after a BatchNorm)")
torch.manual_seed(0)
model, image, returned = torchvision.models.densenet121().eval(), torch.rand(1, 3, 64, 64), []
model.features.register_forward_hook(lambda module, inputs, output: returned.append(output.detach().clone()))
cam = GradCAM(model=model, target_layers=[model.features])
cam(image, targets=[ClassifierOutputTarget(1)])
stored = cam.activations_and_grads.activations[0]
print(f"seen: the layer returned values from {returned[0].min():.3f}, stored are values from {stored.min():.3f}")
print(f"      share of values that differ: {(stored != returned[0]).float().mean():.2f}")
assert returned[0].min() < 0 and stored.min() == 0
PYTHON
