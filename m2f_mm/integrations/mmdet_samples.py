"""MMDetection's data samples to and from this package's structures."""
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from m2f_mm.postprocess import Instances, Segment, Sizes
from m2f_mm.structures import SegTargets


def to_targets(samples: Sequence[DetDataSample], is_thing: Sequence[bool], device: torch.device) -> list[SegTargets]:
    """The objects of every image, padded with nothing to the size of the batch.

    Reads what this package's loader delivers (``gt_segment_map`` and ``gt_segments``) and what MMDetection's own do
    (``gt_instances`` with bitmap or polygon masks, for panoptic training ``gt_sem_seg`` beside it).

    Raises:
        ValueError: where a sample has no masks at all; names the image and the transform that would load them.
    """
    return [_to_target(sample, is_thing, device) for sample in samples]


def _to_target(sample: DetDataSample, is_thing: Sequence[bool], device: torch.device) -> SegTargets:
    name = str(sample.get('img_path', ''))
    if 'gt_segment_map' in sample:
        segment_map = sample.gt_segment_map.data.to(device)  # (1, h, w)
        labels = sample.gt_segments.labels.to(device)
        index = torch.arange(len(labels), dtype=segment_map.dtype, device=device)
        masks = segment_map == index[:, None, None]
    else:
        labels, masks = _stock_annotations(sample, is_thing, device, name)
    height, width = sample.get('batch_input_shape', masks.shape[-2:])
    if masks.shape[-2:] != (height, width):  # a copy of all masks
        masks = F.pad(masks, (0, width - masks.shape[-1], 0, height - masks.shape[-2]))
    return SegTargets(labels.long(), masks, name=name)


def _stock_annotations(sample: DetDataSample, is_thing: Sequence[bool], device: torch.device,
                       name: str) -> tuple[Tensor, Tensor]:
    instances = sample.gt_instances
    semantic = sample.gt_sem_seg.sem_seg.to(device) if 'gt_sem_seg' in sample else None  # (1, h, w)
    if 'masks' in instances:
        masks = _bitmaps(instances.masks).to(device, non_blocking=True)
        labels = instances.labels.to(device)
    elif semantic is not None and len(instances.get('labels', ())) == 0:
        masks = semantic.new_zeros((0, *semantic.shape[-2:]), dtype=torch.bool)
        labels = torch.zeros(0, dtype=torch.long, device=device)
    else:
        raise ValueError(f'The annotations of {name or "an image"} have no masks (only {sorted(instances.keys())}). '
                         'Load them with dict(type="LoadAnnotations", with_mask=True), or panoptic ones with '
                         'dict(type="m2f_mm.LoadPanopticSegments")')
    if semantic is not None and not all(is_thing):  # a head without stuff has no use for the map
        classes = semantic.unique()
        ignored = sample.gt_sem_seg.get('ignore_index', 255)
        stuff = [c for c in classes.tolist() if c != ignored and not (c < len(is_thing) and is_thing[c])]
        stuff = torch.tensor(stuff, dtype=torch.long, device=device)
        if semantic.shape[-2:] != masks.shape[-2:]:  # the preprocessor padded one of them
            height, width = (max(a, b) for a, b in zip(semantic.shape[-2:], masks.shape[-2:]))
            semantic, masks = (F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=fill)
                               for x, fill in ((semantic, ignored), (masks, False)))
        labels = torch.cat((labels, stuff))
        masks = torch.cat((masks, semantic == stuff[:, None, None]))
    return labels, masks


def _bitmaps(masks) -> Tensor:
    """Any of MMDetection's mask containers as bool (N, h, w)."""
    if isinstance(masks, PolygonMasks):
        masks = masks.to_bitmap()
    if isinstance(masks, BitmapMasks):
        masks = torch.from_numpy(np.ascontiguousarray(masks.masks).reshape(-1, masks.height, masks.width))
    return masks.bool()


def sample_sizes(sample: DetDataSample, padded: tuple[int, int], rescale: bool) -> Sizes:
    image = tuple(sample.img_shape[:2])
    return Sizes(tuple(padded), image, tuple(sample.ori_shape[:2]) if rescale else image)


def panoptic_codes(segments: Sequence[Segment], num_classes: int) -> list[int]:
    """MMDetection's encoding of void and each segment: class + 1000 * instance.

    ``num_classes`` is void, things are counted from 1.
    """
    codes, things = [num_classes], 0
    for segment in segments:
        things += segment.is_thing
        codes.append(segment.label + (things * INSTANCE_OFFSET if segment.is_thing else 0))
    return codes


def instance_result(instances: Instances) -> InstanceData:
    return InstanceData(bboxes=instances.boxes, labels=instances.labels, scores=instances.scores,
                        masks=instances.masks)


def semantic_result(labels: Tensor) -> PixelData:
    return PixelData(sem_seg=labels[None])
