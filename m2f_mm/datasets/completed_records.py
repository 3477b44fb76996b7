"""Areas and boxes that COCO instance annotations lack, or have as 0."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .faults import Fault
from .json_records import shown, what_of
from .segmentations import is_empty_rle

COMPUTED = dict(
    bbox='boxes that the file lacks or has as 0, computed', area='areas that the file lacks or has as 0, computed'
)


def complete_records(
    content: Mapping,
    file: str,
    mask_area: Callable[[Any, int, int], float],
    mask_box: Callable[[Any, int, int], Sequence[float]],
    with_masks: bool = True,
) -> list[Fault]:
    """Compute area and box of annotations where a file has none or a mistaken one: an area that is not above 0, a box
    without extent around a mask that has one.

    Args:
        content: the JSON, without fatal faults; changed in place.
        file: its path.
        mask_area: pixels of a segmentation, given height and width of its image.
        mask_box: its box x, y, width, height, given the same.
        with_masks: whether masks are read and were checked; otherwise areas are those of the boxes.

    Returns:
        What was computed, and which objects the data set leaves out, being empty.
    """
    sizes = {image['id']: (image['height'], image['width']) for image in content['images']}
    faults = []
    for number, annotation in enumerate(content['annotations']):
        size = sizes[annotation['image_id']]
        mask = annotation.get('segmentation') if with_masks else None
        box, area = annotation.get('bbox'), annotation.get('area')
        if mask and (box is None or _empty(box, *size)):
            drawn = list(mask_box(mask, *size))
            if box is None or min(drawn[2:]) >= 2:  # what is thin in mask and box alike is left out, as elsewhere
                annotation['bbox'] = drawn
        if area is None or area <= 0:
            annotation['area'] = mask_area(mask, *size) if mask else float(np.prod(annotation['bbox'][2:]))
        for key, old in (('bbox', box), ('area', area)):
            if annotation.get(key) != old:
                faults.append(
                    Fault(
                        COMPUTED[key],
                        file,
                        _where(annotation, number),
                        f'{key} is {shown(old)}, computed is {shown(annotation[key])}',
                        fatal=False,
                    )
                )
        reason = (
            'it is marked by ignore'
            if annotation.get('ignore')
            else f'bbox is {shown(annotation["bbox"])}'
            if _empty(annotation['bbox'], *size)
            else 'its mask draws no pixel'
            if annotation['area'] <= 0
            else ''
        )
        if reason:
            faults.append(
                Fault(
                    'objects without extent in the image or marked by ignore, left out',
                    file,
                    _where(annotation, number),
                    f'left out, as {reason}',
                    fatal=False,
                )
            )
        elif is_empty_rle(mask):
            faults.append(
                Fault(
                    'objects with an empty mask',
                    file,
                    _where(annotation, number),
                    'no pixel is set in its RLE',
                    fatal=False,
                )
            )
    return faults


def _empty(box: Sequence[float], height: int, width: int) -> bool:
    """Whether MMDetection leaves out an object of this box: it is less than a pixel long or wide, or outside."""
    x, y, box_width, box_height = box
    return (
        box_width < 1
        or box_height < 1
        or min(x + box_width, width) <= max(x, 0)
        or min(y + box_height, height) <= max(y, 0)
    )


def _where(annotation: Mapping, number: int) -> str:
    return f'{what_of(annotation, "annotation", number)} of image {annotation["image_id"]}'
