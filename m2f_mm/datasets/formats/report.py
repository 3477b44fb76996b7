"""The content of a folder as text and as a page of images."""

import math
from collections.abc import Sequence

import cv2
import mmcv
import numpy as np

from ..faults import summary as fault_lines
from ..image_files import spread
from ..io import write_image
from .label_map_reader import total_values
from .records import ImageRecord, ObjectRecord, OwnData, count_objects

_SIDE = 384  # pixels of the longer side of an image on a page
_MARGIN = 8


def summary(data: OwnData) -> str:
    """Format of a folder and why, tasks, images and classes by split, notes, questions and faults."""
    splits = data.splits
    counts = ', '.join(f'{len(records)} {name or "without a split"}' for name, records in splits.items())
    lines = [
        f'{data.folder}: {data.format} ({data.reason})',
        f'Tasks: {data.tasks[0]} (default){"".join(f", {task}" for task in data.tasks[1:])}',
        f'Images: {len(data.records)} ({counts})',
        *_class_table(data, splits),
    ]
    videos = {record.video for record in data.records if record.video}
    if videos:
        lines[2] = f'Videos: {len(videos)}, frames: {len(data.records)} ({counts})'
    for title, texts in (
        ('Notes', data.notes),
        ('Open questions', [str(each) for each in data.questions]),
        (f'Faults ({len(data.faults)})', fault_lines(data.faults)),
    ):
        if texts:
            lines += [f'{title}:', *(f'  - {text}' for text in texts)]
    return '\n'.join(lines)


def _class_table(data: OwnData, splits: dict[str, list[ImageRecord]]) -> list[str]:
    """A line for each class: objects and images of each split, or its share of the pixels."""
    columns = [_column(data, records) for records in splits.values()]
    what = 'share of pixels, images' if data.table is not None else 'objects, images'
    head = ['class', *(f'{name or "all"}: {what}' for name in splits)]
    rows = [head]
    for label, name in enumerate(data.classes):
        kind = '' if data.is_thing is None else ' (thing)' if data.is_thing[label] else ' (stuff)'
        rows.append([f'{label} {name}{kind}', *(column[label] for column in columns)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ['  ' + '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _column(data: OwnData, records: Sequence[ImageRecord]) -> list[str]:
    number = len(data.classes)
    if data.table is None:
        return [f'{objects}, {images}' for objects, images in zip(*count_objects(records, number))]
    total = total_values(records)
    pixels, images = [0] * number, [0] * number
    for value, count in total.items():
        if data.table.labels.get(value, -1) >= 0:
            pixels[data.table.labels[value]] += count
    for record in records:
        for label in {data.table.labels.get(value, -1) for value in record.values} - {-1}:
            images[label] += 1
    return [f'{count / max(sum(total.values()), 1):.1%}, {each}' for count, each in zip(pixels, images)]


def sample_page(data: OwnData, out_file: str, count: int = 16) -> None:
    """Write a page of annotated images, evenly spread over the folder, with a legend.

    Args:
        data: of ``recognise``.
        out_file: an image file; its suffix says the format.
        count: of images at most.

    Raises:
        ValueError: a file has changed since it was recognised, and cannot be read.
        OSError: the page cannot be written.
    """
    from m2f_mm.visualization.drawing import legend, titled

    names = [*data.classes]
    panels = []
    present: set[int] = set()
    for record in spread(data.records, count):
        panel, labels = _panel(data, record)
        present |= labels
        title = record.image.removeprefix(data.folder).lstrip('/')
        panels.append(titled(panel, title if len(title) < 45 else f'...{title[-42:]}'))
    columns = math.ceil(math.sqrt(len(panels)))
    height = max(panel.shape[0] for panel in panels) + _MARGIN
    width = max(panel.shape[1] for panel in panels) + _MARGIN
    page = np.full((height * math.ceil(len(panels) / columns), width * columns, 3), 255, np.uint8)
    for number, panel in enumerate(panels):
        y, x = height * (number // columns), width * (number % columns)
        page[y : y + panel.shape[0], x : x + panel.shape[1]] = panel
    entries = [(names[label], tuple(data.palette[label])) for label in sorted(present)]
    write_image(out_file, np.concatenate([page, legend(page.shape[1], entries, 14)]))


def _panel(data: OwnData, record: ImageRecord) -> tuple[np.ndarray, set[int]]:
    """An image with what is annotated, RGB uint8, its longer side of ``_SIDE`` pixels; and the labels on it."""
    from m2f_mm.visualization.drawing import Segments, draw_segments

    image = mmcv.imread(record.image)
    if image is None:
        raise ValueError(f'{record.image} cannot be read')
    factor = _SIDE / max(image.shape[:2])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))  # width, height
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)[..., ::-1].copy()
    if record.panoptic is None and record.label_map is None or 'instance' == data.tasks[0]:
        return _draw_objects(data, record, image, data.objects(record))
    labels = cv2.resize(data.label_map(record), size, interpolation=cv2.INTER_NEAREST)
    present = [label for label in np.unique(labels).tolist() if label < len(data.classes)]
    masks = np.array([labels == label for label in present], bool).reshape(-1, *image.shape[:2])
    segments = Segments(masks, np.array(present, int), vary=False)
    return draw_segments(image, segments, data.classes, data.palette), set(present)


def _draw_objects(
    data: OwnData, record: ImageRecord, image: np.ndarray, objects: Sequence[ObjectRecord]
) -> tuple[np.ndarray, set[int]]:
    from m2f_mm.visualization.drawing import Segments, draw_segments

    height, width = image.shape[:2]
    for with_masks in (True, False):
        part = [each for each in objects if each.has_mask == with_masks]
        if not part:
            continue
        masks = boxes = None
        if with_masks:
            masks = np.array(
                [
                    cv2.resize(
                        each.mask(record.size).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
                    )
                    for each in part
                ]
            ).astype(bool)
        else:
            scale = np.array([width / record.size[1], height / record.size[0]] * 2)
            boxes = np.array([each.box for each in part]) * scale
        segments = Segments(masks, np.array([each.label for each in part]), boxes=boxes)
        image = draw_segments(image, segments, data.classes, data.palette)
    return image, {each.label for each in objects}
