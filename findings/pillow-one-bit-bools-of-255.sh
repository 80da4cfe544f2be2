#!/usr/bin/env bash
# NumPy's array of a 1-bit Pillow image is of type bool, and its True is a byte of 255: code that takes the bytes for 0 and 1,
# as `mask.view(np.uint8) * 255` does, makes a mask of 1s. A mask of the same values made by NumPy gives 255s.
# Source: the libraries.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(numpy==2.4.6 pillow==13.0.0)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
"$work/env/bin/python" - <<'PYTHON'
import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__, "NumPy", np.__version__)
made = np.eye(3, dtype=bool)
read = np.asarray(Image.fromarray(made))
print("the same type and values:", read.dtype == made.dtype, (read == made).all(), int(read.sum()) == int(made.sum()))
painted = [(mask.view(np.uint8) * np.uint8(255)).max() for mask in (made, read)]
print("highest value of view(uint8) * 255: made by NumPy", painted[0], "read from Pillow", painted[1])
assert painted == [255, 1], "the behaviour has changed"
PYTHON
