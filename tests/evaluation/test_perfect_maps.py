"""Maps and videos that equal the annotations score full marks; writers stay in their folder."""

import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image

from m2f_mm.datasets.io import inside, refuse_inputs, write_file
from m2f_mm.evaluation import PanopticMetric, SemanticMetric, YouTubeVISMetric

META = dict(classes=('disc', 'ground', 'sky'), thing_classes=('disc',), stuff_classes=('ground', 'sky'))


def drawn(seed):
    """A panoptic JSON and its maps of ids, of a kind that ``seed`` draws."""
    rng = np.random.default_rng(seed)
    keys = [int(key) for key in rng.choice([0, 3, 7, 91, 1 << 20], 3, replace=False)]
    categories = [dict(id=key, name=name, isthing=int(name == 'disc')) for key, name in zip(keys, META['classes'])]
    images, annotations, maps = [], [], []
    for i in range(int(rng.integers(1, 5))):
        height, width = (1, 1) if rng.random() < 0.2 else (int(side) for side in rng.integers(2, 30, 2))
        images.append(dict(id=f'i{i}' if seed % 2 else i, file_name=f'{i}/a.jpg', height=height, width=width))
        ids = np.zeros((height, width), np.int64)
        if rng.random() < 0.15:  # not annotated
            maps.append(ids)
            continue
        for key in rng.choice([1, 255, 256, 65536, (1 << 24) - 1], int(rng.integers(0, 5)), replace=False):
            y, x = int(rng.integers(height)), int(rng.integers(width))
            ids[y : y + int(rng.integers(1, height + 1)), x : x + int(rng.integers(1, width + 1))] = key
        segments, stuff = [], [keys[1], keys[2]]
        for key in np.unique(ids[ids > 0]).tolist():
            category = stuff.pop() if stuff and rng.random() < 0.5 else keys[0]
            segment = dict(id=key, category_id=category, iscrowd=int(rng.random() < 0.2), area=int((ids == key).sum()))
            for name in ('area', 'iscrowd'):
                if rng.random() < 0.3:
                    del segment[name]
            segments.append(segment)
        annotations.append(dict(image_id=images[-1]['id'], file_name=f'{i}.png', segments_info=segments))
        maps.append(ids)
    return dict(images=images, annotations=annotations, categories=categories), maps


def write(folder, content, maps):
    (folder / 'seg').mkdir(exist_ok=True)
    for annotation in content['annotations']:
        if '/' not in annotation['file_name']:
            ids = maps[[image['id'] for image in content['images']].index(annotation['image_id'])]
            Image.fromarray(np.stack((ids % 256, ids // 256 % 256, ids // 65536), -1).astype(np.uint8)).save(
                folder / 'seg' / annotation['file_name']
            )
    (folder / 'p.json').write_text(json.dumps(content))
    return str(folder / 'p.json'), str(folder / 'seg')


def samples(content, maps, missing=0):
    """``missing`` segments of each image are left out."""
    labels = {category['id']: label for label, category in enumerate(content['categories'])}
    segments = {each['image_id']: each['segments_info'] for each in content['annotations']}
    for image, ids in zip(content['images'], maps):
        panoptic_ids, classes = np.full(ids.shape, len(labels)), np.zeros(ids.shape, np.int64)
        for number, segment in enumerate(segments.get(image['id'], ())):
            label = labels[segment['category_id']]
            if not segment.get('iscrowd'):
                panoptic_ids[ids == segment['id']] = len(labels) if number < missing else label + 1000 * number
            classes[ids == segment['id']] = label
        yield dict(
            img_id=image['id'],
            img_path=image['file_name'],
            ori_shape=ids.shape,
            pred_panoptic_seg=dict(sem_seg=torch.from_numpy(panoptic_ids)[None]),
            pred_sem_seg=dict(sem_seg=torch.from_numpy(classes)[None]),
        )


def evaluated(metric, items, count=None):
    metric.dataset_meta = META
    items = list(items)
    for item in items:
        metric.process({}, [item])
    return metric.evaluate(count or len(items))


@pytest.mark.parametrize('seed', range(10))
def test_the_annotations_score_100(seed, tmp_path):
    content, maps = drawn(seed)
    annotations = write(tmp_path, content, maps)
    counted = [
        each for annotation in content['annotations'] for each in annotation['segments_info'] if not each.get('iscrowd')
    ]
    score = evaluated(PanopticMetric(*annotations), samples(content, maps))['coco_panoptic/PQ']
    assert score == 100 if counted else np.isnan(score)
    if any(
        not annotation['segments_info'][0].get('iscrowd')
        for annotation in content['annotations']
        if annotation['segments_info']
    ):
        assert evaluated(PanopticMetric(*annotations), samples(content, maps, missing=1))['coco_panoptic/PQ'] < 100
    segments = [each for annotation in content['annotations'] for each in annotation['segments_info']]
    score = evaluated(SemanticMetric(*annotations), samples(content, maps))['semantic/mIoU']
    assert score == 100 if segments else np.isnan(score)


def small():
    """Two images of one basename in two folders, of which one is annotated."""
    images = [dict(id=i, file_name=f'{name}/a.jpg', height=4, width=6) for i, name in enumerate('xyz', 1)]
    ids = np.ones((4, 6), np.int64)
    ids[:2] = 2
    content = dict(
        images=images,
        categories=[dict(id=i, name=name, isthing=int(i == 0)) for i, name in enumerate(META['classes'])],
        annotations=[
            dict(image_id=1, file_name='1.png', segments_info=[dict(id=1, category_id=0), dict(id=2, category_id=1)])
        ],
    )
    return content, [ids, 0 * ids, 0 * ids]


@pytest.mark.parametrize('kind', [PanopticMetric, SemanticMetric])
def test_swapped_sizes_and_doubles_are_named(kind, tmp_path):
    content, maps = small()
    items = list(samples(content, maps))
    annotations = write(tmp_path, content, maps)
    with pytest.raises(ValueError, match='predicted more than once: 1;'):
        evaluated(kind(*annotations), [*items, items[0]])
    evaluated(kind(*annotations), [*items, items[0]], count=3)  # as the sampler of a distributed run pads
    content['images'][0].update(height=6, width=4)
    annotations = write(tmp_path, content, maps)
    with pytest.raises(ValueError, match=r'image 1 \(x/a.jpg\).* 4x6 pixels .*p.json says 6x4.*swapped'):
        evaluated(kind(*annotations), items)


@pytest.mark.smoke
@pytest.mark.parametrize('name', ['/tmp/x.png', '../x.png', 'a/../../x.png', '..\\x.png', 'C:\\x.png', 'a\0.png'])
@pytest.mark.parametrize('annotated', [True, False])
def test_no_result_lies_outside_of_its_folder(name, annotated, tmp_path):
    content, maps = small()
    content['annotations' if annotated else 'images'][0 if annotated else 1]['file_name'] = name
    (tmp_path / 'p.json').write_text(json.dumps(content))
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(ValueError, match='p.json: .*image'):
        metric = PanopticMetric(str(tmp_path / 'p.json'), outfile_prefix=str(tmp_path / 'out/run'), format_only=True)
        evaluated(metric, samples(content, maps))
    assert sorted(tmp_path.rglob('*')) == before


def test_results_keep_the_folders_of_their_images(tmp_path):
    content, maps = small()
    annotations = write(tmp_path, content, maps)
    evaluated(PanopticMetric(*annotations, outfile_prefix=str(tmp_path / 'run')), samples(content, maps))
    names = [each['file_name'] for each in json.loads((tmp_path / 'run.panoptic.json').read_text())['annotations']]
    assert names == ['1.png', 'y/a.png', 'z/a.png']
    assert all((tmp_path / 'run.panoptic' / name).exists() for name in names)
    content['images'][2]['file_name'] = 'y/a.png'
    with pytest.raises(ValueError, match='images 2 and 3 would have one result, y/a.png'):
        evaluated(
            PanopticMetric(*write(tmp_path, content, maps), outfile_prefix=str(tmp_path / 'other')),
            samples(content, maps),
        )


def test_results_do_not_replace_what_is_read(tmp_path):
    content, maps = small()
    path, folder = write(tmp_path, content, maps)
    (tmp_path / 'run.panoptic').symlink_to(folder)
    (tmp_path / 'hard.panoptic.json').hardlink_to(path)
    for prefix, seg in (('run', folder), ('hard', folder), ('seg/x', folder)):
        with pytest.raises(ValueError, match='outfile_prefix would write .* read as data'):
            PanopticMetric(path, seg, outfile_prefix=str(tmp_path / prefix))
    with pytest.raises(ValueError, match='would write .*y/a.png, which is .*read as data'):  # an image among them
        image = tmp_path / 'free.panoptic' / 'y' / 'a.png'
        image.parent.mkdir(parents=True)
        image.write_bytes(b'photo')
        content['images'][1]['file_name'] = 'y/a.png'
        items = [dict(item, img_path=str(image)) for item in samples(content, maps)]
        evaluated(PanopticMetric(*write(tmp_path, content, maps), outfile_prefix=str(tmp_path / 'free')), items[1:2])
    assert image.read_bytes() == b'photo'


def test_links_lead_nowhere(tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'link').symlink_to(tmp_path)
    with pytest.raises(ValueError, match='record 1: .*leads out of .* by a link'):
        inside(str(tmp_path / 'out'), 'link/x.png', 'record 1')
    (tmp_path / 'precious').write_text('here')
    (tmp_path / 'out' / 'x').symlink_to(tmp_path / 'precious')
    write_file(inside(str(tmp_path / 'out'), 'x', 'record 1'), b'new')
    assert (tmp_path / 'precious').read_text() == 'here' and (tmp_path / 'out' / 'x').read_text() == 'new'


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    for path in (tmp_path / 'file' / 'x', tmp_path / ('n' * 300)):
        with pytest.raises(OSError, match=f'{path.name[:20]}.* cannot be written'):
            write_file(str(path), b'')
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_inputs_are_refused_either_way(tmp_path):
    (tmp_path / 'data' / 'images').mkdir(parents=True)
    refuse_inputs([str(tmp_path / 'data' / 'results')], [str(tmp_path / 'data' / 'images'), None, ''], '--out')
    for output in ('data', 'data/images', 'data/images/x', 'data/../data/images/x.png'):
        with pytest.raises(ValueError, match='--out would write'):
            refuse_inputs([str(tmp_path / output)], [str(tmp_path / 'data' / 'images')], '--out')


class Frame(dict):
    def __getattr__(self, name):
        return self[name]


def clip(number, crowd=False, shift=0):
    """Two frames with two objects, one of which is hidden in the second frame, and predictions that equal them."""
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 2:9, 3:12], masks[1, 11:18, 15:28] = True, True
    frames = []
    for t in range(2):
        shown = [0] if t else [0, 1]
        instances = [
            dict(
                instance_id=key,
                bbox_label=key,
                ignore_flag=crowd and key == 1,
                mask=dict(
                    size=[20, 30],
                    counts=np.diff(
                        np.flatnonzero(np.diff(np.concatenate(([0], masks[key].T.ravel().astype(int), [-1])))),
                        prepend=0,
                    ).tolist(),
                ),
            )
            for key in shown
        ]
        shown_objects = [key for key in shown if not (crowd and key == 1)]
        predicted = InstanceData(
            masks=torch.from_numpy(np.roll(masks[shown_objects], shift, 2)),
            scores=torch.ones(len(shown_objects)),
            labels=torch.tensor(shown_objects),
            instances_id=torch.tensor(shown_objects),
        )
        frames.append(
            Frame(
                video_id=number,
                ori_video_length=2,
                ori_shape=(20, 30),
                instances=instances,
                pred_track_instances=predicted,
            )
        )
    return dict(video_data_samples=frames)


@pytest.mark.parametrize('numbers', [(0, 1), (7, 10**12)])
def test_videos_that_equal_their_annotations(numbers):
    metric = YouTubeVISMetric()
    metric.dataset_meta = dict(classes=('disc', 'square', 'never'))
    metric.process({}, [clip(numbers[0]), clip(numbers[1], crowd=True)])
    assert metric.evaluate(2)['youtube_vis/segm_mAP'] == 1
    metric.process({}, [clip(numbers[0], shift=2), clip(numbers[1], crowd=True)])
    assert metric.evaluate(2)['youtube_vis/segm_mAP'] < 1
    metric.process({}, [clip(numbers[0]), clip(numbers[0])])
    with pytest.raises(ValueError, match=f'predicted more than once: {numbers[0]};'):
        metric.evaluate(2)


class Items(list):
    def get_data_info(self, index):
        return dict(self[index])


@pytest.mark.parametrize('kind', [PanopticMetric, SemanticMetric])
def test_images_of_the_data_set_are_compared_before_they_are_predicted(kind, tmp_path):
    metric = kind(*write(tmp_path, *small()))
    metric.dataset_meta = META
    items = Items(dict(img_id=i, height=4, width=6) for i in (1, 2, 3))
    metric.check_dataset(items)
    with pytest.raises(ValueError, match='1 of 3 images of the data set are not in .*p.json, such as 4'):
        metric.check_dataset(Items([*items[:2], dict(items[2], img_id=4)]))
