"""Panoptic annotations that several readers of one process share: each file is parsed or decoded once.

The pipeline, ``PanopticMetric`` and ``SemanticMetric`` read the same PNG of a validation image, and the data set and
the metrics the same JSON. The last few files are kept here, by path, time of change and size. The pipeline of another
process (a worker of the loader) hands its PNG on in the data sample instead, as ``PanopticIds``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch.utils.data import get_worker_info

from .id_map import IdRuns
from .io import read_panoptic_json, read_panoptic_png

PNGS = 16  # kept; the metrics go through a whole batch one after the other
JSONS = 2  # kept, of a validation and a test set; COCO's validation set takes 27 MB


@dataclass(frozen=True)
class PanopticIds:
    """Segment ids of a panoptic PNG, which a data sample carries under the meta key ``panoptic_ids``.

    They are pickled only by a worker of the loader, for the process that evaluates. In any other pickle, such as the
    results that MMDetection's ``DumpDetResults`` writes, None stands in their place.

    Args:
        path: of the PNG.
        runs: its ids, not to be changed.
    """

    path: str
    runs: IdRuns

    def __reduce__(self) -> tuple:
        return (type(None), ()) if get_worker_info() is None else (type(self), (self.path, self.runs))

    def __deepcopy__(self, memo: dict[int, Any]) -> 'PanopticIds':
        return self  # a data sample copies its meta information, and copying uses __reduce__


def shared_panoptic_ids(path: str, backend_args: dict | None = None, sample: Mapping | None = None) -> IdRuns:
    """Segment ids of the panoptic PNG at ``path``, not to be changed.

    Args:
        path: of the PNG.
        backend_args: how to read files, see ``mmengine.fileio``. Only files of the local disk are kept.
        sample: a data sample; its ``panoptic_ids``, if they are those of this file, are taken.

    Raises:
        FileNotFoundError, ValueError: as ``read_panoptic_png``.
    """
    carried = None if sample is None else sample.get('panoptic_ids')
    if carried is not None and os.path.abspath(carried.path) == os.path.abspath(path):
        return carried.runs
    version = None if backend_args else _version(path)
    return IdRuns(read_panoptic_png(path, backend_args)) if version is None else _cached_png(path, version)


def shared_panoptic_json(path: str, backend_args: dict | None = None) -> dict:
    """The COCO panoptic JSON at ``path``, with or without annotations; not to be changed.

    Args:
        path: of the JSON.
        backend_args: how to read files, see ``mmengine.fileio``. Only files of the local disk are kept.

    Raises:
        FileNotFoundError, ValueError: as ``read_panoptic_json``.
    """
    version = None if backend_args else _version(path)
    if version is None:
        return read_panoptic_json(path, backend_args, needs=('images', 'categories'))
    return _cached_json(path, version)


def _version(path: str) -> tuple[int, int, int] | None:
    """What tells a file from a later one of the same path; None where it is not on a disk."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@lru_cache(PNGS)
def _cached_png(path: str, version: tuple) -> IdRuns:
    runs = IdRuns(read_panoptic_png(path))
    for array in (runs.starts, runs.lengths, runs.values):
        array.flags.writeable = False
    return runs


@lru_cache(JSONS)
def _cached_json(path: str, version: tuple) -> dict:
    return read_panoptic_json(path, needs=('images', 'categories'))
