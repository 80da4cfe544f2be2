#!/usr/bin/env bash
# SHAP's image masker with inpainting casts the image to uint8 first. A float image in [0, 1], which most
# preprocessing gives, becomes black as a whole: where pixels are hidden, where they are kept, and even if all are
# kept. Only the empty coalition has a colour, so the attributions sum to the score of black minus that of the mean
# colour. The blurring masker is right.
# Source: shap.maskers.Image.inpaint (shap 0.51.0, the last for Python 3.11).
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(shap==0.51.0 numpy==2.4.6 opencv-python-headless==5.0.0.93)
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
import shap
from importlib.metadata import version

print("shap", version("shap"))
image = np.full((32, 32, 3), 0.5)
image[10:20, 10:20] = 0.9
kept = np.ones(image.shape, bool)
kept[:4, :4] = False  # 16 grey pixels in a corner are hidden


def model(images):  # the mean brightness of the object's place
    return images[:, 10:20, 10:20].mean((1, 2, 3))[:, None]


def seen(value, scale):
    masker = shap.maskers.Image(value, image.shape)
    masked = masker(kept.ravel(), image * scale)[0].reshape(image.shape) / scale
    found = shap.Explainer(model, masker, seed=0)((image * scale)[None], max_evals=50, batch_size=50, silent=True)
    total = found.values.sum() / scale
    print(f"seen: {value:13} image in 0..{scale:3.0f}: hidden corner {masked[0, 0, 0]:.2f}, kept object "
          f"{masked[15, 15, 0]:.2f}, kept background {masked[31, 31, 0]:.2f}; attributions sum to {total:.2f}")
    return masked, total


print("expected: hidden corner 0.50, kept object 0.90, kept background 0.50")
black, negative = seen("inpaint_telea", 1.0)
right, positive = seen("inpaint_telea", 255.0)
assert (black == 0).all() and np.abs(right - image).max() < 0.01
assert negative < -0.5 and positive > 0.3
blurred, _ = seen("blur(5,5)", 1.0)
assert (blurred[kept] == image[kept]).all()
PYTHON
