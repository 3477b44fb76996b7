"""Predictions in the formats of other tools: COCO, COCO panoptic, YOLO, labelme, Label Studio.

Polygons go through the centres of a mask's border pixels; COCO gets RLE, which is exact. Coordinates are pixels unless
a format says otherwise: (0, 0) is the upper left corner of the upper left pixel.
"""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2f_mm.datasets.id_map import id_to_rgb
from m2f_mm.datasets.io import encode_png

from .results import Result, ResultSegment, text_rle

MIN_POINTS = 3  # of a polygon


def polygons(mask: np.ndarray) -> tuple[list[np.ndarray], bool]:
    """The outlines of a mask.

    Args:
        mask: bool (H, W).

    Returns:
        Of each part the centres of its border pixels, int (P, 2) as x, y; and whether the outlines say all: no part has
        a hole or fewer than three points.
    """
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts, exact = [], True
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0] if contours else ()):
        if parent >= 0:
            exact = False  # the border of a hole
        elif len(contour) < MIN_POINTS:
            exact = False  # a line or a point
        else:
            parts.append(contour[:, 0])
    return parts, exact


def coco_annotations(result: Result, image_id: int = 1, category_ids: Sequence[int] | None = None) -> list[dict]:
    """The segments as entries of COCO's list of results, which are also annotations but for their ``id``.

    Args:
        result: of an image.
        image_id: of the image.
        category_ids: of each label; by default 1 + label.
    """
    records = []
    for segment in result:
        x0, y0, x1, y1 = (float(side) for side in segment.box)
        record: dict[str, Any] = dict(
            image_id=image_id,
            category_id=segment.label + 1 if category_ids is None else int(category_ids[segment.label]),
            bbox=[round(side, 2) for side in (x0, y0, x1 - x0, y1 - y0)],
            area=segment.area,
            iscrowd=0,
        )
        if segment.score is not None:
            record['score'] = round(segment.score, 5)
        if segment.has_mask:
            record['segmentation'] = text_rle(segment.rle)
        records.append(record)
    return records


def coco_dataset(results: Iterable[Result], category_ids: Sequence[int] | None = None) -> dict:
    """The content of a COCO instance JSON with the predictions of many images as annotations, for labelling tools and
    training. ``file_name`` is the name of each result.

    Args:
        results: read once, one after the other.
        category_ids: of each label; by default 1 + label.
    """
    images, annotations, classes, things = [], [], [], {}
    for image_id, result in enumerate(results, 1):
        height, width = result.size
        images.append(dict(id=image_id, file_name=result.name, height=height, width=width))
        for record in coco_annotations(result, image_id, category_ids):
            annotations.append(dict(id=len(annotations) + 1, **record))
        classes = list(result.classes)
        things.update({segment.label: segment.is_thing for segment in result if segment.is_thing is not None})
    categories = [
        dict(id=label + 1 if category_ids is None else int(category_ids[label]), name=name)
        | ({} if label not in things else dict(isthing=int(things[label])))
        for label, name in enumerate(classes)
    ]
    return dict(images=images, annotations=annotations, categories=categories)


def coco_panoptic(result: Result, image_id: int = 1, category_ids: Sequence[int] | None = None) -> tuple[bytes, dict]:
    """A panoptic result as COCO has it: the PNG file, and the record of the JSON's ``annotations``.

    Args:
        result: of kind 'panoptic'.
        image_id: of the image.
        category_ids: of each label; by default 1 + label.

    Raises:
        ValueError: it is of another kind.
    """
    if result.panoptic is None:
        raise ValueError(f'{result.name} has {result.kind} results, but COCO panoptic needs panoptic ones')
    segments = []
    for segment in result:
        x0, y0, x1, y1 = (int(side) for side in segment.box)
        category = segment.label + 1 if category_ids is None else int(category_ids[segment.label])
        segments.append(
            dict(id=segment.id, category_id=category, area=segment.area, bbox=[x0, y0, x1 - x0, y1 - y0], iscrowd=0)
        )
    record = dict(image_id=image_id, file_name=f'{Path(result.name).stem}.png', segments_info=segments)
    return encode_png(id_to_rgb(result.panoptic)), record


def yolo_lines(result: Result, scores: bool = False) -> str:
    """The lines of a YOLO segmentation label file, ``label x1 y1 x2 y2 ...`` in 0..1; of boxes ``label cx cy w h``.

    The format has one outline for each object: parts are joined by a bridge of no width, holes are lost.

    Args:
        result: of an image.
        scores: put each score at the end of its line.
    """
    height, width = result.size
    lines = []
    for segment in result:
        if segment.has_mask:
            parts, _ = polygons(segment.mask)
            if not parts:
                continue
            points = (_joined(parts) + 0.5) / (width, height)
        else:
            x0, y0, x1, y1 = segment.box
            points = np.array([((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0, y1 - y0)]) / (width, height)
        numbers = ' '.join(f'{value:.6g}' for value in points.ravel().clip(0, 1))
        score = f' {segment.score:.5g}' if scores and segment.score is not None else ''
        lines.append(f'{segment.label} {numbers}{score}')
    return ''.join(f'{line}\n' for line in lines)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One outline through all parts, which goes to the nearest point of the next part and comes back the same way."""
    outline = parts[0]
    for part in parts[1:]:
        distances = ((outline[:, None].astype(float) - part[None]) ** 2).sum(-1)
        here, there = np.unravel_index(distances.argmin(), distances.shape)
        loop = np.concatenate((part[there:], part[: there + 1]))
        outline = np.concatenate((outline[: here + 1], loop, outline[here:]))
    return outline


def labelme_record(result: Result) -> dict:
    """The content of labelme's JSON beside an image: a polygon for each part, those of one object with a common
    ``group_id``; an object with holes, or too thin for a polygon, as a mask; a box as a rectangle."""
    shapes, group = [], 0
    for segment in result:
        common = dict(label=segment.name, flags={}, description=_score_text(segment))
        x0, y0, x1, y1 = (float(side) for side in segment.box)
        if not segment.has_mask:
            shapes.append(dict(common, shape_type='rectangle', points=[[x0, y0], [x1, y1]], group_id=None, mask=None))
            continue
        mask = segment.mask
        if not mask.any():
            continue
        parts, exact = polygons(mask)
        if not exact:
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            top, bottom, left, right = (int(side) for side in (rows[0], rows[-1], columns[0], columns[-1]))
            crop = mask[top : bottom + 1, left : right + 1].astype(np.uint8) * 255
            encoded = base64.b64encode(encode_png(crop)).decode()
            points = [[float(left), float(top)], [float(right), float(bottom)]]  # labelme's corners are inclusive
            shapes.append(dict(common, shape_type='mask', points=points, group_id=None, mask=encoded))
            continue
        group += len(parts) > 1
        for part in parts:
            shapes.append(
                dict(
                    common,
                    shape_type='polygon',
                    points=part.astype(float).tolist(),
                    group_id=group if len(parts) > 1 else None,
                    mask=None,
                )
            )
    height, width = result.size
    return dict(
        version='5.5.0',
        flags={},
        shapes=shapes,
        imagePath=Path(result.path or result.name).name,
        imageData=None,
        imageHeight=height,
        imageWidth=width,
    )


def _score_text(segment: ResultSegment) -> str:
    return '' if segment.score is None else f'score {segment.score:.3f}'


def label_studio_task(result: Result, image_url: str | None = None, brush: bool = True) -> dict:
    """A task of Label Studio with the segments as predictions, which annotators correct.

    The labelling configuration needs ``<Image name="image" value="$image"/>`` and, for it, ``BrushLabels``,
    ``PolygonLabels`` or ``RectangleLabels`` of the name ``label``.

    Args:
        result: of an image.
        image_url: where Label Studio finds the image; by default ``/data/local-files/?d=`` and its name.
        brush: masks as brush strokes (exact); otherwise as polygons, one for each part.
    """
    height, width = result.size
    common = dict(from_name='label', to_name='image', original_width=width, original_height=height, image_rotation=0)
    regions = []
    for segment in result:
        extra = {} if segment.score is None else dict(score=round(segment.score, 5))
        x0, y0, x1, y1 = segment.box
        if not segment.has_mask:
            value = dict(x=100 * x0 / width, y=100 * y0 / height)
            value |= dict(width=100 * (x1 - x0) / width, height=100 * (y1 - y0) / height, rotation=0)
            values = [('rectanglelabels', value)]
        elif brush:
            values = [('brushlabels', dict(format='rle', rle=brush_rle(segment.mask)))]
        else:
            parts, _ = polygons(segment.mask)
            points = [((part + 0.5) / (width, height) * 100).tolist() for part in parts]
            values = [('polygonlabels', dict(points=each, closed=True)) for each in points]
        for kind, value in values:
            regions.append(
                dict(
                    common,
                    id=f'segment{len(regions) + 1}',
                    type=kind,
                    value={key: _plain(number) for key, number in value.items()} | {kind: [segment.name]},
                    **extra,
                )
            )
    scores = [segment.score for segment in result if segment.score is not None]
    prediction: dict[str, Any] = dict(model_version='m2f_mm', result=regions)
    if scores:
        prediction['score'] = round(float(np.mean(scores)), 5)
    return dict(data=dict(image=image_url or f'/data/local-files/?d={result.name}'), predictions=[prediction])


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, np.floating) else value


RUN_BITS = (3, 4, 8, 16)  # of the lengths of runs: the shortest that is long enough is taken


def brush_rle(mask: np.ndarray) -> list[int]:
    """A mask bool (H, W) in Label Studio's run-length code, a list of bytes.

    The code is a stream of bits: 32 for how many numbers there are, 5 for the bits of a number less 1, four times 4 for
    the bits of a length less 1; then runs: a bit that says that the number is repeated, 2 bits that choose the bits of
    the length, the length less 1, the number. The numbers are the bytes of the RGBA image, of which the mask is the
    fourth channel; all four are written alike here.
    """
    pixels = np.repeat(mask.astype(np.uint8).ravel() * 255, 4)
    bits = [f'{len(pixels):032b}', f'{8 - 1:05b}', *(f'{size - 1:04b}' for size in RUN_BITS)]
    starts = np.concatenate(([0], np.flatnonzero(np.diff(pixels)) + 1, [len(pixels)]))
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist()):
        while start < stop:
            length = min(stop - start, 2 ** RUN_BITS[-1])
            choice = next(place for place, size in enumerate(RUN_BITS) if length <= 2**size)
            bits.append(f'1{choice:02b}{length - 1:0{RUN_BITS[choice]}b}{int(pixels[start]):08b}')
            start += length
    stream = ''.join(bits)
    stream += '0' * (-len(stream) % 8)
    return [int(stream[place : place + 8], 2) for place in range(0, len(stream), 8)]
