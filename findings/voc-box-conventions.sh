#!/usr/bin/env bash
# Pascal VOC counts pixels from 1, and xmax, ymax belong to the box: 1..10 is the whole of a 10 x 10 image. globox and
# pybboxes take the numbers for coordinates from 0 (81 pixels, shifted by one), supervision corrects them (100
# pixels).
# Source: the VOC2012 development kit for the convention; the readers of the three packages.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(globox==2.9.0 pybboxes==0.1.6 supervision==0.31.2 numpy==2.4.6 pillow==13.0.0)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path
from globox import AnnotationSet
from PIL import Image
import pybboxes, supervision

for name in ("globox", "pybboxes", "supervision"):
    print(name, version(name))
Path("labels").mkdir(), Path("images").mkdir()
Image.new("RGB", (10, 10)).save("images/a.png")
Path("labels/a.xml").write_text(
    "<annotation><filename>a.png</filename><size><width>10</width><height>10</height><depth>3</depth></size><object>"
    "<name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>10</ymax></bndbox></object></annotation>")
print("expected: x, y, width, height = 0, 0, 10, 10 (the whole image)")
box = next(iter(AnnotationSet.from_pascal_voc("labels"))).boxes[0]
x0, y0, x1, y1 = next(iter(supervision.DetectionDataset.from_pascal_voc("images", "labels").annotations.values())).xyxy[0].tolist()
seen = {"globox": (box.xmin, box.ymin, box.width, box.height),
        "pybboxes": tuple(pybboxes.convert_bbox((1, 1, 10, 10), from_type="voc", to_type="coco")),
        "supervision": (x0, y0, x1 - x0, y1 - y0)}
for name, numbers in seen.items():
    print("seen:", name, numbers)
assert seen == {"globox": (1, 1, 9, 9), "pybboxes": (1, 1, 9, 9), "supervision": (0, 0, 10, 10)}
PYTHON
