#!/usr/bin/env bash
# transformers: an image processor divides by 255 whatever it is given. A float image in [0, 1], the form in which
# most of torch passes images on, comes out almost black (all values within 0.01 of -1), with no warning. The model
# then 'looks at' noise of the last bit, and every heatmap is of a black picture.
# Source: ViTImageProcessor (torchvision backend), 5.24.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(transformers==5.24.0 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 pillow==13.0.0)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import logging, warnings
import torch
from importlib.metadata import version
from transformers import ViTImageProcessor

print("transformers", version("transformers"))
said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("transformers").addHandler(handler)
torch.manual_seed(0)
levels = torch.randint(0, 256, (3, 300, 400), dtype=torch.uint8)
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    processor = ViTImageProcessor()
    said.clear(), warned.clear()
    views = {name: processor(image, return_tensors="pt")["pixel_values"] for name, image in
             (("uint8, 0..255", levels), ("float, 0..1", levels.float() / 255))}
    about = [*said, *(str(one.message) for one in warned)]
print("expected: the same picture, or a warning")
for name, view in views.items():
    print(f"seen: {name}: values from {view.min():.3f} to {view.max():.3f}")
print("      warnings and log messages:", about)
assert views["uint8, 0..255"].max() > 0.5 and views["float, 0..1"].max() < -0.99 and not about
PYTHON
