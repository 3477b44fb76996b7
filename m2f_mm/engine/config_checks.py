"""Values that a config says in two places, and that disagree: usually one was changed and the other inherited.

Nothing here stops a run; each warning names both values, their places, and what to change.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from m2f_mm.datasets.pipelines import iter_transforms, type_name
from m2f_mm.datasets.wrappers import iter_datasets

# What MMEngine's runner or our tools read themselves. All else at the top of a config is there to be read by it.
READ = frozenset(
    'model work_dir train_dataloader val_dataloader test_dataloader train_cfg val_cfg test_cfg auto_scale_lr '
    'optim_wrapper param_scheduler val_evaluator test_evaluator default_hooks custom_hooks data_preprocessor load_from '
    'resume launcher env_cfg log_processor log_level visualizer default_scope randomness experiment_name '
    'model_wrapper_cfg runner_type custom_imports tta_model tta_pipeline activation_checkpointing '
    'efficient_conv_bn_eval compile find_unused_parameters strategy'.split()
)
ENDLESS = 10**9  # MMEngine's default end of a scheduler


def training_warnings(cfg: Config, world_size: int = 1, options: Mapping[str, Any] | None = None) -> list[str]:
    """Of everything that a training reads.

    Args:
        cfg: with all arguments applied.
        world_size: processes of the job.
        options: what ``--cfg-options`` said.
    """
    return [
        *schedule_warnings(cfg),
        *batch_warnings(cfg, world_size),
        *size_warnings(cfg),
        *unread_warnings(cfg, options or {}),
        *palette_warnings(cfg),
    ]


def schedule_warnings(cfg: Config) -> Iterator[str]:
    """Length of the training against that of its schedule."""
    train = cfg.get('train_cfg') or {}
    by_epoch = bool(train.get('by_epoch')) or 'Epoch' in type_name(train)
    key = 'max_epochs' if by_epoch else 'max_iters'
    length = train.get(key)
    if not isinstance(length, int):
        return
    here = f'train_cfg.{key} is {length}'
    ends = {}
    for place, scheduler in _schedulers(cfg.get('param_scheduler')):
        if scheduler.get('by_epoch', True) is not by_epoch:
            if not by_epoch:
                yield (
                    f'{place}.by_epoch is True, but the training counts iterations: the scheduler never takes a '
                    'step. Set by_epoch=False, with begin, end and milestones in iterations'
                )
            continue
        begin, end = scheduler.get('begin', 0), scheduler.get('end', ENDLESS)
        if end < ENDLESS:
            ends[place] = end
        if begin >= length:
            yield f'{here}, but {place} ({type_name(scheduler)}) begins at {begin}: it never does'
        late = [step for step in scheduler.get('milestones', ()) if step >= length]
        if late:
            yield (
                f'{here}, but {place}.milestones has {", ".join(map(str, late))}: the learning rate does not fall '
                'there. Give milestones within the training'
            )
    if ends and max(ends.values()) != length:
        place = max(ends, key=ends.get)
        what = 'does not come to its end' if ends[place] > length else 'stays as it is from there on'
        yield f'{here}, but {place}.end is {ends[place]}: the learning rate {what}. Set {place}.end={length}'
    interval = train.get('val_interval', 1)
    if cfg.get('val_dataloader') and interval > length:
        yield f'{here}, but train_cfg.val_interval is {interval}: there is one validation, at the end'
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if checkpoint.get('by_epoch', True) is by_epoch and checkpoint.get('interval', 1) > length:
        saved = 'is one checkpoint, at the end' if checkpoint.get('save_last', True) else 'are no checkpoints'
        yield f'{here}, but default_hooks.checkpoint.interval is {checkpoint.interval}: there {saved}'
    sampler = (cfg.get('train_dataloader') or {}).get('sampler') or {}
    if by_epoch and type_name(sampler) == 'InfiniteSampler':
        yield (
            f'train_cfg counts epochs ({type_name(train)}), but train_dataloader.sampler is InfiniteSampler: an epoch '
            "has no end. Set sampler=dict(type='DefaultSampler', shuffle=True)"
        )
    if not by_epoch and checkpoint.get('by_epoch', True) and checkpoint:
        yield (
            f'train_cfg counts iterations ({type_name(train)}), but default_hooks.checkpoint.by_epoch is True: '
            'there is one checkpoint, at the end. Set by_epoch=False'
        )


def batch_warnings(cfg: Config, world_size: int) -> Iterator[str]:
    """Images of an optimizer's step against those that the learning rate is meant for."""
    scale = cfg.get('auto_scale_lr') or {}
    batch = (cfg.get('train_dataloader') or {}).get('batch_size')
    if not scale.get('base_batch_size') or scale.get('enable') or not isinstance(batch, int):
        return
    steps = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    images = batch * world_size * steps
    if images != scale['base_batch_size']:
        yield (
            f'a step has {images} images (train_dataloader.batch_size={batch}, processes: {world_size}, '
            f'accumulative_counts={steps}), but the learning rate is meant for '
            f'auto_scale_lr.base_batch_size={scale["base_batch_size"]}. --auto-scale-lr scales it; if it is meant '
            f'for {images}, set base_batch_size={images}'
        )


def size_warnings(cfg: Config) -> Iterator[str]:
    """Size of the training images in the pipeline against that of the batch and of the sliding window."""
    if not cfg.get('train_dataloader'):
        return
    of_transforms = {
        f'{type_name(step)}.{key}': tuple(step[key])
        for pipeline in _pipelines(cfg.train_dataloader.get('dataset'))
        for step in iter_transforms(pipeline)
        for key in ('crop_size', 'size', 'image_size')
        if type_name(step) in ('RandomCrop', 'Pad', 'LargeScaleJitter', 'FixedSizeCrop')
        and isinstance(step.get(key), list | tuple)
        and step.get('crop_type', 'absolute') == 'absolute'
    }
    model = cfg.get('model') or {}
    processor = model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    batched = {}
    if isinstance(processor.get('size'), list | tuple):
        batched['data_preprocessor.size'] = tuple(processor['size'])
    for augment in processor.get('batch_augments') or ():
        if type_name(augment) == 'BatchFixedSizePad':
            batched['data_preprocessor.batch_augments.size'] = tuple(augment['size'])
    sizes = {**{f'train pipeline: {name}': size for name, size in of_transforms.items()}, **batched}
    if len(set(sizes.values())) > 1:
        listed = ', '.join(f'{place}={size}' for place, size in sizes.items())
        yield f'sizes of the training images differ: {listed}. Give all of them the same, unless it is meant'


def palette_warnings(cfg: Config) -> Iterator[str]:
    """Colors against classes, and against the base, whose colors are for its own classes."""
    base = inherited(cfg)
    for part in ('train', 'val', 'test'):
        for place, meta, old in _metainfos(cfg.get(f'{part}_dataloader'), base.get(f'{part}_dataloader'), part):
            palette, classes = meta.get('palette'), meta.get('classes')
            if not isinstance(palette, list | tuple) or not isinstance(classes, list | tuple):
                continue
            if len(palette) != len(classes):
                yield (
                    f'{place}: the palette has {len(palette)} colors, classes {len(classes)} names. Give '
                    'metainfo a palette for your classes (or _delete_=True, to inherit none)'
                )
                return
            if (
                old
                and list(old.get('palette') or ()) == list(palette)
                and list(old.get('classes') or ()) != list(classes)
            ):
                yield (
                    f'{place}: the palette is that of the base config for {", ".join(map(str, old["classes"][:3]))}'
                    f', ..., but classes are {", ".join(map(str, classes[:3]))}, .... Give metainfo a palette for '
                    'your classes (or _delete_=True, to inherit none)'
                )
                return


def tta_warnings(cfg: Config) -> Iterator[str]:
    """Test-time augmentation against the test pipeline, of which it is a copy in another form."""
    pipelines = list(_pipelines((cfg.get('test_dataloader') or {}).get('dataset')))
    if not pipelines:
        return
    test, tta = list(iter_transforms(pipelines[0])), list(iter_transforms(cfg.get('tta_pipeline')))
    sizes = {
        name: sorted({tuple(scale) for step in steps for scale in _scales(step)})
        for name, steps in (('test_pipeline', test), ('tta_pipeline', tta))
    }
    short = {name: {min(size) for size in found} for name, found in sizes.items()}
    if short['test_pipeline'] and short['tta_pipeline'] and not short['test_pipeline'] & short['tta_pipeline']:
        yield (
            f'--tta: tta_pipeline resizes to {_listed(sizes["tta_pipeline"])}, the test pipeline to '
            f'{_listed(sizes["test_pipeline"])}. Give the config a tta_pipeline with sizes of its own'
        )
    varied = ('Resize', 'RandomFlip', 'TestTimeAug', 'Pad')
    differ = [
        step
        for steps, others in ((test, tta), (tta, test))
        for step in steps
        if not any(name in type_name(step) for name in varied)
        and not type_name(step).startswith('Pack')
        and step not in others
    ]
    if differ:
        listed = ', '.join(dict.fromkeys(str(dict(step)) for step in differ))
        yield f'--tta: tta_pipeline and the test pipeline differ in {listed}. Give the config a tta_pipeline of its own'


def unread_warnings(cfg: Config, options: Mapping[str, Any]) -> Iterator[str]:
    """Names at the top of a config, such as ``max_iters`` or ``data_root``, that were changed, while the base config's
    value stays where the base had put it."""
    base = inherited(cfg)
    changed = {name: cfg.get(name) for name in _own_unused_names(cfg)} | {
        name: value for name, value in options.items() if '.' not in name
    }
    for name, value in changed.items():
        old = base.get(name) if name in base else None
        if name in READ or old is None or isinstance(old, bool) or old == value or old in ('', (), [], {}):
            continue
        places = list(_places(cfg, name, old))
        if places:
            shown = old if isinstance(old, int | float | str) or len(repr(old)) < 60 else 'that of the base config'
            new = value if len(repr(value)) < 60 else 'another value'
            yield (
                f'{name} was changed to {new}, but nothing reads it: '
                f'{places[0]} is still {shown}{f", and {len(places) - 1} more" if len(places) > 1 else ""}. '
                'Change that'
            )


def inherited(cfg: Config) -> Config | dict:
    """What a config has from the files that it inherits; empty where it has none, or where they cannot be told."""
    if not cfg.filename or not Path(cfg.filename).is_file():
        return {}
    try:
        merged = {}
        for file in Config._get_base_files(cfg.filename):
            merged.update(Config.fromfile(Path(cfg.filename).parent / file, format_python_code=False))
        return Config(merged)
    except Exception:  # only for warnings; pure Python configs inherit by imports
        return {}


def _own_unused_names(cfg: Config) -> list[str]:
    """Names that a config's own file sets at its top and does not read."""
    if not cfg.filename or not str(cfg.filename).endswith('.py') or not Path(cfg.filename).is_file():
        return []
    try:
        tree = ast.parse(Path(cfg.filename).read_text(encoding='utf-8'))
    except SyntaxError:  # '{{ _base_.name }}' in a place that Python does not know
        return []
    names = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return [name for name in dict.fromkeys(names) if name not in used and name != '_base_']


def _places(cfg: Config, name: str, old: Any) -> Iterator[str]:
    """Where the runner's part of a config still has an old value."""

    def search(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from search(inner, f'{path}.{key}')
        if _same(value, old, name, path):
            yield path
        elif isinstance(value, list | tuple):
            for index, inner in enumerate(value):
                yield from search(inner, f'{path}[{index}]')

    for key in cfg:
        if key in READ and key not in ('work_dir', 'tta_pipeline'):
            yield from search(cfg[key], key)


def _same(value: Any, old: Any, name: str, path: str) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(old, int | float):  # small numbers say many things
        return value == old and (path.rsplit('.', 1)[-1] == name or abs(old) >= 100)
    if isinstance(old, str):
        return isinstance(value, str) and len(old) > 2 and value.startswith(old)
    if isinstance(old, list | tuple):
        return isinstance(value, list | tuple) and list(value) == list(old)
    return isinstance(value, Mapping) and bool(old) and dict(value) == dict(old)


def _schedulers(schedulers: Any, place: str = 'param_scheduler') -> Iterator[tuple[str, Mapping]]:
    """Places and configs, of one scheduler, a list, or a list for each of several optimizers."""
    if isinstance(schedulers, Mapping) and 'type' in schedulers:
        yield place, schedulers
    elif isinstance(schedulers, Mapping):
        for name, inner in schedulers.items():
            yield from _schedulers(inner, f'{place}.{name}')
    elif isinstance(schedulers, list | tuple):
        for index, inner in enumerate(schedulers):
            yield from _schedulers(inner, f'{place}[{index}]')


def _pipelines(dataset: Any) -> Iterator[Sequence]:
    """Of a data set, its wrappers and those inside of them."""
    for part, _ in iter_datasets(dataset or {}, wrappers=True):
        if part.get('pipeline'):
            yield part['pipeline']


def _scales(step: Mapping) -> list:
    """Sizes that a transform may resize to."""
    scale = step.get('scale') or step.get('scales') if 'Resize' in type_name(step) else None
    if not isinstance(scale, list | tuple) or not scale:
        return []
    return [scale] if isinstance(scale[0], int | float) else list(scale)


def _metainfos(loader: Any, base: Any, part: str) -> Iterator[tuple[str, Mapping, Mapping]]:
    """Paths and metainfos of the data sets of a loader, each with what the base config has there."""
    new, old = (
        list(iter_datasets((each or {}).get('dataset') or {}, f'{part}_dataloader.dataset', wrappers=True))
        for each in (loader, base)
    )
    inherited_metainfo = {place: dataset.get('metainfo') for dataset, place in old}
    for dataset, place in new:
        if isinstance(dataset.get('metainfo'), Mapping):
            yield f'{place}.metainfo', dataset['metainfo'], inherited_metainfo.get(place) or {}


def _listed(sizes: Sequence[tuple]) -> str:
    return ', '.join('x'.join(map(str, size)) for size in sizes[:4]) + (', ...' if len(sizes) > 4 else '')
