from .panoptic_quality import (
                               INSTANCE_OFFSET,
                               PanopticStats,
                               decode_panoptic_seg,
                               mean_quality,
                               panoptic_quality,
                               panoptic_stats,
)

__all__ = [
    'INSTANCE_OFFSET', 'PanopticStats', 'decode_panoptic_seg', 'mean_quality', 'panoptic_quality', 'panoptic_stats'
]
