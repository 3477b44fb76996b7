"""Masks as COCO's RLE where OpenMMLab's and other tools expect a stack of bitmaps."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor


class BuiltinType(type):
    """The type of classes that equal the ``list`` or ``dict`` they inherit from: pycocotools asks whether
    ``type(masks) == list`` and ``type(mask) == dict``."""

    def __eq__(cls, other: Any) -> bool:
        return other is cls or (other is list or other is dict) and issubclass(cls, other)

    __hash__ = type.__hash__


class RLE(dict, metaclass=BuiltinType):
    """A mask in COCO's compressed form, ``size`` and ``counts``. Indexed like an array it is one, bool (H, W)."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        from pycocotools import mask as coco_masks

        return coco_masks.decode(self).astype(bool)[key]


class RLEMasks(list, metaclass=BuiltinType):
    """The masks of an image as a list of ``RLE``. MMDetection's ``DetInferencer``, ``DumpDetResults`` and visualizer
    and ``supervision`` ask masks for ``cpu()``, ``numpy()`` or ``astype()``: they get bitmaps, which are made then.

    Args:
        masks: RLE dicts.
        size: height and width, which no mask tells if there is none.
    """

    def __init__(self, masks: Iterable[dict] = (), size: tuple[int, int] = (0, 0)):
        super().__init__(map(RLE, masks))
        self.size = tuple(self[0]['size']) if len(self) else tuple(size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, H and W."""
        return len(self), *self.size

    def numpy(self) -> np.ndarray:
        """Bitmaps, bool (N, H, W)."""
        from pycocotools import mask as coco_masks

        masks = np.zeros(self.shape, bool)
        for place, mask in zip(masks, self):
            place[:] = coco_masks.decode(mask)
        return masks

    def cpu(self) -> Tensor:
        """Bitmaps, bool (N, H, W)."""
        return torch.from_numpy(self.numpy())

    def astype(self, dtype: Any) -> np.ndarray:
        """Bitmaps of a NumPy type, (N, H, W)."""
        return self.numpy().astype(dtype)

    def __getitem__(self, index: int | slice) -> Any:
        selected = super().__getitem__(index)
        return RLEMasks(selected, self.size) if isinstance(index, slice) else selected

    def __add__(self, other: Iterable[dict]) -> 'RLEMasks':
        return RLEMasks([*self, *other], self.size)
