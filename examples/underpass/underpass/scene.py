"""Frames and their masks: who walks where, in which underpass, on which recorder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

import numpy as np

from underpass import camera, figures
from underpass.lens import HEIGHT, WIDTH
from underpass.props import Prop, prop
from underpass.site import site
from underpass.walkers import Walker, walker

CLASSES = ("empty", "pedestrian")
VISIBLE = 600  # pixels of people that a frame shows at least, if there are any


@dataclass(frozen=True)
class Scene:
    """All that a frame is made from."""

    site: int
    walkers: tuple[Walker, ...]
    props: tuple[Prop, ...]
    shot: camera.Shot


@dataclass(frozen=True, eq=False)
class Light:
    """What reaches the lens, `image` (H, W, 3), and where it comes from people or is changed by them, (H, W) each."""

    image: np.ndarray
    people: np.ndarray
    traces: np.ndarray


@dataclass(frozen=True, eq=False)
class Frame:
    """What the camera sent, `picture` uint8 (H, W, 3), and its masks before the recorder wrote on it, bool (H, W) each.

    `people` are the pixels that show more of a person than of anything else, `traces` those where a person's shadow or
    mirror image changes the floor, `dead` those that record nothing.
    """

    scene: Scene
    picture: np.ndarray
    people: np.ndarray
    traces: np.ndarray
    dead: np.ndarray

    @property
    def label(self) -> str:
        return CLASSES[bool(self.scene.walkers)]

    @cached_property
    def image(self):
        """The frame uint8 (H, W, 3) as it is kept: the picture under its caption."""
        levels, text = camera.caption(self.scene.shot)
        return np.where(text[..., None], levels[..., None], self.picture)

    @cached_property
    def text(self):
        """The pixels (H, W) that the recorder wrote."""
        return camera.caption(self.scene.shot)[1]

    @property
    def walkers(self):
        """The pixels (H, W) of people that can be seen."""
        return self.people & ~self.text & ~self.dead

    def on(self, recorder: str) -> Frame:
        """The same moment on another recorder."""
        shot = replace(self.scene.shot, recorder=recorder)
        return Frame(replace(self.scene, shot=shot), self.picture, self.people, self.traces, self.dead)


def scene(seed: int, label: str, recorder: str, sites: range, *, attempt: int = 0) -> Scene:
    """A scene drawn at random in one of the underpasses."""
    rng = np.random.default_rng([seed, attempt])
    place = int(rng.choice(np.array(sites)))
    width = site(place).width
    props = tuple(prop(rng, width) for _ in range(rng.choice([0, 1, 2, 3], p=[0.35, 0.35, 0.2, 0.1])))
    people = int(rng.choice([1, 2, 3], p=[0.6, 0.27, 0.13])) if label == "pedestrian" else 0
    walkers = tuple(walker(rng, _spot(rng, place)) for _ in range(people))
    return Scene(place, walkers, props, camera.shot(rng, recorder))


def _spot(rng, place) -> tuple[float, float]:
    """A place on the floor that the camera sees."""
    here = site(place)
    while True:
        z = float(np.exp(rng.uniform(np.log(3.6), np.log(9.0))))
        x = float(rng.uniform(-0.5, 0.5) * (here.width - 0.9))
        (pixel,), _ = here.pose.project([(x, 1.0, z)])
        if 18 < pixel[0] < WIDTH - 18:
            return x, z


def render(what: Scene) -> Frame:
    """The frame of a scene; the same scene gives the same frame."""
    light = light_of(what)
    picture = camera.break_columns(camera.develop(light.image, what.shot))
    return Frame(what, picture, light.people, light.traces, camera.dead_columns())


def frame(seed: int, label: str, recorder: str, sites: range) -> Frame:
    """The frame of a scene that is drawn at random, drawn again where things hide its people."""
    drawn = (render(scene(seed, label, recorder, sites, attempt=attempt)) for attempt in count())
    return next(one for one in drawn if label == "empty" or one.walkers.sum() >= VISIBLE)


def light_of(what: Scene) -> Light:
    """The light of a scene before the camera adds anything of its own."""
    here = site(what.site)
    standing, mirrored = figures.Canvas(), figures.Canvas()
    people, reflected = np.zeros((2, HEIGHT, WIDTH), np.float32)
    shade, cast_by_people = np.ones((2, HEIGHT, WIDTH), np.float32)
    for body in sorted([*what.walkers, *what.props], key=lambda body: -body.place[1]):
        human = isinstance(body, Walker)
        standing.add(body.parts(), here, people, human)
        mirrored.add(body.parts(), here, reflected, human, mirrored=True)
        cast = _shadow(here, body)
        shade *= cast
        cast_by_people *= cast if human else 1
    ground = here.surface * shade[..., None] + here.wet[..., None] * mirrored.over(here.mirror)
    traces = (cast_by_people < 1) | (reflected * here.wet > 0)
    return Light(standing.over(ground) + here.glow, people > 0.5, traces & (people <= 0.5))


def _shadow(here, body):
    """What a body leaves of the light on the floor, (H, W) in (0, 1]: dark at its feet, long away from the lamps."""
    left = np.ones((HEIGHT, WIDTH), np.float32)
    x, z = np.moveaxis(here.ground - np.array(body.place), -1, 0)
    near = (np.abs(x) < 2.5) & (np.abs(z) < 3)
    x, z = x[near], z[near]
    dark = 0.65 * np.exp(-(x**2 + z**2) / (2 * 0.2**2))
    flow = [(lamp, np.array([body.place[0] - lamp.place[0], body.place[1] - lamp.place[2]])) for lamp in here.lamps]
    powers = np.array([lamp.power / (way @ way + 4) for lamp, way in flow])
    for (lamp, way), share in zip(flow, powers / max(powers.sum(), 1e-6), strict=True):
        if share < 0.12:
            continue
        tall = min(body.height, 0.8 * lamp.place[1])
        length = min(tall / (lamp.place[1] - tall) * np.hypot(*way), 2.5)
        ahead = way / max(np.hypot(*way), 1e-6)
        along, aside = x * ahead[0] + z * ahead[1], x * ahead[1] - z * ahead[0]
        spread = 0.17 + 0.06 * np.clip(along, 0, 3)
        inside = (
            1 / (1 + np.exp(-np.clip(along / 0.08, -30, 30))) / (1 + np.exp(np.clip((along - length) / 0.25, -30, 30)))
        )
        dark = np.maximum(dark, 0.75 * share * inside * np.exp(-((aside / spread) ** 2)))
    left[near] = 1 - np.where(dark < 0.01, 0, dark)
    return left
