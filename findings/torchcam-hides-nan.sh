#!/usr/bin/env bash
# torchcam: a model whose logit for the class is NaN gets a finite heatmap, scaled to [0, 1], without a word. A
# diverged or badly converted model looks explained; a check of where the heat lies would pass or fail at random.
# Source: the nan-aware sums in torchcam.methods.core, torchcam 0.5.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torchcam==0.5.0 torch==2.15.0 torchvision==0.29.2)
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
from torchcam.methods import GradCAM

print("torchcam", version("torchcam"))
print("expected: an error, or NaN in the heatmap")
torch.manual_seed(0)
model = torchvision.models.resnet18().eval()
with torch.no_grad():
    model.fc.bias[1] = float("nan")
with GradCAM(model, "layer4") as cam:
    scores = model(torch.rand(1, 3, 224, 224))
    heatmap = cam(1, scores)[0]
print(f"seen: logit {scores[0, 1].item()}, heatmap from {heatmap.min():.1f} to {heatmap.max():.1f}, finite: {heatmap.isfinite().all()}")
assert scores[0, 1].isnan() and heatmap.isfinite().all() and heatmap.max() > 0.99
PYTHON
