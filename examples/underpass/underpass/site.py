"""An underpass without people: its tunnel, its lamps, its puddles, and the light that reaches the camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from underpass.lens import FOCAL, HEIGHT, WIDTH, Pose
from underpass.texture import Noise, grid, line, mix

FINER = 2  # rays per pixel and axis
FLOOR, CEILING, LEFT, RIGHT, END = range(5)
NORMALS = np.array([(0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, -1)], np.float32)
WALLS = ((0.62, 0.6, 0.52), (0.5, 0.55, 0.53), (0.58, 0.5, 0.36), (0.4, 0.47, 0.55), (0.66, 0.65, 0.63))
BANDS = ((0.05, 0.13, 0.3), (0.32, 0.06, 0.05), (0.04, 0.2, 0.13), (0.35, 0.22, 0.03), (0.08, 0.08, 0.09))
LIGHTS = ((1.0, 0.9, 0.72), (0.88, 1.0, 0.93), (1.0, 0.72, 0.42), (0.92, 0.96, 1.0))


@dataclass(frozen=True)
class Lamp:
    place: tuple[float, float, float]
    power: float


@dataclass(frozen=True, eq=False)
class Site:
    """One underpass as the camera sees it, in linear light; images are (H, W, ...) of the frame.

    `surface` is what floors and walls send back, `wet` (H, W) how much of the mirror image a pixel of the floor adds,
    `mirror` that image where it is wet, `ground` (H, W, 2) the place (x, z) on the floor, NaN elsewhere.
    """

    pose: Pose
    width: float
    height: float
    length: float
    lamps: tuple[Lamp, ...]
    tint: np.ndarray
    daylight: float
    surface: np.ndarray
    wet: np.ndarray
    mirror: np.ndarray
    ground: np.ndarray
    glow: np.ndarray

    def light(self, point):
        """The flow of light (3,) at a point, pointing to where it comes from, and the ambient level there."""
        flow = np.zeros(3)
        for lamp in self.lamps:
            way = np.array(lamp.place) - point
            distance = way @ way + 0.35
            flow += lamp.power * way / distance**1.5
        day = self.daylight * np.exp(-(self.length - point[2]) / 4)
        return flow + np.array([0, 0.2, 1]) * day, _ambient(self.lamps, point[2]) + 0.3 * day


@lru_cache(maxsize=64)
def site(seed: int) -> Site:
    """The underpass of this seed."""
    return _Builder(np.random.default_rng([seed, 71])).build()


class _Builder:
    """Draws the underpass's properties, then follows the rays."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.noise = Noise(rng)
        self.width, self.height, self.length = rng.uniform(3.4, 4.8), rng.uniform(2.55, 2.85), rng.uniform(20, 32)
        side = rng.uniform(-0.32, 0.32) * self.width
        aim = rng.uniform(11, 16)
        self.pose = Pose((side, self.height - 0.22, 0.0), np.deg2rad(rng.uniform(10, 14)), -np.arctan2(side * 0.9, aim))
        self.tint = np.array(LIGHTS[rng.integers(len(LIGHTS))])
        self.daylight = float(rng.choice([0.02, 0.5, 1.2, 2.2]))
        self.lamps = self._lamps()
        self.tile = ((0.3, 0.15), (0.15, 0.15), (0.6, 0.3), (0.24, 0.08))[rng.integers(4)]
        self.wall = np.array(WALLS[rng.integers(len(WALLS))]) * rng.uniform(0.75, 1.1)
        self.band = np.array(BANDS[rng.integers(len(BANDS))])
        self.band_at = rng.uniform(1.15, 1.6), rng.uniform(0.12, 0.4)
        self.rail = rng.random() < 0.6
        self.puddles, self.damp = rng.uniform(0.04, 0.3), rng.uniform(0.05, 0.25)
        self.floor = rng.uniform(0.13, 0.3) * np.array([1.0, 0.97, 0.92])
        self.slab = float(rng.choice([0.4, 0.6, 1.0]))
        self.stripe = rng.random() < 0.35
        self.drain = 0.28 * rng.choice([-1, 1])
        self.posters = [self._poster() for _ in range(rng.integers(0, 5))]

    def _lamps(self) -> tuple[Lamp, ...]:
        rng, spacing = self.rng, self.rng.uniform(3.0, 5.0)
        across = float(rng.choice([0.0, 0.0, -0.38, 0.38])) * self.width
        where = np.arange(rng.uniform(1.0, 3.0), self.length - 0.8, spacing)
        powers = rng.uniform(0.7, 1.15, where.size) * (rng.random(where.size) > 0.14) * spacing / 3.6
        return tuple(Lamp((across, self.height - 0.06, float(z)), float(p)) for z, p in zip(where, powers, strict=True))

    def _poster(self):
        rng = self.rng
        z, low = rng.uniform(3, self.length - 3), rng.uniform(0.7, 1.0)
        paper, ink = rng.uniform(0.05, 0.75, (2, 3))
        rows = np.where(rng.random((12, 1, 1)) < 0.4, ink, paper) * np.ones((12, 6, 3))
        rows[2:7, 1:5] = rng.uniform(0.05, 0.6, 3)  # a picture, between lines of print
        rows[:, (0, 5)], rows[(0, 11), :] = paper, paper
        return rng.choice([LEFT, RIGHT]), z, z + rng.uniform(0.6, 1.2), low, low + rng.uniform(0.8, 1.1), rows

    def build(self) -> Site:
        rays = self.pose.rays(FINER)
        origin = np.broadcast_to(np.array(self.pose.place, np.float32), rays.shape)
        kind, points, far = self._hit(origin, rays)
        surface = self._radiance(kind, points, far / (FOCAL * FINER), rays)
        on_floor = kind == FLOOR
        wet, mirror = np.zeros(kind.shape, np.float32), np.zeros_like(surface)
        wet[on_floor], mirror[on_floor], puddle = self._reflected(points[on_floor], rays[on_floor])
        surface[on_floor] *= (1 - 0.55 * puddle)[:, None]
        ground = np.where(on_floor[..., None], points[..., (0, 2)], np.nan)
        seen = _shrink(wet)
        glow = _shrink(surface + wet[..., None] * mirror)
        return Site(
            self.pose, self.width, self.height, self.length, self.lamps, self.tint, self.daylight,
            surface=_shrink(surface),
            wet=seen,
            mirror=_shrink(wet[..., None] * mirror) / np.maximum(seen, 1e-4)[..., None],
            ground=ground[FINER // 2 :: FINER, FINER // 2 :: FINER],
            glow=np.stack([_halo(glow[..., c]) for c in range(3)], axis=-1),
        )  # fmt: skip

    def _hit(self, origin, rays):
        """What the rays meet first: kind (...), points (..., 3), distance (...)."""
        planes = [(1, 0.0), (1, self.height), (0, -self.width / 2), (0, self.width / 2), (2, self.length)]
        with np.errstate(divide="ignore", invalid="ignore"):
            ways = np.stack([(level - origin[..., axis]) / rays[..., axis] for axis, level in planes], axis=-1)
        ways = np.where(ways > 1e-3, ways, np.inf)
        kind = ways.argmin(axis=-1)
        far = np.take_along_axis(ways, kind[..., None], axis=-1)[..., 0]
        return kind, origin + far[..., None] * rays, far * np.linalg.norm(rays, axis=-1)

    def _radiance(self, kind, points, footprint, rays):
        """The light (..., 3) that these points send back."""
        colour, light = np.zeros((*kind.shape, 3), np.float32), np.zeros((*kind.shape, 3), np.float32)
        for one in range(5):
            here = kind == one
            if not here.any():
                continue
            slant = np.abs(rays[here] @ NORMALS[one]) / np.linalg.norm(rays[here], axis=-1)
            x, y, z = points[here].T
            near = footprint[here]
            along = near / np.maximum(slant, 0.02)
            paint = {FLOOR: self._ground, CEILING: self._ceiling, END: self._end}.get(one, self._wall)
            albedo, own = paint(one, x, y, z, near, along)
            colour[here] = albedo * self._irradiance(points[here], NORMALS[one]) + own
        return colour + light

    def _irradiance(self, points, normal):
        total = np.zeros(len(points), np.float32)
        for lamp in self.lamps:
            way = np.array(lamp.place, np.float32) - points
            square = (way**2).sum(axis=-1) + 0.35
            falling = np.maximum(way @ normal, 0.0) / np.sqrt(square)
            down = np.clip(way[:, 1] / np.sqrt(square), 0, 1)
            total += lamp.power * falling * (0.12 + 0.88 * down**2) / square
        x, y, z = points.T
        closed = 0.55 + 0.45 * np.clip(np.sort(np.stack([self.width / 2 - np.abs(x), y]), axis=0)[1] / 0.5, 0, 1)
        day = self.daylight * np.exp(-(self.length - z) / 4)
        lit = (3.6 * total + _ambient(self.lamps, z)) * closed
        return lit[:, None] * self.tint.astype(np.float32) + (day * closed)[:, None] * np.array([0.85, 0.95, 1.1])

    def _ground(self, _, x, y, z, near, along):
        grain = self.noise(x * 9, z * 9, 4)
        stain = self.noise(x * 0.9, z * 0.6 + 40, 4)
        tone = (0.72 + 0.35 * grain) * (0.6 + 0.65 * stain)
        slabs = self.noise.cell(np.floor(x / self.slab), np.floor(z / self.slab))
        colour = self.floor * (tone * (0.88 + 0.24 * slabs))[:, None]
        joint = np.maximum(grid(x, self.slab, 0.012, near), grid(z, self.slab, 0.012, along))
        colour = mix(colour, colour * 0.45, joint)
        colour = mix(colour, (0.02, 0.02, 0.02), line(x, self.drain * self.width * 1.5, 0.1, near) * 0.8)
        if self.stripe:
            worn = np.clip(self.noise(x * 6, z * 3 + 9, 3) * 3 - 0.7, 0, 1)
            colour = mix(colour, (0.62, 0.6, 0.55), line(x, 0.1, 0.09, near) * worn)
        return colour * (0.7 + 0.3 * np.clip((self.width / 2 - np.abs(x)) / 0.3, 0, 1))[:, None], 0

    def _ceiling(self, _, x, y, z, near, along):
        stain = self.noise(x * 0.8 + 5, z * 0.5, 4)
        colour = np.array([0.42, 0.41, 0.39]) * (0.65 + 0.5 * stain)[:, None]
        colour = mix(colour, colour * 0.5, np.maximum(grid(x, 1.2, 0.02, near), grid(z, 1.2, 0.02, along)))
        own = np.zeros_like(colour)
        for lamp in self.lamps:
            case = line(x, lamp.place[0], 0.26, near) * line(z, lamp.place[2], 1.34, along)
            tube = line(x, lamp.place[0], 0.15, near) * line(z, lamp.place[2], 1.2, along)
            colour = mix(colour, (0.3, 0.3, 0.3), case)
            own += tube[:, None] * (9 * lamp.power * self.tint + 0.05)
        return colour, own

    def _wall(self, side, x, y, z, near, along):
        wide, tall = self.tile
        shift = np.floor(y / tall) % 2 * (wide / 2) if wide != tall else 0
        each = self.noise.cell(np.floor((z + shift) / wide) + 61 * side, np.floor(y / tall))
        colour = self.wall * (0.87 + 0.26 * np.where(along > wide, 0.5, each))[:, None]
        colour = mix(colour, self.band * (0.8 + 0.4 * each)[:, None], line(y, *self.band_at, near))
        colour = mix(colour, (0.09, 0.09, 0.09), line(y, 0.06, 0.14, near))
        joint = np.maximum(grid(z + shift, wide, 0.012, along), grid(y, tall, 0.01, near))
        colour = mix(colour, colour * 0.5, joint)
        for at, start, stop, low, high, print_ in self.posters:
            if at == side:
                inside = line(z, (start + stop) / 2, stop - start, along) * line(y, (low + high) / 2, high - low, near)
                row = np.clip((high - y) / (high - low) * 12, 0, 11).astype(int)
                column = np.clip((z - start) / (stop - start) * 6, 0, 5).astype(int)
                colour = mix(colour, print_[row, column], inside)
        dirt = self.noise(z * 1.1 + 30 * side, y * 1.6, 4)
        streak = self.noise(z * 5 + 50 * side, y * 0.5, 2)
        grime = np.clip(
            0.75 * np.exp(-y / 0.5) * dirt * 1.6 + np.clip(dirt * 2.4 - 1.35, 0, 0.5) + 0.25 * streak, 0, 0.8
        )
        colour = mix(colour, colour * np.array([0.42, 0.38, 0.32]), grime)
        if self.rail:
            colour = mix(colour, colour * 0.5, line(y, 0.86, 0.1, near) * 0.8)
            colour = mix(colour, (0.55, 0.55, 0.55), line(y, 0.95, 0.05, near))
        return colour, 0

    def _end(self, _, x, y, z, near, along):
        half, top = 0.38 * self.width, 0.84 * self.height
        inside = line(x, 0, 2 * half, near) * line(y, top / 2, top, near)
        steps = 0.55 + 0.45 * ((y / 0.17) % 1)
        sky = np.clip((y - 0.9) / 0.9, 0, 1)
        day = self.daylight * (0.25 * steps * np.clip(y / 0.5 + 0.3, 0, 1) * (1 - sky) + 1.5 * sky)
        colour = mix(np.broadcast_to(self.wall * 0.7, (len(x), 3)), (0.15, 0.15, 0.15), inside)
        return colour, (inside * day)[:, None] * np.array([0.86, 0.95, 1.08])

    def _reflected(self, points, rays):
        """How wet floor points are, what they mirror, and how much of a puddle they lie in."""
        x, _, z = points.T
        pool = self.noise(x * 0.55 + 3, z * 0.28 + 11, 4)
        puddle = np.clip((pool - np.quantile(pool, 1 - self.puddles)) / 0.02, 0, 1)
        up = -rays[:, 1] / np.linalg.norm(rays, axis=-1)
        fresnel = 0.03 + 0.97 * (1 - up) ** 5
        wet = fresnel * (puddle + (1 - puddle) * self.damp * (0.4 + 1.2 * self.noise(x * 2, z * 2, 2))) * 0.9
        ripple = (self.noise(x * 7, z * 7, 2) - 0.5) * np.where(puddle > 0.5, 0.012, 0.2)
        back = rays * np.array([1, -1, 1], np.float32)
        back[:, 0] += ripple * back[:, 2]
        back[:, 1] *= 1 + 0.8 * ripple
        kind, hit, far = self._hit(points + np.array([0, 1e-3, 0], np.float32), back)
        return wet, self._radiance(kind, hit, far / FOCAL + 0.01, back), puddle


def _ambient(lamps, z):
    """What floor, walls and ceiling throw about, at this depth."""
    near = sum(lamp.power * np.exp(-(((z - lamp.place[2]) / 3.5) ** 2)) for lamp in lamps)
    return 0.035 + 0.07 * near


def _shrink(image):
    rows, columns = image.shape[0] // HEIGHT, image.shape[1] // WIDTH
    parts = np.minimum(image, 6).reshape(HEIGHT, rows, WIDTH, columns, *image.shape[2:])
    return parts.mean(axis=(1, 3)).astype(np.float32)


def _halo(light):
    """What stray light in the lens adds around what is over-exposed."""
    over = np.clip(light - 1, 0, 4)
    return (0.05 * gaussian_filter(over, 4) + 0.05 * gaussian_filter(over, 14)).astype(np.float32)
