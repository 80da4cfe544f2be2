#!/usr/bin/env bash
# The Occlusion of PAIR's `saliency` adds up the falls of the score over all windows that cover a pixel, and does not
# divide by their number: 1 in a corner, 225 inside with the default window of 15 x 15. The same evidence is 225
# times as hot in the middle as in the corner, where watermarks and scanner marks are.
# Source: saliency.core.Occlusion.GetMask (saliency 0.2.1).
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(saliency==0.2.1 numpy==2.4.6)
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
import saliency.core as saliency
from importlib.metadata import version

print("saliency", version("saliency"))
image = np.zeros((48, 48, 3), np.float32)
places = {"corner": (0, 0), "rim": (0, 24), "middle": (24, 24)}
for place in places.values():
    image[place] = 1


def model(images, call_model_args=None, expected_keys=None):  # counts the white pixels: each is worth 1
    return {saliency.OUTPUT_LAYER_VALUES: images.mean(3).sum((1, 2))}


heat = saliency.Occlusion().GetMask(image, model)[..., 0]
seen = {name: float(heat[place]) for name, place in places.items()}
print("expected: three pixels, each worth 1 to the model, are equally hot; each is the only one under its windows")
print("seen:    ", seen)
assert {name: round(value) for name, value in seen.items()} == {"corner": 1, "rim": 15, "middle": 225}
PYTHON
