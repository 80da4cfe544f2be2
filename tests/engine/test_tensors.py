"""What a tensor holds."""

import pytest
import torch

from pytest_gradcam.cam.tensors import all_finite

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("values", "dtype", "finite"),
    [
        ([0.0, -1.0, 2.0], torch.float32, True),
        ([3e38, 3e38], torch.float32, True),  # their sum is not
        ([60000.0, 60000.0], torch.float16, True),
        ([1.0, NAN], torch.float32, False),
        ([INF, 1.0], torch.bfloat16, False),
        ([INF, -INF], torch.float32, False),
        ([-INF, -3e38], torch.float32, False),
    ],
)
def test_finite_values_whatever_their_sum(values, dtype, finite):
    assert all_finite(torch.tensor(values, dtype=dtype)) is finite
