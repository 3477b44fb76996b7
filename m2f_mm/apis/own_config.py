"""The text of a config for own data: it inherits ours and says what differs."""

import os
import pprint
from typing import TYPE_CHECKING

from m2f_mm.datasets.formats import OwnData, TrainingForm

if TYPE_CHECKING:
    from .own_data import TrainingPlan

METRICS = dict(panoptic='coco_panoptic/PQ', instance='coco/segm_mAP', semantic='mIoU', boxes='coco/bbox_mAP')
SMALL = 'lite0'  # a small network on a backbone whose ImageNet weights come as a package
SMALL_MODELS = dict(
    panoptic='mask2former_lite0_small',
    instance='mask2former_lite0_small',
    semantic='mask2former_lite0_small_mmseg',
    boxes='mask_dino_lite0_small',
)
CONFIG = """\
# Written by `m2f train` for {folder}: {format}, {task}.
# It is a config like any other: change it, and train by `m2f train THIS_FILE` or tools/train.py.
_base_ = [
{bases}
]

metainfo = {metainfo}
size = ({size}, {size})  # {why_size}

{pipelines}

{loaders}

{evaluators}

model = dict(
    {backbone}{head}=dict(metainfo=dict({delete}**metainfo), num_queries={num_queries}),
    {model_options},
)
load_from = {load_from!r}

max_iters = {max_iters}  # {why_max_iters}
optim_wrapper = dict(
    optimizer=dict(lr={lr!r}),  # {why_lr}
    paramwise_cfg=dict(backbone_lr_mult={backbone_lr_mult!r}),
    clip_grad=dict(max_norm={max_norm}),
    accumulative_counts={accumulate},
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end={warmup}, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False),
]
train_cfg = dict({delete}type='IterBasedTrainLoop', max_iters=max_iters, val_interval={val_interval})
auto_scale_lr = dict(enable=False, base_batch_size={images_a_step})
randomness = dict(seed={seed})
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval={val_interval}, max_keep_ckpts=1, save_best={metric!r}, rule='greater'),
)
custom_hooks = [
    dict(type='m2f_mm.ClassCountHook'),
    dict(type='EMAHook', momentum={momentum}),  # the mean of the weights is validated and saved as the best
    dict(type='EarlyStoppingHook', monitor={metric!r}, rule='greater', min_delta=0.001, patience=4),
]
"""
LOADER = """\
{split}_dataloader = dict(
    {delete}batch_size={batch_size},
    num_workers={workers},
    persistent_workers={persistent},
    sampler=dict(type='{sampler}', shuffle={shuffle}),
    dataset=dict(
{dataset}
        metainfo=metainfo,
        pipeline={pipeline},
    ),
)"""
JITTER = "dict(type='m2f_mm.LargeScaleJitter', scale=size, crop_size=size, ratio_range=(0.5, 1.5))"
META = "('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'{more})"


def training_config(plan: 'TrainingPlan', data: OwnData, form: TrainingForm) -> str:
    """The text of a config.

    Args:
        plan: of ``own_data.plan_training``.
        data: that is trained on.
        form: its files.
    """
    small, semantic = plan.model == SMALL, plan.task == 'semantic'
    return CONFIG.format(
        folder=data.folder,
        format=data.format,
        bases='\n'.join(f'    {base},' for base in _bases(plan)),
        metainfo=_dict(form.metainfo),
        pipelines=_pipelines(plan.task, form.ignore_index),
        loaders='\n'.join(_loader(plan, form, split) for split in ('train', 'val', 'test')),
        evaluators='\n'.join(_evaluator(plan.task, form, split) for split in ('val', 'test')),
        head='decode_head' if semantic else 'panoptic_head',
        # The early stages of a CPU's backbone keep their ImageNet weights: a third of a step would go to them.
        backbone='backbone=dict(frozen_stages=2),\n    ' if small else '',
        model_options=_model_options(plan.task),
        delete='' if small else '_delete_=True, ',  # what the base has
        max_norm=1.0 if small else 0.01,
        warmup=max(1, min(100, plan.max_iters // 10)),
        momentum=min(0.1, round(25 / plan.max_iters, 5)),  # a mean of the last 4 % of the steps
        images_a_step=plan.batch_size * plan.accumulate,
        metric=METRICS[plan.task],
        **{f'why_{name}': plan.reasons[name] for name in ('size', 'max_iters', 'lr')},
        **{name: value for name, value in vars(plan).items() if name not in ('model', 'reasons')},
    )


def _bases(plan: 'TrainingPlan') -> list[str]:
    """Python that gives the paths of the configs that are inherited."""
    if plan.model == SMALL:
        runtime = 'mmseg_runtime' if plan.task == 'semantic' else 'default_runtime'
        parts = (f'models/{SMALL_MODELS[plan.task]}', 'datasets/loaders', 'schedules/mask2former_adamw', runtime)
        return [f"__import__('m2f_mm').config_path('_base_/{part}.py')" for part in parts]
    path = os.path.abspath(plan.model)
    _, shipped, name = path.partition('/.mim/configs/')
    return [f"__import__('m2f_mm').config_path({name!r})" if shipped else repr(path)]


def _dict(content: dict) -> str:
    """A dict as ``dict(...)``, a line for each entry."""
    rows = [f'    {key}={pprint.pformat(value, width=110, compact=True)},' for key, value in content.items()]
    return '\n'.join(['dict(', *(row.replace('\n', '\n    ') for row in rows), ')'])


def _model_options(task: str) -> str:
    if task == 'semantic':
        return 'data_preprocessor=dict(size=size)'
    asked = 'instance' if task == 'boxes' else task
    switches = ', '.join(f'{each}_on={each == asked}' for each in ('panoptic', 'instance', 'semantic'))
    return f'test_cfg=dict({switches}{", instance_masks=None" if task == "boxes" else ""})'


def _pipelines(task: str, ignore_index: int) -> str:
    if task == 'semantic':
        load, pack, pack_test = ("dict(type='m2f_mm.LoadLabelMap')", *["dict(type='PackSegInputs')"] * 2)
        augment = [
            "dict(type='m2f_mm.ResizeScale', scale=size, ratio_range=(0.5, 1.5))",
            "dict(type='RandomCrop', crop_size=size, cat_max_ratio=1.0)",
            "dict(type='m2f_mm.ColorAugSSD')",
            "dict(type='RandomFlip', prob=0.5)",
            f"dict(type='Pad', size=size, pad_val=dict(img=128, seg={ignore_index}))",
        ]
    else:
        augment = ["dict(type='RandomFlip', prob=0.5)", JITTER]
        if task == 'panoptic':
            load, packing, more = (
                "dict(type='m2f_mm.LoadPanopticSegments')",
                'm2f_mm.PackPanopticInputs',
                "'panoptic_ids'",
            )
        else:
            masks = task == 'instance'
            load = f"dict(type='m2f_mm.LoadAnnotations', with_bbox=True, with_mask={masks})"
            packing, more = 'PackDetInputs', ''
        pack = f"dict(type='{packing}')"
        pack_test = f"dict(type='{packing}', meta_keys={META.format(more=more and f', {more}')})"
    train = ["dict(type='m2f_mm.LoadImage')", load, *augment, pack]
    resize = "dict(type='Resize', scale=size, keep_ratio=True, backend='pillow')"
    test = ["dict(type='LoadImageFromFile')", resize, load, pack_test]
    return '\n'.join(
        f'{name}_pipeline = [\n' + ''.join(f'    {step},\n' for step in steps) + ']'
        for name, steps in (('train', train), ('test', test))
    )


def _loader(plan: 'TrainingPlan', form: TrainingForm, split: str) -> str:
    if split not in form.splits:
        return f'{split}_dataloader = val_dataloader'
    trains = split == 'train'
    dataset = form.dataset(split)
    del dataset['metainfo']
    if trains and plan.task in ('instance', 'boxes'):
        dataset['filter_cfg'] = dict(filter_empty_gt=False)  # an image without objects teaches, too
    workers = plan.workers if trains else min(plan.workers, 1)
    return LOADER.format(
        split=split,
        delete='' if plan.model == SMALL else '_delete_=True,\n    ',
        batch_size=plan.batch_size if trains else 1,
        workers=workers,
        persistent=workers > 0,
        sampler='InfiniteSampler' if trains else 'DefaultSampler',
        shuffle=trains,
        dataset='\n'.join(f'        {key}={value!r},' for key, value in dataset.items()),
        pipeline='train_pipeline' if trains else 'test_pipeline',
    )


def _evaluator(task: str, form: TrainingForm, split: str) -> str:
    if split not in form.splits:
        return f'{split}_evaluator = val_evaluator'
    files = form.splits[split]
    if task == 'semantic':
        options = "type='m2f_mm.IoUMetric', iou_metrics=['mIoU']"
    elif task == 'panoptic':
        options = f"""type='m2f_mm.PanopticMetric',
        ann_file={files.ann_file!r},
        seg_prefix={files.seg_prefix!r},
        classwise=True"""
    else:
        kind = 'segm' if task == 'instance' else 'bbox'
        options = f"""type='m2f_mm.CocoMetric',
        ann_file={files.ann_file!r},
        metric=['{kind}'],
        classwise=True"""
    return f"""{split}_evaluator = [
    dict(
        {options},
    )
]"""
