"""One scene written in every format that ``m2f_mm.datasets.formats`` reads, so that all readers must give equal masks.

Every writer takes the folder, makes images and annotations, and leaves the masks of ``scene``. Outlines run along pixel
borders, so that polygons are exact; the ring has a hole, which only masks can have, and is left out of the others.
"""

import base64
import io
import json

import numpy as np
from PIL import Image

from tests.helpers.small_data import rle

SIZE = (48, 64)  # height, width
NUMBER = 4  # images
CLASSES = ('box', 'ell', 'ring')
COLORS = dict(background=(0, 0, 0), box=(200, 0, 0), ell=(0, 200, 0), ring=(0, 0, 200))
BOX = [(8, 6), (24, 6), (24, 22), (8, 22)]
ELL = [(4, 28), (12, 28), (12, 36), (28, 36), (28, 44), (4, 44)]
PARTS = [[(36, 28), (44, 28), (44, 40), (36, 40)], [(50, 30), (58, 30), (58, 42), (50, 42)]]


def filled(points):
    """Bool (H, W) of an outline along pixel borders: a pixel is inside where its center is."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    inside = np.zeros(SIZE, bool)
    for (x0, y0), (_, y1) in zip(points, points[1:] + points[:1]):
        if y0 != y1:
            inside ^= (x < x0) & (y > min(y0, y1)) & (y < max(y0, y1))
    return inside


def scene(index=0, ring=True):
    """Name, polygons (None of the ring) and mask of each object of an image; the second image has one less."""
    objects = [('box', [BOX], filled(BOX)), ('ell', [ELL], filled(ELL))]
    if index != 1:
        objects.append(('box', PARTS, filled(PARTS[0]) | filled(PARTS[1])))
    if ring:
        mask = np.zeros(SIZE, bool)
        mask[4:24, 32:60] = True
        mask[10:18, 40:52] = False
        objects.append(('ring', None, mask))
    return objects


def label_map(index=0, values=(0, 1, 2, 3)):
    """int64 (H, W): background and the three classes by the given values."""
    labels = np.full(SIZE, values[0])
    for name, _, mask in scene(index):
        labels[mask] = values[1 + CLASSES.index(name)]
    return labels


def object_map(index=0):
    """uint8 (H, W): the number of the object, from 1 on."""
    numbers = np.zeros(SIZE, np.uint8)
    for number, (_, _, mask) in enumerate(scene(index), 1):
        numbers[mask] = number
    return numbers


def expected(index=0, ring=True):
    """Sorted class and mask of each object, as ``objects_of`` gives them."""
    return sorted((name, mask.tobytes()) for name, _, mask in scene(index, ring))


def objects_of(data, record):
    """Sorted class and mask of each object that was read."""
    return sorted((data.classes[each.label], each.mask(record.size).tobytes()) for each in data.objects(record))


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **options)


def save_image(path, index=0, **options):
    save(path, np.random.default_rng(index).integers(0, 255, (*SIZE, 3), dtype=np.uint8), **options)


def save_palette(path, labels):
    """A palette PNG whose colors are not its indices."""
    image = Image.new('P', SIZE[::-1])
    image.putdata(labels.astype(np.uint8).ravel().tolist())
    image.putpalette([(37 * i + 11) % 256 for i in range(768)])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def flat(points):
    return [value for point in points for value in point]


def coco_content(ids=(1, 2, 3), form='mixed', ring=True, names=CLASSES, extra=(), prefix='', indices=range(NUMBER)):
    """COCO's JSON. ``form``: 'mixed' (polygons, RLE of the ring), 'counts', 'compressed' or 'boxes'."""
    images, annotations = [], []
    for index in indices:
        images.append(dict(id=10 + index, file_name=f'{prefix}{index}.jpg', height=SIZE[0], width=SIZE[1]))
        for name, polygons, mask in scene(index, ring):
            y, x = np.nonzero(mask)
            box = [int(x.min()), int(y.min()), int(np.ptp(x) + 1), int(np.ptp(y) + 1)]
            annotation = dict(
                id=len(annotations) + 1, image_id=10 + index, category_id=ids[CLASSES.index(name)], bbox=box, iscrowd=0
            )
            if form == 'mixed' and polygons:
                annotation['segmentation'] = [flat(polygon) for polygon in polygons]
            elif form != 'boxes':
                annotation['segmentation'] = rle(mask, form == 'compressed')
            annotation['area'] = int(mask.sum())
            annotations.append(annotation)
    categories = [dict(id=key, name=name, supercategory='thing') for key, name in zip(ids, names)]
    return dict(images=images, annotations=annotations, categories=[*extra, *categories])


def images(root, folder, names='{}.jpg', number=NUMBER):
    for index in range(number):
        save_image(root / folder / names.format(index), index)


def coco(root, **options):
    images(root, 'images')
    write_json(root / 'annotations/all.json', coco_content(**options))


def coco_gaps(root):
    coco(root, ids=(7, 90, 3), form='counts')


def roboflow_coco(root):
    group = dict(id=0, name='shapes', supercategory='none')
    for split, indices in (('train', (0, 1, 2)), ('valid', (3,))):
        for index in indices:
            save_image(root / split / f'{index}.jpg', index)
        write_json(root / split / '_annotations.coco.json', coco_content(extra=[group], indices=indices))


def coco_panoptic(root):
    images(root, 'val')
    annotations = []
    for index in range(NUMBER):
        ids = np.where(object_map(index) > 0, object_map(index).astype(int) + 300, 7)
        save(
            root / f'annotations/panoptic_val/{index}.png', np.stack((ids % 256, ids // 256, 0 * ids), -1).astype('u1')
        )
        segments = [
            dict(id=301 + number, category_id=(5, 9, 12)[CLASSES.index(name)], area=int(mask.sum()), iscrowd=0)
            for number, (name, _, mask) in enumerate(scene(index))
        ]
        segments.append(dict(id=7, category_id=2, iscrowd=0, area=int((ids == 7).sum())))
        annotations.append(dict(image_id=10 + index, file_name=f'{index}.png', segments_info=segments))
    categories = [dict(id=key, name=name, isthing=1) for key, name in zip((5, 9, 12), CLASSES)]
    content = dict(
        coco_content(), annotations=annotations, categories=[dict(id=2, name='ground', isthing=0), *categories]
    )
    write_json(root / 'annotations/panoptic_val.json', content)


def youtube_vis(root):
    images(root, 'train/JPEGImages/clip', '{:05}.jpg')
    annotations = []
    tracks = [
        (scene(0)[i][0], [None if i == 2 and t == 1 else scene(0)[i][2] for t in range(NUMBER)]) for i in range(4)
    ]
    for number, (name, masks) in enumerate(tracks, 1):
        annotations.append(
            dict(
                id=number,
                video_id=1,
                category_id=CLASSES.index(name) + 1,
                iscrowd=0,
                segmentations=[None if mask is None else rle(mask) for mask in masks],
                bboxes=[None if mask is None else [0, 0, 64, 48] for mask in masks],
                areas=[None if mask is None else int(mask.sum()) for mask in masks],
            )
        )
    video = dict(id=1, height=SIZE[0], width=SIZE[1], file_names=[f'clip/{t:05}.jpg' for t in range(NUMBER)])
    categories = [dict(id=number, name=name) for number, name in enumerate(CLASSES, 1)]
    write_json(root / 'train/instances.json', dict(videos=[video], annotations=annotations, categories=categories))


def yolo(root, boxes=False, yaml='path: /content/elsewhere\ntrain: images/train\nval: ../images/val\n'):
    write_text(root / 'data.yaml', f'{yaml}names:\n  0: box\n  1: ell\n')
    for index in range(NUMBER):
        split = 'val' if index == 3 else 'train'
        save_image(root / f'images/{split}/{index}.jpg', index)
        lines = []
        for name, polygons, mask in scene(index, ring=False):
            if boxes:
                y, x = np.nonzero(mask)
                box = (x.min() + np.ptp(x) / 2 + 0.5) / 64, (y.min() + np.ptp(y) / 2 + 0.5) / 48
                shares = [*box, (np.ptp(x) + 1) / 64, (np.ptp(y) + 1) / 48]
            else:  # parts are joined by a bridge of no width, there and back
                points = bridged(polygons) if len(polygons) > 1 else polygons[0]
                shares = flat([(x / 64, y / 48) for x, y in points])
            lines.append(' '.join(map(str, [CLASSES.index(name), *map(float, shares)])))
        write_text(root / f'labels/{split}/{index}.txt', '\n'.join(lines))


def bridged(polygons):
    """One outline of two: around the first, over to the second, around it, and back the same way."""
    first, second = polygons
    return [*first, first[0], *second, second[0], first[0]]


def yolo_semantic(root):
    write_text(
        root / 'data.yaml', 'train: images/train\nval: images/val\nmasks_dir: masks\nnames: [ground, box, ell, ring]'
    )
    for index in range(NUMBER):
        split = 'val' if index == 3 else 'train'
        save_image(root / f'images/{split}/{index}.jpg', index)
        save(root / f'masks/{split}/{index}.png', label_map(index).astype(np.uint8))


def labelme(root, ring=True):
    for index in range(NUMBER):
        save_image(root / f'{index}.jpg', index)
        shapes = []
        for number, (name, polygons, mask) in enumerate(scene(index, ring)):
            group = number if polygons and len(polygons) > 1 else None
            for polygon in polygons or ():
                shapes.append(dict(label=name, points=polygon, group_id=group, shape_type='polygon', flags={}))
            if polygons is None:
                y, x = np.nonzero(mask)
                part = mask[y.min() : y.max() + 1, x.min() : x.max() + 1]
                stream = io.BytesIO()
                Image.fromarray(part).save(stream, format='PNG')
                points = [[int(x.min()), int(y.min())], [int(x.max()), int(y.max())]]
                encoded = base64.b64encode(stream.getvalue()).decode()
                shapes.append(dict(label=name, points=points, group_id=None, shape_type='mask', mask=encoded))
        content = dict(version='5.5.0', flags={}, shapes=shapes, imagePath=f'..\\x\\{index}.jpg' if index else '0.jpg')
        write_json(root / f'{index}.json', dict(content, imageData=None, imageHeight=SIZE[0], imageWidth=SIZE[1]))


VOC_NAMES = dict(box='cat', ell='dog', ring='sofa')
VOC_VALUES = (0, 8, 12, 18)


def voc(root):
    images(root, 'VOC2012/JPEGImages')
    for index in range(NUMBER):
        save_palette(root / f'VOC2012/SegmentationClass/{index}.png', with_void(label_map(index, VOC_VALUES)))
        save_palette(root / f'VOC2012/SegmentationObject/{index}.png', with_void(object_map(index)))
        objects = ''.join(f'<object><name>{VOC_NAMES[name]}</name></object>' for name, _, _ in scene(index))
        write_text(root / f'VOC2012/Annotations/{index}.xml', f'<annotation>{objects}</annotation>')
    for split, names in (('train', '0\n1\n2\n'), ('val', '3\n'), ('trainval', '0\n1\n2\n3\n')):
        write_text(root / f'VOC2012/ImageSets/Segmentation/{split}.txt', names)


def with_void(labels):
    """The labels with a corner that has 255."""
    labels = labels.copy()
    labels[:2, :2] = 255
    return labels


def colored(labels):
    """RGB (H, W, 3) of the labels 0 to 3."""
    return np.array(list(COLORS.values()), np.uint8)[labels]


def cvat_masks(root):
    images(root, 'images')
    lines = [f'{name}:{",".join(map(str, color))}::' for name, color in COLORS.items()]
    write_text(root / 'labelmap.txt', '\n'.join(['# label:color_rgb:parts:actions', *lines]))
    write_text(root / 'ImageSets/Segmentation/default.txt', '0\n1\n2\n3\n')
    for index in range(NUMBER):
        save(root / f'SegmentationClass/{index}.png', colored(label_map(index)))
        numbers = object_map(index)
        save(root / f'SegmentationObject/{index}.png', np.stack((numbers * 50, numbers, 0 * numbers), -1))


def cvat_xml(root):
    images(root, 'images')
    elements = []
    for index in range(NUMBER):
        shapes = []
        for number, (name, polygons, mask) in enumerate(scene(index), 1):
            for polygon in polygons or ():
                points = ';'.join(f'{x:.2f},{y:.2f}' for x, y in polygon)
                group = f' group_id="{number}"' if len(polygons) > 1 else ''
                shapes.append(f'<polygon label="{name}" points="{points}" z_order="0"{group}/>')
            if polygons is None:
                y, x = np.nonzero(mask)
                part = mask[y.min() : y.max() + 1, x.min() : x.max() + 1]
                counts = ', '.join(map(str, rle(part.T)['counts']))
                place = f'left="{x.min()}" top="{y.min()}" width="{part.shape[1]}" height="{part.shape[0]}"'
                shapes.append(f'<mask label="{name}" rle="{counts}" {place} z_order="0"/>')
        elements.append(f'<image id="{index}" name="{index}.jpg" width="64" height="48">{"".join(shapes)}</image>')
    labels = ''.join(f'<label><name>{name}</name><type>any</type></label>' for name in CLASSES)
    meta = f'<meta><task><labels>{labels}</labels></task></meta>'
    write_text(root / 'annotations.xml', f'<annotations><version>1.1</version>{meta}{"".join(elements)}</annotations>')


def studio_rle(mask):
    """Label Studio's run lengths of a mask, in runs of several kinds."""
    values = np.repeat(np.where(mask, 255, 0).ravel(), 4)
    bits = f'{values.size:032b}{7:05b}' + ''.join(f'{size - 1:04b}' for size in (3, 4, 8, 16))
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), values.size]
    for start, end in zip(edges, edges[1:]):
        while start < end:
            run = min(end - start, 256)
            if run < 8:  # each value for itself
                bits += f'0{0:02b}{run - 1:03b}' + f'{values[start]:08b}' * run
            else:
                bits += f'1{2:02b}{run - 1:08b}{values[start]:08b}'
            start += run
    bits += '0' * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def label_studio(root, short=False):
    tasks = []
    for index in range(NUMBER):
        save_image(root / f'images/{index}.jpg', index)
        results = []
        for number, (name, polygons, mask) in enumerate(scene(index)):
            if polygons and len(polygons) == 1:
                points = [[x * 100 / 64, y * 100 / 48] for x, y in polygons[0]]
                kind, value = 'polygonlabels', dict(points=points, polygonlabels=[name], closed=True)
            else:
                kind, value = 'brushlabels', dict(format='rle', rle=studio_rle(mask), brushlabels=[name])
            size = dict(original_width=64, original_height=48, image_rotation=0)
            results.append(dict(size, id=f'r{number}', type=kind, value=value))
        address = f'/data/upload/1/0a1b2c3d-{index}.jpg'
        if short:
            shapes = [dict(each['value'], original_width=64, original_height=48) for each in results]
            tasks.append(dict(id=index, image=address, label=shapes, annotator=1))
        else:
            tasks.append(dict(id=index, data=dict(image=address), annotations=[dict(id=1, result=results)]))
    write_json(root / 'project-1.json', tasks)


def index_masks(
    root, values=(0, 1, 2, 3), save_map=lambda path, labels: save(path, labels.astype(np.uint8)), names=None
):
    images(root, 'images')
    for index in range(NUMBER):
        save_map(root / f'masks/{index}.png', label_map(index, values))
    if names is not None:
        write_text(root / 'classes.txt', '\n'.join(names))


def index_masks_with_classes(root):
    index_masks(root, names=('background', *CLASSES))


def palette_masks(root):
    index_masks(root, save_map=save_palette, names=('background', *CLASSES))


def rgb_masks(root):
    index_masks(root, save_map=lambda path, labels: save(path, colored(labels)))
    write_text(root / 'colors.csv', '\n'.join(f'{name},{r},{g},{b}' for name, (r, g, b) in COLORS.items()))


def camvid_colors(root):
    for index in range(NUMBER):
        save_image(root / f'701_StillsRaw/{index}.png', index)
        save(root / f'LabeledApproved/{index}_L.png', colored(label_map(index)))
    write_text(root / 'label_colors.txt', '\n'.join(f'{r} {g} {b}\t{name}' for name, (r, g, b) in COLORS.items()))


def roboflow_masks(root):
    for split, indices in (('train', (0, 1, 2)), ('valid', (3,))):
        for index in indices:
            save_image(root / split / f'{index}_jpg.rf.00{index}.jpg', index)
            save(root / split / f'{index}_jpg.rf.00{index}_mask.png', label_map(index).astype(np.uint8))
        names = enumerate(('background', *CLASSES))
        write_text(root / split / '_classes.csv', '\n'.join(['Pixel Value, Class', *(f'{v}, {n}' for v, n in names)]))


def ade20k(root):
    for index in range(NUMBER):
        split = 'validation' if index == 3 else 'training'
        save_image(root / f'images/{split}/ADE_{index}.jpg', index)
        save(root / f'annotations/{split}/ADE_{index}.png', label_map(index).astype(np.uint8))
    rows = ['Idx\tRatio\tTrain\tVal\tName', *(f'{i}\t0.1\t1\t1\t{name}' for i, name in enumerate(CLASSES, 1))]
    write_text(root / 'objectInfo150.txt', '\n'.join(rows))


def cityscapes(root):
    """The scene as road (background), person, car and bicycle (box, ell, ring)."""
    for index in range(NUMBER):
        split = 'val' if index == 3 else 'train'
        name = f'{split}/ulm/ulm_{index:06}_000019'
        save_image(root / f'leftImg8bit/{name}_leftImg8bit.png', index)
        labels, numbers = label_map(index, (7, 24, 26, 33)), object_map(index).astype(np.int32)
        save(root / f'gtFine/{name}_gtFine_labelIds.png', labels.astype(np.uint8))
        save(
            root / f'gtFine/{name}_gtFine_instanceIds.png',
            np.where(numbers > 0, 1000 * labels + numbers, labels).astype('u2'),
        )


def xml_of(index, objects):
    size = '<size><width>64</width><height>48</height><depth>3</depth></size>'
    return f'<annotation><filename>{index}.jpg</filename>{size}{"".join(objects)}</annotation>'


def voc_boxes(root):
    images(root, 'JPEGImages')
    for index in range(NUMBER):
        objects = []
        for name, _, mask in scene(index, ring=False):
            y, x = np.nonzero(mask)
            corners = dict(xmin=x.min() + 1, ymin=y.min() + 1, xmax=x.max() + 1, ymax=y.max() + 1)  # from 1, included
            box = ''.join(f'<{key}>{value}</{key}>' for key, value in corners.items())
            objects.append(f'<object><name>{name}</name><bndbox>{box}</bndbox></object>')
        write_text(root / f'Annotations/{index}.xml', xml_of(index, objects))


def labelme_xml(root):
    images(root, 'Images')
    for index in range(NUMBER):
        objects = []
        for name, polygons, _ in scene(index, ring=False):
            if len(polygons) == 1:
                points = ''.join(f'<pt><x>{x}</x><y>{y}</y></pt>' for x, y in polygons[0])
                objects.append(f'<object><name>{name}</name><deleted>0</deleted><polygon>{points}</polygon></object>')
        write_text(root / f'Annotations/{index}.xml', xml_of(index, objects))
