#!/usr/bin/env bash
# nibabel: a label map held as float and stored with set_data_dtype(uint8) is stretched over 0..255, so the labels 0,
# 1, 2, 7, all exact in uint8, come back as 0, 0.988, 2.004, 7.0. `== 1` finds nothing, and np.unique shows no
# integer. Segmentation networks give float arrays, so this is the straight way to save a mask small.
# Source: nibabel's automatic scale factors for NIfTI-1 (ArrayWriter), 5.4.2.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(nibabel==5.4.2 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import nibabel as nib
import numpy as np
from importlib.metadata import version

print("nibabel", version("nibabel"))
labels = np.array([0.0, 1.0, 2.0, 7.0]).reshape(4, 1, 1)
image = nib.Nifti1Image(labels, np.eye(4))
image.set_data_dtype(np.uint8)
nib.save(image, "labels.nii")
back = nib.load("labels.nii").get_fdata().ravel()
print("expected: labels 0, 1, 2, 7, which uint8 holds exactly")
print("seen:", back.round(4).tolist(), "; voxels equal to 1:", int((back == 1).sum()))
assert (back == 1).sum() == 0 and abs(back[1] - 0.98824) < 1e-4
PYTHON
