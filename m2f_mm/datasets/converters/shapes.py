"""Writes generated scenes as COCO panoptic, COCO instance and MMSegmentation data sets, all over the same images, and
generated videos in the format of YouTube-VIS.

Layout of the folder of scenes::

    shapes.json                          the parameters; there only when everything else is
    img_dir/{train,val}/000000.jpg
    ann_dir/{train,val}/000000.png       semantic: index of CLASSES, 255 is void
    annotations/panoptic_{train,val}.json and panoptic_{train,val}/000000.png
    annotations/instances_{train,val}.json

and of videos, whose categories are the things and the stuff::

    shapes.json
    {train,val}.json
    {train,val}/JPEGImages/0000/00000.jpg
"""

import io
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image
from pycocotools import mask as coco_mask

from ..io import encode_png, write_file, write_json, write_panoptic_png
from ..shape_videos import ShapeVideo, ShapeVideoSpec
from ..shapes import CLASSES, PALETTE, THINGS, Scene, ShapesSpec, make_scene, smallest_area
from .runner import coco_box

MARKER = 'shapes.json'
FORMAT = 1  # raise it when the same parameters would give other files, so that old folders are not taken for new ones
VIDEO_FORMAT = 2  # the same for videos


def write_shapes(
    out: str,
    spec: ShapesSpec,
    seed: int = 0,
    train: int = 500,
    val: int = 60,
    overwrite: bool = False,
    progress: bool = True,
) -> bool:
    """Generate the data set in the folder ``out`` unless it is there already.

    The folder appears in one step when it is complete. Image i of a split depends on seed, split and i only.

    Returns:
        True if it was generated, False if a complete one with the same parameters was found.

    Raises:
        FileExistsError: ``out`` holds something else and ``overwrite`` is off.
    """

    def write(partial: str) -> None:
        for index, (split, number) in enumerate((('train', train), ('val', val))):
            scenes = (make_scene(spec, np.random.default_rng([seed, index, i])) for i in range(number))
            _write_split(partial, split, _with_progress(scenes, number, f'{split}: {number} images', progress))

    return _write_once(out, dict(format=FORMAT, seed=seed, train=train, val=val, **asdict(spec)), overwrite, write)


def write_shape_videos(
    out: str,
    spec: ShapeVideoSpec,
    seed: int = 0,
    train: int = 400,
    val: int = 60,
    overwrite: bool = False,
    progress: bool = True,
) -> bool:
    """Generate the videos in the folder ``out`` unless they are there already; otherwise as ``write_shapes``."""

    def write(partial: str) -> None:
        for index, (split, number) in enumerate((('train', train), ('val', val))):
            videos = (ShapeVideo(spec, np.random.default_rng([seed, index, i])) for i in range(number))
            _write_videos(partial, split, _with_progress(videos, number, f'{split}: {number} videos', progress))

    parameters = dict(format=VIDEO_FORMAT, videos=True, seed=seed, train=train, val=val, **asdict(spec))
    return _write_once(out, parameters, overwrite, write)


def _with_progress(items: Iterable, number: int, title: str, progress: bool) -> Iterable:
    if not progress:
        return items
    print(title)
    return track_iter_progress((items, number))


def _write_once(out: str, parameters: dict, overwrite: bool, write: Callable[[str], None]) -> bool:
    """Fill a folder, which appears when it is complete; see ``write_shapes``."""
    out = os.path.abspath(out)
    if os.path.isdir(out) and os.listdir(out):
        existing = _read_marker(out)
        if existing == parameters:
            return False
        if not (overwrite and existing):  # never delete a folder that this function has not made
            raise FileExistsError(
                f'{out} is not empty and holds '
                f'{f"shapes with other parameters, {existing}" if existing else "other files"}; choose '
                f'another folder{" or pass --overwrite" if existing else ""} to get {parameters}'
            )
    partial = f'{out}.partial'
    shutil.rmtree(partial, ignore_errors=True)
    write(partial)
    write_json(os.path.join(partial, MARKER), parameters)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(partial, out)
    return True


def _read_marker(out: str) -> dict:
    try:
        with open(os.path.join(out, MARKER)) as stream:
            return json.load(stream)
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _categories() -> list[dict]:
    return [
        dict(
            id=i + 1,
            name=name,
            supercategory='thing' if i < len(THINGS) else 'stuff',
            isthing=int(i < len(THINGS)),
            color=list(PALETTE[i]),
        )
        for i, name in enumerate(CLASSES)
    ]


def _write_videos(root: str, split: str, videos: Iterable[ShapeVideo]) -> None:
    records, annotations = [], []
    for number, video in enumerate(videos):
        names, frames = [], []
        for t, (image, segments) in enumerate(video):
            names.append(f'{number:04d}/{t:05d}.jpg')
            frames.append(segment_rles(segments, video.labels))
            write_file(f'{root}/{split}/JPEGImages/{names[-1]}', _encode_jpeg(image))
        size = dict(height=video.spec.height, width=video.spec.width, length=len(video))
        records.append(dict(id=number + 1, file_names=names, **size))
        for label, rles in zip(video.labels, zip(*frames)):
            if any(rles):
                areas, boxes = ([rle and of(rle) for rle in rles] for of in (_area, _box))
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        video_id=number + 1,
                        category_id=label + 1,
                        iscrowd=0,
                        segmentations=list(rles),
                        areas=areas,
                        bboxes=boxes,
                        **size,
                    )
                )
    write_json(f'{root}/{split}.json', dict(videos=records, annotations=annotations, categories=_categories()))


def segment_rles(segments: np.ndarray, labels: list[int]) -> list[dict | None]:
    """Of each segment of a map int32 (H, W) COCO's compressed RLE, None where too little of it can be seen."""
    masks = np.asfortranarray((segments[..., None] == np.arange(len(labels))).astype(np.uint8))
    return [
        dict(size=[int(side) for side in rle['size']], counts=rle['counts'].decode())
        if mask.sum() >= smallest_area(segments)
        else None
        for rle, mask in zip(coco_mask.encode(masks), masks.transpose(2, 0, 1))
    ]


def _area(rle: dict) -> int:
    return int(coco_mask.area(rle))


def _box(rle: dict) -> list[float]:
    return coco_mask.toBbox(rle).tolist()


def _write_split(root: str, split: str, scenes: Iterable[Scene]) -> None:
    categories = _categories()
    images, panoptic, instances = [], [], []
    for index, scene in enumerate(scenes):
        name = f'{index:06d}'
        height, width = scene.segments.shape
        images.append(dict(id=index + 1, file_name=f'{name}.jpg', height=height, width=width))
        ids, records = _segments_info(scene)
        panoptic.append(dict(image_id=index + 1, file_name=f'{name}.png', segments_info=records))
        instances += _instances(scene, records, image_id=index + 1, first_id=len(instances) + 1)
        write_file(f'{root}/img_dir/{split}/{name}.jpg', _encode_jpeg(scene.image))
        write_file(f'{root}/ann_dir/{split}/{name}.png', encode_png(_semantic(scene)))
        write_panoptic_png(f'{root}/annotations/panoptic_{split}/{name}.png', ids)
    write_json(
        f'{root}/annotations/panoptic_{split}.json', dict(images=images, annotations=panoptic, categories=categories)
    )
    write_json(
        f'{root}/annotations/instances_{split}.json',
        dict(images=images, annotations=instances, categories=categories[: len(THINGS)]),
    )


def _segments_info(scene: Scene) -> tuple[np.ndarray, list[dict]]:
    """Ids (H, W) as in COCO, any unique 24-bit number that looks good in the PNG, and the records of the JSON."""
    number = len(scene.labels)
    # Multiples of a large odd number modulo 2 ** 24 are distinct and differ in all three color channels.
    lookup = np.append((np.arange(1, number + 1) * 9973471) % (1 << 24), 0)
    records = []
    for i, (label, crowd) in enumerate(zip(scene.labels, scene.crowd)):
        mask = scene.segments == i
        records.append(
            dict(
                id=int(lookup[i]),
                category_id=label + 1,
                iscrowd=int(crowd),
                area=int(mask.sum()),
                bbox=coco_box(mask),
            )
        )
    return lookup[scene.segments], records


def _instances(scene: Scene, records: list[dict], image_id: int, first_id: int) -> list[dict]:
    """The things again, with their visible masks as compressed RLE."""
    things = [i for i, label in enumerate(scene.labels) if label < len(THINGS)]
    if not things:
        return []
    masks = np.asfortranarray((scene.segments[..., None] == np.array(things)).astype(np.uint8))
    annotations = []
    for i, rle in zip(things, coco_mask.encode(masks)):
        rle = dict(size=[int(side) for side in rle['size']], counts=rle['counts'].decode())
        annotations.append({**records[i], 'id': first_id + len(annotations), 'image_id': image_id, 'segmentation': rle})
    return annotations


def _semantic(scene: Scene) -> np.ndarray:
    return np.append(np.array(scene.labels, np.uint8), np.uint8(255))[scene.segments]


def _encode_jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format='JPEG', quality=95)
    return stream.getvalue()
