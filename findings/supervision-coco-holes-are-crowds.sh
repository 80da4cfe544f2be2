#!/usr/bin/env bash
# supervision's COCO export marks every object that has a hole or two parts as a crowd (`iscrowd` 1), since its mask
# is written as a run-length code. COCO evaluation ignores crowds: such objects count neither as found nor as missed,
# and AP is -1 or that of the simple objects alone. A mask in COCO may be run-length encoded without being a crowd.
# Source: detections_to_coco_annotations in supervision 0.31.2.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(supervision==0.31.2 pycocotools==2.0.11 numpy==2.4.6 opencv-python-headless==5.0.0.93)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import contextlib, io, json
import cv2
import numpy as np
import supervision as sv
from importlib.metadata import version
from pycocotools import mask as codes
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

print("supervision", version("supervision"), "pycocotools", version("pycocotools"))
masks = np.zeros((3, 60, 60), bool)
masks[0, 5:35, 5:35] = True
masks[0, 15:25, 15:25] = False  # a ring
masks[1, 40:55, 5:15] = masks[1, 40:55, 20:30] = True  # an object in two parts, say behind a post
masks[2, 40:55, 40:55] = True
names = ["ring", "behind a post", "square"]
cv2.imwrite("image.png", np.zeros((60, 60, 3), np.uint8))
objects = sv.Detections(xyxy=sv.mask_to_xyxy(masks).astype(float), mask=masks, class_id=np.arange(3))
sv.DetectionDataset(names, ["image.png"], {"image.png": objects}).as_coco("images", "truth.json")


def precisions(path, found):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(path)
        image = truth.getImgIds()[0]
        results = [{"image_id": image, "category_id": category, "score": 0.9, "segmentation": codes.encode(np.asfortranarray(one))}
                   for category, one in zip(truth.getCatIds(), found)]
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][0, :, :, 0, 2].mean(0).round(6).tolist()


print("expected: iscrowd 0 for single objects; AP 1 for perfect masks, 0 for masks of nothing")
flags = [annotation["iscrowd"] for annotation in json.load(open("truth.json"))["annotations"]]
perfect = precisions("truth.json", masks.astype(np.uint8))
missed = precisions("truth.json", masks.astype(np.uint8)[:, ::-1, ::-1] & ~masks)
for name, *row in zip(names, flags, perfect, missed):
    print(f"seen: {name:13} iscrowd {row[0]}, AP of the perfect mask {row[1]:.1f}, of a wrong mask {row[2]:.1f}")
assert flags == [1, 1, 0] and perfect == [-1, -1, 1] and missed == [-1, -1, 0]
PYTHON
