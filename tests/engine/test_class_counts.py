"""A model and data that disagree on the number of classes are refused before anything is trained."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS

from m2f_mm.engine import ClassCountHook, check_class_counts

THINGS, STUFF = ('cat', 'dog'), ('sky',)
PANOPTIC = dict(classes=THINGS + STUFF, thing_classes=THINGS, stuff_classes=STUFF)
SEMANTIC = dict(classes=THINGS + STUFF)


@DATASETS.register_module(force=True)
class CountedData(BaseDataset):
    METAINFO = PANOPTIC

    def load_data_list(self):
        return [dict()]


def panoptic(things: int, stuff: int) -> dict:
    return dict(panoptic_head=dict(num_things_classes=things, num_stuff_classes=stuff))


def config(model: dict, dataset: dict) -> Config:
    return Config(dict(model=model, train_dataloader=dict(dataset=dataset), val_dataloader=None))


def data(**options) -> dict:
    return dict(type='CountedData', **options)


@pytest.mark.parametrize(
    'model, dataset',
    [
        (panoptic(2, 1), data()),
        (panoptic(2, 0), data(metainfo=dict(classes=THINGS, thing_classes=None, stuff_classes=None))),
        (panoptic(0, 3), data(metainfo=dict(SEMANTIC, thing_classes=None))),
        (dict(decode_head=dict(num_classes=3)), data()),
        (dict(decode_head=[dict(num_classes=3), dict(num_classes=3)]), data()),
        (dict(decode_head=dict()), data()),
        (dict(module=dict(decode_head=dict(num_classes=3))), data()),
        (dict(decode_head=dict(num_classes=4)), data(metainfo=dict(classes='names.txt'))),
        (dict(decode_head=dict(num_classes=4)), dict(type='NoSuchData')),
    ],
)
def test_agreement_passes(model, dataset):
    check_class_counts(config(model, dataset))


@pytest.mark.smoke
@pytest.mark.parametrize(
    'model, dataset, message',
    [
        (
            panoptic(80, 1),
            data(),
            r'model\.panoptic_head\.num_things_classes is 80, but train_dataloader\.dataset .* lists 2 thing_c',
        ),
        (dict(panoptic_head=dict(num_things_classes=7)), data(), r'num_things_classes is 7, .* lists 2 thing_classes'),
        (panoptic(2, 53), data(), r'num_stuff_classes is 53, .* lists 1 stuff_classes \(sky\)'),
        (panoptic(80, 53), data(metainfo=dict(classes=THINGS, thing_classes=None)), r'is 133, .* lists 2 classes'),
        (panoptic(2, 1), data(metainfo=dict(classes=THINGS)), r'\+ num_stuff_classes is 3, .* 2 classes'),
        (dict(decode_head=dict(num_classes=150)), data(), r'decode_head\.num_classes is 150, .* 3 classes \(cat, dog'),
        (dict(decode_head=[dict(num_classes=3), dict(num_classes=5)]), data(), r'decode_head\[1\]\.num_classes is 5'),
        (dict(module=panoptic(4, 1)), data(), r'model\.module\.panoptic_head\.num_things_classes is 4'),
        (panoptic(5, 1), dict(type='RepeatDataset', times=2, dataset=data()), r'dataset\.dataset \(CountedData\)'),
        (
            panoptic(5, 1),
            dict(type='ConcatDataset', datasets=[data(), data()]),
            r'dataset\.datasets\[1\] \(CountedData\)',
        ),
    ],
)
def test_disagreement_names_both_places(model, dataset, message):
    with pytest.raises(ValueError, match=message):
        check_class_counts(config(model, dataset))


def test_head_that_names_a_metainfo_is_compared():
    head = dict(panoptic_head=dict(metainfo=dict(thing_classes=('a', 'b', 'c'), stuff_classes=('sky',))))
    with pytest.raises(ValueError, match=r'num_things_classes is 3, .* lists 2 thing_classes'):
        check_class_counts(config(head, data()))


def test_only_the_named_parts_are_compared():
    cfg = config(dict(decode_head=dict(num_classes=9)), data())
    check_class_counts(cfg, parts=('test',))
    with pytest.raises(ValueError, match='train_dataloader'):
        check_class_counts(cfg, parts=('train',))


def runner(dataset, model, val=None) -> SimpleNamespace:
    return SimpleNamespace(
        model=model,
        train_dataloader=SimpleNamespace(dataset=dataset),
        val_loop=val,
        val_dataloader=SimpleNamespace(dataset=dataset),
        test_dataloader=SimpleNamespace(dataset=dataset),
    )


@pytest.mark.parametrize(
    'wrap',
    [
        lambda dataset: dataset,
        lambda dataset: RepeatDataset(dataset, 2),
        lambda dataset: ConcatDataset([dataset]),
        lambda dataset: torch.utils.data.Subset(dataset, [0]),
    ],
    ids=['plain', 'repeat', 'concat', 'subset'],
)
@pytest.mark.parametrize('stage', ['train', 'val', 'test'])
def test_hook_stops_each_stage(stage, wrap):
    head = SimpleNamespace(num_things_classes=3, num_stuff_classes=1, num_classes=4)
    model = SimpleNamespace(module=SimpleNamespace(panoptic_head=head))  # as DistributedDataParallel holds it
    before = getattr(ClassCountHook(), f'before_{stage}')
    with pytest.raises(ValueError, match=f'num_things_classes is 3, but {stage}_dataloader.* lists 2 thing_classes'):
        before(runner(wrap(CountedData()), model))
    head.num_things_classes = 2
    before(runner(wrap(CountedData()), model))


def test_hook_checks_validation_data_before_training():
    loader = runner(CountedData(), SimpleNamespace(decode_head=SimpleNamespace(num_classes=3)), val=object())
    loader.val_dataloader = SimpleNamespace(dataset=CountedData(metainfo=dict(classes=THINGS)))
    with pytest.raises(ValueError, match='num_classes is 3, but val_dataloader.dataset'):
        ClassCountHook().before_train(loader)


def test_parts_that_differ_are_looked_into():
    """MMDetection's ConcatDataset of data sets with different metainfo has a list of them."""
    whole = pytest.importorskip('mmdet.datasets').ConcatDataset(
        [CountedData(metainfo=dict(palette=[i])) for i in range(2)]
    )
    assert isinstance(whole.metainfo, list)
    from m2f_mm.engine.class_counts import data_of

    assert [item.classes for item in data_of(whole, 'train')] == [THINGS + STUFF] * 2
