"""pycocotools, which MMDetection brings; label maps do without it."""

from types import ModuleType


def coco_masks() -> ModuleType:
    """The module ``pycocotools.mask``, imported where a mask needs it.

    Raises:
        ImportError: it is not installed.
    """
    from pycocotools import mask

    return mask


def objects_can_be_read(notes: list[str]) -> bool:
    """Whether pycocotools is there; a note says so where it is not and objects beside label maps are left out."""
    try:
        coco_masks()
    except ImportError:
        notes.append('pycocotools is not installed, so objects are not read: label maps alone.')
        return False
    return True
