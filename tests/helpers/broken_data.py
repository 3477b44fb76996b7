"""Small data sets, and ways to break them: every case says what has to come out.

``instance_cases``, ``panoptic_cases``, ``semantic_cases`` and ``video_cases`` multiply kinds of faults by formats
(polygons, RLE, counts; PNG modes) and places (the first or the last record). A case changes a clean data
set, which ``write`` then puts into a folder.
"""

import copy
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as coco_masks

RIGHT, DROPPED, REFUSED = 'right', 'dropped', 'refused'
SIZES = {'a.png': (24, 32), 'sub/b.png': (30, 20)}  # height, width
RECTANGLES = ((2, 3, 8, 6), (11, 12, 7, 9))  # x, y, width, height of the two objects of each image
CLASSES = ('disc', 'square')
FRAMES = ('v/0.png', 'v/1.png', 'v/2.png')


class DataSet:
    """A data set in memory: its JSON, and the content of its other files by name.

    Args:
        task: 'instance', 'panoptic', 'semantic' or 'video'.
        content: of the JSON; bytes are written as they are.
        files: image, label map or PNG by path in the data set: an array, or bytes.
        metainfo: what the config says.
    """

    def __init__(self, task: str, content: Any, files: dict[str, Any], metainfo: dict):
        self.task, self.content, self.files, self.metainfo = task, content, files, metainfo

    def write(self, root: Path) -> None:
        for name, data in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else png(data))
        if self.content is not None:
            raw = self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()
            (root / 'annotations.json').write_bytes(raw)


class Case(NamedTuple):
    """A broken or unusual data set.

    Args:
        name: fault, format and place.
        make: the clean data set.
        change: breaks it.
        outcome: 'right' (all objects are taken), 'dropped' (some are left out, which one line says) or 'refused'.
        words: which the error, or the line about what was dropped, has to contain beside the file's name.
        file: whose name it has to contain; None for the JSON's.
        objects: that training has at the end.
    """

    name: str
    make: Callable[[], DataSet]
    change: Callable[[DataSet], None]
    outcome: str
    words: tuple[str, ...] = ()
    file: str | None = 'annotations.json'
    objects: int | None = None


def png(pixels: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format='PNG', **options)
    return stream.getvalue()


def jpeg(pixels: np.ndarray, orientation: int | None = None) -> bytes:
    stream, exif = io.BytesIO(), Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(stream, format='JPEG', exif=exif)
    return stream.getvalue()


def noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)


def rectangle_mask(rectangle: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    x, y, width, height = rectangle
    mask = np.zeros(size, np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def segmentation(form: str, rectangle: tuple[int, int, int, int], size: tuple[int, int]) -> Any:
    """COCO's 'polygon', 'rle' (compressed) or 'counts' (uncompressed) of a rectangle."""
    x, y, width, height = rectangle
    if form == 'polygon':
        return [[x, y, x + width, y, x + width, y + height, x, y + height]]
    mask = rectangle_mask(rectangle, size)
    if form == 'rle':
        rle = coco_masks.encode(np.asfortranarray(mask))
        return dict(size=list(size), counts=rle['counts'].decode())
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate(([0], flat))))
    return dict(size=list(size), counts=np.diff(np.concatenate(([0], changes, [flat.size]))).tolist())


def instances(form: str = 'polygon') -> DataSet:
    """Two images with two objects each."""
    images, annotations, files = [], [], {}
    for number, (name, size) in enumerate(SIZES.items()):
        images.append(dict(id=number + 1, file_name=name, height=size[0], width=size[1]))
        files[name] = noise(size, number)
        for label, rectangle in enumerate(RECTANGLES):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number + 1,
                    category_id=label + 1,
                    bbox=list(rectangle),
                    area=rectangle[2] * rectangle[3],
                    iscrowd=0,
                    segmentation=segmentation(form, rectangle, size),
                )
            )
    categories = [dict(id=label + 1, name=name) for label, name in enumerate(CLASSES)]
    return DataSet(
        'instance', dict(images=images, annotations=annotations, categories=categories), files, dict(classes=CLASSES)
    )


def label_map(size: tuple[int, int], values: tuple[int, int, int]) -> np.ndarray:
    """Ground, disc and square with the given values."""
    labels = np.full(size, values[0], np.int64)
    for value, (x, y, width, height) in zip(values[1:], RECTANGLES):
        labels[y : y + height, x : x + width] = value
    return labels


def id_png(ids: np.ndarray) -> np.ndarray:
    """RGB image of segment ids."""
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], -1).astype(np.uint8)


def panoptic() -> DataSet:
    """Two images with two things and ground each."""
    images, annotations, files = [], [], {}
    for number, (name, size) in enumerate(SIZES.items()):
        ids = label_map(size, (70000, 300, 2))
        seg_name = f'{number}.png'
        images.append(dict(id=number + 1, file_name=name, height=size[0], width=size[1]))
        files[name], files[f'seg/{seg_name}'] = noise(size, number), id_png(ids)
        annotations.append(
            dict(
                image_id=number + 1,
                file_name=seg_name,
                segments_info=[
                    dict(id=key, category_id=category, iscrowd=0, area=int((ids == key).sum()))
                    for key, category in ((300, 1), (2, 2), (70000, 3))
                ],
            )
        )
    categories = [
        dict(id=1, name='disc', isthing=1),
        dict(id=2, name='square', isthing=1),
        dict(id=3, name='ground', isthing=0),
    ]
    return DataSet(
        'panoptic',
        dict(images=images, annotations=annotations, categories=categories),
        files,
        dict(thing_classes=CLASSES, stuff_classes=('ground',), classes=(*CLASSES, 'ground')),
    )


def semantic() -> DataSet:
    """Two images with label maps of three classes."""
    files = {}
    for number, size in enumerate(SIZES.values()):
        files[f'img_dir/{number}.jpg'] = jpeg(noise(size, number))
        files[f'ann_dir/{number}.png'] = label_map(size, (0, 1, 2)).astype(np.uint8)
    palette = [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
    return DataSet('semantic', None, files, dict(classes=('ground', *CLASSES), palette=palette))


def video(form: str = 'rle') -> DataSet:
    """A video of three frames with two objects, of which the second is not seen in the middle."""
    size = SIZES['a.png']
    annotations = []
    for label, rectangle in enumerate(RECTANGLES):
        masks = [segmentation(form, rectangle, size) if label == 0 or t != 1 else None for t in range(3)]
        annotations.append(
            dict(
                id=label + 1,
                video_id=1,
                category_id=label + 1,
                iscrowd=0,
                height=size[0],
                width=size[1],
                segmentations=masks,
                bboxes=[mask and list(rectangle) for mask in masks],
                areas=[mask and rectangle[2] * rectangle[3] for mask in masks],
            )
        )
    content = dict(
        videos=[dict(id=1, file_names=list(FRAMES), height=size[0], width=size[1], length=3)],
        annotations=annotations,
        categories=[dict(id=label + 1, name=name) for label, name in enumerate(CLASSES)],
    )
    return DataSet('video', content, {name: noise(size, t) for t, name in enumerate(FRAMES)}, dict(classes=CLASSES))


# ---------------------------------------------------------------- changes
MISSING = object()


def put(records: str, place: int, key: str, value: Any) -> Callable[[DataSet], None]:
    """Set a key of a record, or take it away (``MISSING``); ``place`` is the record's index, None for all."""

    def change(data: DataSet) -> None:
        entries = data.content[records]
        for record in entries if place is None else [entries[place]]:
            if value is MISSING:
                record.pop(key)
            else:
                record[key] = value(record) if callable(value) else copy.deepcopy(value)

    return change


def changed(record: dict, key: str, value: Any) -> None:
    record[key] = value
    if value is MISSING:
        del record[key]


def content(how: Callable[[dict], Any]) -> Callable[[DataSet], None]:
    """Change the whole JSON: in place, or by what ``how`` returns."""

    def change(data: DataSet) -> None:
        changed = how(data.content)
        data.content = data.content if changed is None else changed

    return change


def file(name: str, how: Any) -> Callable[[DataSet], None]:
    """Replace a file: by bytes or an array, by what a function makes of its array, or by nothing (None)."""

    def change(data: DataSet) -> None:
        new = how(data.files[name]) if callable(how) else how
        if new is None:
            del data.files[name]
        else:
            data.files[name] = new

    return change


def metainfo(**values: Any) -> Callable[[DataSet], None]:
    def change(data: DataSet) -> None:
        data.metainfo = values

    return change


def all_of(*changes: Callable[[DataSet], None]) -> Callable[[DataSet], None]:
    def change(data: DataSet) -> None:
        for each in changes:
            each(data)

    return change


def nothing(data: DataSet) -> None:
    """The clean data set."""


def huge_png(width: int = 60000, height: int = 60000) -> bytes:
    """A PNG whose header announces more pixels than anybody has memory for."""
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))

    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'\0')) + chunk(b'IEND', b'')


# ---------------------------------------------------------------- cases
NAN, INF = float('nan'), float('inf')
PLACES = dict(first=0, last=-1)
BROKEN_FILES = dict(empty=b'', text=b'hello', truncated=lambda pixels: png(pixels)[:60], missing=None, huge=huge_png())
BROKEN_JSON = {
    'empty file': b'',
    'no JSON': b'hello',
    'a list': b'[]',
    'a number': b'3',
    'no lists': b'{}',
    'binary': bytes(range(256)),
    'deep nesting': b'[' * 200_000,
    'cut off': lambda content: json.dumps(content).encode()[:-40],
}


def swapped(record: dict) -> None:
    record['height'], record['width'] = record['width'], record['height']


def broken_json(make: Callable[[], DataSet], lists: tuple[str, ...]) -> Iterator[Case]:
    """The faults of the file as a whole, which are the same for all formats."""
    task = make().task
    for fault, how in BROKEN_JSON.items():
        yield Case(f'{task}: JSON is {fault}', make, content(how if callable(how) else lambda _, how=how: how), REFUSED)
    for key in lists:
        yield Case(f'{task}: no {key}', make, content(lambda c, key=key: c.pop(key) and None), REFUSED, (key,))
        yield Case(f'{task}: {key} is a dict', make, content(lambda c, key=key: c.update({key: {}})), REFUSED, (key,))
        yield Case(f'{task}: {key} holds no records', make, content(lambda c, key=key: c.update({key: [3]})), REFUSED)
        yield Case(f'{task}: {key} is empty', make, content(lambda c, key=key: c.update({key: []})), REFUSED)


def categories(make: Callable[[], DataSet], objects: int) -> Iterator[Case]:
    """Faults of categories and of the classes that the config names."""
    task = make().task
    of = lambda fault, change, outcome, *words, **options: Case(
        f'{task}: {fault}', make, change, outcome, words, **options
    )
    yield of('category id doubled', put('categories', 1, 'id', 1), REFUSED)
    yield of('category id missing', put('categories', 1, 'id', MISSING), REFUSED)
    yield of('category id is text', put('categories', 1, 'id', '2'), REFUSED)
    yield of('category name doubled', put('categories', 1, 'name', 'disc'), REFUSED, 'disc')
    yield of('category name missing', put('categories', 1, 'name', MISSING), REFUSED)
    yield of('category name is None', put('categories', 1, 'name', None), REFUSED)
    yield of('category name in capitals', put('categories', 0, 'name', 'Disc'), REFUSED, 'Disc', 'disc')
    yield of(
        'all category names differ',
        all_of(put('categories', 0, 'name', 'x'), put('categories', 1, 'name', 'y')),
        REFUSED,
        'disc',
        "'x'",
    )
    yield of(
        'category ids from 0',
        all_of(put('categories', None, 'id', lambda record: record['id'] - 1), shifted_categories),
        RIGHT,
        objects=objects,
    )
    in_order = task != 'instance'  # whose labels MMDetection numbers by the file
    yield of(
        'categories in another order',
        content(lambda c: c['categories'].reverse()),
        RIGHT if in_order else REFUSED,
        objects=objects if in_order else None,
    )


def shifted_categories(data: DataSet) -> None:
    """Make the annotations follow categories whose ids have become one less."""
    for annotation in data.content['annotations']:
        for record in annotation.get('segments_info', [annotation]):
            record['category_id'] -= 1


def images_broken(make: Callable[[], DataSet], records: str, name_key: str, clean_objects: int) -> Iterator[Case]:
    """Faults of the records of images and of the files themselves."""
    task = make().task
    for place, index in PLACES.items():
        name = list(SIZES)[index]
        for key in ('id', name_key, 'height', 'width'):
            yield Case(f'{task}: {place} image without {key}', make, put(records, index, key, MISSING), REFUSED, (key,))
        for key, value in (
            ('height', 0),
            ('height', -4),
            ('width', 'wide'),
            ('height', None),
            ('width', NAN),
            (name_key, None),
            (name_key, 7),
            (name_key, ''),
        ):
            yield Case(f'{task}: {place} image has {key}={value!r}', make, put(records, index, key, value), REFUSED)
        yield Case(
            f'{task}: {place} image swaps its sides',
            make,
            content(lambda c, i=index: swapped(c[records][i])),
            REFUSED,
            ('24', '32') if index == 0 else ('30', '20'),
            file=name,
        )
        yield Case(
            f'{task}: {place} image is larger than its record',
            make,
            put(records, index, 'height', lambda record: record['height'] * 2),
            REFUSED,
            file=name,
        )
        for fault, how in BROKEN_FILES.items():
            yield Case(f'{task}: {place} image is {fault}', make, file(name, how), REFUSED, file=name)
        for orientation in (5, 6, 7, 8):
            yield Case(
                f'{task}: {place} image is turned by EXIF {orientation}',
                make,
                file(name, lambda pixels, o=orientation: jpeg(pixels, o)),
                REFUSED,
                file=name,
            )
        for mode in ('L', 'RGBA', 'P', '1', 'I;16'):
            yield Case(
                f'{task}: {place} image of mode {mode}',
                make,
                file(name, lambda pixels, mode=mode: of_mode(pixels, mode)),
                RIGHT,
                objects=clean_objects,
            )
    yield Case(f'{task}: two images of one id', make, put(records, 1, 'id', 1), REFUSED, ('1',))


def of_mode(pixels: np.ndarray, mode: str) -> bytes:
    if mode == 'I;16':
        return png(pixels[..., 0].astype(np.uint16) * 200)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, format='PNG')
    return stream.getvalue()


def instance_cases() -> Iterator[Case]:
    yield from broken_json(instances, ('images', 'annotations', 'categories'))
    yield from categories(instances, objects=4)
    yield from images_broken(instances, 'images', 'file_name', 4)
    yield Case(
        'instance: two images of one file', instances, put('images', 1, 'file_name', 'a.png'), REFUSED, ('a.png',)
    )
    yield Case('instance: classes is a string', instances, metainfo(classes='disc'), REFUSED, ('disc',), file=None)
    yield Case('instance: a subset of the classes', instances, metainfo(classes=('square',)), DROPPED, objects=2)
    yield Case(
        'instance: a class that the file lacks', instances, metainfo(classes=(*CLASSES, 'ring')), REFUSED, ('ring',)
    )
    yield Case('instance: classes in another order', instances, metainfo(classes=CLASSES[::-1]), REFUSED, ('order',))
    for form in ('polygon', 'rle', 'counts'):
        make = lambda form=form: instances(form)
        yield Case(f'instance {form}: clean', make, nothing, RIGHT, objects=4)
        yield Case(
            f'instance {form}: ids from 0',
            make,
            put('annotations', None, 'id', lambda record: record['id'] - 1),
            RIGHT,
            objects=4,
        )
        yield Case(f'instance {form}: area 0 everywhere', make, put('annotations', None, 'area', 0), RIGHT, objects=4)
        yield Case(f'instance {form}: no area', make, put('annotations', None, 'area', MISSING), RIGHT, objects=4)
        yield Case(f'instance {form}: no iscrowd', make, put('annotations', None, 'iscrowd', MISSING), RIGHT, objects=4)
        yield Case(f'instance {form}: all crowds', make, put('annotations', None, 'iscrowd', 1), REFUSED)
        yield Case(f'instance {form}: two annotations of one id', make, put('annotations', 1, 'id', 1), REFUSED, ('1',))
        for place, index in PLACES.items():
            of = lambda fault, key, value, *words, outcome=REFUSED, objects=None: Case(
                f'instance {form}: {place} annotation: {fault}',
                make,
                put('annotations', index, key, value),
                outcome,
                words,
                objects=objects,
            )
            yield of('no id', 'id', MISSING)
            yield of('id is a list', 'id', [1])
            yield of('no image_id', 'image_id', MISSING)
            yield of('unlisted image', 'image_id', 77, '77', outcome=DROPPED, objects=3)
            yield of('image_id is text', 'image_id', '1')
            yield of('no category_id', 'category_id', MISSING)
            yield of('unlisted category', 'category_id', 77, '77')
            yield of('bbox of three numbers', 'bbox', [1, 2, 3])
            yield of('bbox with NaN', 'bbox', [1, 2, NAN, 3])
            yield of('bbox is text', 'bbox', 'box')
            yield of('area is NaN', 'area', NAN)
            yield of('area is text', 'area', 'large')
            yield of('a crowd', 'iscrowd', 1, outcome=RIGHT, objects=3)
            for fault, value in segmentations_broken():
                yield of(f'segmentation is {fault}', 'segmentation', value)


def segmentations_broken() -> Iterator[tuple[str, Any]]:
    """Values of ``segmentation`` that are wrong whatever the other objects have."""
    yield 'missing', MISSING
    yield 'null', None
    yield 'empty', []
    yield 'a list of nothing', [[]]
    yield 'flat', [2, 3, 10, 3, 10, 9]
    yield 'text', 'a polygon'
    yield 'of two points', [[2, 3, 10, 3]]
    yield 'of odd length', [[2, 3, 10, 3, 10, 9, 2]]
    yield 'NaN', [[2, 3, NAN, 3, 10, 9]]
    yield 'infinite', [[2, 3, INF, 3, 10, 9]]
    yield 'far away', [[2, 3, 1e9, 3, 10, 9]]
    yield 'of words', [['a', 'b', 'c', 'd', 'e', 'f']]
    yield 'nested too deep', [[[2, 3], [10, 3], [10, 9]]]
    yield 'an RLE without counts', lambda record: dict(size=size_of(record))
    yield 'an RLE without size', dict(counts=[0, 768])
    yield 'an RLE of swapped size', lambda record: dict(size=size_of(record)[::-1], counts=[0, pixels_of(record)])
    yield 'an RLE of another size', dict(size=[4, 4], counts=[0, 16])
    yield 'an RLE that ends early', lambda record: dict(size=size_of(record), counts=[0, 3])
    yield 'an RLE that ends late', lambda record: dict(size=size_of(record), counts=[0, pixels_of(record) + 1])
    yield 'an RLE of negative counts', lambda record: dict(size=size_of(record), counts=[-3, pixels_of(record) + 3])
    yield 'an RLE of fractions', lambda record: dict(size=size_of(record), counts=[0.5, pixels_of(record) - 0.5])
    yield 'an RLE of garbage', lambda record: dict(size=size_of(record), counts='\x00\x7fzzzz')
    yield 'an RLE of an early string', lambda record: dict(size=size_of(record), counts='03')
    yield 'an RLE of null', lambda record: dict(size=size_of(record), counts=None)


def size_of(record: dict) -> list[int]:
    return list(list(SIZES.values())[record['image_id'] - 1])


def pixels_of(record: dict) -> int:
    height, width = size_of(record)
    return height * width


def panoptic_cases() -> Iterator[Case]:
    yield from broken_json(panoptic, ('images', 'annotations', 'categories'))
    yield from categories(panoptic, objects=6)
    yield from images_broken(panoptic, 'images', 'file_name', 6)
    yield Case('panoptic: clean', panoptic, nothing, RIGHT, objects=6)
    yield Case(
        'panoptic: two annotations of one image', panoptic, put('annotations', 1, 'image_id', 1), REFUSED, ('1',)
    )
    yield Case('panoptic: classes is a string', panoptic, metainfo(classes='disc'), REFUSED, ('disc',), file=None)
    yield Case('panoptic: no thing is named', panoptic, put('categories', None, 'isthing', MISSING), RIGHT, objects=6)
    for place, index in PLACES.items():
        number = index % 2

        def segment(key: str, value: Any, index: int = index) -> Callable[[DataSet], None]:
            return content(lambda c: changed(c['annotations'][index]['segments_info'][0], key, value))

        of = lambda fault, change, *words, outcome=REFUSED, objects=None, file='annotations.json': Case(
            f'panoptic: {place} annotation: {fault}',
            panoptic,
            change,
            outcome,
            words,
            objects=objects,
            file=file,
        )
        seg = f'seg/{number}.png'
        for key in ('image_id', 'file_name', 'segments_info'):
            yield of(f'no {key}', put('annotations', index, key, MISSING), key)
        yield of('image_id is text', put('annotations', index, 'image_id', '1'))
        yield of('unlisted image', put('annotations', index, 'image_id', 77), '77')
        yield of('file_name is absolute', put('annotations', index, 'file_name', '/nowhere/x.png'))
        yield of('file_name leaves the folder', put('annotations', index, 'file_name', '../../x.png'))
        yield of('segments_info is a dict', put('annotations', index, 'segments_info', {}))
        yield of('segment without id', segment('id', MISSING))
        yield of('segment without category', segment('category_id', MISSING))
        yield of('unlisted category', segment('category_id', 77), '77')
        yield of('segment id 0', segment('id', 0))
        yield of('segment id is text', segment('id', '300'))
        yield of('segment id is a fraction', segment('id', 300.5))
        yield of('segment id doubled', segment('id', 2))
        yield of('segment id too large', segment('id', 1 << 24))
        yield of('segment that the PNG lacks', segment('id', 9), file=f'{number}.png')
        yield of('no area', segment('area', MISSING), outcome=RIGHT, objects=6)
        yield of('no iscrowd', segment('iscrowd', MISSING), outcome=RIGHT, objects=6)
        yield of('a crowd', segment('iscrowd', 1), outcome=RIGHT, objects=5)
        for fault, how in BROKEN_FILES.items():
            yield of(f'PNG is {fault}', file(seg, how), file=f'{number}.png')
        yield of('PNG is grey', file(seg, lambda pixels: pixels[..., 0].copy()), file=f'{number}.png')
        yield of('PNG has a palette', file(seg, lambda pixels: of_mode(pixels, 'P')), file=f'{number}.png')
        yield of('PNG of 16 bits', file(seg, lambda pixels: of_mode(pixels, 'I;16')), file=f'{number}.png')
        yield of('PNG is RGBA', file(seg, lambda pixels: of_mode(pixels, 'RGBA')), outcome=RIGHT, objects=6)
        yield of('PNG is turned', file(seg, lambda pixels: pixels.transpose(1, 0, 2).copy()), file=f'{number}.png')
        yield of('PNG is smaller', file(seg, lambda pixels: pixels[:9].copy()), file=f'{number}.png')
        yield of('PNG has an unlisted segment', file(seg, with_corner), file=f'{number}.png')


def with_corner(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels.copy()
    pixels[0, 0] = 99
    return pixels


def semantic_cases() -> Iterator[Case]:
    yield Case('semantic: clean', semantic, nothing, RIGHT, objects=6)
    yield Case('semantic: classes is a string', semantic, metainfo(classes='ground'), REFUSED, ('ground',), file=None)
    yield Case(
        'semantic: a class that no pixel has',
        semantic,
        metainfo(classes=('ground', *CLASSES, 'ring'), palette=[(k, k, k) for k in range(4)]),
        DROPPED,
        ('ring',),
        file=None,
        objects=6,
    )
    yield Case(
        'semantic: values 0 and 255 for two classes',
        semantic,
        all_of(
            metainfo(classes=('ground', 'lesion'), palette=[(0, 0, 0), (9, 9, 9)]),
            *(file(f'ann_dir/{k}.png', lambda labels: (labels > 0).astype(np.uint8) * 255) for k in range(2)),
        ),
        REFUSED,
        ('lesion', '255'),
        file=None,
    )
    for place, number in dict(first=0, last=1).items():
        name, image = f'ann_dir/{number}.png', f'img_dir/{number}.jpg'
        of = lambda fault, change, outcome=REFUSED, *words, objects=None, file: Case(
            f'semantic: {place} {fault}', semantic, change, outcome, words, objects=objects, file=file
        )
        for fault, how in BROKEN_FILES.items():
            yield of(f'label map is {fault}', file(name, how), file=f'{number}.png')
            if fault not in ('missing', 'truncated'):  # MMSegmentation lists the images that are there
                yield of(f'image is {fault}', file(image, how), file=f'{number}.jpg')
        yield of('image is truncated', file(image, lambda data: data[:100]), file=f'{number}.jpg')
        for mode in ('RGB', 'RGBA', 'LA', 'F', 'CMYK'):
            yield of(
                f'label map of mode {mode}',
                file(name, lambda labels, mode=mode: label_mode(labels, mode)),
                REFUSED,
                mode,
                file=f'{number}.png',
            )
        for mode in ('P', 'I;16', 'I'):
            yield of(
                f'label map of mode {mode}',
                file(name, lambda labels, mode=mode: label_mode(labels, mode)),
                RIGHT,
                objects=6,
                file=f'{number}.png',
            )
        for value in (3, 77, 254):
            yield of(
                f'label map has the value {value}',
                file(name, lambda labels, v=value: with_value(labels, v)),
                REFUSED,
                str(value),
                file=f'{number}.png',
            )
        yield of(
            'label map has the value 300',
            file(name, lambda labels: with_value(labels.astype(np.uint16), 300)),
            REFUSED,
            '300',
            file=f'{number}.png',
        )
        yield of(
            'label map has ignored pixels',
            file(name, lambda labels: with_value(labels, 255)),
            RIGHT,
            objects=6,
            file=None,
        )
        yield of('label map is turned', file(name, lambda labels: labels.T.copy()), file=f'{number}')
        yield of('label map is smaller', file(name, lambda labels: labels[:9].copy()), file=f'{number}')
        for orientation in (5, 6, 7, 8):
            yield of(
                f'image is turned by EXIF {orientation}',
                file(image, lambda _, o=orientation, n=number: jpeg(noise(list(SIZES.values())[n]), o)),
                file=f'{number}',
            )


def label_mode(labels: np.ndarray, mode: str) -> bytes:
    stream = io.BytesIO()
    if mode == 'P':
        image = Image.fromarray(labels)
        image = image.convert('P')
        image.putdata(labels.ravel().tolist())
        image.putpalette([k for value in range(256) for k in (value, 255 - value, value * 7 % 256)])
    elif mode in ('I;16', 'I', 'F'):
        image = Image.fromarray(labels.astype(dict(F=np.float32, I=np.int32).get(mode, np.uint16)))
    else:
        image = Image.fromarray(labels * 80).convert(mode)
    form = 'TIFF' if mode in ('F', 'I', 'CMYK') else 'PNG'
    image.save(stream, format=form)
    return stream.getvalue()


def with_value(labels: np.ndarray, value: int) -> np.ndarray:
    labels = labels.copy()
    labels[0, 0] = value
    return labels


def video_cases() -> Iterator[Case]:
    yield from broken_json(video, ('videos', 'annotations', 'categories'))
    yield from categories(video, objects=2)
    yield Case('video: classes is a string', video, metainfo(classes='disc'), REFUSED, ('disc',), file=None)
    for key in ('id', 'file_names', 'height', 'width'):
        yield Case(f'video: without {key}', video, put('videos', 0, key, MISSING), REFUSED, (key,))
    yield Case('video: file_names is text', video, put('videos', 0, 'file_names', 'v/0.png'), REFUSED)
    yield Case('video: swaps its sides', video, content(lambda c: swapped(c['videos'][0])), REFUSED, file=None)
    yield Case(
        'video: two videos of one id', video, content(lambda c: c['videos'].append(c['videos'][0])), REFUSED, ('1',)
    )
    for place, index in PLACES.items():
        for fault, how in BROKEN_FILES.items():
            yield Case(f'video: {place} frame is {fault}', video, file(FRAMES[index], how), REFUSED, file=FRAMES[index])
    for form in ('polygon', 'rle', 'counts'):
        make = lambda form=form: video(form)
        yield Case(f'video {form}: clean', make, nothing, RIGHT, objects=2)
        yield Case(
            f'video {form}: ids from 0',
            make,
            put('annotations', None, 'id', lambda record: record['id'] - 1),
            RIGHT,
            objects=2,
        )
        yield Case(f'video {form}: two annotations of one id', make, put('annotations', 1, 'id', 1), REFUSED, ('1',))
        for place, index in PLACES.items():
            of = lambda fault, key, value, *words, outcome=REFUSED, objects=None: Case(
                f'video {form}: {place} annotation: {fault}',
                make,
                put('annotations', index, key, value),
                outcome,
                words,
                objects=objects,
            )
            yield of('no id', 'id', MISSING)
            yield of('no video_id', 'video_id', MISSING)
            yield of('unlisted video', 'video_id', 77, '77')
            yield of('unlisted category', 'category_id', 77, '77')
            yield of('no bboxes', 'bboxes', MISSING, outcome=RIGHT, objects=2)
            yield of('no areas', 'areas', MISSING, outcome=RIGHT, objects=2)
            yield of('segmentations is null', 'segmentations', None)
            yield of('segmentations is text', 'segmentations', 'masks')
            yield of('too few segmentations', 'segmentations', [None])
            for fault, value in segmentations_broken():
                if fault in ('missing', 'null', 'empty'):  # not seen in that frame
                    continue
                yield of(
                    f'a segmentation is {fault}',
                    'segmentations',
                    lambda record, value=value: [in_video(value), *record['segmentations'][1:]],
                )


def in_video(value: Any) -> Any:
    return value(dict(image_id=1)) if callable(value) else copy.deepcopy(value)


def all_cases() -> list[Case]:
    cases = [*instance_cases(), *panoptic_cases(), *semantic_cases(), *video_cases()]
    assert len({case.name for case in cases}) == len(cases)
    return cases
