"""Metrics as functions of arrays, without a framework."""

from .panoptic_quality import (
    INSTANCE_OFFSET,
    PanopticStats,
    decode_panoptic_ids,
    decode_panoptic_seg,
    match_segments,
    mean_quality,
    pair_segments,
    panoptic_quality,
    panoptic_stats,
    require_equal_sizes,
    segment_iou,
    segment_overlap,
)

__all__ = [
    'INSTANCE_OFFSET',
    'PanopticStats',
    'decode_panoptic_ids',
    'decode_panoptic_seg',
    'match_segments',
    'mean_quality',
    'pair_segments',
    'panoptic_quality',
    'panoptic_stats',
    'require_equal_sizes',
    'segment_iou',
    'segment_overlap',
]
