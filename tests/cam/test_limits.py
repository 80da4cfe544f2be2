"""Scores meet at their extremes where something holds them there, and nowhere else."""

import pytest
import torch

from pytest_gradcam.cam.limits import limit

INPUTS = [
    scale * torch.randn(1, 4, generator=torch.Generator().manual_seed(i))
    for i, scale in enumerate([0, 1, 50, 900, 800])
]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (lambda z: z, None),
        (torch.relu, None),
        (lambda z: -torch.relu(z), None),
        (lambda z: z.clamp(min=-7), None),
        (lambda z: z * 0 + 3, None),
        (lambda z: torch.cat([z, torch.full((1, 2), 1e6)], 1), None),
        (lambda z: torch.nn.functional.normalize(z), None),
        (torch.tanh, 1),
        (lambda z: torch.tanh(z)[:, :1], 1),
        (lambda z: z.clamp(max=7), 7),
        (lambda z: 2 * z.softmax(1) - 1, 1),
        (lambda z: torch.tanh(z)[..., None, None].expand(1, 4, 2, 3), 1),
        (lambda z: z[..., None, None].expand(1, 4, 2, 3), None),
        (lambda z: z[:, :1], None),
        (lambda z: z[:, [0, 1, 2, 3, 0, 1, 2, 3]], None),  # classes that share their weights
        (lambda z: torch.tanh(z)[:, [0, 1, 2, 3, 0]], 1),
    ],
)
def test_where_scores_end(last, expected):
    found = limit([last(z) for z in INPUTS])
    assert found is None if expected is None else found == pytest.approx(expected)
