"""Masks of COCO checked before they are decoded."""

import numpy as np

from ..image_files import check_image_size
from ..segmentations import WrongMask, check_segmentation


class SafeMasks:
    """A mixin before a loader of MMDetection: masks of every form of COCO, each checked before it is decoded.

    With ``poly2mask=False`` the masks of an image stay polygons if all are polygons; where one is an RLE, which the
    stock loader then ignores, they become bitmaps. RLE of crowds, which are not trained on, do not count.

    Raises:
        ValueError: a mask contradicts itself, or the image has another size than ``height`` and ``width`` of the
            results say; names the image.
    """

    def transform(self, results: dict) -> dict:
        """Results of the stock method, of an image that has the listed size."""
        check_image_size(results)
        return super().transform(results)

    def _load_masks(self, results: dict) -> None:
        from mmdet.structures.mask import BitmapMasks

        height, width = results['ori_shape']
        instances = results.get('instances', [])
        for number, instance in enumerate(instances):
            try:
                check_segmentation(instance.get('mask'), height, width)
            except WrongMask as error:
                raise ValueError(f'{results.get("img_path")}: object {number}: {error}') from error
        if self.poly2mask or all(
            instance['ignore_flag'] or isinstance(instance['mask'], list) for instance in instances
        ):
            super()._load_masks(results)
            return
        masks = [self._poly2mask(instance['mask'], height, width) for instance in instances]
        results['gt_masks'] = BitmapMasks(masks, height, width)
        results['gt_ignore_flags'] = np.array([instance['ignore_flag'] for instance in instances], bool)
