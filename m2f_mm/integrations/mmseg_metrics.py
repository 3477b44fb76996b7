"""MMSegmentation's IoU with any number of classes, and label maps as files."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object
from mmseg.evaluation import IoUMetric as StockIoUMetric

from m2f_mm.datasets.io import encode_png, refuse_inputs, write_file
from m2f_mm.datasets.label_maps import default_ignore_index
from m2f_mm.registry import METRICS


@METRICS.register_module()
class IoUMetric(StockIoUMetric):
    """MMSegmentation's ``IoUMetric``; files of more than 256 labels have 16 bits, where that one cuts off 8.

    Args:
        ignore_index: label of pixels that are not counted; by default 255, or 65535 where 255 is a class.
        Others: as the stock metric. ``output_dir`` is where label maps are written, named like their images.

    Raises:
        ValueError: a label map has a value that no class has, two images would be written to one file, or a file would
            replace an image or a label map that is read.
    """

    def __init__(self, ignore_index: int | None = None, **kwargs: Any):
        super().__init__(ignore_index=ignore_index, **kwargs)
        self._written: dict[str, str] = {}  # file -> image

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of each image, and write its label map."""
        num_classes = len(self.dataset_meta['classes'])
        ignored = default_ignore_index(num_classes) if self.ignore_index is None else self.ignore_index
        if 0 <= ignored < num_classes:
            raise ValueError(f'IoUMetric: ignore_index={ignored} is one of the {num_classes} classes')
        for sample in data_samples:
            labels = sample['pred_sem_seg']['data'].squeeze(0)
            if not self.format_only:
                target = sample['gt_sem_seg']['data'].squeeze(0).to(labels)
                unknown = target[(target != ignored) & ((target < 0) | (target >= num_classes))]
                if unknown.numel():
                    value = int(unknown[0])
                    raise ValueError(
                        f'{sample.get("seg_map_path") or sample.get("img_path")} has the label {value}, '
                        f'but there are {num_classes} classes, 0 to {num_classes - 1}, and {ignored} is '
                        f'ignored. If {value} is to be ignored: ignore_index={value}'
                    )
                self.results.append(self.intersect_and_union(labels, target, num_classes, ignored))
            if self.output_dir is not None:
                self._write(sample, labels.cpu().numpy(), num_classes)

    def evaluate(self, size: int) -> dict:
        """As the stock method, after a look at the files of all workers."""
        if self.output_dir is not None:
            for written in all_gather_object(self._written):
                for path, image in written.items():
                    self._claim(path, image)
        return super().evaluate(size)

    def _claim(self, path: str, image: str) -> None:
        """Take a file for an image."""
        if self._written.setdefault(path, image) != image:
            raise ValueError(
                f'{path} is the file of two images: {self._written[path]} and {image}. Evaluate their '
                'folders one by one'
            )

    def _write(self, sample: dict, labels: np.ndarray, num_classes: int) -> None:
        offset = int(bool(sample.get('reduce_zero_label')))  # files count from 1 then, as those of the data set
        image = sample['img_path']
        path = os.path.join(self.output_dir, f'{os.path.splitext(os.path.basename(image))[0]}.png')
        self._claim(path, image)
        refuse_inputs([path], [image, sample.get('seg_map_path') or ''], 'output_dir')
        dtype = np.uint8 if num_classes + offset <= 256 else np.uint16
        write_file(path, encode_png((labels + offset).astype(dtype)))
