"""Label maps: images whose pixel values are class numbers, read whole and checked before training."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine import fileio
from PIL import Image

from .faults import Fault
from .id_map import IGNORE
from .image_files import image_fault, read_header, spread
from .pipelines import iter_transforms

IGNORE_16_BITS = 65535
_LOSSY = ('JPEG', 'MPO')
_INTEGERS = ('L', 'P', 'I;16', 'I;16B', 'I;16L', 'I', '1')
_MODE_CURE = (
    'Labels are single-channel images of class numbers (8 or 16 bits, or a palette): convert colors by the '
    "data set's color table, each color to the number of its class"
)
_LOSSY_CURE = 'JPEG changes values along borders, so labels are lost: export the label maps as PNG'
_FILE_CURE = 'Check data_root, data_prefix and seg_map_suffix; replace the file, or take the image out'
_SIZE_CURE = 'Export the label map at the size of the image as it is shown'


class WrongLabelMap(ValueError):
    """A file that is no label map; ``detail`` goes on after its path, ``fault`` is the same as a ``Fault``."""

    def __init__(self, path: str, kind: str, detail: str, cure: str):
        super().__init__(f'{path} {detail}. {cure}')
        self.fault = Fault(kind, path, '', f'it {detail}', cure)


def default_ignore_index(num_classes: int) -> int:
    """The label of pixels without annotation, which is never a class: 255, or 65535 where 255 is one."""
    return IGNORE if num_classes <= IGNORE else IGNORE_16_BITS


def read_label_map(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Values uint8 or uint16 (H, W) of a label map of up to 16 bits; indices of one with a palette.

    Raises:
        FileNotFoundError: there is no such file.
        WrongLabelMap: it is broken, lossy, in color, or has values below 0 or above 65535; a ``ValueError``.
    """
    try:
        content = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError:
        raise FileNotFoundError(f'label map {path} does not exist. {_FILE_CURE}') from None
    try:
        with Image.open(io.BytesIO(content)) as image:
            form, mode = image.format, image.mode
            labels = np.array(image) if mode in _INTEGERS and form not in _LOSSY else None
    except Exception as error:  # whatever Pillow raises for broken files
        raise WrongLabelMap(path, 'label maps that cannot be read', f'cannot be read ({error})', _FILE_CURE) from error
    if labels is None:
        if mode not in _INTEGERS:
            raise WrongLabelMap(
                path,
                f'label maps of mode {mode}',
                f'is an image of mode {mode}, but labels must be one of {", ".join(_INTEGERS)}',
                _MODE_CURE,
            )
        raise WrongLabelMap(path, f'label maps in {form} files', f'is a {form} file', _LOSSY_CURE)
    if mode == '1':
        return labels.astype(np.uint8)
    if labels.dtype == np.uint8:
        return labels
    if labels.size and (labels.min() < 0 or labels.max() > IGNORE_16_BITS):
        raise WrongLabelMap(
            path,
            'label maps with values beyond 16 bits',
            f'has values from {labels.min()} to {labels.max()}, outside of 0..{IGNORE_16_BITS}',
            _MODE_CURE,
        )
    return labels.astype(np.uint16)


def renumber(values: np.ndarray, reduce_zero_label: bool, label_map: dict[int, int] | None) -> np.ndarray:
    """Labels of the values of files, as MMSegmentation numbers them.

    Args:
        values: uint8 or uint16, of any shape.
        reduce_zero_label: 0 becomes the ignored label, the largest of the type, which itself stays; others get 1 less.
        label_map: value after that to label; all are replaced at once.
    """
    if not reduce_zero_label and not label_map:
        return values
    largest = np.iinfo(values.dtype).max
    table = np.arange(largest + 1, dtype=np.uint16 if label_map and max(label_map.values()) > 255 else values.dtype)
    if reduce_zero_label:
        table[1:] -= 1
        table[[0, largest]] = largest
    labels = table.copy()
    for old, new in (label_map or {}).items():
        labels[table == old] = new
    return labels[values]


def label_loader(steps: Any) -> str | None:
    """Name of the step of a built pipeline that loads a label map: 'LoadLabelMap', MMSegmentation's 'LoadAnnotations',
    or None, also where another one does it."""
    for step in iter_transforms(steps):
        name, module = type(step).__name__, type(step).__module__
        if name == 'LoadLabelMap' or name == 'LoadAnnotations' and module.startswith('mmseg.'):
            return name
    return None


def label_map_faults(dataset: Any, limit: int | None = None) -> Iterator[Fault]:
    """What is wrong with the label maps of a data set of MMSegmentation, and with its images' files.

    Classes that never occur are looked for where all files are read.

    Args:
        dataset: built, ``BaseSegDataset`` or alike. Label maps are read if its pipeline loads them by ``LoadLabelMap``
            or the stock ``LoadAnnotations``; what other loaders take is theirs.
        limit: look at so many items at most, evenly spread.
    """
    classes = dataset.metainfo.get('classes')
    name = dataset_name(dataset)
    if isinstance(classes, str):
        yield Fault(
            'classes are one text',
            name,
            '',
            f'metainfo has classes={classes!r}, a text instead of a list',
            f'Write classes=({classes!r}, ), or the path of a file with a name in each line',
        )
        return
    if not len(dataset):
        yield Fault('no images', name, '', 'there is no image in it', 'Check data_root, data_prefix and img_suffix')
        return
    loader = label_loader(dataset.pipeline)
    indices = spread(range(len(dataset)), limit)
    files_by_label: dict[int, list[str]] = {}  # label -> files
    values: dict[int, int] = {}  # value of files -> how many
    count = 0
    num_classes = len(classes or ())
    ignored = getattr(dataset, 'ignore_index', None)
    if ignored is None or ignored == IGNORE < num_classes:  # the stock default, which is a class here
        ignored = default_ignore_index(num_classes)
    elif ignored < num_classes and classes and ignored >= 0:
        yield Fault(
            'an ignored label that is a class',
            name,
            '',
            f'ignore_index={ignored} is the class {classes[ignored]!r} of {num_classes}',
            'Choose a value that no class has',
        )
    for index in indices:
        item = dataset.get_data_info(index)
        path, backend_args = item.get('seg_map_path'), getattr(dataset, 'backend_args', None)
        if path is None or loader is None:
            yield from _image_alone(item['img_path'], backend_args)
            continue
        try:
            pixels = read_label_map(path, backend_args)
        except FileNotFoundError:
            yield Fault(
                'label maps that do not exist',
                path,
                '',
                f'the label map of {item["img_path"]} does not exist',
                _FILE_CURE,
            )
            continue
        except WrongLabelMap as error:
            yield error.fault
            continue
        yield from _size_faults(item['img_path'], path, pixels.shape, backend_args)
        present = np.flatnonzero(np.bincount(pixels.reshape(-1)))
        if loader == 'LoadAnnotations' and len(present) and present[-1] > 255:
            yield Fault(
                'label maps of 16 bits for a loader of 8',
                path,
                '',
                f"it has the value {present[-1]}, of which MMSegmentation's LoadAnnotations keeps 8 bits",
                "Load it with dict(type='m2f_mm.LoadLabelMap')",
            )
        if item.get('reduce_zero_label') and pixels.dtype == np.uint8 and num_classes > IGNORE and not present.all():
            yield Fault(
                'label maps of 8 bits whose 0 becomes a class',
                path,
                '',
                f'reduce_zero_label makes its 0 the '
                f'label {IGNORE}, which is the class {classes[IGNORE]!r} of {num_classes}',
                'Write the label maps with 16 bits, where 0 becomes 65535',
            )
        labels = renumber(present.astype(pixels.dtype), bool(item.get('reduce_zero_label')), item.get('label_map'))
        count += 1
        for value in present.tolist():
            values[value] = values.get(value, 0) + 1
        for label in np.unique(labels).tolist():
            files_by_label.setdefault(label, []).append(path)
        if len(labels) and (labels == ignored).all():
            yield Fault(
                'label maps that are ignored everywhere',
                path,
                '',
                f'every pixel has the ignored label {ignored}',
                fatal=False,
            )
    if classes and count:
        yield from _unknown(files_by_label, classes, ignored, count)
        if count == len(dataset):
            yield from _absent(files_by_label, values, classes, ignored, count, name, not dataset.test_mode)


def dataset_name(dataset: Any) -> str:
    """What messages call a data set of label maps: the folder of its label maps, else of its images."""
    prefix = getattr(dataset, 'data_prefix', None) or {}
    return str(
        prefix.get('seg_map_path')
        or prefix.get('img_path')
        or getattr(dataset, 'data_root', None)
        or type(dataset).__name__
    )


def _image_alone(path: str, backend_args: dict | None) -> Iterator[Fault]:
    try:
        size = read_header(path, backend_args).shown_size
    except (FileNotFoundError, ValueError):
        size = (0, 0)
    yield from image_fault(path, size, backend_args)


def _size_faults(image: str, path: str, shape: tuple[int, int], backend_args: dict | None) -> Iterator[Fault]:
    """Of a label map whose image is broken, or of another size."""
    try:
        header = read_header(image, backend_args)
    except (FileNotFoundError, ValueError):
        yield from image_fault(image, shape, backend_args)
        return
    if header.shown_size != tuple(shape):
        yield Fault(
            'label maps of another size than their images',
            path,
            '',
            'it ' + size_mismatch(shape, image, header.shown_size, header.orientation),
            _SIZE_CURE,
        )


def size_mismatch(shape: Sequence[int], image: str, size: Sequence[int], orientation: int = 1) -> str:
    """Says how the sizes (height, width) of a label map and of its image differ."""
    swapped = ': height and width are swapped' if tuple(shape[::-1]) == tuple(size) else ''
    turned = f', turned as its EXIF orientation {orientation} says' if orientation != 1 else ''
    return f'has {shape[0]}x{shape[1]} pixels (HxW), but its image {image} has {size[0]}x{size[1]}{turned}{swapped}'


def check_size(path: str, shape: Sequence[int], image: str, size: Sequence[int]) -> None:
    """Raise WrongLabelMap where a label map and its loaded image differ in height and width."""
    if tuple(shape) != tuple(size[:2]):
        raise WrongLabelMap(
            path, 'label maps of another size than their images', size_mismatch(shape, image, size[:2]), _SIZE_CURE
        )


def _unknown(files_by_label: dict[int, list[str]], classes: Sequence[str], ignored: int, count: int) -> Iterator[Fault]:
    """Labels that no class has, of all files together."""
    unknown = sorted(label for label in files_by_label if label >= len(classes) and label != ignored)
    if not unknown:
        return
    shown = '; '.join(f'value {label} in {_files(files_by_label[label], count)}' for label in unknown[:5])
    more = f'; and {len(unknown) - 5} more values up to {unknown[-1]}' if len(unknown) > 5 else ''
    known = f'{len(classes)} classes, 0 to {len(classes) - 1}' if len(classes) > 1 else '1 class, 0'
    cure = (
        f'If it is to be ignored: model.decode_head.ignore_index={unknown[0]}; otherwise add its class'
        if len(unknown) == 1
        else 'Renumber the label maps: a pixel has the number of its class, or the ignored label'
    )
    yield Fault(
        'label values that no class has',
        files_by_label[unknown[0]][0],
        '',
        f'{shown}{more}; there are {known}, and {ignored} is ignored',
        cure,
    )


def _files(paths: Sequence[str], count: int) -> str:
    if len(paths) == count:
        return f'all {count} files' if count > 1 else 'its file'
    return f'{len(paths)} of {count} files ({", ".join(paths[:3])}{", ..." if len(paths) > 3 else ""})'


def _absent(
    files_by_label: dict[int, list[str]],
    values: dict[int, int],
    classes: Sequence[str],
    ignored: int,
    count: int,
    name: str,
    training: bool,
) -> Iterator[Fault]:
    """Classes without a pixel in a whole data set; nothing can be learned where only one class occurs."""
    absent = [each for label, each in enumerate(classes) if label not in files_by_label]
    if not absent:
        return
    listed_values = ', '.join(map(str, sorted(values)[:20])) + (', ...' if len(values) > 20 else '')
    shown = ', '.join(map(repr, absent[:10])) + (f' and {len(absent) - 10} more' if len(absent) > 10 else '')
    also = f'; {ignored} is ignored' if ignored in files_by_label else ''
    yield Fault(
        'classes without a pixel in the whole data set',
        name,
        '',
        f'no pixel of {count} label maps has the class {shown}; the files have the values {listed_values}{also}',
        f'A pixel has the number of its class, 0 to {len(classes) - 1}: renumber the label maps, or take the '
        'classes out of metainfo',
        fatal=training and len(classes) - len(absent) < 2 <= len(classes),
    )
