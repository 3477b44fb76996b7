"""Our tools and the stacks' own, as a user calls them: from another directory, on our configs and on generated data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from PIL import Image

from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.shapes import ShapesSpec
from tests.helpers.commands import output_of

ROOT = Path(__file__).resolve().parents[2]
SHORT = """
_base_ = __import__('m2f_mm').config_path('demo/mask2former_r18_shapes-{task}.py')
max_iters = {iters}
train_dataloader = dict(batch_size={batch}, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
"""


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    write_shapes(str(folder), ShapesSpec(height=64, width=64, crowd=0.5), 3, 4, 2)
    return folder


def run(*command, cwd, shapes, cold=False):
    """Output of a tool that must succeed."""
    return output_of(*command, cwd=cwd, env=dict(SHAPES_ROOT=f'{shapes}/'), cold=cold)


def launch(script, *arguments, cwd, shapes):
    """Run a launcher; its processes are interpreters of their own."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'SHAPES_ROOT': f'{shapes}/', 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        ['bash', script, *map(str, arguments)],
        cwd=cwd,
        env={**environment, 'PYTHON': sys.executable},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def stock_tool(package, name):
    """A tool as the stack's wheel installed it."""
    return Path(__import__(package).__file__).parent / '.mim' / 'tools' / name


@pytest.mark.smoke
@pytest.mark.parametrize(
    'task, package, metric',
    [('panoptic', 'mmdet', 'coco_panoptic/PQ'), ('instance', 'mmdet', 'coco/segm_mAP'), ('semantic', 'mmseg', 'mIoU')],
)
def test_stock_test_tool(task, package, metric, shapes, tmp_path):
    """A config outside the project inherits ours; our train.py makes a checkpoint; the stack's test.py evaluates it."""
    config = tmp_path / 'mine.py'
    config.write_text(SHORT.format(task=task, iters=2, batch=2))
    run(
        ROOT / 'tools' / 'train.py',
        config,
        '--work-dir',
        tmp_path / 'work',
        cwd=tmp_path,
        shapes=shapes,
    )
    checkpoint = tmp_path / 'work' / 'iter_2.pth'
    output = run(
        stock_tool(package, 'test.py'),
        config,
        checkpoint,
        '--work-dir',
        tmp_path / 'test',
        cwd=tmp_path,
        shapes=shapes,
        cold=task != 'instance',  # nothing is imported but what the tool imports; once for each stack
    )
    assert metric in output


@pytest.mark.slow
@pytest.mark.parametrize('package, task', [('mmdet', 'panoptic'), ('mmseg', 'semantic')])
def test_stock_train_tool_with_everything(package, task, shapes, tmp_path):
    """EMA, accumulation and a resumed checkpoint through the stack's own train.py."""
    config = tmp_path / 'mine.py'
    config.write_text(
        SHORT.format(task=task, iters=2, batch=1)
        + """
custom_hooks = [dict(type='EMAHook', begin_iter=0)]
optim_wrapper = dict(accumulative_counts=2)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1))
"""
    )
    tool = stock_tool(package, 'train.py')
    run(tool, config, '--work-dir', tmp_path / 'work', cwd=tmp_path, shapes=shapes)
    head = 'panoptic_head' if package == 'mmdet' else 'decode_head'
    for iteration, updated in ((1, False), (2, True)):  # two batches make one step, and the average lags behind it
        saved = torch.load(tmp_path / 'work' / f'iter_{iteration}.pth', weights_only=False)
        average = saved['state_dict'][f'{head}.cls_embed.weight']
        trained = saved['ema_state_dict'][f'module.{head}.cls_embed.weight']
        assert torch.equal(average, trained) is not updated
    output = run(
        tool,
        config,
        '--work-dir',
        tmp_path / 'work',
        '--resume',
        '--cfg-options',
        'train_cfg.max_iters=3',
        cwd=tmp_path,
        shapes=shapes,
    )
    assert 'resumed' in output.lower() and (tmp_path / 'work' / 'iter_3.pth').is_file()
    assert torch.load(tmp_path / 'work' / 'iter_3.pth', weights_only=False)['meta']['iter'] == 3


def test_tta_and_slide(shapes, tmp_path):
    """Semantic test-time augmentation, and slide inference, which crashes with MMSegmentation's own head."""
    config = tmp_path / 'mine.py'
    config.write_text(
        SHORT.format(task='semantic', iters=1, batch=2)
        + """
model = dict(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(40, 40)))
"""
    )
    run(
        ROOT / 'tools' / 'train.py',
        config,
        '--work-dir',
        tmp_path / 'work',
        cwd=tmp_path,
        shapes=shapes,
    )
    output = run(
        ROOT / 'tools' / 'test.py',
        config,
        tmp_path / 'work' / 'iter_1.pth',
        '--tta',
        '--work-dir',
        tmp_path / 'test',
        cwd=tmp_path,
        shapes=shapes,
    )
    assert 'mIoU' in output


def without_objects(shapes, folder, image):
    """A copy of the annotations in which one training image has nothing."""
    annotations = mmengine.load(shapes / 'annotations' / 'panoptic_train.json')
    entry = annotations['annotations'][image]
    masks = folder / 'panoptic'
    masks.mkdir()
    for other in annotations['annotations']:
        path = shapes / 'annotations' / 'panoptic_train' / other['file_name']
        pixels = np.asarray(Image.open(path))
        Image.fromarray(np.zeros_like(pixels) if other is entry else pixels).save(masks / other['file_name'])
    entry['segments_info'] = []
    mmengine.dump(annotations, folder / 'panoptic.json')
    return folder / 'panoptic.json', masks


@pytest.mark.slow
def test_two_workers_are_one(shapes, tmp_path):
    """dist_train.sh with two processes, one with an image without objects: same loss and same gradients (a plain SGD
    step) as one with both images. With objects everywhere: tests/integrations/test_workers.py."""
    annotations, masks = without_objects(shapes, tmp_path, 1)
    gradients, losses = [], []
    for batch in (2, 1):
        config = tmp_path / f'batch{batch}.py'
        config.write_text(
            SHORT.format(task='panoptic', iters=1, batch=batch)
            + f"""
custom_imports = dict(imports=['tests.helpers.fixed_points'])
custom_hooks = [dict(type='mmengine.WriteLoss', path='{tmp_path}/loss{batch}.json')]
model = dict(backbone=dict(norm_cfg=dict(_delete_=True, type='m2f_mm.FrozenBN')))
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False, _delete_=True),
    dataset=dict(ann_file='{annotations}', data_prefix=dict(seg='{masks}'), indices=2, pipeline=[
        dict(type='LoadImageFromFile'), dict(type='m2f_mm.LoadPanopticSegments'),
        dict(type='m2f_mm.PackPanopticInputs')]))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1.0, weight_decay=0.0, _delete_=True), clip_grad=None)
param_scheduler = []
train_cfg = dict(max_iters=1, val_interval=100)
randomness = dict(seed=0)
"""
        )
        work = tmp_path / f'work{batch}'
        if batch == 2:
            run(ROOT / 'tools' / 'train.py', config, '--work-dir', work, cwd=tmp_path, shapes=shapes)
        else:
            launch(ROOT / 'tools' / 'dist_train.sh', config, 2, '--work-dir', work, cwd=tmp_path, shapes=shapes)
        start = torch.load(tmp_path / f'loss{batch}.pth', weights_only=True)
        end = torch.load(work / 'iter_1.pth', weights_only=False)['state_dict']
        gradients.append({name: (start[name] - end[name]).double() for name in start})
        losses.append(json.loads((tmp_path / f'loss{batch}.json').read_text()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for name, joint in gradients[0].items():
        difference = (gradients[1][name] - joint).abs().max().item()
        assert difference <= max(1e-3 * joint.abs().max().item(), 1e-5), name
