#!/usr/bin/env bash
# segmentation-models-pytorch: iou_score has zero_division=1.0 for images with neither object nor prediction. The
# reductions 'macro' and 'micro-imagewise' honour it, 'micro' returns NaN. A threshold on NaN is neither passed nor
# failed: `score < 0.5` is False, so a check written that way passes.
# Source: segmentation_models_pytorch.metrics.functional, 0.6.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(segmentation-models-pytorch==0.6.0 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6)
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
from segmentation_models_pytorch.metrics import get_stats, iou_score

print("segmentation-models-pytorch", version("segmentation-models-pytorch"))
nothing = torch.zeros(2, 1, 4, 4, dtype=torch.long)
stats = get_stats(nothing, nothing, mode="binary")
print("expected: 1.0, the documented zero_division, for every reduction")
seen = {name: iou_score(*stats, reduction=name).item() for name in ("micro", "macro", "micro-imagewise", "macro-imagewise")}
print("seen:", seen)
assert seen.pop("micro") != seen.get("micro") and set(seen.values()) == {1.0}
PYTHON
