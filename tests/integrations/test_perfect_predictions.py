"""Predictions that equal the annotations score 1.0, whatever form of COCO the file has; others score less."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_masks

pytest.importorskip('mmdet.evaluation')

from m2f_mm.registry import METRICS  # noqa: E402

KINDS = [dict(type='m2f_mm.CocoMetric'), dict(type='m2f_mm.CocoMetric', faster=False)]


def drawn(seed):
    """COCO instances of a kind that ``seed`` draws: the JSON, its class names, and the masks of each annotation."""
    rng = np.random.default_rng(seed)
    start = int(rng.choice([0, 1, -3, 2**40]))
    categories = [
        dict(id=int(key), name=f'class {i}')
        for i, key in enumerate(rng.choice([0, 1, 2, 5, 90, 91, 1 << 20], int(rng.integers(1, 5)), replace=False))
    ]
    text = rng.random() < 0.3  # ids of images
    images, annotations, masks = [], [], []
    for i in range(int(rng.integers(1, 5))):
        height, width = (1, 1) if rng.random() < 0.1 else (int(side) for side in rng.integers(8, 60, 2))
        key = int(rng.choice([0, 10**9, -5])) + i
        images.append(
            dict(
                id=f'image-{key}' if text or seed % 7 == 0 and i else key,
                file_name=f'{i}.png',
                height=height,
                width=width,
            )
        )
        for _ in range(int(rng.integers(0, 5))):
            box_width, box_height = (int(rng.integers(1, side + 1)) for side in (width, height))
            x, y = (
                int(rng.integers(0, side - length + 1)) for side, length in ((width, box_width), (height, box_height))
            )
            mask = np.zeros((height, width), np.uint8)
            mask[y : y + box_height, x : x + box_width] = 1
            crowd = int(rng.random() < 0.15)
            annotation = dict(
                id=start + len(annotations),
                image_id=images[-1]['id'],
                iscrowd=crowd,
                category_id=categories[int(rng.integers(len(categories)))]['id'],
                bbox=[x, y, box_width, box_height],
                area=int(mask.sum()),
                segmentation=segmentation(rng, mask, (x, y, box_width, box_height)),
            )
            for name in ('area', 'iscrowd')[: 2 - crowd]:
                if rng.random() < 0.3:
                    del annotation[name]
            if 'area' in annotation and rng.random() < 0.2:
                annotation['area'] = float(rng.choice([0, -1, 1e12]))
            annotations.append(annotation)
            masks.append(mask.astype(bool))
    order = rng.permutation(len(annotations))
    content = dict(images=images, annotations=[annotations[i] for i in order], categories=categories)
    return content, [masks[i] for i in order]


def segmentation(rng, mask, box):
    x, y, width, height = box
    form = rng.integers(4)
    if form < 2 and min(width, height) > 1:
        half = width // 2
        parts = [(x, half), (x + half, width - half)] if form else [(x, width)]
        return [[a, y, a + w, y, a + w, y + height, a, y + height] for a, w in parts]
    rle = coco_masks.encode(np.asfortranarray(mask))
    if form == 2:
        return dict(rle, counts=rle['counts'].decode())
    values = np.concatenate(([0], mask.T.ravel().astype(int), [-1]))
    return dict(size=list(mask.shape), counts=np.diff(np.flatnonzero(np.diff(values)), prepend=0).tolist())


def samples(content, masks, change=lambda result: result):
    """Data samples whose predictions are the objects, crowds left out."""
    labels = {category['id']: label for label, category in enumerate(content['categories'])}
    for image in content['images']:
        mine = [
            (each, mask)
            for each, mask in zip(content['annotations'], masks)
            if each['image_id'] == image['id'] and not each.get('iscrowd')
        ]
        size = image['height'], image['width']
        boxes = np.array([each['bbox'] for each, _ in mine], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        result = dict(
            labels=torch.tensor([labels[each['category_id']] for each, _ in mine], dtype=torch.long),
            scores=torch.ones(len(mine)),
            bboxes=torch.from_numpy(boxes),
            masks=torch.from_numpy(np.array([mask for _, mask in mine], bool).reshape(-1, *size)),
        )
        yield dict(img_id=image['id'], ori_shape=size, img_path=image['file_name'], pred_instances=change(result))


def build(folder, content, options=KINDS[0], **more):
    path = folder / 'instances.json'
    path.write_text(json.dumps(content))
    metric = METRICS.build(dict(options, ann_file=str(path), metric=['bbox', 'segm'], **more))
    metric.dataset_meta = dict(classes=tuple(category['name'] for category in content['categories']))
    return metric


def score(folder, content, masks, change=lambda result: result, options=KINDS[0]):
    metric = build(folder, content, options)
    for sample in samples(content, masks, change):
        metric.process({}, [sample])
    return metric.evaluate(len(content['images']))


@pytest.mark.parametrize('options', KINDS, ids=['faster', 'pycocotools'])
@pytest.mark.parametrize('seed', range(12))
def test_the_annotations_score_one(seed, options, tmp_path):
    content, masks = drawn(seed)
    any_object = any(not each.get('iscrowd') for each in content['annotations'])
    result = score(tmp_path, content, masks, options=options)
    assert result['coco/segm_mAP'] == result['coco/bbox_mAP'] == (1 if any_object else -1)
    if any_object:
        missed = score(
            tmp_path, content, masks, lambda result: {key: value[1:] for key, value in result.items()}, options=options
        )
        assert missed['coco/segm_mAP'] < 1 and missed['coco/bbox_mAP'] < 1


def small(change=None):
    """Two images of 12 x 20 with an object of each of two classes."""
    mask = np.zeros((2, 12, 20), bool)
    mask[0, 1:5, 2:9], mask[1, 6:11, 3:18] = True, True
    content = dict(
        images=[dict(id=i, file_name=f'{i}.png', height=12, width=20) for i in (1, 2)],
        categories=[dict(id=1, name='disc'), dict(id=2, name='square')],
        annotations=[],
    )
    for i in (1, 2):
        for k, box in enumerate(([2, 1, 7, 4], [3, 6, 15, 5])):
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    image_id=i,
                    category_id=k + 1,
                    iscrowd=0,
                    area=box[2] * box[3],
                    bbox=box,
                    segmentation=segmentation(np.random.default_rng(1), mask[k], box),
                )
            )
    if change:
        change(content)
    return content, list(mask) * 2


def test_a_shifted_mask_scores_less(tmp_path):
    def shifted(result):
        return dict(result, masks=result['masks'].roll(1, -1))

    assert 0 < score(tmp_path, *small(), shifted)['coco/segm_mAP'] < 1


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c['annotations'][1].update(id=1), r'instances.json: .* both have the id 1'),
        (
            lambda c: c['annotations'][1].update(segmentation=[1, 2, 3, 4, 5, 6]),
            'annotation 2 of image 1: .* flat list',
        ),
        (
            lambda c: c['annotations'][1].update(segmentation=[[float('nan'), 2, 3, 4, 5, 6]]),
            'annotation 2 .* not finite',
        ),
        (
            lambda c: c['annotations'][1].update(segmentation=dict(size=[20, 12], counts=[240])),
            'annotation 2 .* swapped',
        ),
        (lambda c: c['categories'][1].update(name='Square'), "no category 'square'.*'disc', 'Square'"),
        (lambda c: c['images'][1].update(id=1), 'both have the id 1'),
        (lambda c: c['categories'].reverse(), "the file's order is 'square', 'disc'"),
    ],
    ids=['id twice', 'flat', 'nan', 'rle', 'name', 'image id', 'order'],
)
def test_broken_annotations_are_refused(change, message, tmp_path):
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(small(change)[0]))
    with pytest.raises(ValueError, match=message):
        METRICS.build(dict(type='m2f_mm.CocoMetric', ann_file=str(path), metric='segm')).dataset_meta = dict(
            classes=('disc', 'square')
        )


@pytest.mark.smoke
@pytest.mark.parametrize('metric', ['bbox', 'segm'])
def test_swapped_sizes_are_named(metric, tmp_path):
    def swap(content):
        for image in content['images']:
            image.update(height=20, width=12)
        for each in content['annotations']:  # polygons say no size
            each['segmentation'] = [[2, 1, 5, 1, 5, 4, 2, 4]]
            each['bbox'] = [2, 1, 3, 3]

    (tmp_path / 'swapped.json').write_text(json.dumps(small(swap)[0]))
    built = METRICS.build(dict(type='m2f_mm.CocoMetric', ann_file=str(tmp_path / 'swapped.json'), metric=metric))
    built.dataset_meta = dict(classes=('disc', 'square'))
    with pytest.raises(ValueError, match=r'1 \(1.png\) has 12x20 pixels .*, but .*swapped.json says 20x12.*swapped'):
        built.process({}, list(samples(*small())))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(img_id=7), 'image 7 .* is not in .*instances.json'),
        (dict(img_path='data/2.png'), r'image 1 \(data/2.png\) is 1.png in'),
        (dict(scores=torch.tensor([float('nan'), 1])), 'scores of the prediction are not finite'),
        (dict(labels=torch.tensor([0, 2])), 'predicts the label 2, but there are 2 classes'),
        (dict(masks=torch.zeros(2, 6, 10, dtype=torch.bool)), r'predicted masks have the sizes \[\(6, 10\)\]'),
    ],
)
def test_results_that_are_not_of_the_file_are_refused(change, message, tmp_path):
    sample = next(samples(*small()))
    for key, value in change.items():
        (sample if key in sample else sample['pred_instances'])[key] = value
    with pytest.raises(ValueError, match=message):
        build(tmp_path, small()[0]).process({}, [sample])


def test_an_image_that_was_predicted_twice_is_named(tmp_path):
    metric = build(tmp_path, small()[0])
    metric.process({}, [*samples(*small()), next(samples(*small()))])
    with pytest.raises(ValueError, match='1 of 2 images were predicted more than once: 1;'):
        metric.evaluate(3)


def test_padding_of_the_sampler_is_cut_off(tmp_path):
    metric = build(tmp_path, small()[0])
    metric.process({}, [*samples(*small()), next(samples(*small()))])
    assert metric.evaluate(2)['coco/segm_mAP'] == 1


def test_no_result_at_all_scores_zero(tmp_path):
    result = score(tmp_path, *small(), lambda result: {key: value[:0] for key, value in result.items()})
    assert result['coco/segm_mAP'] == result['coco/bbox_mAP'] == 0


def test_result_files_are_whole_and_have_the_own_ids(tmp_path):
    metric = build(
        tmp_path,
        *small(
            lambda c: (
                [each.update(id=f'n{each["id"]}') for each in c['images']]
                + [each.update(image_id=f'n{each["image_id"]}') for each in c['annotations']]
            )
        )[:1],
        outfile_prefix=str(tmp_path / 'out' / 'run'),
    )
    content, masks = small()
    for image, sample in zip(('n1', 'n2'), samples(content, masks)):
        metric.process({}, [dict(sample, img_id=image)])
    assert metric.evaluate(2)['coco/segm_mAP'] == 1
    assert {each['image_id'] for each in json.loads((tmp_path / 'out/run.segm.json').read_text())} == {'n1', 'n2'}
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['run.bbox.json', 'run.segm.json']


def test_results_do_not_replace_the_annotations(tmp_path):
    (tmp_path / 'a.segm.json').write_text(json.dumps(small()[0]))
    (tmp_path / 'link').symlink_to(tmp_path)
    for prefix in (tmp_path / 'a', tmp_path / 'link' / 'a'):
        with pytest.raises(ValueError, match='outfile_prefix would write .*a.segm.json, which is'):
            METRICS.build(
                dict(type='m2f_mm.CocoMetric', ann_file=str(tmp_path / 'a.segm.json'), outfile_prefix=str(prefix))
            )


class Items(list):
    def get_data_info(self, index):
        return dict(self[index])


def test_images_of_the_data_set_are_compared_before_they_are_predicted(tmp_path):
    metric = build(tmp_path, small()[0])
    items = [dict(img_id=i, img_path=f'{i}.png', height=12, width=20) for i in (1, 2)]
    metric.check_dataset(Items(items))
    with pytest.raises(ValueError, match=r'1 of 2 images of the data set are not in .*instances.json, such as 3'):
        metric.check_dataset(Items([items[0], dict(items[1], img_id=3)]))
    with pytest.raises(ValueError, match=r'2 \(2.png\): 12x20 and 20x12 pixels'):
        metric.check_dataset(Items([items[0], dict(items[1], height=20, width=12)]))
