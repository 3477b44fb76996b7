"""Loaders that MMDetection's tools take for its own."""

from abc import ABCMeta
from typing import Any


class TakenForStock(ABCMeta):
    """The type of a loader class that equals the class of mmcv or MMDetection whose name it has in ``taken_for``.

    ``mmdet.datasets.get_loading_pipeline``, which ``analyze_results.py`` calls, keeps three classes of a pipeline and
    no subclasses of them.
    """

    taken_for: str

    def __eq__(cls, other: Any) -> bool:
        return other is cls or (
            isinstance(other, type)
            and other.__name__ == cls.taken_for
            and other.__module__.split('.')[0] in ('mmcv', 'mmdet')
        )

    __hash__ = ABCMeta.__hash__
