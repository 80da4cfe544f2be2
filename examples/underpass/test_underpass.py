"""What a model that tells empty underpasses from pedestrians must look at, and what it must not.

At the top of the repository, for either model:

    pytest examples/underpass
    pytest examples/underpass --gradcam-weights=examples/underpass/weights/biased.safetensors
"""

import numpy as np
import pytest
from underpass import camera, dataset, model

from pytest_gradcam import masks

FIRST, COUNT = 3_000_000, 60  # seeds that no model was trained on


@pytest.fixture(scope="session")
def archive():
    """The ordinary test set: the recorder gives the label away, as it does where the models' training frames came from."""
    return list(dataset.archive(range(FIRST, FIRST + COUNT)))


@pytest.fixture(scope="session")
def images(archive):
    return [frame.image for frame in archive]


@pytest.fixture(params=[1, 3, 5, 7])
def pedestrian(request, archive):
    """A frame with pedestrians."""
    return archive[request.param]


@pytest.mark.gradcam(unchecked="allow")  # of predictions alone: it compares figures and looks at no heatmap
def test_nearly_every_frame_is_told_right(gradcam, archive, images):
    told = gradcam.predict(images).argmax(axis=1)
    right = [model.CLASSES[index] == frame.label for index, frame in zip(told, archive, strict=True)]
    assert np.mean(right) >= 0.98


def test_the_attention_lies_on_the_walkers(gradcam, pedestrian):
    gradcam(pedestrian.image, "pedestrian").assert_focus_within(pedestrian.walkers, at_least=masks.lift(4))


def test_the_attention_peaks_on_a_walker(gradcam, pedestrian):
    one_cell = 8  # of the grid, in pixels of the view
    gradcam(pedestrian.image, "pedestrian").assert_peak_within(pedestrian.walkers, tolerance=one_cell)


def test_the_attention_keeps_off_the_caption(gradcam, pedestrian):
    gradcam(pedestrian.image, "pedestrian").assert_focus_avoids(pedestrian.text, at_most=0.03)


def test_the_attention_keeps_off_dead_columns(gradcam, pedestrian):
    gradcam(pedestrian.image, "pedestrian").assert_focus_avoids(pedestrian.dead)


def test_the_date_does_not_matter(gradcam, images):
    gradcam.assert_no_reliance(images[:40], camera.stamp_area())


def test_the_dead_columns_do_not_matter(gradcam, images):
    gradcam.assert_no_reliance(images[:40], camera.dead_columns())


def test_a_pedestrian_stays_one_under_another_date(gradcam, pedestrian, images):
    gradcam.assert_ignores(pedestrian.image, camera.stamp_area(), target="pedestrian", others=images[:20:2])


def test_without_the_walkers_there_is_no_pedestrian(gradcam, pedestrian, images):
    gradcam.assert_relies_on(pedestrian.image, pedestrian.walkers, target="pedestrian", others=images[:20:2])
