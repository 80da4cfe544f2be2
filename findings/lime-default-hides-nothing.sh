#!/usr/bin/env bash
# LIME's image explainer paints a hidden superpixel with that superpixel's own mean colour, unless `hide_color` is
# given. A superpixel of one colour (a watermark, a sticker, a border, lettering, sky) is therefore never hidden: its
# weight is exactly 0, whatever the model makes of it, and the fit's R2 is 1.
# Source: LimeImageExplainer.explain_instance (lime 0.2.0.1), whose docstring says 'hide_color: TODO'.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(lime==0.2.0.1 numpy==2.4.6 scikit-image==0.26.0)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - 2>/dev/null <<'PYTHON'
import numpy as np
from importlib.metadata import version
from lime.lime_image import LimeImageExplainer

print("lime", version("lime"))
image = np.full((80, 80, 3), 120, np.uint8)
image[56:, 56:] = 230, 20, 20  # a red square


def red(images):  # the class's probability is the visible share of the square, and nothing else counts
    images = np.asarray(images, float)
    share = ((images[..., 0] > 200) & (images[..., 1] < 60))[:, 56:, 56:].mean((1, 2))
    return np.stack([1 - share, share], 1)


def weight(**options):
    found = LimeImageExplainer(random_state=0).explain_instance(
        image, red, labels=(1,), top_labels=None, num_samples=300, random_seed=0, **options)
    segment = found.segments[70, 70]
    assert (found.segments[56:, 56:] == segment).all() and (found.segments == segment).sum() == 24 * 24
    return float(dict(found.local_exp[1])[segment]), float(found.score)


print("expected: the square's superpixel has a weight near 1; without it the score falls from 1 to 0")
default, black = weight(), weight(hide_color=0)
print(f"seen: by default     weight {default[0]:.3f}, R2 {default[1]:.3f}")
print(f"      hide_color=0   weight {black[0]:.3f}, R2 {black[1]:.3f}")
assert default == (0.0, 1.0) and black[0] > 0.9
PYTHON
