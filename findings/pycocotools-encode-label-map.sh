#!/usr/bin/env bash
# pycocotools.mask.encode starts a new run at every change of value. On a mask of more than two values (a label map,
# the soft rim of a resized mask) it does not take 'non-zero': object and background swap at each change, and nothing
# is raised.
# Source: rleEncode in pycocotools 2.0.11.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(pycocotools==2.0.11 numpy==2.4.6)
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
from importlib.metadata import version
from pycocotools import mask

print("pycocotools", version("pycocotools"))
labels = np.array([[0, 1, 2, 2, 1, 0]], np.uint8)
print("mask:     ", labels[0].tolist())
print("expected: ", (labels[0] > 0).astype(int).tolist(), "or an error")
decoded = mask.decode(mask.encode(np.asfortranarray(labels)))[0].tolist()
print("seen:     ", decoded)
assert decoded == [0, 1, 0, 0, 1, 0]
PYTHON
