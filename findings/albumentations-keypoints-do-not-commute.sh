#!/usr/bin/env bash
# albumentations moves keypoints by two conventions: a flip takes x for the number of a pixel (x -> width - 1 - x),
# Resize for a distance from the left edge (x -> 4 x). The image is the same whichever of the two comes first, the
# keypoint is not. Pointing-game targets and part annotations drift off the centre of their pixel, by (scale - 1) / 2
# pixels.
# Source: keypoints_hflip and Resize.apply_to_keypoints, albumentations 2.0.8.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(albumentations==2.0.8 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import albumentations as A
import numpy as np
from importlib.metadata import version

print("albumentations", version("albumentations"))
image = np.zeros((10, 10, 3), np.uint8)
image[2, 3] = 255
flip, resize, params = A.HorizontalFlip(p=1), A.Resize(40, 40, interpolation=0), A.KeypointParams(format="xy")
print("expected: flip + resize and resize + flip give the same keypoint, as they give the same image, and it is in the bright block")
seen = {}
for name, steps in (("flip, resize", [flip, resize]), ("resize, flip", [resize, flip])):
    result = A.Compose(steps, keypoint_params=params)(image=image, keypoints=[(3, 2)])
    columns = np.flatnonzero(result["image"][..., 0].any(axis=0))
    seen[name] = (float(result["keypoints"][0][0]), int(columns.min()), int(columns.max()))
    print(f"seen: {name}: keypoint x = {seen[name][0]}, bright columns {seen[name][1]} to {seen[name][2]}")
assert seen == {"flip, resize": (24.0, 24, 27), "resize, flip": (27.0, 24, 27)}
PYTHON
