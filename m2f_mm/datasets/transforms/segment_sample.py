"""The data sample of a map of segments, for MMDetection."""

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData


class SegmentSample(DetDataSample):
    """With ``gt_segment_map`` and ``gt_segments``, see ``PackPanopticInputs``.

    Its ``gt_sem_seg``, while none is set, is a map without channels: ``BatchFixedSizePad`` pads it unasked.
    """

    @property
    def gt_sem_seg(self) -> PixelData:
        """The semantic map, or nothing of the size of the image."""
        if '_gt_sem_seg' in self:
            return self._gt_sem_seg
        return PixelData(sem_seg=torch.zeros((0, *self.img_shape[:2]), dtype=torch.uint8))

    @gt_sem_seg.setter
    def gt_sem_seg(self, value: PixelData) -> None:
        if len(value.sem_seg):
            self.set_field(value, '_gt_sem_seg', dtype=PixelData)

    @gt_sem_seg.deleter
    def gt_sem_seg(self) -> None:
        del self._gt_sem_seg
