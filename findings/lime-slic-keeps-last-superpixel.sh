#!/usr/bin/env bash
# LIME's wrapper of slic: scikit-image numbers slic's superpixels from 1 (since 0.19), LIME hides those from 0 to n -
# 1. The last superpixel, mostly the lower right corner, is never hidden and has no weight, and number 0 is no pixel
# at all. Nothing is said. Quickshift and Felzenszwalb number from 0.
# Source: LimeImageExplainer.data_labels and lime.wrappers.scikit_image (lime 0.2.0.1); the same was mended in alibi
# 0.8 (issue 748 there).
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
from lime.wrappers.scikit_image import SegmentationAlgorithm
from skimage.segmentation import slic

print("lime", version("lime"), "scikit-image", version("scikit-image"))
image = np.full((80, 80, 3), 120, np.uint8)
image[56:, 56:] = 230, 20, 20  # a red square in the lower right corner


def red(images):  # the class's probability is the visible share of the square, and nothing else counts
    images = np.asarray(images, float)
    share = ((images[..., 0] > 200) & (images[..., 1] < 60))[:, 56:, 56:].mean((1, 2))
    return np.stack([1 - share, share], 1)


def explained(segmentation):
    found = LimeImageExplainer(random_state=0).explain_instance(
        image, red, labels=(1,), top_labels=None, hide_color=0, num_samples=300, segmentation_fn=segmentation, random_seed=0)
    weights = {int(key): float(value) for key, value in found.local_exp[1]}
    square = set(np.unique(found.segments[58:, 58:]).tolist())
    print(f"      labels {found.segments.min()} to {found.segments.max()}, weights for {min(weights)} to {max(weights)}; "
          f"the square is {square}; largest weight {max(weights.values()):.3f}")
    return weights, square


options = dict(n_segments=9, compactness=10)
print("expected: the square, hidden in black, has a weight near 1")
print("seen: SegmentationAlgorithm('slic')")
weights, square = explained(SegmentationAlgorithm("slic", **options))
print("seen: slic with start_label=0")
mended, again = explained(lambda pixels: slic(pixels, start_label=0, **options))
assert len(square) == 1 and square.isdisjoint(weights) and max(weights.values()) < 1e-6
assert len(again) == 1 and mended[again.pop()] > 0.9
PYTHON
