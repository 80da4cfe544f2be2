"""People on foot: build, clothes and gait drawn from a seed, as limbs in the world."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from underpass.figures import Limb

SKINS = ((0.55, 0.36, 0.27), (0.42, 0.26, 0.18), (0.24, 0.14, 0.09), (0.12, 0.07, 0.05), (0.62, 0.44, 0.35))
HAIRS = ((0.015, 0.012, 0.01), (0.05, 0.03, 0.02), (0.14, 0.08, 0.04), (0.3, 0.22, 0.12), (0.32, 0.32, 0.32))
CLOTHES = (
    (0.02, 0.02, 0.025), (0.03, 0.04, 0.08), (0.08, 0.08, 0.085), (0.16, 0.14, 0.11), (0.05, 0.09, 0.05),
    (0.3, 0.04, 0.04), (0.42, 0.4, 0.37), (0.06, 0.12, 0.28), (0.5, 0.33, 0.05), (0.2, 0.06, 0.12), (0.6, 0.6, 0.58),
)  # fmt: skip
TROUSERS = ((0.02, 0.02, 0.025), (0.04, 0.06, 0.12), (0.07, 0.07, 0.07), (0.15, 0.12, 0.08), (0.09, 0.12, 0.18))
TOPS = ("coat", "jacket", "shirt", "hoodie")


@dataclass(frozen=True)
class Walker:
    """One person: where on the floor (x, z), heading (0 comes towards the camera, in radians), gait and looks."""

    place: tuple[float, float]
    heading: float
    height: float
    build: float
    phase: float
    stride: float  # the largest angle of a thigh; 0 stands still
    top: str
    skirt: bool
    head: str  # hair, long, cap, hood
    bag: str  # none, rucksack, shoulder, carrier
    colours: tuple[tuple[float, float, float], ...]  # skin, hair, top, trousers, shoes, bag

    def dyed(self, colour) -> Walker:
        """The same person, all in one colour."""
        return replace(self, colours=(tuple(colour),) * len(self.colours))

    @property
    def feet(self):
        return np.array([self.place[0], 0.0, self.place[1]])

    def parts(self):
        """The body in the world."""
        return _Body(self).limbs


def walker(rng: np.random.Generator, place: tuple[float, float]) -> Walker:
    """A person at a place, the rest drawn at random."""
    standing = rng.random() < 0.12
    along = rng.choice([0.0, np.pi]) + rng.normal(0, 0.3)
    across = rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.4)

    def pick(options):
        return options[rng.integers(len(options))]

    return Walker(
        place=place,
        heading=float(along if rng.random() < 0.75 else across),
        height=float(rng.choice([rng.normal(1.72, 0.09), rng.normal(1.3, 0.12)], p=[0.9, 0.1])),
        build=float(rng.uniform(0.85, 1.3)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=0.03 if standing else float(rng.uniform(0.28, 0.52)),
        top=str(rng.choice(TOPS)),
        skirt=bool(rng.random() < 0.18),
        head=str(rng.choice(["hair", "long", "cap", "hood"], p=[0.4, 0.25, 0.15, 0.2])),
        bag=str(rng.choice(["none", "rucksack", "shoulder", "carrier"], p=[0.45, 0.25, 0.15, 0.15])),
        colours=(pick(SKINS), pick(HAIRS), pick(CLOTHES), pick(TROUSERS), (0.03, 0.028, 0.026), pick(CLOTHES)),
    )


class _Body:
    """A skeleton in the walker's own axes (right, up, ahead) with flesh and clothes on it."""

    def __init__(self, who: Walker) -> None:
        self.who, self.limbs = who, []
        h = self.h = who.height
        self.skin, self.hair, self.cloth, self.legs, self.shoes, self.bag = (np.array(c) for c in who.colours)
        self.hip, self.shoulder = 0.5 * h, 0.81 * h
        self.lean = 0.03 + 0.06 * who.stride
        lows = [self._leg(side) for side in (-1, 1)]
        self._torso()
        for side in (-1, 1):
            self._arm(side)
        self._head()
        self._carried()
        self._stand(min(lows))

    def _add(self, start, stop, radii, colour, folds=0.0) -> None:
        self.limbs.append(Limb(np.array(start, float), np.array(stop, float), radii, colour, folds))

    def _leg(self, side):
        h, who = self.h, self.who
        phase = who.phase + (0 if side > 0 else np.pi)
        thigh = who.stride * np.sin(phase)
        bend = 0.08 + 1.1 * who.stride * max(0.0, np.cos(phase)) ** 1.5
        hip = np.array([side * 0.052 * h, self.hip, 0])
        knee = hip + 0.245 * h * np.array([0, -np.cos(thigh), np.sin(thigh)])
        ankle = knee + 0.235 * h * np.array([0, -np.cos(thigh - bend), np.sin(thigh - bend)])
        toe = ankle + 0.1 * h * np.array([0.1 * side, -0.12 + 0.5 * np.sin(bend - thigh) * -1, 0.9])
        thick = who.build**0.6
        bare = self.skin if who.skirt else self.legs
        self._add(hip, knee, (0.054 * h * thick, 0.036 * h * thick), self.legs, 0.08)
        self._add(knee, ankle, ((0.037 if not who.skirt else 0.03) * h * thick, 0.026 * h), bare, 0.08)
        self._add(ankle, toe, (0.027 * h, 0.02 * h), self.shoes)
        return min(ankle[1] - 0.027 * h, toe[1] - 0.02 * h)

    def _torso(self) -> None:
        h, who = self.h, self.who
        wide, lean = who.build, self.lean * self.h
        bulk = {"coat": 1.18, "jacket": 1.12, "hoodie": 1.08, "shirt": 0.95}[who.top]
        for side in (-1, 0, 1):
            top = (side * 0.068 * h * wide**0.5, self.shoulder - (0.068 if side else 0.035) * h, lean)
            waist = (side * 0.045 * h * wide, self.hip + 0.05 * h, 0)
            girth = ((0.05 if side else 0.056) * h * bulk * wide**0.3, 0.058 * h * bulk * wide**0.7)
            self._add(top, waist, girth, self.cloth, 0.06)
            if who.top == "coat" or who.skirt:
                hem = 0.29 * h if who.top == "coat" else 0.33 * h
                cloth = self.cloth if who.top == "coat" else self.legs
                swing = 0.05 * h * who.stride * side * np.sin(who.phase)
                self._add(waist, (side * 0.062 * h * wide, hem, swing), (0.058 * h * bulk, 0.07 * h * bulk), cloth, 0.1)
            else:
                self._add(
                    waist, (side * 0.04 * h, self.hip - 0.02 * h, 0), (0.056 * h * bulk, 0.056 * h), self.cloth, 0.05
                )
        self._add(
            (0, self.shoulder, lean), (0, self.shoulder + 0.065 * h, lean * 1.3), (0.036 * h, 0.03 * h), self.skin
        )

    def _arm(self, side) -> None:
        h, who = self.h, self.who
        swing = -0.75 * who.stride * np.sin(who.phase + (0 if side > 0 else np.pi))
        carrying = who.bag == "carrier" and side > 0
        swing *= 0.3 if carrying else 1
        bend = 0.1 if carrying else 0.25 + 0.5 * who.stride
        root = np.array([side * 0.112 * h * who.build**0.5, self.shoulder - 0.045 * h, self.lean * h])
        elbow = root + 0.17 * h * np.array([side * 0.16, -np.cos(swing), np.sin(swing)])
        hand = elbow + 0.155 * h * np.array([-side * 0.04, -np.cos(swing + bend), np.sin(swing + bend)])
        bulk = 1.15 if who.top in ("coat", "jacket") else 1.0
        self._add(root, elbow, (0.033 * h * bulk, 0.029 * h * bulk), self.cloth, 0.1)
        sleeve = self.skin if who.top == "shirt" else self.cloth
        self._add(elbow, hand, (0.03 * h * bulk, 0.022 * h * bulk), sleeve, 0.1)
        self._add(hand, hand + (hand - elbow) * 0.25, (0.02 * h, 0.02 * h), self.skin)
        if carrying:
            self._add(hand - (0, 0.08 * h, 0), hand - (0, 0.2 * h, 0), (0.03 * h, 0.07 * h), self.bag, 0.12)

    def _head(self) -> None:
        h, who = self.h, self.who
        base = np.array([0, 0.895 * h, self.lean * h * 1.6])
        crown = base + (0, 0.045 * h, 0)
        self._add(base + (0, -0.01 * h, 0.018 * h), crown + (0, 0, 0.012 * h), (0.043 * h, 0.05 * h), self.skin)
        if who.head == "hood":
            self._add(
                base - (0, 0.02 * h, 0.02 * h), crown + (0, 0.012 * h, -0.008 * h), (0.062 * h, 0.06 * h), self.cloth
            )
            return
        cover = self.bag if who.head == "cap" else self.hair
        self._add(base + (0, 0.02 * h, -0.016 * h), crown + (0, 0.012 * h, -0.008 * h), (0.045 * h, 0.053 * h), cover)
        self._add(crown + (0, 0.03 * h, 0.006 * h), crown + (0, 0.028 * h, 0.03 * h), (0.032 * h, 0.03 * h), cover)
        if who.head == "long":
            self._add(crown - (0, 0, 0.02 * h), base - (0, 0.07 * h, 0.035 * h), (0.05 * h, 0.05 * h), self.hair)

    def _carried(self) -> None:
        h, bag = self.h, self.who.bag
        if bag == "rucksack":
            for side in (-1, 1):
                top = (side * 0.04 * h, self.shoulder - 0.06 * h, self.lean * h - 0.1 * h)
                self._add(top, (side * 0.045 * h, self.hip + 0.09 * h, -0.1 * h), (0.055 * h, 0.06 * h), self.bag, 0.05)
        elif bag == "shoulder":
            self._add(
                (0.16 * h, self.hip + 0.07 * h, 0), (0.165 * h, self.hip - 0.04 * h, 0), (0.04 * h, 0.055 * h), self.bag
            )
            self._add(
                (-0.06 * h, self.shoulder, 0.05 * h),
                (0.15 * h, self.hip + 0.08 * h, 0.05 * h),
                (0.01 * h,) * 2,
                self.bag,
            )

    def _stand(self, lowest) -> None:
        """Put the lower foot on the floor and turn the body to its heading."""
        who = self.who
        sine, cosine = np.sin(who.heading), np.cos(who.heading)
        # Own axes: ahead (0, 0, 1) becomes (sin, 0, -cos), towards the camera for heading 0.
        axes = np.array([(-cosine, 0, -sine), (0, 1, 0), (sine, 0, -cosine)])
        place = who.feet - (0, lowest, 0)
        self.limbs = [replace(one, start=one.start @ axes + place, stop=one.stop @ axes + place) for one in self.limbs]
