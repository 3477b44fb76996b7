"""From the results of a pipeline to the tensors that a model of MMDetection receives."""
from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData, PixelData

from ...registry import TRANSFORMS
from ..id_map import FIRST_SEGMENT, IGNORE


@TRANSFORMS.register_module()
class PackPanopticInputs(BaseTransform):
    """Pack a picture and its map of segments.

    Gives ``inputs``, the picture as it is (uint8 stays uint8, a quarter of the bytes on the way to the GPU),
    (3, H, W), and ``data_samples``, a ``DetDataSample`` with

    - ``gt_segment_map``: ``PixelData(data=int16 (1, H, W))``, the index of the segment, -1 at void;
    - ``gt_segments``: ``InstanceData(labels=int64 (N,))``. Segments that a crop has left no pixel of keep their
      number; the official panoptic recipe trains on them as empty masks.

    ``BatchFixedSizePad`` needs ``pad_mask=False`` with it: there is no mask of an instance to pad.

    Without a map in the results (a test pipeline) the sample has meta information only.

    Args:
        meta_keys: what else of the results the sample carries as meta information.
    """

    def __init__(self,
                 meta_keys: Sequence[str] = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
                                             'flip_direction')):
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        from mmdet.structures import DetDataSample  # the sample of the stock detectors; nothing else needs MMDetection
        sample = DetDataSample(metainfo={key: results[key] for key in self.meta_keys if key in results})
        if 'gt_seg_map' in results:
            index = np.maximum(results['gt_seg_map'].astype(np.uint16, copy=False), IGNORE)
            index -= FIRST_SEGMENT  # 255 - 256 wraps around to what is -1 as int16
            sample.gt_segment_map = PixelData(data=torch.from_numpy(index.view(np.int16))[None])
            sample.gt_instances = InstanceData()  # MMDetection's data preprocessor looks whether it has masks
            sample.gt_segments = InstanceData(labels=torch.from_numpy(results['gt_segment_labels']))
        image = results['img'] if results['img'].ndim == 3 else results['img'][..., None]
        return dict(inputs=torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), data_samples=sample)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'
