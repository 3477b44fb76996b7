"""Mask DINO without masks: options and batches."""

import torch

from m2f_mm.boxes import masks_to_boxes

DETECTOR = dict(predict_masks=False, boxes_from_masks='no')


def without_masks(data, *images):
    """The batch of which some images have boxes alone: those of the masks that are taken away."""
    for image in images:
        instances = data['data_samples'][image].gt_instances
        masks = torch.from_numpy(instances.masks.masks).bool()
        corners = masks_to_boxes(masks) * masks.new_tensor([masks.shape[2], masks.shape[1]] * 2, dtype=torch.float32)
        centre, size = corners[:, :2], corners[:, 2:]
        instances.bboxes = torch.cat((centre - size / 2, centre + size / 2), 1)
        del instances.masks
    return data
