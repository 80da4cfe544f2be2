#!/usr/bin/env bash
# pycocotools: a ground-truth annotation with id 0 can never be matched, because a match is stored as the id and 0
# means 'none'. COCO's format says only that ids are unique; files numbered from 0 are common. A perfect detector gets
# AP 0.
# Source: COCOeval.evaluateImg and accumulate, pycocotools 2.0.11.
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
import contextlib, io
from importlib.metadata import version
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

def average_precision(annotation_id):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        box = dict(image_id=1, category_id=1, bbox=[10, 10, 50, 50])
        truth.dataset = dict(images=[dict(id=1, height=100, width=100)], categories=[dict(id=1, name="cat")],
                             annotations=[dict(id=annotation_id, area=2500, iscrowd=0, **box)])
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes([dict(score=0.9, **box)]), "bbox")
        run.evaluate(), run.accumulate(), run.summarize()
    return round(float(run.stats[0]), 6)

print("pycocotools", version("pycocotools"))
print("expected: AP 1.0 for one detection that equals the one annotation, whatever its id")
seen = {annotation_id: average_precision(annotation_id) for annotation_id in (1, 0)}
print("seen: AP by annotation id:", seen)
assert seen == {1: 1.0, 0: 0.0}
PYTHON
