"""What else stands about in an underpass, and hides people or is taken for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from underpass.figures import Limb, block


@dataclass(frozen=True)
class Prop:
    """A thing of this kind on the floor at (x, z), turned by an angle, of one colour."""

    kind: str
    place: tuple[float, float]
    turn: float
    colour: tuple[float, float, float]

    @property
    def feet(self):
        return np.array([self.place[0], 0.0, self.place[1]])

    @property
    def height(self) -> float:
        return {"bin": 1.1, "carton": 0.4, "board": 1.0, "cone": 0.7, "pillar": 2.9, "sack": 0.6}[self.kind]

    def parts(self):
        """The thing in the world."""
        colour = np.array(self.colour)
        if self.kind == "bin":
            return block(self.place, (0.58, 1.02, 0.6), self.turn, colour, top=colour * 0.5)
        if self.kind == "carton":
            return block(self.place, (0.55, 0.38, 0.4), self.turn, np.array([0.3, 0.2, 0.11]))
        if self.kind == "board":
            return block(self.place, (0.6, 1.0, 0.12), self.turn, colour)
        if self.kind == "pillar":
            return block(self.place, (0.42, 2.9, 0.42), 0.0, np.array([0.36, 0.35, 0.33]))
        if self.kind == "sack":
            low = self.feet + (0, 0.22, 0)
            return [Limb(low, low + (0.05, 0.22, 0), (0.24, 0.08), np.array([0.015, 0.015, 0.018]), 0.2)]
        orange, white = np.array([0.55, 0.12, 0.02]), np.array([0.7, 0.7, 0.68])
        foot = self.feet
        bands = [(0.03, 0.3, orange, 0.17, 0.11), (0.3, 0.46, white, 0.11, 0.08), (0.46, 0.68, orange, 0.08, 0.03)]
        return [Limb(foot + (0, a, 0), foot + (0, b, 0), (p, q), c) for a, b, c, p, q in bands]


def prop(rng: np.random.Generator, width: float) -> Prop:
    """A thing near a wall of a tunnel of this width."""
    kind = str(rng.choice(["bin", "carton", "board", "cone", "pillar", "sack"], p=[0.2, 0.15, 0.15, 0.15, 0.15, 0.2]))
    x = float(rng.choice([-1, 1]) * (width / 2 - rng.uniform(0.35, 0.7)))
    colour = tuple(float(c) for c in rng.uniform(0.02, 0.4, 3) ** 1.3)
    return Prop(kind, (x, float(rng.uniform(4.0, 15.0))), float(rng.uniform(-0.6, 0.6)), colour)
