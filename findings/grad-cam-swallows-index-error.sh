#!/usr/bin/env bash
# pytorch-grad-cam: leaving its `with` block swallows every IndexError, also one that the user's own code raised. A
# test that computes its heatmap and its check inside the block passes although the check never ran to its end.
# Source: BaseCAM.__exit__ of grad-cam 1.5.7.
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

print("grad-cam", version("grad-cam"))
print("expected: an IndexError of the user's own code inside the block reaches the caller")
model, labels, reached = torchvision.models.resnet18(), [], False
try:
    with GradCAM(model=model, target_layers=[model.layer4[-1]]) as cam:
        cam(torch.rand(1, 3, 64, 64), targets=None)
        assert labels[3] == "cat"
    reached = True
except IndexError as error:
    print("the caller got", repr(error))
print("seen: the line after the block was", "reached, nothing raised" if reached else "not reached")
assert reached
PYTHON
