"""Maps of our engine, and the same from pytorch-grad-cam's own classes with their own hooks."""

import warnings

import numpy as np

from pytest_gradcam.cam.compute import make
from pytest_gradcam.cam.method import Method
from pytest_gradcam.cam.outputs import Goal
from pytest_gradcam.state.guard import untouched

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget


def explain(method, model, inputs, site, goals, batch_size=16):
    """The maps of one goal for each image: a class, or a callable of the output."""
    wanted = [Goal(index=goal) if isinstance(goal, int) else Goal(function=goal) for goal in goals]
    with untouched(model):
        return make(model, inputs, site, wanted, Method(method, batch_size)).grids


def library(kind, model, inputs, site, targets, **options):
    """pytorch-grad-cam's map, from its constructor to its scaling to [0, 1]."""
    spatial = None if site.layout == "BCHW" else site.spatial
    layers = [] if kind == "FullGrad" else [model.get_submodule(site.name)]
    cam = getattr(pytorch_grad_cam, kind)(model, layers, reshape_transform=spatial, **options)
    np.random.seed(0)
    try:
        return cam(inputs.clone(), targets)
    finally:
        getattr(cam, "base_cam", cam).activations_and_grads.release()
        model.zero_grad(set_to_none=True)


def as_library_scales(maps, size):
    scaled = scale_cam_image(np.maximum(maps, 0), (size, size))
    return scale_cam_image(scaled)


def targets(*indices):
    return [ClassifierOutputTarget(index) for index in indices]
