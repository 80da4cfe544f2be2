"""Marks burnt into every frame of a series: text, logos, masks of an overlay."""

from __future__ import annotations

import numpy as np
import scipy

from pytest_gradcam.masks._arguments import Bools
from pytest_gradcam.masks._frames import Frames, Levels

CHANGING = 15  # levels of standard deviation over the series, of a scene that says something
STEADY = 0.25  # of that of the scene: what a mark has at most, after JPEG
BLEND = 0.6  # of that of the scene: what the smoothed rim of a mark has at most
CERTAIN = 3  # standard errors between the mean gradient at a mark's edge and none
VISIBLE = 8  # levels per pixel of that gradient
OWN = 0.005  # of the frame: edges of the scene itself that stay in place, where a camera or a scene stands still
SMALLEST = 6  # pixels
TOUCHING = np.ones((3, 3), bool)


def marks(frames: Frames, defects: Bools) -> Bools:
    """What stays while the scene changes, inside edges that stay; (H, W). Nothing where the scene itself stays.

    A mark is as bright in every frame, and its outline has the same gradient in every frame (compare Dekel, Rubinstein,
    Liu, Freeman, CVPR 2017). Flat parts of a scene have no such outline.
    """
    spread = frames.levels.std(axis=0, dtype=np.float32).max(axis=-1)
    scene = float(np.median(spread))
    if scene < CHANGING or min(frames.shape) < 2:
        return np.zeros(frames.shape, bool)
    edges = _lasting_edges(frames)
    found = _outlined((spread <= STEADY * scene) & ~defects, edges | defects)  # a column may cross a mark
    rim = scipy.ndimage.binary_dilation(found, TOUCHING) & (spread <= BLEND * scene)
    near = scipy.ndimage.binary_dilation(found | defects, TOUCHING, iterations=3)
    stays = bool((edges & ~near).mean() > OWN)
    return np.zeros(frames.shape, bool) if stays else found | rim


def _lasting_edges(frames: Frames) -> Bools:
    """Where the gradient of the grey level is the same over the series, beyond chance."""
    steps = [np.stack(np.gradient(frame.mean(axis=-1, dtype=np.float32))) for frame in frames.levels]
    mean = np.mean(steps, axis=0)
    error = np.sqrt(np.var(steps, axis=0).sum(axis=0) / len(steps))
    strength: Levels = np.hypot(*mean)
    return np.asarray((strength >= VISIBLE) & (strength >= CERTAIN * (error + 0.5)))


def _outlined(steady: Bools, edges: Bools) -> Bools:
    """Those groups of touching steady pixels whose outline consists of lasting edges for the most part."""
    labels, _ = scipy.ndimage.label(steady, TOUCHING)
    found = np.zeros(steady.shape, bool)
    for label, (rows, columns) in enumerate(scipy.ndimage.find_objects(labels), start=1):
        window = (slice(max(rows.start - 1, 0), rows.stop + 1), slice(max(columns.start - 1, 0), columns.stop + 1))
        group = labels[window] == label
        outline = scipy.ndimage.binary_dilation(group, TOUCHING) & ~group
        if group.sum() >= SMALLEST and edges[window][outline].mean() >= 0.6:
            found[window] |= group
    return found
