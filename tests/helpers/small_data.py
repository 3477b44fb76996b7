"""Data sets of a few images, each with two bright rectangles on noise, in every format that is read, and configs.

Every writer takes the folder, and ``change(content)``, which breaks the annotation file before it is written. The
folder has the layout of the generated shapes, so that the demo configs read it: ``instance_config`` and siblings.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIZE = (48, 64)  # height, width
NAMES = ('disc', 'square')
COLORS = ((230, 50, 40), (40, 60, 230))
PLACE = '/place/of/small/data/'
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def skip_unless_mmseg_draws():
    """MMSegmentation 1.2 draws into arrays that OpenCV 5 does not take, whatever the model; OneDL's does not."""
    import cv2
    import mmseg

    if int(cv2.__version__.split('.')[0]) >= 5 and mmseg.__version__.startswith(('1.0', '1.1', '1.2')):
        pytest.skip(f'MMSegmentation {mmseg.__version__} cannot draw with OpenCV {cv2.__version__}')


def boxes(size=SIZE):
    """x, y, width, height of the two rectangles, which do not touch."""
    height, width = size
    return [(width // 8, height // 8, width // 4, height // 3), (width // 2, height // 2, width // 3, height // 4)]


def image(seed=0, size=SIZE):
    """uint8 (H, W, 3), RGB."""
    pixels = np.random.default_rng(seed).integers(0, 70, (*size, 3), dtype=np.uint8)
    for color, (x, y, width, height) in zip(COLORS, boxes(size)):
        pixels[y : y + height, x : x + width] = color
    return pixels


def masks(size=SIZE):
    """bool (2, H, W)."""
    bitmaps = np.zeros((2, *size), bool)
    for mask, (x, y, width, height) in zip(bitmaps, boxes(size)):
        mask[y : y + height, x : x + width] = True
    return bitmaps


def polygons(box):
    x, y, width, height = box
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def rle(mask, compressed=False):
    """COCO's run lengths of a mask: counts as a list or, ``compressed``, as a string."""
    if compressed:
        from pycocotools import mask as coco_masks

        encoded = coco_masks.encode(np.asfortranarray(mask, np.uint8))
        return dict(size=list(mask.shape), counts=encoded['counts'].decode())
    values = np.concatenate(([0], np.asarray(mask, np.int8).T.ravel(), [-1]))
    ends = np.flatnonzero(np.diff(values))
    return dict(size=list(mask.shape), counts=np.diff(ends, prepend=0).tolist())


def save_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_json(path, content, change=None):
    content = change(content) or content if change else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def coco(root, number=3, split='train', size=SIZE, names=NAMES, form='polygon', change=None, save=save_png):
    """COCO instances: ``annotations/instances_SPLIT.json`` and ``img_dir/SPLIT/*.png``; returns the JSON's path.

    Args:
        form: of the masks, 'polygon', 'rle' (counts as lists) or 'compressed'.
        save: ``save(path, pixels)`` writes an image.
    """
    images, annotations = [], []
    for i in range(number):
        save(root / f'img_dir/{split}/{i}.png', image(i, size))
        images.append(dict(id=i + 1, file_name=f'{i}.png', height=size[0], width=size[1]))
        for k, (box, mask) in enumerate(zip(boxes(size), masks(size))):
            segmentation = polygons(box) if form == 'polygon' else rle(mask, form == 'compressed')
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=i + 1,
                    category_id=k + 1,
                    bbox=list(box),
                    area=box[2] * box[3],
                    iscrowd=0,
                    segmentation=segmentation,
                )
            )
    categories = [dict(id=k + 1, name=name) for k, name in enumerate(names)]
    return write_json(
        root / f'annotations/instances_{split}.json',
        dict(images=images, annotations=annotations, categories=categories),
        change,
    )


def label_map(size=SIZE, values=(0, 1, 2)):
    """int64 (H, W): background, first and second rectangle by the given values."""
    labels = np.full(size, values[0])
    for value, mask in zip(values[1:], masks(size)):
        labels[mask] = value
    return labels


def semantic(root, number=3, split='train', size=SIZE, values=(0, 1, 2), dtype=np.uint8, save=save_png):
    """Label maps ``ann_dir/SPLIT/*.png`` beside ``img_dir/SPLIT/*.jpg``; ``save(path, labels)`` writes a map."""
    for i in range(number):
        save_png(root / f'img_dir/{split}/{i}.jpg', image(i, size))
        path = root / f'ann_dir/{split}/{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, label_map(size, values).astype(dtype))


def panoptic(
    root,
    number=3,
    split='train',
    size=SIZE,
    categories=((1, 'disc', 1), (2, 'square', 1), (3, 'ground', 0)),
    change=None,
):
    """COCO panoptic: ``annotations/panoptic_SPLIT.json``, its PNGs and the images; returns the JSON's path.

    Args:
        categories: id, name and isthing of the two rectangles and the ground.
    """
    images, annotations = [], []
    ids = label_map(size, (3, 1, 2))
    for i in range(number):
        save_png(root / f'img_dir/{split}/{i}.png', image(i, size))
        save_png(root / f'annotations/panoptic_{split}/{i}.png', np.stack((ids, 0 * ids, 0 * ids), -1).astype(np.uint8))
        images.append(dict(id=i + 1, file_name=f'{i}.png', height=size[0], width=size[1]))
        annotations.append(
            dict(
                image_id=i + 1,
                file_name=f'{i}.png',
                segments_info=[
                    dict(id=number, category_id=category, iscrowd=0, area=int((ids == number).sum()))
                    for number, (category, _, _) in zip((1, 2, 3), categories)
                ],
            )
        )
    content = dict(
        images=images,
        annotations=annotations,
        categories=[dict(id=category, name=name, isthing=thing) for category, name, thing in categories],
    )
    return write_json(root / f'annotations/panoptic_{split}.json', content, change)


def video(root, number=2, frames=3, split='train', size=SIZE, names=NAMES, form='rle', change=None):
    """YouTube-VIS: ``SPLIT.json`` and ``SPLIT/JPEGImages/VIDEO/*.png``; the rectangles stand still."""
    videos, annotations = [], []
    for v in range(number):
        for t in range(frames):
            save_png(root / f'{split}/JPEGImages/{v}/{t}.png', image(v * frames + t, size))
        videos.append(
            dict(
                id=v + 1,
                height=size[0],
                width=size[1],
                length=frames,
                file_names=[f'{v}/{t}.png' for t in range(frames)],
            )
        )
        for k, (box, mask) in enumerate(zip(boxes(size), masks(size))):
            segmentation = polygons(box) if form == 'polygon' else rle(mask, form == 'compressed')
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    video_id=v + 1,
                    category_id=k + 1,
                    iscrowd=0,
                    segmentations=[segmentation] * frames,
                    bboxes=[list(box)] * frames,
                    areas=[box[2] * box[3]] * frames,
                )
            )
    categories = [dict(id=k + 1, name=name) for k, name in enumerate(names)]
    return write_json(
        root / f'{split}.json', dict(videos=videos, annotations=annotations, categories=categories), change
    )


@cache
def _read(demo, variable):
    """The config of a demo whose data lie in ``PLACE``; reading one takes a second."""
    from mmengine.config import Config

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, PLACE)
        return Config.fromfile(CONFIGS / 'demo' / f'{demo}.py')


def _moved(value, root):
    """A copy of a config with ``root`` in the place of ``PLACE``."""
    if isinstance(value, dict):
        return {key: _moved(each, root) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(each, root) for each in value)
    return value.replace(PLACE, root) if isinstance(value, str) else value


def _config(demo, variable, root, monkeypatch):
    from mmengine.config import Config

    monkeypatch.setenv(variable, f'{root}/')
    read = _read(demo, variable)
    cfg = Config(_moved(read.to_dict(), f'{root}/'), filename=read.filename)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=2 if loader is cfg.train_dataloader else 1, num_workers=0, persistent_workers=False)
    cfg.work_dir = str(root / 'work_dir')
    return cfg


def _set_classes(cfg, head, metainfo):
    """One metainfo for the data sets and the model."""
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.metainfo = metainfo
    cfg.model[head].metainfo = metainfo
    return cfg


def instance_config(root, monkeypatch, names=NAMES):
    """The demo of instances on ``coco``'s folder; ``monkeypatch`` sets the variable that names it."""
    return _set_classes(
        _config('mask2former_r18_shapes-instance', 'SHAPES_ROOT', root, monkeypatch),
        'panoptic_head',
        dict(classes=tuple(names)),
    )


def semantic_config(root, monkeypatch, names=('ground', *NAMES)):
    palette = [(k % 256, k // 256, 128) for k in range(len(names))]
    return _set_classes(
        _config('mask2former_r18_shapes-semantic', 'SHAPES_ROOT', root, monkeypatch),
        'decode_head',
        dict(classes=tuple(names), palette=palette),
    )


def panoptic_config(root, monkeypatch, things=NAMES, stuff=('ground',)):
    """Its evaluator is panoptic quality alone."""
    cfg = _set_classes(
        _config('mask2former_r18_shapes-panoptic', 'SHAPES_ROOT', root, monkeypatch),
        'panoptic_head',
        dict(thing_classes=tuple(things), stuff_classes=tuple(stuff), classes=(*things, *stuff)),
    )
    for key in ('val_evaluator', 'test_evaluator'):
        cfg[key] = [metric for metric in cfg[key] if metric.type == 'm2f_mm.PanopticMetric']
    return cfg


def video_config(root, monkeypatch, names=NAMES):
    return _set_classes(
        _config('mask2former_r18_shape-videos', 'SHAPE_VIDEOS_ROOT', root, monkeypatch),
        'track_head',
        dict(classes=tuple(names)),
    )
