"""Solid bodies before the camera: rounded limbs and flat faces, lit from above, with their exact coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from underpass.lens import FOCAL, HEIGHT, WIDTH

MIRROR = np.array([1.0, -1.0, 1.0])  # across the floor


@dataclass(frozen=True, eq=False)
class Limb:
    """A round cone from `start` to `stop` (x, y, z), metres, with a radius at each end, of one colour (3,)."""

    start: np.ndarray
    stop: np.ndarray
    radii: tuple[float, float]
    colour: np.ndarray
    folds: float = 0.0  # how much the cloth creases


@dataclass(frozen=True, eq=False)
class Face:
    """A convex polygon (N, 3) of one colour (3,) with a normal (3,)."""

    corners: np.ndarray
    normal: np.ndarray
    colour: np.ndarray


class Canvas:
    """Light (H, W, 3) of bodies, weighted by how much of each pixel they cover, (H, W) in [0, 1]."""

    def __init__(self) -> None:
        self.light = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        self.cover = np.zeros((HEIGHT, WIDTH), np.float32)
        self._touched = (HEIGHT, 0, WIDTH, 0)

    def paint(self, window, alpha, light) -> None:
        """Add a part of a body before the others."""
        self.light[window] += (light - self.light[window]) * alpha[..., None]
        self.cover[window] += (1 - self.cover[window]) * alpha
        top, bottom, left, right = self._touched
        rows, columns = window
        self._touched = min(top, rows.start), max(bottom, rows.stop), min(left, columns.start), max(right, columns.stop)

    def over(self, below):
        """The bodies before what lies behind them."""
        return self.light + (1 - self.cover)[..., None] * below

    def add(self, parts, site, marked, mark: bool, *, mirrored: bool = False) -> None:
        """Draw a body before the others; `marked` (H, W) becomes `mark` as far as the body covers it."""
        own = Canvas()
        light = (*site.light(np.mean([_middle(part) for part in parts], axis=0)), site.tint)
        for part in sorted(parts, key=lambda part: -_depth(part, site.pose)):
            (_limb if isinstance(part, Limb) else _face)(own, part, site.pose, light, mirrored)
        top, bottom, left, right = own._touched
        here = slice(top, bottom), slice(left, right)
        behind = 1 - own.cover[here]
        self.light[here] = own.light[here] + behind[..., None] * self.light[here]
        self.cover[here] = 1 - behind * (1 - self.cover[here])
        marked[here] = own.cover[here] * mark + behind * marked[here]


def _middle(part):
    return (part.start + part.stop) / 2 if isinstance(part, Limb) else part.corners.mean(axis=0)


def _depth(part, pose) -> float:
    points = np.stack([part.start, part.stop]) if isinstance(part, Limb) else part.corners
    return float(pose.project(points)[1].mean())


def _limb(canvas, limb, pose, light, mirrored) -> None:
    flow, ambient, tint = pose.turn(light[0])[0], *light[1:]
    points = np.stack([limb.start, limb.stop]) * (MIRROR if mirrored else 1)
    (a, b), depths = pose.project(points)
    first, last = np.array(limb.radii) * FOCAL / depths
    window, x, y = _window(np.stack([a, b]), max(first, last) + 1)
    if window is None:
        return
    axis = b - a
    along = np.clip(((x - a[0]) * axis[0] + (y - a[1]) * axis[1]) / max(axis @ axis, 1e-6), 0, 1)
    radius = first + (last - first) * along
    dx, dy = x - a[0] - along * axis[0], y - a[1] - along * axis[1]
    away = np.hypot(dx, dy)
    alpha = np.clip(radius - away + 0.5, 0, 1)
    nx, ny = dx / np.maximum(radius, 0.3), dy / np.maximum(radius, 0.3)
    size = np.maximum(np.hypot(nx, ny), 1)
    nx, ny = nx / size, ny / size
    nz = -np.sqrt(np.maximum(1 - nx**2 - ny**2, 0))
    facing = np.maximum(nx * flow[0] + (-ny if mirrored else ny) * flow[1] + nz * flow[2], 0)
    crease = 1 + limb.folds * np.sin(11 * along + 5 * nx + 3 * np.sin(7 * along)) if limb.folds else 1
    lit = (1.1 * facing + ambient * (0.8 - 0.35 * ny)) * crease
    canvas.paint(window, alpha.astype(np.float32), (lit[..., None] * limb.colour * tint).astype(np.float32))


def _face(canvas, face, pose, light, mirrored) -> None:
    flow, ambient, tint = light
    corners, depths = pose.project(face.corners * (MIRROR if mirrored else 1))
    if depths.min() < 0.3:
        return
    window, x, y = _window(corners, 1)
    if window is None:
        return
    edges = np.roll(corners, -1, axis=0) - corners
    turn = np.sign(edges[0][0] * edges[1][1] - edges[0][1] * edges[1][0])
    inside = np.full(x.shape, np.inf)
    for corner, edge in zip(corners, edges, strict=True):
        length = max(np.hypot(*edge), 1e-6)
        inside = np.minimum(inside, turn * (edge[0] * (y - corner[1]) - edge[1] * (x - corner[0])) / length)
    lit = 1.1 * max(float(face.normal @ flow), 0) + ambient * (0.8 + 0.3 * face.normal[1])
    canvas.paint(window, np.clip(inside + 0.5, 0, 1).astype(np.float32), (lit * face.colour * tint).astype(np.float32))


def _window(points, margin):
    """The part of the frame around points, and its pixels' centres; None where it lies outside."""
    low, high = np.floor(points.min(axis=0) - margin).astype(int), np.ceil(points.max(axis=0) + margin).astype(int)
    left, right = max(low[0], 0), min(high[0] + 1, WIDTH)
    top, bottom = max(low[1], 0), min(high[1] + 1, HEIGHT)
    if left >= right or top >= bottom:
        return None, None, None
    x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
    return (slice(top, bottom), slice(left, right)), x, y


def block(middle, size, turn, colour, top=None):
    """A box: its middle on the floor (x, z), its size (width, height, depth), turned by an angle; faces to be drawn."""
    wide, tall, deep = size
    ground = np.array([(-wide, -deep), (wide, -deep), (wide, deep), (-wide, deep)]) / 2
    spin = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    ground = ground @ spin.T + np.asarray(middle)
    low = np.stack([ground[:, 0], np.zeros(4), ground[:, 1]], axis=-1)
    high = low + (0, tall, 0)
    faces = [Face(high, np.array([0.0, 1.0, 0.0]), colour * 1.1 if top is None else top)]
    for i in range(4):
        j = (i + 1) % 4
        out = (low[i] + low[j]) / 2 - low.mean(axis=0)
        faces.append(Face(np.stack([low[i], low[j], high[j], high[i]]), out / np.linalg.norm(out), colour))
    return faces
