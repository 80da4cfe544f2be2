#!/usr/bin/env bash
# pytorch-grad-cam's ROAD keeps the pixels whose heat is below a percentile. Most of a Grad-CAM heatmap is often
# exactly 0, since negative values are cut off: then the percentile is 0, no pixel lies below it, and 'the most
# relevant 10 %' are the whole image. The least relevant first has the same fault the other way round: asked for 5 %
# it removes all of the zeros. ROADCombined averages over such figures.
# Source: RemoveMostRelevantFirst.__call__ (grad-cam 1.5.7).
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
env/bin/python -W ignore - <<'PYTHON'
import numpy as np
import torch
from importlib.metadata import version
from pytorch_grad_cam.metrics.road import ROADLeastRelevantFirst, ROADMostRelevantFirst

print("grad-cam", version("grad-cam"))
torch.manual_seed(0)
image = torch.rand(1, 3, 32, 32)
heat = np.zeros((1, 32, 32), np.float32)
heat[0, 8:16, 8:16] = np.linspace(0.5, 1, 64).reshape(8, 8)  # 64 of 1024 pixels have heat


def model(images):
    return images.mean((1, 2, 3))[:, None]


def removed(metric, percentile):
    changed = metric(percentile)(image, heat, [lambda output: output[0]], model, return_visualization=True)[1]
    return (changed != image).any(1).float().mean().item()


print("heat: 6.2 % of the pixels, 0 elsewhere")
print("percentile   expected   seen: most relevant first, least relevant first")
seen = {}
for percentile in (10, 50, 90, 95):
    seen[percentile] = [removed(metric, percentile) for metric in (ROADMostRelevantFirst, ROADLeastRelevantFirst)]
    most, least = seen[percentile]
    print(f"{percentile:10}   {100 - percentile:6} %   {most:24.1%}, {least:19.1%}")
assert all(seen[percentile][0] == 1 for percentile in (10, 50, 90))
assert abs(seen[95][0] - 0.05) < 0.01 and abs(seen[95][1] - 60 / 64) < 0.01
PYTHON
