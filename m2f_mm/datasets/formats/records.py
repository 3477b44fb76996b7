"""One form for what the readers of all formats give: images with objects, with label maps, or with panoptic PNGs.

Coordinates are pixels of the image as viewers show it (EXIF's turn done): x to the right, y down, the first pixel is
0 to 1. Masks of polygons are drawn by pycocotools, as in training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..faults import Fault
from ..id_map import IdRuns
from ..io import read_panoptic_png
from ..label_maps import default_ignore_index
from ..segmentations import to_rle
from .run_lengths import coco_masks
from .value_maps import ValueTable

TASKS = ('panoptic', 'instance', 'semantic', 'boxes', 'video')
BACKGROUND = 'background'


@dataclass
class ObjectRecord:
    """One object of an image: a mask of polygons or of an RLE, or a box alone.

    Args:
        label: its class, a position in ``OwnData.classes``.
        polygons: float (P, 2) each, x and y; the mask is their union. None where there are none.
        rle: COCO's compressed RLE of the size of the image, which can have holes; None where there is none.
        box: x0, y0, x1, y1, where there is no mask.
        is_crowd: a region of many objects, as COCO's ``iscrowd``.
        track: number of the object in its video.
    """

    label: int
    polygons: list[np.ndarray] | None = None
    rle: dict | None = None
    box: tuple[float, float, float, float] | None = None
    is_crowd: bool = False
    track: int | None = None

    @property
    def has_mask(self) -> bool:
        """Whether more is known than a box."""
        return self.polygons is not None or self.rle is not None

    def as_rle(self, size: tuple[int, int]) -> dict:
        """The mask as COCO's compressed RLE; ``size`` is height and width of the image."""
        if self.rle is not None:
            return self.rle
        return to_rle([polygon.reshape(-1).tolist() for polygon in self.polygons or ()], *size)

    def mask(self, size: tuple[int, int]) -> np.ndarray | None:
        """Bool (H, W) at the size (H, W) of the image; None of an object of which only the box is known."""
        return coco_masks().decode(self.as_rle(size)).astype(bool) if self.has_mask else None

    def bounds(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Its box x0, y0, x1, y1 in pixels, that of the mask where there is one."""
        if not self.has_mask:
            return self.box
        x, y, width, height = coco_masks().toBbox(self.as_rle(size)).tolist()
        return x, y, x + width, y + height


class Segment(NamedTuple):
    """One segment of a panoptic PNG: its id there, its class and whether it is a crowd."""

    id: int
    label: int
    is_crowd: bool = False


@dataclass
class ImageRecord:
    """An image and what is known of it.

    Args:
        image: path of the file.
        size: height and width in pixels, as viewers show it.
        split: 'train', 'val', 'test', or '' where the folder does not say.
        objects: of an instance format.
        label_map: path of the file of its classes, of a semantic format; see ``OwnData.table``.
        values: pixels of each value of the label map.
        panoptic: path of its panoptic PNG.
        segments: of the panoptic PNG.
        video: name of the video that it is a frame of.
    """

    image: str
    size: tuple[int, int]
    split: str = ''
    objects: list[ObjectRecord] = field(default_factory=list)
    label_map: str | None = None
    values: dict[int, int] = field(default_factory=dict)
    panoptic: str | None = None
    segments: list[Segment] = field(default_factory=list)
    video: str = ''


class Question(NamedTuple):
    """What the data do not decide.

    Args:
        text: the facts.
        options: the arguments of ``recognise`` that decide it.
        default: what is done without it.
    """

    text: str
    options: tuple[str, ...]
    default: str

    def __str__(self) -> str:
        return f'{self.text} {self.default}; {" or ".join(self.options)} says otherwise.'


@dataclass
class OwnData:
    """A folder of annotated images, of whatever format.

    Args:
        folder: that was read.
        format: its name.
        reason: the file or folder that decided the format.
        tasks: of ``TASKS``, that can be trained on it; the first is the default.
        classes: names; labels are positions in it.
        records: the images that can be used.
        is_thing: of each class, of panoptic data.
        table: of label maps, what each value of a pixel means.
        background: label of the class that is no object, None where there is none.
        faults: broken files and records. What they name is left out of ``records`` where the fault is fatal; a single
            object of an image is left out alone.
        notes: what was decided, and by what.
        questions: what the data do not decide, with the default that was taken.
    """

    folder: str
    format: str
    reason: str
    tasks: tuple[str, ...]
    classes: list[str]
    records: list[ImageRecord]
    is_thing: list[bool] | None = None
    table: ValueTable | None = None
    background: int | None = None
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    @property
    def splits(self) -> dict[str, list[ImageRecord]]:
        """Records by split, train first; those without a split under ''."""
        names = [name for name in ('train', 'val', 'test', '') if any(each.split == name for each in self.records)]
        return {name: [each for each in self.records if each.split == name] for name in names}

    @property
    def ignore_index(self) -> int:
        """The label of pixels without a class: 255, or 65535 where 255 is a class."""
        return default_ignore_index(len(self.classes))

    @cached_property
    def palette(self) -> list[tuple[int, int, int]]:
        """RGB color of each class: that of the color table, else one of its own."""
        from ..categories import distinct_colors

        colors = distinct_colors(len(self.classes))
        if self.table is not None and self.table.colored:
            for value, label in sorted(self.table.labels.items(), reverse=True):
                if label >= 0:
                    colors[label] = (value >> 16, value >> 8 & 255, value & 255)
        return colors

    def task(self, task: str | None = None) -> str:
        """The task, the default one for None.

        Raises:
            ValueError: the data do not allow it.
        """
        if task is not None and task not in self.tasks:
            raise ValueError(
                f'{self.folder} is {self.format}, which has what is needed for {", ".join(self.tasks)}, not for '
                f'{task!r}'
            )
        return task or self.tasks[0]

    def labels_of(self, task: str) -> list[int]:
        """Labels of the classes that a task has, in its order: objects are no background and, of panoptic data, things;
        panoptic classes are things first."""
        labels = list(range(len(self.classes)))
        if task == 'panoptic':
            return sorted(labels, key=lambda label: not self.is_thing[label])
        if task == 'semantic':
            return labels
        if self.is_thing is not None:
            return [label for label in labels if self.is_thing[label]]
        return [label for label in labels if label != self.background]

    def classes_of(self, task: str) -> list[str]:
        """Names of the classes that a task has, see ``labels_of``."""
        return [self.classes[label] for label in self.labels_of(task)]

    def label_map(self, record: ImageRecord) -> np.ndarray:
        """Labels (H, W) of the pixels of an image, uint8 or uint16; ``ignore_index`` where there is no class.

        Raises:
            ValueError: the file cannot be read, or has a value that no class has.
        """
        kind = np.uint8 if self.ignore_index == 255 else np.uint16
        if record.panoptic is not None:
            runs = IdRuns(read_panoptic_png(record.panoptic))
            labels = {each.id: each.label for each in record.segments if not each.is_crowd}
            return runs.replace(np.array([labels.get(i, self.ignore_index) for i in runs.values.tolist()], kind))
        return self.table.read_labels(record.label_map, self.ignore_index).astype(kind)

    def objects(self, record: ImageRecord) -> list[ObjectRecord]:
        """Objects of an image; of a panoptic PNG its things."""
        if record.panoptic is None:
            return record.objects
        ids = read_panoptic_png(record.panoptic)
        return [
            ObjectRecord(each.label, rle=encode_mask(ids == each.id), is_crowd=each.is_crowd)
            for each in record.segments
            if self.is_thing[each.label]
        ]


def encode_mask(mask: np.ndarray) -> dict:
    """COCO's compressed RLE of a mask (H, W)."""
    return coco_masks().encode(np.asfortranarray(mask, np.uint8))


def named_label(classes: list[str], name: str) -> int:
    """Position of a name in a list of classes, to which it is added where it is new."""
    if name not in classes:
        classes.append(name)
    return classes.index(name)


def background_label(classes: Sequence[str]) -> int | None:
    """Label of the class that is called background, None where there is none."""
    names = [name.strip().lower().strip('_') for name in classes]
    return names.index(BACKGROUND) if BACKGROUND in names else None


def count_objects(records: Iterable[ImageRecord], number: int) -> tuple[list[int], list[int]]:
    """Objects, and images that have one, of each of ``number`` classes."""
    objects, images = [0] * number, [0] * number
    for record in records:
        labels = [each.label for each in record.objects] or [each.label for each in record.segments]
        for label in labels:
            objects[label] += 1
        for label in set(labels):
            images[label] += 1
    return objects, images
