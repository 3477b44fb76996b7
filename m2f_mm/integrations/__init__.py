"""Heads, detectors and segmentors for MMDetection and MMSegmentation; what is for one needs nothing of the other."""

import warnings
from importlib.util import find_spec


def _broken(name: str, error: ImportError) -> None:
    warnings.warn(
        f'{name} is installed but cannot be imported ({error}), so the parts of m2f_mm for it are missing; '
        'tools/doctor.py says what to do',
        stacklevel=2,
    )


if find_spec('mmdet') is not None:
    try:
        from .mmdet import Mask2Former, Mask2FormerHead, MaskDINOHead, MaskFormerFusionHead, MaskFormerHead  # noqa: F401
        from .mmdet_datasets import (  # noqa: F401
            ADE20KInstanceDataset,
            CityscapesDataset,
            CocoDataset,
            LoadAnnotations,
            LoadTrackAnnotations,
            Objects365V1Dataset,
            Objects365V2Dataset,
        )
        from .mmdet_metrics import CocoMetric, DumpDetResults, ThingMetric  # noqa: F401
        from .mmdet_video import Mask2FormerTrackHead, Mask2FormerVideo  # noqa: F401
    except ImportError as error:
        _broken('MMDetection', error)
if find_spec('mmseg') is not None:
    try:
        from .mmseg import (  # noqa: F401
            Mask2FormerSegHead,
            MaskDINOSegHead,
            MaskFormerSegHead,
            MaskSegmentor,
            SegTTAModel,
        )
        from .mmseg_datasets import ADE20KFullDataset, MapillaryDataset  # noqa: F401
        from .mmseg_metrics import IoUMetric  # noqa: F401
        from .mmseg_per_pixel import PerPixelPlusSegHead, PerPixelSegHead  # noqa: F401
    except ImportError as error:
        _broken('MMSegmentation', error)
