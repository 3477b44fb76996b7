"""Panoptic maps that look like annotations: irregular segments with ragged edges, some void, and a fair prediction.

Shapes: H x W the image, N segments.
"""

import cv2
import numpy as np

VOID = -1


def segment_map(height: int, width: int, segments: int, seed: int = 0) -> np.ndarray:
    """Index of the segment at each pixel, int32 (H, W), void is -1: cells around random points, bent and frayed."""
    rng = np.random.default_rng(seed)
    seeds = np.ones((height, width), np.uint8)
    places = rng.choice(height * width, segments + max(segments // 10, 1), replace=False)  # the last tenth is void
    seeds.ravel()[places] = 0
    _, cells = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    index = np.empty(len(places) + 1, np.int32)
    index[cells.ravel()[places]] = np.where(np.arange(len(places)) < segments, np.arange(len(places)), VOID)
    return bent(index[cells], rng, by=0.08 * min(height, width), fray=1.0)


def prediction_of(target: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A prediction of the map ``target``, and which segment of it each predicted one stands for (P,).

    Edges lie some pixels beside the true ones, a tenth of the segments are missing and one in ten is its neighbour.
    """
    rng = np.random.default_rng(seed)
    index = bent(target, rng, by=6.0, fray=0.5)
    number = int(target.max()) + 1
    becomes = np.arange(-1, number)
    changed = rng.permutation(number)[: number // 5] + 1
    becomes[changed] = np.where(np.arange(len(changed)) % 2, VOID, rng.integers(0, number, len(changed)))
    index = becomes[index + 1]
    present = np.unique(index[index >= 0])
    rank = np.full(number + 1, VOID, np.int32)
    rank[present + 1] = np.arange(len(present))
    return rank[index + 1], present


def bent(index: np.ndarray, rng: np.random.Generator, by: float, fray: float) -> np.ndarray:
    """The map with pixels fetched from up to ``by`` pixels away, smoothly, and ``fray`` pixels at random."""
    height, width = index.shape
    places = []
    for axis in np.mgrid[:height, :width].astype(np.float32)[::-1]:
        shift = cv2.resize(
            rng.uniform(-by, by, (12, 16)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        noise = rng.standard_normal((height // 3 + 1, width // 3 + 1)).astype(np.float32)
        places.append(axis + shift + fray * cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR))
    return cv2.remap(
        index.astype(np.float32), *places, interpolation=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.int32)
