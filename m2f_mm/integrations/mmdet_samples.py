"""MMDetection's data samples to and from this package's structures."""

import warnings
from collections.abc import Iterator, Sequence
from itertools import islice

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.structures import DetDataSample, TrackDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData, PixelData
from pycocotools import mask as coco_masks
from torch import Tensor

from m2f_mm.boxes import xyxy_to_cxcywh
from m2f_mm.datasets.rle_masks import RLEMasks
from m2f_mm.deprecation import renamed_attributes
from m2f_mm.postprocess import Instances, Segment, Sizes
from m2f_mm.structures import NO_CLASS, SegTargets

from .head_adapter import height_width


def to_targets(
    samples: Sequence[DetDataSample], is_thing: Sequence[bool], device: torch.device, take_boxes: bool = False
) -> list[SegTargets]:
    """The objects of every image, padded with nothing to the size of the batch.

    Reads what this package's loader delivers (``gt_segment_map`` and ``gt_segments``) and what MMDetection's own do
    (``gt_instances`` with bitmap or polygon masks, for panoptic training ``gt_sem_seg`` beside it).

    Args:
        samples: of a batch.
        is_thing: for each class.
        device: where the targets go.
        take_boxes: a sample without masks may have boxes instead. Where there are masks, boxes are made of them, as the
            official code does.

    Raises:
        ValueError: where a sample has nothing of it; names the image and the transform that would load it.
    """
    for sample in samples:
        if 'gt_sem_seg' in sample and sample.gt_sem_seg.sem_seg.dtype == torch.uint16:
            raise ValueError(
                f'{_name(sample)}: m2f_mm.LoadPanopticSegments has loaded a map of segments, and '
                'PackDetInputs has lost their labels: take m2f_mm.PackPanopticInputs in its place, or '
                'm2f_mm.LoadPanopticAnnotations before it'
            )
    maps = {
        i: sample.gt_sem_seg.sem_seg.to(device)
        for i, sample in enumerate(samples)
        if 'gt_sem_seg' in sample and 'gt_segment_map' not in sample and not all(is_thing)
    }  # (1, h, w); a head without stuff has no use for them
    stuff = _stuff_labels({i: (samples[i], semantic) for i, semantic in maps.items()}, is_thing) if maps else {}
    return [
        _boxes_alone(sample, device)
        if take_boxes and i not in maps and _has_boxes_alone(sample)
        else _to_target(sample, maps.get(i), stuff.get(i), device)
        for i, sample in enumerate(samples)
    ]


def _has_boxes_alone(sample: DetDataSample) -> bool:
    return 'gt_segment_map' not in sample and 'masks' not in sample.gt_instances and 'bboxes' in sample.gt_instances


def _boxes_alone(sample: DetDataSample, device: torch.device) -> SegTargets:
    instances = sample.gt_instances
    height, width = sample.get('batch_input_shape', sample.img_shape[:2])
    corners = torch.as_tensor(getattr(instances.bboxes, 'tensor', instances.bboxes), dtype=torch.float32).to(device)
    (x0, x1), (y0, y1) = ((corners[:, axis::2] / length).unbind(1) for axis, length in enumerate((width, height)))
    return SegTargets(instances.labels.long().to(device), None, xyxy_to_cxcywh(x0, y0, x1, y1), name=_name(sample))


def _to_target(
    sample: DetDataSample, semantic: Tensor | None, stuff: Tensor | None, device: torch.device
) -> SegTargets:
    name = _name(sample)
    if 'gt_segment_map' in sample:
        segment_map = sample.gt_segment_map.data.to(device)  # (1, h, w)
        labels = sample.gt_segments.labels.to(device)
        index = torch.arange(len(labels), dtype=segment_map.dtype, device=device)
        masks = segment_map == index[:, None, None]
    else:
        labels, masks = _stock_annotations(sample, semantic, stuff, device)
    height, width = sample.get('batch_input_shape', masks.shape[-2:])
    if masks.shape[-2:] != (height, width):  # a copy of all masks
        masks = F.pad(masks, (0, width - masks.shape[-1], 0, height - masks.shape[-2]))
    return SegTargets(labels.long(), masks, name=name)


def clip_targets(
    clips: Sequence[TrackDataSample], device: torch.device, last_frame_labels: bool = True
) -> list[SegTargets]:
    """The objects of each clip, joined over its frames by their ids, in the order of these. The host waits once for the
    ids and labels of all clips, once to copy the labels of their objects, and for the copy of each one's masks.

    Args:
        clips: each frame has ``gt_instances`` with masks, ``labels`` and ``instances_ids``. An object that has no mask
            in a frame, or an empty one, is not visible there; one that is visible in no frame is left out. Of two
            objects of one id in a frame the last one counts, as in MMDetection, with a warning.
        device: where the targets go.
        last_frame_labels: objects that the last frame does not show have the label ``NO_CLASS``, as in the official
            loader; otherwise the label of the frames that do.

    Raises:
        ValueError: a frame has no masks or no ids; names clip and frame.
    """
    frames = _tracked([frame for clip in clips for frame in clip.video_data_samples])
    joined = [_joined(clip, list(islice(frames, len(clip))), last_frame_labels) for clip in clips]
    every = torch.tensor([label for labels, _ in joined for label in labels], dtype=torch.long).to(device)
    return [
        SegTargets(labels, masks.to(device, non_blocking=True), name=_name(clip[0]))
        for labels, (_, masks), clip in zip(every.split([len(labels) for labels, _ in joined]), joined, clips)
    ]


def _joined(
    clip: TrackDataSample, frames: Sequence[dict[int, tuple[int, Tensor]]], last_frame_labels: bool
) -> tuple[list[int], Tensor]:
    """Label and masks bool (N, T, H, W) of each object of a clip, of whose frames ``_tracked`` has told the objects."""
    ids = sorted(set().union(*frames))
    masks = torch.zeros(
        (len(ids), len(frames), *clip[0].get('batch_input_shape', clip[0].img_shape[:2])), dtype=torch.bool
    )
    labels = [NO_CLASS] * len(ids)
    for t, objects in enumerate(frames):
        for row, key in enumerate(ids):
            if key in objects:
                labels[row], mask = objects[key]
                masks[row, t, : mask.shape[0], : mask.shape[1]] = mask
            elif last_frame_labels:
                labels[row] = NO_CLASS
    return labels, masks


def _tracked(frames: Sequence[DetDataSample]) -> Iterator[dict[int, tuple[int, Tensor]]]:
    """Of each frame label and mask (h, w) of every visible object, by its id."""
    for sample in frames:
        missing = [key for key in ('masks', 'labels', 'instances_ids') if key not in sample.gt_instances]
        if missing:
            raise ValueError(
                f'The annotations of {_name(sample) or "a frame"} have no {", ".join(missing)}. Load them '
                'with dict(type="LoadTrackAnnotations", with_mask=True)'
            )
    every = [sample.gt_instances for sample in frames]
    numbers = torch.cat([torch.stack((each.instances_ids.long(), each.labels.long())) for each in every], 1)
    pairs = iter(numbers.T.tolist())
    for sample, instances in zip(frames, every):
        objects = {}
        for (key, label), mask in zip(islice(pairs, len(instances)), _bitmaps(instances.masks)):
            if key in objects:
                warnings.warn(
                    f'{_name(sample) or "A frame"}, frame {sample.get("frame_id", "?")}, has two objects of '
                    f'the id {key}; the last one counts',
                    stacklevel=2,
                )
            if mask.any():
                objects[key] = label, mask
        yield objects


def _name(sample: DetDataSample) -> str:
    return str(sample.get('img_path', ''))


def _stuff_labels(annotated: dict[int, tuple[DetDataSample, Tensor]], is_thing: Sequence[bool]) -> dict[int, Tensor]:
    """The classes of stuff on each map, ascending; the host waits once for the whole batch."""
    num_classes = len(is_thing)
    semantic = next(iter(annotated.values()))[1]
    present = semantic.new_zeros((len(annotated), num_classes + 2), dtype=torch.uint8)  # classes, then unknown, ignored
    for (sample, semantic), of_image in zip(annotated.values(), present):
        labels = torch.where((semantic < 0) | (semantic >= num_classes), num_classes, semantic.long())
        labels[semantic == sample.gt_sem_seg.get('ignore_index', 255)] = num_classes + 1
        of_image.index_fill_(0, labels.flatten(), 1)
    stuff = []
    for (sample, _), of_image in zip(annotated.values(), present.tolist()):
        if of_image[num_classes]:
            raise ValueError(
                f'gt_sem_seg of {_name(sample) or "an image"} has labels that are neither one of the '
                f'{num_classes} classes nor its ignore_index. Number the classes 0..{num_classes - 1}, '
                'and set ignore_index to what stands for void'
            )
        stuff.append([label for label in range(num_classes) if of_image[label] and not is_thing[label]])
    labels = torch.tensor(sum(stuff, []), dtype=torch.long, device=semantic.device)
    return dict(zip(annotated, labels.split([len(s) for s in stuff])))


def _stock_annotations(
    sample: DetDataSample, semantic: Tensor | None, stuff: Tensor | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    instances = sample.gt_instances
    if 'masks' in instances:
        masks = _bitmaps(instances.masks).to(device, non_blocking=True)
        labels = instances.labels.to(device)
    elif semantic is not None and len(instances.get('labels', ())) == 0:
        masks = semantic.new_zeros((0, *semantic.shape[-2:]), dtype=torch.bool)
        labels = torch.zeros(0, dtype=torch.long, device=device)
    else:
        raise ValueError(
            f'The annotations of {_name(sample) or "an image"} have no masks (only '
            f'{sorted(instances.keys())}). Load them with dict(type="LoadAnnotations", with_mask=True), '
            'or panoptic ones with dict(type="m2f_mm.LoadPanopticSegments")'
        )
    if semantic is not None and stuff is not None:
        if semantic.shape[-2:] != masks.shape[-2:]:  # the preprocessor padded one of them
            height, width = (max(a, b) for a, b in zip(semantic.shape[-2:], masks.shape[-2:]))
            ignored = sample.gt_sem_seg.get('ignore_index', 255)
            semantic, masks = (
                F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=fill)
                for x, fill in ((semantic, ignored), (masks, False))
            )
        labels = torch.cat((labels, stuff))
        masks = torch.cat((masks, semantic == stuff[:, None, None]))
    return labels, masks


def _bitmaps(masks) -> Tensor:
    """Any of MMDetection's mask containers as bool (N, h, w)."""
    if isinstance(masks, PolygonMasks):
        return _drawn(masks)
    if isinstance(masks, BitmapMasks):
        masks = torch.from_numpy(np.ascontiguousarray(masks.masks).reshape(-1, masks.height, masks.width))
    return masks.bool()


def _drawn(polygons: PolygonMasks) -> Tensor:
    """COCO's drawing of each object, the union of its polygons; equals ``polygons.to_bitmap()`` without its copies."""
    height, width = polygons.height, polygons.width
    masks = torch.empty((len(polygons), height, width), dtype=torch.bool)
    for mask, parts in zip(masks.view(torch.uint8).numpy(), polygons):
        columns = coco_masks.decode(coco_masks.merge(coco_masks.frPyObjects(parts, height, width))).T
        cv2.transpose(columns, dst=mask)  # in blocks that a cache holds, unlike NumPy's assignment
    return masks


def sample_sizes(sample: DetDataSample, padded: Sequence[int], rescale: bool) -> Sizes:
    """Sizes of padded input, image and output, which is the file's with ``rescale``."""
    image = height_width(sample.img_shape)
    return Sizes(height_width(padded), image, height_width(sample.ori_shape) if rescale else image)


def encode_segments(segments: Sequence[Segment], num_classes: int) -> list[int]:
    """MMDetection's encoding of void and each segment: class + 1000 * instance.

    ``num_classes`` is void, things are counted from 1.
    """
    ids, things = [num_classes], 0
    for segment in segments:
        things += segment.is_thing
        ids.append(segment.label + (things * INSTANCE_OFFSET if segment.is_thing else 0))
    return ids


def instance_result(instances: Instances, sizes: Sizes, score_thr: float = 0.0) -> InstanceData:
    """In MMDetection's form.

    Args:
        instances: of an image or a frame.
        sizes: of the image.
        score_thr: those with a lower score are left out.
    """
    masks = {} if instances.masks is None else dict(masks=instances.masks)
    if isinstance(instances.masks, list):
        masks = dict(masks=RLEMasks(instances.masks, sizes.output))
    result = InstanceData(bboxes=instances.boxes, labels=instances.labels, scores=instances.scores, **masks)
    return result[result.scores >= score_thr] if score_thr > 0 else result


def semantic_result(labels: Tensor) -> PixelData:
    """A label map (H, W) in MMDetection's form."""
    return PixelData(sem_seg=labels[None])


__getattr__ = renamed_attributes(__name__, dict(panoptic_codes='encode_segments'))
