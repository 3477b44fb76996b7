"""Generated images in the exact layout of data sets that cannot be shipped."""

import json

import numpy as np
from PIL import Image

from m2f_mm.datasets.io import write_panoptic_png
from m2f_mm.datasets.mapillary_categories import NAMES, PALETTE, THING_IDS

CITIES = (('train', 'aachen'), ('train', 'bonn'), ('val', 'ulm'))


def blocks(random, low, high, size=(8, 16), by=16):
    """Random numbers in blocks of pixels."""
    return random.randint(low, high, size).repeat(by, 0).repeat(by, 1)


def write_cityscapes(root):
    """Six images of 128 x 256: every label id, groups, instances, and polygons."""
    random = np.random.RandomState(0)
    for split, city in CITIES:
        fine, images = root / 'gtFine' / split / city, root / 'leftImg8bit' / split / city
        fine.mkdir(parents=True)
        images.mkdir(parents=True)
        for frame in range(2):
            name = f'{city}_{frame:06d}_000019'
            labels = blocks(random, 0, 34)
            counted = (labels >= 24) & (blocks(random, 0, 5) > 0)
            instances = np.where(counted, labels * 1000 + blocks(random, 0, 4), labels)
            Image.fromarray(labels.astype(np.uint8)).save(fine / f'{name}_gtFine_labelIds.png')
            Image.fromarray(instances.astype(np.uint16)).save(fine / f'{name}_gtFine_instanceIds.png')
            content = dict(
                imgHeight=128,
                imgWidth=256,
                objects=[
                    dict(label=label, polygon=rectangle(random))
                    for label in (
                        'road',
                        'car',
                        'person',
                        'sky',
                        'cargroup',
                        'rider',
                        'static',
                        'license plate',
                        'bus',
                        'building',
                    )
                ],
            )
            (fine / f'{name}_gtFine_polygons.json').write_text(json.dumps(content))
            Image.fromarray(random.randint(0, 256, (128, 256, 3)).astype(np.uint8)).save(
                images / f'{name}_leftImg8bit.png'
            )
    return root


def rectangle(random):
    x, y = random.randint(0, 200), random.randint(0, 90)
    right, lower = x + random.randint(10, 55), y + random.randint(8, 37)
    return [[int(a), int(b)] for a, b in ((x, y), (right, y), (right, lower), (x, lower))]


def write_ade20k_full(root):
    """Two images for each split, one of them to be made smaller, as the release of January 2021 has them: every class
    somewhere, and numbers that are no class."""
    random = np.random.RandomState(4)
    for split, short in (('training', 'train'), ('validation', 'val')):
        for number, size in enumerate(((96, 128), (560, 700))):
            folder = root / f'images/ADE/{split}/urban/street'
            folder.mkdir(parents=True, exist_ok=True)
            name = f'ADE_{short}_0000000{number}'
            Image.fromarray(random.randint(0, 256, (*size, 3)).astype(np.uint8)).save(folder / f'{name}.jpg')
            numbers = random.randint(0, 3200, (size[0] // 4, size[1] // 4)).repeat(4, 0).repeat(4, 1)
            colors = np.stack((numbers // 256 * 10, numbers % 256, random.randint(0, 256, size)), -1)
            Image.fromarray(colors.astype(np.uint8)).save(folder / f'{name}_seg.png')
    return root


def write_coco_stuff(root):
    """Three images of 96 x 128 with HDF5 annotations, as COCO-Stuff-10K v1.0 has them."""
    import h5py

    random = np.random.RandomState(2)
    for part in ('images', 'annotations', 'imageLists'):
        (root / part).mkdir(parents=True)
    for split, names in (('train', ('a', 'b')), ('test', ('c',))):
        (root / f'imageLists/{split}.txt').write_text('\n'.join(names) + '\n')
        for name in names:
            Image.fromarray(random.randint(0, 256, (96, 128, 3)).astype(np.uint8)).save(root / f'images/{name}.jpg')
            with h5py.File(root / f'annotations/{name}.mat', 'w') as file:
                file['S'] = blocks(random, 1, 173, (6, 8)).T.astype(np.float64)
    return root


def write_mapillary_v2(root):
    """Annotations of v2.0 for the images of v1.2, with as many classes, things and stuff mixed."""
    random = np.random.RandomState(3)
    categories = [dict(id=i + 1, name=f'object--{i}', isthing=int(i % 5 < 3)) for i in range(116)]
    for split in ('training', 'validation'):
        folder, images, annotations = root / split / 'v2.0', [], []
        (folder / 'labels').mkdir(parents=True)
        (folder / 'panoptic').mkdir()
        for name in sorted(path.stem for path in (root / split / 'images').glob('*.jpg')):
            labels = blocks(random, 0, 124)
            Image.fromarray(labels.astype(np.uint8)).save(folder / f'labels/{name}.png')
            ids = np.where(labels < 116, labels + 300, 0)
            write_panoptic_png(str(folder / f'panoptic/{name}.png'), ids)
            images.append(dict(id=name, file_name=f'{name}.jpg', height=128, width=256))
            annotations.append(
                dict(
                    image_id=name,
                    file_name=f'{name}.png',
                    segments_info=[
                        dict(
                            id=int(i),
                            category_id=int(i) - 299,
                            area=int((ids == i).sum()),
                            bbox=[0, 0, 1, 1],
                            iscrowd=0,
                        )
                        for i in np.unique(ids)
                        if i
                    ],
                )
            )
        (folder / 'panoptic/panoptic_2020.json').write_text(
            json.dumps(dict(images=images, annotations=annotations, categories=categories))
        )
    return root


def write_mapillary(root):
    """Two images of 128 x 256 for each split, as v1.2 has them."""
    random = np.random.RandomState(1)
    for split in ('training', 'validation'):
        folder = root / split
        for part in ('images', 'labels', 'panoptic'):
            (folder / part).mkdir(parents=True)
        images, annotations = [], []
        for number in range(2):
            name, labels = f'image_{number}', blocks(random, 0, 66)
            Image.fromarray(random.randint(0, 256, (128, 256, 3)).astype(np.uint8)).save(
                folder / 'images' / f'{name}.jpg'
            )
            image = Image.fromarray(labels.astype(np.uint8), 'P')
            image.putpalette([part for color in (*PALETTE, (0, 0, 0)) for part in color])
            image.save(folder / 'labels' / f'{name}.png')
            ids = np.where(labels == len(NAMES), 0, labels + 300)
            write_panoptic_png(str(folder / 'panoptic' / f'{name}.png'), ids)
            images.append(dict(id=name, file_name=f'{name}.jpg', height=128, width=256))
            annotations.append(
                dict(
                    image_id=name,
                    file_name=f'{name}.png',
                    segments_info=[
                        dict(
                            id=int(i),
                            category_id=int(i) - 299,
                            area=int((ids == i).sum()),
                            bbox=[0, 0, 1, 1],
                            iscrowd=0,
                        )
                        for i in np.unique(ids)
                        if i
                    ],
                )
            )
        (folder / 'panoptic/panoptic_2018.json').write_text(
            json.dumps(
                dict(
                    images=images,
                    annotations=annotations,
                    categories=[
                        dict(id=label + 1, name=name, isthing=int(label in THING_IDS), color=list(color))
                        for label, (name, color) in enumerate(zip(NAMES, PALETTE))
                    ],
                )
            )
        )
    return root
