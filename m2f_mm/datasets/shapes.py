"""Generated images with exact panoptic ground truth: four kinds of things in front of three kinds of stuff.

Small enough to be learned from scratch on a CPU in minutes, and still with what makes segmentation hard: occlusion,
small objects, heaps of touching objects of one class, holes, crowd regions, void, texture, noise and uneven light.

Shapes: H x W the image, h x w the window around one object.
"""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

THINGS = ('disc', 'square', 'triangle', 'ring')
STUFF = ('sky', 'ground', 'water')
CLASSES = THINGS + STUFF
PALETTE = [
    (220, 60, 50),
    (70, 90, 230),
    (240, 200, 40),
    (190, 70, 200),
    (150, 200, 250),
    (130, 100, 60),
    (40, 130, 140),
]
# Classes have a favourite hue, so that a short training gets off the ground; `difficulty` blurs it.
THING_HUES = (0.0, 0.33, 0.14, 0.85)
STUFF_COLORS = ((160, 195, 230), (140, 120, 85), (40, 100, 140))  # RGB


@dataclass(frozen=True)
class ShapesSpec:
    """What a scene looks like.

    Args:
        height: pixels.
        width: pixels.
        difficulty: 0 (easy) to 1: number and smallness of objects, noise, and how far colors stray from their class.
        crowd: share of images with a crowd region.
        void: share of images with an unlabelled patch.
        heap: share of images with a heap of touching objects of one class.
    """

    height: int = 128
    width: int = 128
    difficulty: float = 0.4
    crowd: float = 0.1
    void: float = 0.15
    heap: float = 0.35

    def __post_init__(self):
        if min(self.height, self.width) < 32:
            raise ValueError(f'images need at least 32x32 pixels, got {self.height}x{self.width}')
        for name in ('difficulty', 'crowd', 'void', 'heap'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} must lie in 0..1, got {getattr(self, name)}')


@dataclass
class Scene:
    """An image and its ground truth.

    Args:
        image: RGB uint8 (H, W, 3).
        segments: index of each pixel's segment, int32 (H, W); -1 is void.
        labels: class of each segment, an index of ``CLASSES``.
        crowd: whether the segment is a crowd region.
    """

    image: np.ndarray
    segments: np.ndarray
    labels: list[int]
    crowd: list[bool]


def make_scene(spec: ShapesSpec, rng: np.random.Generator) -> Scene:
    """Draw stuff, then objects from back to front; what is hidden or nearly so loses its segment."""
    canvas = Canvas(spec, rng)
    canvas.paint_stuff()
    if rng.random() < spec.crowd:
        canvas.paint_crowd()
    if rng.random() < spec.heap:
        canvas.paint_heap()
    for _ in range(rng.integers(2, 5 + round(6 * spec.difficulty))):
        canvas.paint_object(rng.integers(len(THINGS)), canvas.random_centre(), canvas.random_radius())
    if rng.random() < spec.void:
        canvas.paint_void()
    return canvas.finish()


class Canvas:
    """The image while it is being painted; later paint covers earlier paint in image and ground truth alike."""

    def __init__(self, spec: ShapesSpec, rng: np.random.Generator):
        self.spec, self.rng = spec, rng
        self.size = min(spec.height, spec.width)
        self.image = np.zeros((spec.height, spec.width, 3), np.float32)
        self.segments = np.full((spec.height, spec.width), -1, np.int32)
        self.labels: list[int] = []
        self.crowd: list[bool] = []

    def new_segment(self, label: int, crowd: bool = False) -> int:
        """Index of a new segment."""
        self.labels.append(int(label))
        self.crowd.append(crowd)
        return len(self.labels) - 1

    def random_centre(self) -> tuple[float, float]:
        """x and y anywhere in the image."""
        return self.rng.uniform(0, self.spec.width), self.rng.uniform(0, self.spec.height)

    def random_radius(self) -> float:
        """Log-uniform, so that small objects are as common as large ones."""
        smallest = self.size * (0.055 - 0.02 * self.spec.difficulty)
        return float(np.exp(self.rng.uniform(np.log(smallest), np.log(self.size * 0.2))))

    def smooth_noise(self, cells: int, stretch: int = 1) -> np.ndarray:
        """Noise (H, W), about -1..1, whose blobs are 1 / cells of the image, ``stretch`` times as wide as high."""
        grid = self.rng.uniform(-1, 1, (cells, max(cells // stretch, 2))).astype(np.float32)
        return cv2.resize(grid, (self.spec.width, self.spec.height), interpolation=cv2.INTER_CUBIC)

    def paint_stuff(self) -> None:
        """Sky above an uneven horizon; ground below it, or water, or ground with a lake."""
        spec, rng = self.spec, self.rng
        x, y = np.arange(spec.width), np.arange(spec.height)[:, None]
        horizon = spec.height * (
            rng.uniform(0.3, 0.6) + 0.04 * np.sin(x * rng.uniform(4, 12) / spec.width + rng.uniform(0, 6))
        )
        below = y >= horizon
        lake = below & (self.smooth_noise(4) > 0) if rng.random() < 0.6 else below & (rng.random() < 0.3)
        textures = (
            20 * self.smooth_noise(6, 2) - 30 * (1 - y / spec.height),
            18 * self.smooth_noise(32) + 15 * self.smooth_noise(8),
            12 * np.sin(y * 40 / self.size + 2 * self.smooth_noise(6)) + 8 * self.smooth_noise(16, 8),
        )
        for stuff, region in enumerate((~below, below & ~lake, lake)):
            if region.any():
                color = np.array(STUFF_COLORS[stuff]) + rng.normal(0, 4 + 12 * spec.difficulty, 3)
                self.image[region] = (color + textures[stuff][..., None])[region]
                self.segments[region] = self.new_segment(len(THINGS) + stuff)

    def paint_object(self, thing: int, centre: tuple[float, float], radius: float, segment: int = None) -> None:
        """Paint an object of random angle and color, as a segment of its own unless one is given."""
        if self.window(centre, radius) is not None:
            angle, color = self.rng.uniform(0, 2 * np.pi), self.object_color(thing)
            self.paint_shape(
                thing, centre, radius, angle, color, self.new_segment(thing) if segment is None else segment
            )

    def window(self, centre: tuple[float, float], radius: float) -> tuple[slice, slice] | None:
        """Rows and columns that an object may touch, None where it is outside of the image."""
        rows, columns = (slice(max(int(c - radius - 2), 0), max(int(c + radius + 3), 0)) for c in reversed(centre))
        return (rows, columns) if self.segments[rows, columns].size else None

    def paint_shape(
        self, thing: int, centre: tuple[float, float], radius: float, angle: float, color: np.ndarray, segment: int
    ) -> None:
        """Paint a shaded, outlined shape over everything."""
        window = self.window(centre, radius)
        if window is None:
            return
        h, w = self.segments[window].shape
        y0, x0 = (side.start for side in window)
        dx = np.arange(x0, x0 + w, dtype=np.float32) - centre[0]
        dy = np.arange(y0, y0 + h, dtype=np.float32)[:, None] - centre[1]
        distance = _distance(
            thing, dx * np.cos(angle) - dy * np.sin(angle), dx * np.sin(angle) + dy * np.cos(angle), radius
        )
        shade = 1 - 0.25 * (dx + dy) / (2 * radius)  # light from the upper left
        shade = shade * np.where(distance > -max(1.0, 0.12 * radius), 0.55, 1)  # dark rim: touching objects can be told
        alpha = np.clip(0.5 - distance, 0, 1)[..., None]
        self.image[window] = alpha * (color * shade[..., None]) + (1 - alpha) * self.image[window]
        self.segments[window][distance < 0] = segment

    def object_color(self, thing: int) -> np.ndarray:
        """RGB (3,) near the color of the class."""
        stray = 0.02 + 0.16 * self.spec.difficulty
        hue = (THING_HUES[thing] + self.rng.normal(0, stray)) % 1
        return 255 * np.array(colorsys.hsv_to_rgb(hue, self.rng.uniform(0.55, 0.95), self.rng.uniform(0.6, 1)))

    def paint_heap(self) -> None:
        """Objects of one class and about one size on a shaken grid whose pitch lets neighbours touch or overlap."""
        rng, thing = self.rng, self.rng.integers(len(THINGS))
        radius = self.size * rng.uniform(0.05, 0.075)
        left, top = rng.uniform(0.1, 0.5, 2) * (self.spec.width, self.spec.height)
        for row in range(rng.integers(2, 4)):
            for column in range(rng.integers(2, 5)):
                shake = rng.normal(0, 0.15 * radius, 2)
                self.paint_object(
                    thing,
                    (left + 1.8 * radius * column + shake[0], top + 1.8 * radius * row + shake[1]),
                    radius * rng.uniform(0.85, 1.1),
                )

    def paint_crowd(self) -> None:
        """Many tiny objects of one class that are annotated together."""
        thing = self.rng.integers(len(THINGS))
        segment = self.new_segment(thing, crowd=True)
        centre, spread = self.random_centre(), self.size * 0.08
        for _ in range(25):
            self.paint_object(thing, tuple(self.rng.normal(centre, spread)), self.size * 0.025, segment)

    def paint_void(self) -> None:
        """An unlabelled patch of chequers."""
        x, y = (int(c) for c in self.random_centre())
        h, w = self.rng.integers(self.size // 12, self.size // 5, 2)
        window = np.s_[y : y + h, x : x + w]
        rows, columns = np.indices(self.segments[window].shape)
        self.image[window] = np.where((rows // 3 + columns // 3) % 2, 200, 60)[..., None]
        self.segments[window] = -1

    def finish(self) -> Scene:
        """Light and noise over the image; only segments of which enough can be seen stay."""
        spec, rng = self.spec, self.rng
        light = 1 + (0.1 + 0.2 * spec.difficulty) * self.smooth_noise(2)[..., None]
        noise = rng.normal(0, 3 + 10 * spec.difficulty, self.image.shape)
        image = np.clip(self.image * light + noise, 0, 255).astype(np.uint8)
        smallest = smallest_area(self.segments)
        area = np.bincount(self.segments[self.segments >= 0], minlength=len(self.labels))
        visible = np.flatnonzero(area >= smallest)
        lookup = np.full(len(self.labels) + 1, -1, np.int32)  # the last entry is void's, which -1 selects
        lookup[visible] = np.arange(len(visible))
        return Scene(image, lookup[self.segments], [self.labels[i] for i in visible], [self.crowd[i] for i in visible])


def smallest_area(segments: np.ndarray) -> int:
    """Pixels of a map (H, W) that a segment needs to be annotated; annotators leave remnants out."""
    return max(4, round(min(segments.shape) ** 2 * 0.0008))


def _distance(thing: int, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """About the signed distance in pixels from the outline of a shape in its own axes; negative is inside."""
    if THINGS[thing] == 'disc':
        return np.hypot(x, y) - radius
    if THINGS[thing] == 'square':
        return np.maximum(abs(x), abs(y)) - 0.8 * radius
    if THINGS[thing] == 'triangle':
        angles = np.pi * np.array([1 / 6, 5 / 6, 3 / 2])
        return np.max([np.cos(a) * x + np.sin(a) * y for a in angles], axis=0) - 0.5 * radius
    return abs(np.hypot(x, y) - 0.7 * radius) - 0.3 * radius
