"""Regions of an image: made from shapes, read from files and annotations, or detected as pixels that no model should use.

A mask is a bool array (H, W) in the pixels of the image that it belongs to, so numpy's own `|`, `&` and `~` combine
masks. `shape` is (H, W). Coordinates are pixel edges: x runs from 0 at the image's left edge to W at its right one, the
centre of the first pixel is at 0.5, and a pixel belongs to a region when its centre lies inside.
Bad input raises HeatmapError.
`lift(2)` is not a mask but a bound on the attention inside one: twice what chance would give.
"""

from pytest_gradcam.evidence.bounds import lift
from pytest_gradcam.masks._coco import from_coco
from pytest_gradcam.masks._cvat import from_cvat
from pytest_gradcam.masks._grow import dilate, grow_to_grid
from pytest_gradcam.masks._invalid import invalid_pixels, invalid_pixels_by_kind
from pytest_gradcam.masks._label_studio import from_label_studio
from pytest_gradcam.masks._labelme import from_labelme
from pytest_gradcam.masks._read import as_mask, load
from pytest_gradcam.masks._shapes import border, box, boxes, circle, polygon
from pytest_gradcam.masks._supervisely import from_supervisely
from pytest_gradcam.masks._via import from_via
from pytest_gradcam.masks._voc import from_voc
from pytest_gradcam.masks._yolo import from_yolo

__all__ = [
    "as_mask",
    "border",
    "box",
    "boxes",
    "circle",
    "dilate",
    "from_coco",
    "from_cvat",
    "from_label_studio",
    "from_labelme",
    "from_supervisely",
    "from_via",
    "from_voc",
    "from_yolo",
    "grow_to_grid",
    "invalid_pixels",
    "invalid_pixels_by_kind",
    "lift",
    "load",
    "polygon",
]
