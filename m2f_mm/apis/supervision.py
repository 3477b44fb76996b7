"""Results of MMDetection's models for the package ``supervision``."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from m2f_mm.boxes import box_of_mask
from m2f_mm.evaluation.functional import decode_panoptic_seg


def to_supervision(sample: Any, classes: Sequence[str]) -> 'supervision.Detections':  # noqa: F821
    """Detections of an image: its instances, or, where there are none in the results, the segments of its panoptic map.

    ``supervision.Detections.from_mmdetection`` takes instances alone, and gives them no names.

    Args:
        sample: a ``DetDataSample`` with ``pred_instances``, whose masks may be bitmaps, RLE or missing, or with
            ``pred_panoptic_seg``.
        classes: names, in the order of the labels; those of ``model.dataset_meta['classes']``.

    Raises:
        ValueError: the sample has neither.
    """
    from supervision import Detections

    if 'pred_instances' in sample:
        instances = sample.pred_instances
        masks = instances.get('masks')
        fields = dict(
            xyxy=instances.bboxes.float().cpu().numpy(),
            class_id=instances.labels.cpu().numpy(),
            confidence=instances.scores.float().cpu().numpy(),
            mask=None if masks is None else masks.cpu().numpy(),
        )
    elif 'pred_panoptic_seg' in sample:
        panoptic_ids = sample.pred_panoptic_seg.sem_seg.cpu().numpy()
        index, labels = decode_panoptic_seg(panoptic_ids.reshape(panoptic_ids.shape[-2:]), len(classes))
        masks = index == np.arange(len(labels))[:, None, None]
        fields = dict(
            xyxy=np.array([box_of_mask(mask) for mask in masks], np.float32).reshape(-1, 4),
            mask=masks,
            class_id=np.asarray(labels),
        )
    else:
        raise ValueError(
            f'{sample.get("img_path", "the sample")} has neither pred_instances nor pred_panoptic_seg, '
            f'only {sorted(sample.keys())}: switch one of them on in model.test_cfg'
        )
    return Detections(**fields, data=dict(class_name=np.array([classes[label] for label in fields['class_id']], str)))
