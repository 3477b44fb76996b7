from types import SimpleNamespace

from mmengine.config import ConfigDict

from m2f_mm.datasets.pipelines import iter_transforms, placed_transforms, split_pipeline, type_name
from m2f_mm.datasets.wrappers import inner_datasets, iter_datasets

LEAVES = dict(
    type='RepeatDataset',
    dataset=dict(type='ConcatDataset', datasets=[dict(type='a'), dict(type='Mix', dataset=dict(type='b'))]),
)
PLACES = ['d.dataset.datasets[0]', 'd.dataset.datasets[1].dataset']


def built(cfg):
    """The same nesting as objects."""
    inner = {key: cfg[key] for key in ('dataset', 'datasets') if key in cfg}
    inner = {
        key: [built(each) for each in value] if isinstance(value, list) else built(value)
        for key, value in inner.items()
    }
    return SimpleNamespace(name=cfg['type'], **inner)


def test_configs_and_built_data_sets_are_looked_through_alike():
    for cfg in (LEAVES, ConfigDict(LEAVES)):
        assert [(part['type'], place) for part, place in iter_datasets(cfg, 'd')] == list(zip('ab', PLACES))
    assert [(part.name, place) for part, place in iter_datasets(built(LEAVES), 'd')] == list(zip('ab', PLACES))


def test_wrappers_come_before_what_they_wrap():
    names = ['RepeatDataset', 'ConcatDataset', 'a', 'Mix', 'b']
    assert [part['type'] for part, _ in iter_datasets(LEAVES, wrappers=True)] == names
    assert [part.name for part, _ in iter_datasets(built(LEAVES), wrappers=True)] == names


def test_a_data_set_that_is_no_wrapper_stands_for_itself():
    assert list(iter_datasets(dict(type='a'), 'here')) == [(dict(type='a'), 'here')]
    assert inner_datasets(dict(type='a', dataset='coco')) == []  # an option of its own


FRAME = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.Resize'),
    dict(type='mmdet.LoadTrackAnnotations'),
]
CLIP = [
    dict(type='UniformRefFrameSample'),
    dict(type='TransformBroadcaster', transforms=FRAME),
    dict(type='m2f_mm.PackClipInputs'),
]
IMAGE = [*FRAME, dict(type=dict), dict(type='mmdet.PackDetInputs')]


def test_parts_of_a_pipeline():
    parts = split_pipeline(IMAGE)
    assert [type_name(step) for step in parts.load] == ['LoadImageFromFile', 'LoadTrackAnnotations']
    assert [type_name(step) for step in parts.transform] == ['Resize', 'dict']
    assert [type_name(step) for step in parts.pack] == ['PackDetInputs']
    of_clip = split_pipeline(CLIP)  # what is done with each frame
    assert of_clip.transform == [FRAME[1]] and of_clip.pack == []


def test_steps_inside_of_steps():
    pipeline = [dict(type='RandomChoice', transforms=[[dict(type='A')], [dict(type='B'), dict(type='C')]])]
    assert [type_name(step) for step in iter_transforms(pipeline)] == ['RandomChoice', 'A', 'B', 'C']
    step = SimpleNamespace(transforms=SimpleNamespace(transforms=[1.0]))  # a Compose inside
    assert list(placed_transforms([step], 'p')) == [
        (step, 'p[0] (SimpleNamespace)'),
        (1.0, 'p[0] (SimpleNamespace)[0] (float)'),
    ]
