"""The pinhole camera: rays from pixels, and pixels from points of the world.

World coordinates are metres: x to the right, y up from the floor, z along the tunnel, the camera above z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 320, 240
FOCAL = 262.0  # pixels: 63 degrees across


@dataclass(frozen=True)
class Pose:
    """Where the camera hangs, `place` (x, y, z), and where it looks: `pitch` down and `yaw` to the right, in radians."""

    place: tuple[float, float, float]
    pitch: float
    yaw: float

    def rays(self, scale: int = 1):
        """The direction (H, W, 3) in the world of every pixel's centre, at `scale` times the frame's size."""
        u = (np.arange(WIDTH * scale) + 0.5) / scale
        v = (np.arange(HEIGHT * scale) + 0.5) / scale
        a, b = np.meshgrid((u - WIDTH / 2) / FOCAL, -(v - HEIGHT / 2) / FOCAL)
        y = b * np.cos(self.pitch) - np.sin(self.pitch)
        z = b * np.sin(self.pitch) + np.cos(self.pitch)
        x, z = a * np.cos(self.yaw) + z * np.sin(self.yaw), -a * np.sin(self.yaw) + z * np.cos(self.yaw)
        return np.stack([x, y, z], axis=-1).astype(np.float32)

    def project(self, points):
        """The pixels (N, 2) and the depths (N,) of points (N, 3)."""
        x, y, z = (np.atleast_2d(points) - np.array(self.place)).T
        x, z = x * np.cos(self.yaw) - z * np.sin(self.yaw), x * np.sin(self.yaw) + z * np.cos(self.yaw)
        y, z = y * np.cos(self.pitch) + z * np.sin(self.pitch), z * np.cos(self.pitch) - y * np.sin(self.pitch)
        depth = np.maximum(z, 0.05)
        pixels = np.stack([WIDTH / 2 + FOCAL * x / depth, HEIGHT / 2 - FOCAL * y / depth], axis=-1)
        return pixels, depth

    def turn(self, vectors):
        """Directions (N, 3) of the world in the frame's axes: right, down, away."""
        x, y, z = np.atleast_2d(vectors).T
        x, z = x * np.cos(self.yaw) - z * np.sin(self.yaw), x * np.sin(self.yaw) + z * np.cos(self.yaw)
        y, z = y * np.cos(self.pitch) + z * np.sin(self.pitch), z * np.cos(self.pitch) - y * np.sin(self.pitch)
        return np.stack([x, -y, z], axis=-1)
