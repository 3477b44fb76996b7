"""What a prediction of an image is: segments with masks, one type for panoptic, instance, semantic and box results.

Shapes: N segments, H x W the image as it is shown (EXIF's orientation applied).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_masks

from m2f_mm.datasets.categories import distinct_colors
from m2f_mm.datasets.io import write_image
from m2f_mm.datasets.label_maps import default_ignore_index
from m2f_mm.evaluation.functional import INSTANCE_OFFSET, decode_panoptic_seg
from m2f_mm.visualization import drawing
from m2f_mm.visualization.drawing import Segments, draw_segments
from m2f_mm.visualization.labels import font_size_of
from m2f_mm.visualization.masks import IdMap, Masks, RLEs

if TYPE_CHECKING:
    import pandas
    import supervision

IGNORED = 255  # label of a pixel without a class in ``Result.semantic``


@dataclass
class ResultSegment:
    """A segment of an image: an object, a region of stuff, all pixels of a class, or a box.

    Args:
        label: of the class.
        name: of the class.
        score: confidence in 0..1; None for label maps, which have none.
        is_thing: an object that can be counted; None where the model does not say.
        id: its number in ``Result.panoptic``; of instances 1 + the position.
        box: x0, y0, x1, y1 in pixels, the last two exclusive.
        size: height and width of the image.
        ids: the map (H, W) in which the pixels of the segment have the value ``id`` or, for label maps, ``label``.
        value: the value of its pixels in ``ids``.
        given_rle: its mask as COCO's compressed RLE, in the place of ``ids``; None for a box without a mask.
    """

    label: int
    name: str
    score: float | None
    is_thing: bool | None
    id: int
    box: tuple[float, float, float, float]
    size: tuple[int, int]
    ids: np.ndarray | None = field(default=None, repr=False)
    value: int = 0
    given_rle: dict | None = field(default=None, repr=False)

    @property
    def has_mask(self) -> bool:
        """Whether it is more than a box."""
        return self.ids is not None or self.given_rle is not None

    @property
    def mask(self) -> np.ndarray | None:
        """Its pixels, bool (H, W), made when they are asked for; None for a box."""
        if self.ids is not None:
            return self.ids == self.value
        return None if self.given_rle is None else coco_masks.decode(self.given_rle).astype(bool)

    @property
    def rle(self) -> dict | None:
        """Its mask as COCO's compressed RLE, ``counts`` as bytes; None for a box."""
        if self.given_rle is not None or self.ids is None:
            return self.given_rle
        return coco_masks.encode(np.asfortranarray(self.mask, np.uint8))

    @cached_property
    def area(self) -> int:
        """Pixels of the mask; of a box its area, rounded."""
        if self.ids is not None:
            return int(np.count_nonzero(self.ids == self.value))
        if self.given_rle is not None:
            return int(coco_masks.area(self.given_rle))
        x0, y0, x1, y1 = self.box
        return round(max(x1 - x0, 0) * max(y1 - y0, 0))


@dataclass
class Result:
    """The prediction of one image. Iterating gives its segments, those of a higher score first.

    Args:
        name: of the image: its path below the folder that was predicted, or a number.
        image: RGB uint8 (H, W, 3).
        kind: 'panoptic', 'instance', 'semantic' or 'boxes'.
        segments: of the image.
        classes: names, by label.
        path: of the image's file, if it has one.
        panoptic: int32 (H, W), the ``id`` of the segment of each pixel, 0 for none; panoptic results have it.
        semantic: (H, W), the label of each pixel, ``IGNORED`` (of more than 255 classes 65535) for none; results of
            'panoptic' and 'semantic' have it.
        palette: colors of the classes, RGB; by default distinct ones.
    """

    name: str
    image: np.ndarray = field(repr=False)
    kind: str
    segments: list[ResultSegment]
    classes: Sequence[str] = field(repr=False)
    path: str | None = None
    panoptic: np.ndarray | None = field(default=None, repr=False)
    semantic: np.ndarray | None = field(default=None, repr=False)
    palette: Sequence | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[ResultSegment]:
        return iter(self.segments)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[:2]

    def add(
        self,
        label: int,
        box: Sequence[float],
        is_thing: Sequence[bool] | Mapping[int, bool] | None = None,
        score: float | None = None,
        **mask: Any,
    ) -> None:
        """One more segment, whose id follows from the position.

        Args:
            label: of the class.
            box: x0, y0, x1, y1 in pixels.
            is_thing: for each class; None where that is not known.
            score: confidence; None where there is none.
            **mask: ``ids`` and ``value``, ``given_rle``, or nothing for a box; see ``ResultSegment``.
        """
        self.segments.append(
            ResultSegment(
                label=int(label),
                name=self.classes[label],
                score=score,
                is_thing=None if is_thing is None else bool(is_thing[label]),
                id=len(self.segments) + 1,
                box=tuple(box),
                size=self.size,
                **mask,
            )
        )

    def add_classes(self, is_thing: Sequence[bool] | Mapping[int, bool] | None = None) -> None:
        """A segment for each class of ``semantic``; values that are none are passed over."""
        present = [label for label in np.unique(self.semantic).tolist() if label < len(self.classes)]
        for label, box in zip(present, _boxes(self.semantic, present)):
            self.add(label, box, is_thing, ids=self.semantic, value=label)

    def above(self, score: float) -> 'Result':
        """The result without instances and boxes of a lower score; panoptic and semantic ones stay whole."""
        if self.kind not in ('instance', 'boxes'):
            return self
        segments = [segment for segment in self.segments if segment.score is None or segment.score >= score]
        return Result(self.name, self.image, self.kind, segments, self.classes, self.path, palette=self.palette)

    def masks(self) -> np.ndarray:
        """The masks of all segments, bool (N, H, W); a box is a mask without a pixel."""
        masks = np.zeros((len(self), *self.size), bool)
        for mask, segment in zip(masks, self.segments):
            if segment.has_mask:
                mask[:] = segment.mask
        return masks

    def _masks_one_by_one(self) -> Masks:
        """Those of ``masks``, which exist one at a time."""
        ids = self.segments[0].ids if self.segments else None
        if ids is not None and all(segment.ids is ids for segment in self.segments):
            return IdMap(ids, [segment.value for segment in self.segments])
        return RLEs([segment.rle for segment in self.segments], self.size)

    def plot(self, alpha: float = 0.5, score_thr: float = 0.0, legend: bool = False) -> np.ndarray:
        """The image with its segments drawn over it, RGB uint8 (H, W, 3).

        Names stand on tags in the color of their class, as many as there is room for.

        Args:
            alpha: opacity of the colors.
            score_thr: instances and boxes with a lower score are left out.
            legend: names and colors of all classes in the image stand below it, which makes it higher.
        """
        shown = self.above(score_thr)
        boxes_alone = shown.kind == 'boxes'
        scores = None if shown.kind == 'semantic' else [segment.score for segment in shown]
        if scores is not None and None in scores:
            scores = None
        segments = Segments(
            None if boxes_alone else shown._masks_one_by_one(),
            np.array([segment.label for segment in shown], int),
            None if scores is None else np.array(scores, float),
            vary=shown.kind != 'semantic',
            boxes=np.array([segment.box for segment in shown], np.float32).reshape(-1, 4) if boxes_alone else None,
        )
        palette = self.palette if self.palette is not None else distinct_colors(len(self.classes))
        drawn = draw_segments(self.image, segments, self.classes, palette, alpha)
        if not legend:
            return drawn
        entries = [(self.classes[label], tuple(palette[label])) for label in np.unique(segments.labels).tolist()]
        return np.concatenate([drawn, drawing.legend(drawn.shape[1], entries, font_size_of(drawn))])

    def show(self, **options: Any) -> None:
        """Open the drawn image in the system's viewer; ``options`` as for ``plot``."""
        from PIL import Image

        Image.fromarray(self.plot(**options)).show(self.name)

    def save(self, path: str | Path, **options: Any) -> str:
        """Write the drawn image, whole or not at all.

        Args:
            path: a file, whose suffix says the format; or a folder, for ``name`` with the suffix ``.png``.
            **options: as for ``plot``.

        Returns:
            The path of the file.

        Raises:
            ValueError: the suffix is none of an image format, or the file is the image itself.
        """
        from PIL import Image

        path = Path(path)
        if path.is_dir() or not path.suffix:
            path = path / f'{self.name}.png'
        if path.suffix.lower() not in Image.registered_extensions():
            raise ValueError(f'{path}: {path.suffix!r} is no image format that can be written; take .png or .jpg')
        if self.path and path.exists() and path.samefile(self.path):
            raise ValueError(f'{path} is the image itself, which would be written over; choose another name')
        write_image(str(path), self.plot(**options))
        return str(path)

    def to_dict(self, masks: bool = True) -> dict:
        """The result as numbers, texts, lists and dicts, for ``json``.

        Args:
            masks: also the RLE of each segment.
        """
        segments = []
        for segment in self.segments:
            record = dict(
                id=segment.id,
                label=segment.label,
                name=segment.name,
                score=segment.score,
                is_thing=segment.is_thing,
                box=[round(float(side), 2) for side in segment.box],
                area=segment.area,
            )
            if masks and segment.has_mask:
                record['rle'] = text_rle(segment.rle)
            segments.append(record)
        height, width = self.size
        return dict(
            name=self.name,
            path=self.path,
            height=height,
            width=width,
            kind=self.kind,
            classes=list(self.classes),
            segments=segments,
        )

    def to_json(self, masks: bool = True, indent: int | None = None) -> str:
        """``to_dict`` as text."""
        import json

        return json.dumps(self.to_dict(masks), indent=indent)

    def to_pandas(self) -> 'pandas.DataFrame':
        """A table with a row for each segment: image, label, name, score, is_thing, area, and the sides of its box.

        Raises:
            ImportError: pandas is not installed.
        """
        pandas = _optional('pandas')
        columns = ('image', 'label', 'name', 'score', 'is_thing', 'area', 'x0', 'y0', 'x1', 'y1')
        rows = [
            (self.name, each.label, each.name, each.score, each.is_thing, each.area, *map(float, each.box))
            for each in self.segments
        ]
        return pandas.DataFrame(rows, columns=columns)

    def to_supervision(self) -> 'supervision.Detections':
        """As ``supervision.Detections``, with the names in ``data['class_name']``; a score that there is not is NaN.

        Raises:
            ImportError: supervision is not installed.
        """
        supervision = _optional('supervision')
        scores = [np.nan if segment.score is None else segment.score for segment in self.segments]
        return supervision.Detections(
            xyxy=np.array([segment.box for segment in self.segments], np.float32).reshape(-1, 4),
            mask=None if self.kind == 'boxes' else self.masks(),
            confidence=np.array(scores, np.float32),
            class_id=np.array([segment.label for segment in self.segments], int),
            data=dict(class_name=np.array([segment.name for segment in self.segments], str)),
        )

    def to_fiftyone(self) -> Any:
        """For FiftyOne: ``Detections`` with relative boxes and masks of the boxes; of label maps a ``Segmentation``.

        Raises:
            ImportError: fiftyone is not installed.
        """
        fiftyone = _optional('fiftyone')
        if self.kind == 'semantic':
            return fiftyone.Segmentation(mask=self.semantic)
        height, width = self.size
        detections = []
        for segment in self.segments:
            x0, y0, x1, y1 = segment.box
            mask = segment.mask
            if mask is not None:  # FiftyOne's masks are those of the box
                left, top, right, bottom = (round(float(side)) for side in segment.box)
                mask = mask[top:bottom, left:right]
            detections.append(
                fiftyone.Detection(
                    label=segment.name,
                    bounding_box=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
                    mask=mask,
                    confidence=segment.score,
                )
            )
        return fiftyone.Detections(detections=detections)

    def to_coco(self, image_id: int = 1, category_ids: Sequence[int] | None = None) -> list[dict]:
        """COCO annotations, see ``result_formats.coco_annotations``."""
        from .result_formats import coco_annotations

        return coco_annotations(self, image_id, category_ids)

    def to_yolo(self, scores: bool = False) -> str:
        """The lines of a YOLO label file, see ``result_formats.yolo_lines``."""
        from .result_formats import yolo_lines

        return yolo_lines(self, scores)

    def to_labelme(self) -> dict:
        """The content of labelme's JSON, see ``result_formats.labelme_record``."""
        from .result_formats import labelme_record

        return labelme_record(self)

    def to_label_studio(self, image_url: str | None = None, brush: bool = True) -> dict:
        """A task of Label Studio with predictions, see ``result_formats.label_studio_task``."""
        from .result_formats import label_studio_task

        return label_studio_task(self, image_url, brush)


def _optional(package: str) -> Any:
    """Import a package that is not required.

    Raises:
        ImportError: it is not installed; says how to install it.
    """
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f'this needs the package {package}: pip install {package}') from error


def text_rle(rle: dict) -> dict:
    """COCO's compressed RLE with ``counts`` as text, for JSON."""
    counts = rle['counts']
    return dict(size=list(rle['size']), counts=counts.decode() if isinstance(counts, bytes) else counts)


def result_of_sample(
    sample: Any,
    image: np.ndarray,
    classes: Sequence[str],
    name: str = '',
    path: str | None = None,
    kind: str | None = None,
    is_thing: Sequence[bool] | None = None,
    palette: Sequence | None = None,
) -> Result:
    """The result in a data sample of MMDetection or MMSegmentation.

    Args:
        sample: with ``pred_panoptic_seg``, ``pred_instances`` (masks as bitmaps, RLE or missing) or ``pred_sem_seg``.
        image: RGB uint8 (H, W, 3), of the size of the predictions.
        classes: names, by label.
        name: of the image.
        path: of its file.
        kind: which of them, where the sample has several; by default the first in the order above.
        is_thing: for each class, if it is known.
        palette: colors of the classes.

    Raises:
        ValueError: the sample has no prediction of that kind.
    """
    fields = dict(panoptic='pred_panoptic_seg', instance='pred_instances', semantic='pred_sem_seg')
    present = [each for each, key in fields.items() if key in sample]
    asked = 'instance' if kind == 'boxes' else kind
    if not present or asked not in (None, *present):
        raise ValueError(
            f'{name or "the sample"} has no {kind or "predictions"}, only {", ".join(present) or "nothing"}: switch '
            f'{kind or "panoptic"}_on in model.test_cfg on'
        )
    kind = asked or present[0]
    result = Result(name, image, kind, [], classes, path, palette=palette)
    dict(panoptic=_panoptic, instance=_instances, semantic=_semantic)[kind](result, sample, is_thing)
    return result


def _panoptic(result: Result, sample: Any, is_thing: Sequence[bool] | None) -> None:
    data = sample.pred_panoptic_seg
    ids = np.asarray(data.sem_seg.cpu())
    ids = ids.reshape(ids.shape[-2:])
    index, labels = decode_panoptic_seg(ids, len(result.classes))  # -1, or the position of the segment in labels
    result.panoptic = (index + 1).astype(np.int32)
    void = default_ignore_index(len(result.classes))
    lookup = np.array([*labels, void], np.uint8 if void == IGNORED else np.uint16)
    result.semantic = lookup[index]
    scores = data.metainfo.get('scores') or {}
    values = np.unique(ids)
    values = values[values % INSTANCE_OFFSET < len(result.classes)]
    boxes = _boxes(result.panoptic, range(1, len(labels) + 1))
    for number, (label, value, box) in enumerate(zip(labels, values, boxes), 1):
        result.add(label, box, is_thing, scores.get(int(value)), ids=result.panoptic, value=number)
    result.segments.sort(key=lambda segment: -(segment.score or 0))


def _instances(result: Result, sample: Any, is_thing: Sequence[bool] | None) -> None:
    instances = sample.pred_instances.cpu()
    masks = instances.get('masks')
    if masks is None:
        result.kind = 'boxes'
    elif not isinstance(masks, list):
        masks = [
            coco_masks.encode(np.asfortranarray(mask, np.uint8))
            for mask in np.asarray(masks.masks if hasattr(masks, 'masks') else masks)
        ]
    scores, labels = (np.asarray(instances[key].float()) for key in ('scores', 'labels'))
    boxes = instances.bboxes
    boxes = np.asarray(getattr(boxes, 'tensor', boxes).float())
    for row in np.argsort(-scores, kind='stable'):
        rle = None if masks is None else masks[row]
        result.add(int(labels[row]), boxes[row].tolist(), is_thing, float(scores[row]), given_rle=rle)


def _semantic(result: Result, sample: Any, is_thing: Sequence[bool] | None) -> None:
    data = sample.pred_sem_seg
    labels = np.asarray((data.sem_seg if 'sem_seg' in data else data.data).cpu())
    result.semantic = labels.reshape(labels.shape[-2:])
    result.add_classes(is_thing)


def _boxes(ids: np.ndarray, values: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """x0, y0, x1, y1 around the pixels of each value of a map (H, W), the last two exclusive."""
    masks = IdMap(ids, values)
    boxes = [masks.box(index) for index in range(len(masks))]
    return [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in boxes]
