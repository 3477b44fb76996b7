"""Data sets of MMSegmentation with the classes that the published models have."""

from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import Resize

from m2f_mm.datasets import ade20k_full_categories
from m2f_mm.datasets.categories import distinct_colors
from m2f_mm.datasets.mapillary_categories import NAMES, PALETTE
from m2f_mm.datasets.transforms.resizing import resize_maps
from m2f_mm.registry import DATASETS


@DATASETS.register_module()
class ADE20KFullDataset(BaseSegDataset):
    """ADE20K with the 847 classes that MaskFormer evaluates; its labels have 16 bits, see ``LoadLabelMap``.

    Args:
        img_suffix, seg_map_suffix: endings of the files.
        ignore_index: label of pixels of other classes.
        kwargs: see ``BaseSegDataset``.
    """

    METAINFO = dict(
        classes=ade20k_full_categories.NAMES,
        palette=[list(color) for color in distinct_colors(len(ade20k_full_categories.NAMES))],
    )

    def __init__(self, img_suffix: str = '.jpg', seg_map_suffix: str = '.tif', ignore_index: int = 65535, **kwargs):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, ignore_index=ignore_index, **kwargs)


@DATASETS.register_module()
class MapillaryDataset(BaseSegDataset):
    """Mapillary Vistas v1.2 with its 65 evaluated classes.

    MMSegmentation's ``MapillaryDataset_v1`` has "Unlabeled" as a 66th class; here its value, 65, is to be ignored.

    Args:
        img_suffix, seg_map_suffix: endings of the files.
        kwargs: see ``BaseSegDataset``.
    """

    METAINFO = dict(classes=NAMES, palette=[list(color) for color in PALETTE])

    def __init__(self, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', **kwargs):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes=None) -> dict[int, int]:
        """Value in the label maps to label; 65, and what is not among ``new_classes``, is ignored."""
        return {**(super().get_label_map(new_classes) or {}), len(NAMES): 255}


def resize_fields(self: Resize, results: dict) -> None:
    """What MMSegmentation's ``Resize._resize_seg`` does, to label maps of 16 bits, too, and to at least one pixel. See
    also ``compatibility.resize_any_image``."""
    resize_maps(self, results, results.get('seg_fields', ()))


Resize._resize_seg = resize_fields
