"""A visualizer for the visualization hooks of MMDetection and MMSegmentation; panopticapi is not needed."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.structures import BaseDataElement, InstanceData
from mmengine.visualization import Visualizer

from ..datasets.categories import distinct_colors
from ..datasets.io import DistinctFiles, write_image
from ..datasets.segmentations import to_rle
from ..evaluation.functional import INSTANCE_OFFSET, decode_panoptic_seg
from ..registry import VISUALIZERS
from .drawing import Segments, draw_segments, enlarged, legend, titled
from .masks import Bitmaps, Enlarged, IdMap, RLEs

_KINDS = ('panoptic', 'instance', 'semantic')


@VISUALIZERS.register_module()
class PanopticVisualizer(Visualizer):
    """Ground truth beside the prediction, one row for each kind of result: panoptic, instances, semantic.

    Reads from a data sample whatever is there: ``gt_segment_map`` with ``gt_segments`` (of ``PackPanopticInputs``),
    ``gt_panoptic_seg``, ``gt_instances`` with masks (bitmaps, polygons or RLE) or boxes alone,
    ``gt_sem_seg``; ``pred_panoptic_seg``, ``pred_instances``, ``pred_sem_seg``; of a frame of a video the annotated
    ``instances`` and ``pred_track_instances``, each in a color of its own. Class names and the other colors come from
    the metainfo of the data set.

    Args:
        alpha: opacity of the colors.
        shortest_side: small images are enlarged by a whole number to at least this many pixels, for the texts.
        kwargs: see ``mmengine.visualization.Visualizer``.
    """

    def __init__(self, name: str = 'visualizer', alpha: float = 0.5, shortest_side: int = 384, **kwargs):
        super().__init__(name=name, **kwargs)
        self.alpha = alpha
        self.shortest_side = shortest_side
        self._files = DistinctFiles()

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: BaseDataElement | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        pred_score_thr: float = 0.3,
        step: int = 0,
    ) -> None:
        """Draw a data sample and show it, write it to ``out_file``, or give it to the backends.

        Args:
            name: identifies the image to the backends.
            image: RGB uint8 (H, W, 3), of the size of the masks.
            data_sample: what to draw; without it the image itself is shown.
            draw_gt: draw the ground truth, if there is one.
            draw_pred: draw the predictions.
            show: open a window.
            wait_time: seconds that the window stays.
            out_file: path to write to; where another image was written to it, folders named as those of this one come
                before its name.
            pred_score_thr: instances with a lower score are left out.
            step: counter for the backends.

        Raises:
            ValueError: masks and image differ in size, or the image would be written over.
        """
        image_path = None if data_sample is None else data_sample.get('img_path')
        if out_file is not None and image_path:
            out_file = self._files.path(out_file, image_path)
        drawn = self.draw(image, data_sample, draw_gt, draw_pred, pred_score_thr)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_image(out_file, drawn)
        else:
            self.add_image(name, drawn, step)

    def draw(
        self,
        image: np.ndarray,
        data_sample: BaseDataElement | None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        pred_score_thr: float = 0.3,
    ) -> np.ndarray:
        """The drawn image, RGB uint8; see ``add_datasample``."""
        panels = {} if data_sample is None else self._panels(data_sample.cpu(), draw_gt, draw_pred, pred_score_thr)
        if not panels:
            return image.astype(np.uint8)
        labels = [int(label) for segments in panels.values() for label in segments.labels]
        classes, palette = self._names_and_colors(max(labels, default=0) + 1)
        canvas, factor = enlarged(image.clip(0, 255).astype(np.uint8), self.shortest_side)
        columns = [column for column in ('ground truth', 'prediction') if any(key[1] == column for key in panels)]
        rows = []
        for kind in [kind for kind in _KINDS if any(key[0] == kind for key in panels)]:
            row = []
            for column in columns:
                panel, title = canvas, 'image'
                if (kind, column) in panels:
                    title = f'{column} ({kind})'
                    segments = self._fitted(panels[kind, column], image, factor, title)
                    panel = draw_segments(canvas, segments, classes, palette, self.alpha)
                row += [titled(panel, title), np.full((1, 4, 3), 255, np.uint8)]
            height = row[0].shape[0]
            rows.append(np.concatenate([np.broadcast_to(p, (height, *p.shape[1:])) for p in row[:-1]], axis=1))
        font_size = max(12, self.shortest_side // 28)
        entries = [
            (classes[label], tuple(palette[label]))
            for label in sorted(
                {int(label) for segments in panels.values() if segments.colors is None for label in segments.labels}
            )
        ]
        entries += dict.fromkeys(
            (classes[label], tuple(color))
            for segments in panels.values()
            if segments.colors is not None
            for label, color in zip(segments.labels, segments.colors.tolist())
        )
        rows.append(legend(rows[0].shape[1], entries, font_size))
        return np.concatenate(rows)

    def _panels(
        self, sample: BaseDataElement, draw_gt: bool, draw_pred: bool, pred_score_thr: float
    ) -> dict[tuple[str, str], Segments]:
        panels = {}
        if draw_gt:
            column = 'ground truth'
            if 'gt_segment_map' in sample:
                panels['panoptic', column] = _from_segment_map(
                    np.asarray(sample.gt_segment_map.data)[0], np.asarray(sample.gt_segments.labels)
                )
            elif 'gt_panoptic_seg' in sample:
                panels['panoptic', column] = self._from_panoptic(sample.gt_panoptic_seg)
            if 'gt_instances' in sample and _drawable(sample.gt_instances):
                panels['instance', column] = _from_instances(sample.gt_instances)
            if 'gt_sem_seg' in sample:
                panels['semantic', column] = self._from_semantic(sample.gt_sem_seg)
            if 'pred_track_instances' in sample and sample.get('instances'):
                panels['instance', column] = _from_annotations(sample.instances, *sample.ori_shape[:2])
        if draw_pred:
            column = 'prediction'
            if 'pred_track_instances' in sample and _drawable(sample.pred_track_instances):
                panels['instance', column] = _from_instances(sample.pred_track_instances, pred_score_thr)
            if 'pred_panoptic_seg' in sample:
                panels['panoptic', column] = self._from_panoptic(sample.pred_panoptic_seg)
            if 'pred_instances' in sample and _drawable(sample.pred_instances):
                panels['instance', column] = _from_instances(sample.pred_instances, pred_score_thr)
            if 'pred_sem_seg' in sample:
                panels['semantic', column] = self._from_semantic(sample.pred_sem_seg)
        self._derive_gt(panels)
        return panels

    def _derive_gt(self, panels: dict[tuple[str, str], Segments]) -> None:
        """Instances and labels of the panoptic ground truth, where a prediction has none beside it."""
        gt = panels.get(('panoptic', 'ground truth'))
        if gt is None:
            return
        num_things = len((self.dataset_meta or {}).get('thing_classes', ()))
        if ('instance', 'prediction') in panels and num_things:
            things = gt.labels < num_things
            masks = IdMap(gt.masks.ids, gt.masks.values[things])
            panels.setdefault(('instance', 'ground truth'), Segments(masks, gt.labels[things]))
        if ('semantic', 'prediction') in panels:
            labels, order = np.unique(gt.labels, return_inverse=True)
            masks = IdMap(np.append(order, -1)[gt.masks.ids], np.arange(len(labels)))
            panels.setdefault(('semantic', 'ground truth'), Segments(masks, labels, vary=False))

    def _fitted(self, segments: Segments, image: np.ndarray, factor: int, what: str) -> Segments:
        if segments.masks is None:
            return replace(segments, boxes=segments.boxes * factor)
        if segments.masks.size != image.shape[:2]:
            raise ValueError(
                f'{what} is {segments.masks.size} pixels (H, W), but the image {image.shape[:2]}; '
                f'load annotations after the resize in the test pipeline'
            )
        return segments if factor == 1 else replace(segments, masks=Enlarged(segments.masks, factor))

    def _names_and_colors(self, at_least: int) -> tuple[Sequence[str], Sequence]:
        meta = self.dataset_meta or {}
        classes = list(meta.get('classes') or [])
        classes += [f'class {label}' for label in range(len(classes), at_least)]
        palette = meta.get('palette')
        usable = isinstance(palette, (list, tuple)) and len(palette) >= len(classes)  # it may be a word like 'random'
        return classes, palette if usable else distinct_colors(len(classes))

    def _num_classes(self) -> int:
        classes = (self.dataset_meta or {}).get('classes')
        if classes is None:
            raise ValueError(
                'a panoptic map can be drawn only when the number of classes is known, which is the value '
                'of void in it; set visualizer.dataset_meta = dict(classes=(...))'
            )
        return len(classes)

    def _from_panoptic(self, panoptic_seg: BaseDataElement) -> Segments:
        ids, num_classes = _pixels(panoptic_seg), self._num_classes()
        segments = _from_segment_map(*decode_panoptic_seg(ids, num_classes))
        ids = np.unique(ids)
        return replace(segments, numbers=ids[ids % INSTANCE_OFFSET < num_classes] // INSTANCE_OFFSET)

    def _from_semantic(self, sem_seg: BaseDataElement) -> Segments:
        label_map = _pixels(sem_seg)
        labels = np.unique(label_map)
        ignored = sem_seg.metainfo.get('ignore_index', 255)
        labels = labels[(labels >= 0) & (labels != ignored) & (labels != 255)]
        return Segments(IdMap(label_map, labels), labels, vary=False)


def _pixels(pixel_data: BaseDataElement) -> np.ndarray:
    """The map (H, W) of MMDetection's ``sem_seg`` or MMSegmentation's ``data``."""
    tensor = pixel_data.sem_seg if 'sem_seg' in pixel_data else pixel_data.data
    return np.asarray(tensor).reshape(tensor.shape[-2:])


def _from_segment_map(index: np.ndarray, labels: np.ndarray) -> Segments:
    return Segments(IdMap(index, np.arange(len(labels))), labels)


def _drawable(instances: InstanceData) -> bool:
    """Whether there are masks whose size is known, which an empty list of RLE has not, or boxes alone."""
    masks = instances.get('masks')
    return 'bboxes' in instances if masks is None else not (isinstance(masks, list) and not masks)


def _from_instances(instances: InstanceData, score_thr: float = 0.0) -> Segments:
    labels, scores = np.asarray(instances.labels), None
    shown = slice(None)
    if 'scores' in instances:
        scores = np.asarray(torch.as_tensor(instances.scores).float())
        shown = np.flatnonzero(scores >= score_thr)
        scores = scores[shown]
    segments = Segments(None, labels[shown], scores)
    masks = instances.get('masks')
    if masks is None:
        boxes = instances.bboxes
        boxes = np.asarray(getattr(boxes, 'tensor', boxes), np.float32)  # a tensor, or MMDetection's own type
        segments.boxes = boxes[shown]
    elif isinstance(masks, list):
        size = tuple(int(side) for side in masks[0]['size'])
        segments.masks = RLEs([masks[i] for i in np.arange(len(masks))[shown]], size)
    else:
        masks = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else np.asarray(masks)  # mmdet's own containers
        segments.masks = Bitmaps(masks[shown])
    if 'instances_id' in instances:
        segments.colors = _colors(np.asarray(instances.instances_id))[shown]
    return segments


def _from_annotations(instances: Sequence[dict], height: int, width: int) -> Segments:
    """Objects of a frame as a video data set lists them."""
    return Segments(
        RLEs([to_rle(each['mask'], height, width) for each in instances], (height, width)),
        np.array([each['bbox_label'] for each in instances]),
        colors=_colors([each['instance_id'] for each in instances]),
    )


def _colors(ids: Sequence[int]) -> np.ndarray:
    """A color for each id, whatever others there are."""
    steps = 64  # ids that are so far apart share a color
    return np.array(distinct_colors(steps)).reshape(steps, 3)[np.asarray(ids, int) % steps]
