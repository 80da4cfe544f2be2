#!/usr/bin/env bash
# Quantus: RelevanceMassAccuracy, the share of relevance inside the mask, takes signed attributions as they are, so
# the 'share' can be over 1 or below 0. AttributionLocalisation, the same ratio, takes absolute values unless told not
# to. A threshold such as 'at least half of the relevance' passes on a number that is no share.
# Source: quantus.metrics.localisation, Quantus 0.6.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(quantus==0.6.0 torch==2.15.0 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import numpy as np, torch
from importlib.metadata import version
import quantus

print("quantus", version("quantus"))
print("expected: two metrics of the share of relevance in the mask agree, and lie in [0, 1]")
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
attribution = np.zeros((1, 1, 4, 4))
attribution[0, 0, 0, :2] = 3.0, -1.0   # inside the mask
attribution[0, 0, 3, :2] = 0.5, -1.5   # outside
mask = np.zeros((1, 1, 4, 4), bool)
mask[0, 0, 0, :2] = True
data = dict(model=model, x_batch=np.ones((1, 3, 4, 4)), y_batch=np.array([0]), a_batch=attribution, s_batch=mask, device="cpu")
mass = quantus.RelevanceMassAccuracy(disable_warnings=True, display_progressbar=False)(**data)[0]
share = quantus.AttributionLocalisation(disable_warnings=True, display_progressbar=False)(**data)[0]
print(f"seen: RelevanceMassAccuracy {mass:.3f}, AttributionLocalisation {share:.3f}")
assert abs(mass - 2.0) < 1e-6 and abs(share - 4 / 6) < 1e-6
PYTHON
