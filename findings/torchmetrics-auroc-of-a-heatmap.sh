#!/usr/bin/env bash
# torchmetrics: AUROC, which depends on ranks only, passes values through a sigmoid as soon as one of them lies
# outside [0, 1]. In float32 everything from 18 on becomes exactly 1: a heatmap in 0..255 against its mask turns into
# ties, AUC 0.5. The same heatmap divided by 255 has another AUC.
# Source: the format step of torchmetrics' binary curves, 1.9.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torchmetrics==1.9.0 torch==2.15.0 scikit-learn==1.9.1 numpy==2.4.6)
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
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_auroc

print("torchmetrics", version("torchmetrics"), "scikit-learn", version("scikit-learn"))
heatmap = torch.tensor([30.0, 60.0, 90.0, 120.0, 200.0, 255.0])
inside = torch.tensor([0, 0, 0, 1, 1, 1])  # the three hottest pixels are the object
print("expected: AUC 1.0, on any scale")
seen = [binary_auroc(heatmap, inside).item(), binary_auroc(heatmap / 255, inside).item(), roc_auc_score(inside, heatmap)]
print("seen: 0..255: {}, divided by 255: {}; scikit-learn, 0..255: {}".format(*seen))
assert seen == [0.5, 1.0, 1.0]
PYTHON
