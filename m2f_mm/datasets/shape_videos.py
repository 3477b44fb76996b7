"""Generated videos with exact ground truth: the shapes move and turn over still stuff, cover each other, leave the
image and come back.

Shapes: T frames of H x W.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .shapes import THINGS, Canvas, ShapesSpec


@dataclass(frozen=True)
class ShapeVideoSpec:
    """What a video looks like.

    Args:
        height: pixels.
        width: pixels.
        length: T.
        difficulty: 0 (easy) to 1: number and smallness of objects, noise, and how far colors stray from their class.
        speed: of the fastest objects, in shares of the image's smaller side for each frame.
    """

    height: int = 96
    width: int = 128
    length: int = 16
    difficulty: float = 0.1
    speed: float = 0.1

    def __post_init__(self):
        ShapesSpec(self.height, self.width, self.difficulty)  # which checks them
        if self.length < 1:
            raise ValueError(f'a video needs at least one frame, got length={self.length}')
        if self.speed < 0:
            raise ValueError(f'speed must not be negative, got {self.speed}')


@dataclass
class Actor:
    """An object and its way: straight, back and forth between lines outside of the image.

    Args:
        thing: index of ``THINGS``.
        radius: pixels.
        color: RGB, (3,).
        start, velocity: place in the first frame and pixels for each frame, as x, y.
        angle, turn: radians, and for each frame.
        bounds: largest x and y of the way; the smallest is minus ``margin``.
        margin: how far beyond the image it goes, pixels.
    """

    thing: int
    radius: float
    color: np.ndarray
    start: np.ndarray
    velocity: np.ndarray
    angle: float
    turn: float
    bounds: np.ndarray
    margin: float

    def centre(self, frame: int) -> np.ndarray:
        """Its x and y."""
        length = self.bounds + self.margin
        way = (self.start + self.margin + frame * self.velocity) % (2 * length)
        return np.minimum(way, 2 * length - way) - self.margin


class ShapeVideo:
    """A video that is drawn frame by frame; those in front cover those behind, the same ones all the time.

    Args:
        spec: what it looks like.
        rng: everything follows from it; a video is drawn once.
    """

    def __init__(self, spec: ShapeVideoSpec, rng: np.random.Generator):
        self.spec = spec
        self.canvas = canvas = Canvas(ShapesSpec(spec.height, spec.width, spec.difficulty), rng)
        canvas.paint_stuff()
        self.num_stuff = len(canvas.labels)
        self.actors = [self._actor(rng) for _ in range(rng.integers(2, 5 + round(4 * spec.difficulty)))]
        for actor in self.actors:
            canvas.new_segment(actor.thing)
        self.labels = canvas.labels  # of each segment, an index of ``CLASSES``; those of actors come last

    def _actor(self, rng: np.random.Generator) -> Actor:
        spec, size = self.spec, self.canvas.size
        thing = int(rng.integers(len(THINGS)))
        smallest = size * (0.16 - 0.08 * spec.difficulty)
        radius = float(np.exp(rng.uniform(np.log(smallest), np.log(size * 0.28))))
        direction, speed = rng.uniform(0, 2 * np.pi), size * spec.speed * rng.uniform(0.2, 1)
        sides = np.array([spec.width, spec.height], float)
        color = self.canvas.object_color(thing) * rng.uniform(0.35, 1)  # two of a kind can be told apart
        return Actor(
            thing,
            radius,
            color,
            rng.uniform(0, 1, 2) * sides,
            speed * np.array([np.cos(direction), np.sin(direction)]),
            rng.uniform(0, 2 * np.pi),
            rng.normal(0, 0.1),
            sides + 1.5 * radius,
            1.5 * radius,
        )

    def __len__(self) -> int:
        return self.spec.length

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Image RGB uint8 (H, W, 3) and index of each pixel's segment, int32 (H, W), of each frame."""
        canvas, spec = self.canvas, self.spec
        still, ground = canvas.image, canvas.segments
        light = 1 + (0.1 + 0.2 * spec.difficulty) * canvas.smooth_noise(2)[..., None]
        for frame in range(spec.length):
            canvas.image, canvas.segments = still.copy(), ground.copy()
            for segment, actor in enumerate(self.actors, self.num_stuff):
                canvas.paint_shape(
                    actor.thing,
                    tuple(actor.centre(frame)),
                    actor.radius,
                    actor.angle + frame * actor.turn,
                    actor.color,
                    segment,
                )
            noise = canvas.rng.normal(0, 3 + 10 * spec.difficulty, canvas.image.shape)
            yield np.clip(canvas.image * light + noise, 0, 255).astype(np.uint8), canvas.segments
        canvas.image, canvas.segments = still, ground
