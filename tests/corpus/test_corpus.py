"""Hundreds of broken or unusual data sets: each is read right or refused, alike by check_dataset and by training.

``broken_data.py`` makes them.
A case that is refused must name the file and the cause, never end in the words of Python or a
library; one that is right must have all its objects; what is left out must be said.
"""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from m2f_mm.apis.check_dataset import check_dataset
from m2f_mm.datasets.faults import collected_faults, raise_faults, summary
from m2f_mm.datasets.inspection import dataset_faults
from tests.helpers import broken_data

DATASET = dict(
    instance=dict(type='CocoDataset', data_prefix=dict(img=''), filter_cfg=dict(filter_empty_gt=True)),
    panoptic=dict(type='m2f_mm.PanopticDataset', data_prefix=dict(img='', seg='seg')),
    semantic=dict(type='BaseSegDataset', data_prefix=dict(img_path='img_dir', seg_map_path='ann_dir')),
    video=dict(type='m2f_mm.VideoInstanceDataset', data_prefix=dict(img_path='')),
)
PIPELINE = dict(
    instance=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
        dict(type='PackDetInputs'),
    ],
    panoptic=[
        dict(type='m2f_mm.LoadImage'),
        dict(type='m2f_mm.LoadPanopticSegments'),
        dict(type='m2f_mm.PackPanopticInputs'),
    ],
    semantic=[dict(type='m2f_mm.LoadImage'), dict(type='m2f_mm.LoadLabelMap'), dict(type='PackSegInputs')],
    video=[
        dict(
            type='TransformBroadcaster',
            transforms=[dict(type='m2f_mm.LoadImage'), dict(type='LoadTrackAnnotations', with_mask=True)],
        ),
        dict(type='m2f_mm.PackClipInputs'),
    ],
)


def dataset_of(case, data, root):
    """The config of a case's data set."""
    scope = 'mmseg' if data.task == 'semantic' else 'mmdet'
    pytest.importorskip(scope)
    json = {} if data.task == 'semantic' else dict(ann_file='annotations.json')
    return dict(
        DATASET[data.task],
        data_root=str(root),
        metainfo=data.metainfo,
        pipeline=PIPELINE[data.task],
        serialize_data=False,
        **json,
    )


def objects_of(sample, task):
    """How many objects a head would be trained on."""
    if task == 'instance':
        return len(sample.gt_instances)
    if task == 'panoptic':
        return len(sample.gt_segments)
    if task == 'semantic':
        labels = sample.gt_sem_seg.data.unique()
        return int((labels != 255).sum())
    return len({key for frame in sample.video_data_samples for key in frame.gt_instances.instances_ids.tolist()})


def items_of(dataset, task):
    if task != 'video':
        return [dataset[index] for index in range(len(dataset))]
    samples = []
    for index in range(len(dataset)):
        item = dataset.get_data_info(index)
        frames = [
            dict(frame, video_id=item['video_id'], video_length=3, ori_video_length=3) for frame in item['images']
        ]
        samples.append(dataset.pipeline({key: [frame[key] for frame in frames] for key in frames[0]}))
    return samples


def train(cfg, task):
    """What training does up to the targets of every item: the data set, its checks before the first iteration, loading.
    Returns the number of objects and the lines about what is left out."""
    scope = 'mmseg' if task == 'semantic' else 'mmdet'
    if scope == 'mmdet':
        from m2f_mm.integrations.mmdet_datasets import check_stock_types

        check_stock_types()
    with DefaultScope.overwrite_default_scope(scope), collected_faults() as notes:
        dataset = DATASETS.build(cfg)
        raise_faults(dataset_faults(dataset, everything=False))
        items = items_of(dataset, task)
    return sum(objects_of(item['data_samples'], task) for item in items), summary(notes)


def check_text(case, text):
    parts = [*case.words, *([case.file] if case.file else [])]
    missing = [word for word in parts if word not in text]
    assert not missing, f'{missing} are missing in: {text}'
    for bare in ('KeyError', 'TypeError', 'IndexError', 'RuntimeError', 'AttributeError', 'AssertionError'):
        assert bare not in text, text


@pytest.mark.parametrize('case', broken_data.all_cases(), ids=lambda case: case.name)
def test_case(case, tmp_path: Path):
    data = case.make()
    case.change(data)
    data.write(tmp_path)
    cfg = dataset_of(case, data, tmp_path)
    try:
        objects, notes = train(cfg, data.task)
    except (ValueError, FileNotFoundError) as error:
        assert case.outcome == broken_data.REFUSED, f'refused: {error}'
        check_text(case, str(error))
    else:
        assert case.outcome != broken_data.REFUSED, f'{objects} objects are trained on'
        assert case.objects is None or objects == case.objects
        if case.outcome == broken_data.DROPPED:
            check_text(case, '\n'.join(notes))
    scope = 'mmseg' if data.task == 'semantic' else 'mmdet'
    count, faults = check_dataset(
        Config(dict(default_scope=scope, train_dataloader=dict(dataset=cfg))), 'train', 0, progress=False
    )
    fatal = [fault for fault in faults if fault.fatal]
    assert bool(fatal) == (case.outcome == broken_data.REFUSED), summary(faults)
    if fatal:
        check_text(case, '\n'.join(summary(fatal)))
    elif case.outcome == broken_data.DROPPED:
        check_text(case, '\n'.join(summary(faults)))
