#!/usr/bin/env bash
# Quantus: the pointing game on a mask without a single pixel is a hit. RelevanceMassAccuracy, RelevanceRankAccuracy
# and AUC return NaN there. A mask that lost its object (cropped away, wrong label id) scores 100 %.
# Source: quantus.metrics.localisation.PointingGame, Quantus 0.6.0.
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
print("expected: an error, NaN or a miss for a mask with no pixel")
model, rng = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2)), np.random.default_rng(0)
data = dict(model=model, x_batch=rng.random((2, 3, 8, 8)), y_batch=np.array([0, 1]), a_batch=rng.random((2, 1, 8, 8)),
            s_batch=np.zeros((2, 1, 8, 8), bool), device="cpu")
seen = {}
for name in ("PointingGame", "RelevanceMassAccuracy", "RelevanceRankAccuracy", "AUC"):
    metric = getattr(quantus, name)(disable_warnings=True, display_progressbar=False)
    seen[name] = [float(score) for score in metric(**data)]
    print("seen:", name, seen[name])
assert seen.pop("PointingGame") == [1.0, 1.0]
assert all(np.isnan(scores).all() for scores in seen.values())
PYTHON
