"""A warning points at the line of the user's check; apart from the others, for mutmut puts a frame between."""

import numpy as np
import pytest

from pytest_gradcam import GradcamWarning, Heatmap, masks


def test_a_warning_names_the_users_file():
    heatmap = Heatmap.from_array([[1, 0], [0, 0]], np.zeros((8, 6, 3), np.uint8))
    with pytest.warns(GradcamWarning, match="coarser than the mask") as caught:
        heatmap.assert_peak_within(masks.box((8, 6), (0, 0, 3, 3)))
    assert [warning.filename for warning in caught] == [__file__]
