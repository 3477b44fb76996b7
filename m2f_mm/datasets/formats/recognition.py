"""Which format a folder has, by rules in order; the first that fits wins."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from os.path import splitext

from ..faults import Fault
from ..faults import summary as fault_lines
from .coco import read_coco
from .cvat import read_cvat
from .folder import Folder
from .label_studio import read_label_studio
from .labelme import read_labelme
from .layouts import read_ade20k, read_cityscapes
from .masks import read_masks
from .options import Options
from .panoptic import read_panoptic
from .records import ImageRecord, OwnData
from .value_maps import color_number
from .voc import read_object_xmls, read_voc
from .yolo import read_yolo
from .youtube_vis import read_youtube_vis

Reader = Callable[[Folder, Options], OwnData | None]
READERS: tuple[tuple[str, Reader], ...] = (
    ('YouTube-VIS: a JSON with videos and categories', read_youtube_vis),
    ('COCO panoptic: a JSON whose annotations have segments_info', read_panoptic),
    ('COCO instances, also of Roboflow: a JSON with images, annotations and categories', read_coco),
    ('Label Studio: a JSON that is a list of tasks with annotations', read_label_studio),
    ('YOLO, or label maps of a YAML: a YAML with names, train and val; or classes.txt and label files', read_yolo),
    ("Pascal VOC, CVAT's segmentation masks: a folder SegmentationClass", read_voc),
    ("CVAT's XML: the root annotations with a version", read_cvat),
    ('VOC boxes, LabelMe XML: the root annotation, one file for each image', read_object_xmls),
    ('labelme: a JSON with shapes and imagePath for each image', read_labelme),
    ('Cityscapes: a folder gtFine with files *_gtFine_labelTrainIds.png or *_gtFine_labelIds.png', read_cityscapes),
    ('ADE20K: folders images/training and annotations/training', read_ade20k),
    ("masks: PNGs named as their images, in a second folder, or beside them as in Roboflow's *_mask.png", read_masks),
)


def recognise(
    folder: str,
    *,
    images: str | None = None,
    background: int | tuple[int, int, int] | None = None,
    ignore: Sequence[int | tuple[int, int, int]] | None = None,
    classes: Sequence[str] | Mapping[int, str] | None = None,
    colors: Mapping[str, tuple[int, int, int]] | None = None,
) -> OwnData:
    """Read a folder of annotated images, of whatever format.

    Files that are broken or contradict themselves are named in ``faults`` of the result, and left out of its records.
    Values of label maps that nothing explains are in its ``questions``, with the default that was taken; the last four
    arguments answer them.

    Args:
        folder: with annotations and images.
        images: another folder of images, where they are not below the first.
        background: value, or RGB color, of what is no object; it becomes a class, unless it is ignored, too.
        ignore: values, or RGB colors, of pixels that are not trained on, in the place of 255.
        classes: names by value, or in the order of the values, for label maps without a file that names them.
        colors: RGB of each class, for colored masks without a table.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no known format is there (the message lists what was looked for, and what is there), nothing in it
            can be used, or a colored mask has no table of colors (the message lists the colors).
    """
    place = Folder(folder, images)
    options = Options(background, ignore, classes, colors)
    for _, reader in READERS:
        data = reader(place, options)
        if data is not None:
            break
    else:
        raise ValueError(_unknown(place))
    data.records = list(_distinct(place, data.records))
    data.faults = list(dict.fromkeys(place.faults))
    if background is not None and data.table is not None:
        value = background if isinstance(background, int) else color_number(background)
        data.background = data.table.labels.get(value, data.background)
    empty = data.table is None and not any(record.objects or record.segments for record in data.records)
    if not data.records or empty:
        what = f'none of its {len(data.records)} images has an object' if data.records else 'no image of it can be used'
        message = f'{folder} is {data.format or "known"} ({data.reason}), but {what}.'
        raise ValueError('\n  '.join([message, *fault_lines(data.faults)]))
    return data


def _distinct(folder: Folder, records: Sequence[ImageRecord]) -> Iterator[ImageRecord]:
    """The first record of each image; another one is a fault, as its objects would be missing in the first."""
    images = set()
    for record in records:
        if record.image in images:
            what = 'two annotations name it; the first is taken'
            folder.faults.append(Fault('images that are annotated twice', record.image, '', what, 'Join the two'))
        else:
            images.add(record.image)
            yield record


def _unknown(folder: Folder) -> str:
    """What was looked for in a folder, and what is there."""
    kinds = Counter(splitext(name)[1].lower() or 'no suffix' for name in folder.files)
    tops = Counter(name.split('/')[0] + '/' if '/' in name else name for name in folder.files)
    there = ', '.join(f'{count} of {kind}' for kind, count in kinds.most_common(8)) or 'no file'
    first = ', '.join(sorted(tops)[:12]) + (', ...' if len(tops) > 12 else '')
    return '\n  '.join(
        [
            f'{folder.root} has no annotations of a known format. Looked for, in this order:',
            *(f'- {what}' for what, _ in READERS),
            f'There are: {there}{f" ({first})" if first else ""}.',
            *fault_lines(folder.faults),
        ]
    )
