"""How long a model takes for an image on this machine."""

import time
from statistics import median
from typing import NamedTuple

import numpy as np
import torch

from .results import result_of_sample
from .segmenter import Segmenter


class Timing(NamedTuple):
    """Seconds for an image, medians.

    Args:
        prepare: the test pipeline, once the image is loaded.
        network: network and post-processing.
        result: masks and maps of the result.
        input_size: height and width of what the network gets.
        peak_bytes: largest memory that torch has had on the GPU; None on a CPU, where nothing counts it.
    """

    prepare: float
    network: float
    result: float
    input_size: tuple[int, int]
    peak_bytes: int | None

    @property
    def total(self) -> float:
        """All parts together."""
        return self.prepare + self.network + self.result


def time_model(
    segmenter: Segmenter, size: tuple[int, int] = (480, 640), runs: int = 10, task: str | None = None
) -> Timing:
    """Predict an image of random pixels several times.

    Args:
        segmenter: the model.
        size: height and width of the image in pixels.
        runs: after one that is not counted.
        task: see ``Segmenter.predict``.

    Raises:
        ValueError: ``runs`` or the size is below 1, or the task is not one of the model.
    """
    if runs < 1 or min(size) < 1:
        raise ValueError(f'runs={runs} and size={size} must be at least 1')
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    task = segmenter.check_task(task)
    test_cfg = segmenter.test_options(task, {})
    parts: list[tuple[float, float, float]] = []
    on_gpu = segmenter.device.type == 'cuda'
    for _ in range(runs + 1):
        times = [_now(on_gpu)]
        prepared = segmenter.prepare(image)
        times.append(_now(on_gpu))
        (sample,) = segmenter.predict_prepared([prepared], test_cfg)
        times.append(_now(on_gpu))
        result_of_sample(sample, image, segmenter.classes, kind=task)
        times.append(_now(on_gpu))
        parts.append(tuple(after - before for before, after in zip(times, times[1:])))
        if on_gpu and len(parts) == 1:
            torch.cuda.reset_peak_memory_stats()
    return Timing(
        *(median(each) for each in zip(*parts[1:])),
        input_size=tuple(prepared['inputs'].shape[-2:]),
        peak_bytes=torch.cuda.max_memory_allocated() if on_gpu else None,
    )


def _now(on_gpu: bool) -> float:
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter()
