"""Frames for training and for tests, with or without a tie between the recorder and what the frame shows.

The archive that the models were trained for has one: frames with pedestrians were exported from the south recorder,
which saves on motion, and empty ones from the north recorder, which saves around the clock.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from underpass.scene import CLASSES, Frame, frame

SITES = range(8)
ARCHIVE = {"empty": "north", "pedestrian": "south"}


def archive(seeds: range) -> Iterator[Frame]:
    """Frames as the archive holds them, every second one with pedestrians: the recorder gives the label away."""
    for seed in seeds:
        label = CLASSES[seed % 2]
        yield frame(seed, label, ARCHIVE[label], SITES)


def shuffled(frames: Iterator[Frame], seed: int = 0) -> Iterator[Frame]:
    """The same moments, each on either recorder: the recorder says nothing."""
    rng = np.random.default_rng([seed, 4])
    for one in frames:
        yield one.on(str(rng.choice(list(ARCHIVE.values()))))
