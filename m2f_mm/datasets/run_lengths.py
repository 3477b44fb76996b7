"""COCO's ways to write a mask down."""

from pycocotools import mask as coco_masks


def compressed(mask: dict | list, height: int, width: int) -> dict:
    """COCO's compressed run-length code of any of its forms: this one, counts of runs, or polygons."""
    if isinstance(mask, list):
        return coco_masks.merge(coco_masks.frPyObjects(mask, height, width))
    if isinstance(mask['counts'], list):
        return coco_masks.frPyObjects(mask, height, width)
    counts = mask['counts']
    return dict(size=mask['size'], counts=counts.encode() if isinstance(counts, str) else counts)
