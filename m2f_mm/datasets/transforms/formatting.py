"""From the results of a pipeline to the tensors that a model of MMDetection receives."""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData, PixelData

from ...registry import TRANSFORMS
from ..id_map import FIRST_SEGMENT, IGNORE
from ..image_files import check_image_size


def planes_of(image: np.ndarray) -> np.ndarray:
    """An image (H, W) or (H, W, C) as its planes (C, H, W); more than 8 bits become float32, as torch knows little of
    unsigned integers."""
    planes = np.atleast_3d(image).transpose(2, 0, 1)
    return planes if planes.dtype == np.uint8 else planes.astype(np.float32)


class NoInstances(InstanceData):
    """``gt_instances`` beside a map of segments: none, for MMDetection's preprocessors that pad masks.

    What else is read of it raises an error that names the cure: a head of MMDetection would train on nothing.
    """

    @property
    def masks(self) -> 'NoInstances':
        """Nothing, which can be padded."""
        return self

    @masks.setter
    def masks(self, padded: 'NoInstances') -> None:
        """They stay nothing."""

    def get(self, key: str, default: Any = None) -> Any:
        """There is none of it."""
        return default

    def pad(self, size: Sequence[int], pad_val: int = 0) -> 'NoInstances':
        """Nothing, of any size."""
        return self

    def __getattr__(self, name: str) -> NoReturn:
        if name in ('labels', 'bboxes'):
            raise AttributeError(
                f'PackPanopticInputs packs segments, not {name} of instances, which the heads of MMDetection and some '
                'of its batch augmentations read: take m2f_mm.LoadPanopticAnnotations and PackDetInputs for them'
            )
        raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')


@TRANSFORMS.register_module()
class PackPanopticInputs(BaseTransform):
    """Pack an image and its map of segments.

    Gives ``inputs``, the image as it is (uint8 stays uint8, a quarter of the bytes on the way to the GPU),
    (3, H, W), and ``data_samples``, a ``DetDataSample`` with

    - ``gt_segment_map``: ``PixelData(data=int16 (1, H, W))``, the index of the segment, -1 at void;
    - ``gt_segments``: ``InstanceData(labels=int64 (N,))``. Segments that a crop has left no pixel of keep their
      number; the official panoptic recipe trains on them as empty masks.

    Preprocessors that pad masks and semantic maps find none to pad. Without a map in the results (a test pipeline) the
    sample has meta information only; with the annotations of another loader it is what ``PackDetInputs`` makes.

    Args:
        meta_keys: what else of the results the sample carries as meta information.
    """

    def __init__(
        self,
        meta_keys: Sequence[str] = (
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'flip',
            'flip_direction',
        ),
    ):
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """``inputs`` and ``data_samples`` of the results of an image."""
        from .segment_sample import SegmentSample  # of MMDetection, which nothing else here needs

        if 'gt_segment_labels' not in results and {'gt_seg_map', 'gt_masks', 'gt_bboxes'} & results.keys():
            from mmdet.datasets.transforms import PackDetInputs

            return PackDetInputs(self.meta_keys)(results)
        sample = SegmentSample(
            metainfo={key: results[key] for key in self.meta_keys if results.get(key) is not None}
        )  # an array has no img_path
        if 'gt_seg_map' in results:
            index = np.maximum(results['gt_seg_map'].astype(np.uint16, copy=False), IGNORE)
            index -= FIRST_SEGMENT  # 255 - 256 wraps around to what is -1 as int16
            sample.gt_segment_map = PixelData(data=torch.from_numpy(index.view(np.int16))[None])
            sample.gt_instances = NoInstances()  # MMDetection's data preprocessor looks whether it has masks
            sample.gt_segments = InstanceData(labels=torch.from_numpy(results['gt_segment_labels']))
        return dict(inputs=torch.from_numpy(np.ascontiguousarray(planes_of(results['img']))), data_samples=sample)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'


@TRANSFORMS.register_module()
class PackClipInputs(BaseTransform):
    """Pack the frames of a clip for MMDetection's video detectors, as its ``PackTrackInputs`` does.

    Gives ``inputs``, the frames as they are, (T, 3, H, W), and ``data_samples``, a ``TrackDataSample`` whose frames
    have, where the pipeline has loaded annotations, ``gt_instances`` with ``labels``, ``masks``, ``bboxes`` and
    ``instances_ids`` of the objects that are no crowds.

    Args:
        meta_keys: what else of the results each frame carries as meta information; the metric wants ``instances`` of
            annotated videos.

    Raises:
        ValueError: frames have different sizes, or others than their annotations say; names them.
    """

    FIELDS = dict(labels='gt_bboxes_labels', masks='gt_masks', bboxes='gt_bboxes', instances_ids='gt_instances_ids')

    def __init__(
        self,
        meta_keys: Sequence[str] = (
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'flip',
            'flip_direction',
            'frame_id',
            'video_id',
            'video_length',
            'ori_video_length',
        ),
    ):
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """``inputs`` and ``data_samples`` of the results of a clip."""
        from mmdet.structures import TrackDataSample

        images = results['img']
        sizes = results.get('ori_shape') or [image.shape[:2] for image in images]
        for path, size, image in zip(results['img_path'], sizes, images):
            if image.shape != images[0].shape or size != sizes[0]:
                raise ValueError(
                    f'the frames of video {results["video_id"][0]} have different sizes: '
                    f'{results["img_path"][0]} {tuple(sizes[0])}, {path} {tuple(size)} (H, W). Bring them '
                    'to one size, or split the video'
                )
        for path, size, *listed in zip(results['img_path'], sizes, results.get('height', ()), results.get('width', ())):
            check_image_size(dict(img_path=path, ori_shape=size, height=listed[0], width=listed[1]))
        clip = TrackDataSample()
        clip.video_data_samples = [self._frame(results, t) for t in range(len(images))]
        frames = np.stack([planes_of(image) for image in images])
        return dict(inputs=torch.from_numpy(frames), data_samples=clip)

    def _frame(self, results: dict, t: int) -> 'DetDataSample':  # noqa: F821
        from mmdet.structures import DetDataSample

        sample = DetDataSample(metainfo={key: results[key][t] for key in self.meta_keys if key in results})
        if 'gt_masks' in results:
            counted = np.flatnonzero(~np.asarray(results['gt_ignore_flags'][t], bool))
            sample.gt_instances = InstanceData(
                **{
                    name: torch.from_numpy(values[counted])
                    if isinstance(values := results[key][t], np.ndarray)
                    else values[counted]
                    for name, key in self.FIELDS.items()
                    if key in results
                }
            )
        return sample

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'
